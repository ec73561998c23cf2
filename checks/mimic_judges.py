"""Bounds of the numbers that the wing `mimic` measures, with the reason for each.

Belongs here: a judge per promise, from published numbers to an outcome. Does not belong here: reading them, and which
asset is judged by what (`checks/mimic.py`).
"""

from math import isfinite
from typing import Any

from checks.expectations import CheckOutcome
from mm_assets.mimic.release_rule import LEAST_JUDGED, LEAST_MACRO_AUROC, release_refusal
from mm_assets.mimic.schema import SPLITS

# Judged on the planted corpus, where every leak is known.
LEAST_RECALL = 0.98
LEAST_CLEAN_KEPT = 0.98
# A 95 % interval misses the truth once in twenty: of 14 labels one may lie outside by chance, seldom two.
MOST_OUTSIDE_BY_CHANCE = 2
# A note the encoder cannot read to its end loses what only the note says.
MOST_TRUNCATED = 0.05
MOST_ECE_AFTER = 0.15
# Room of the stored tokens of one record: what keeps the whole data set's features on one disk.
MOST_FEATURE_BYTES = 150_000


def required_tables_are_listed(numbers: dict[str, Any]) -> CheckOutcome:
    """Every table that a run cannot do without is in the manifest, or in the synthetic tree."""
    absent = ", ".join(numbers["absent"])
    return CheckOutcome(
        not absent, f"missing: {absent}" if absent else "none is missing", {"listed": numbers["listed"]}
    )


def films_lie_in_their_stay(numbers: dict[str, Any]) -> CheckOutcome:
    """Under the rule within_stay no film was taken before the arrival, or earlier than was allowed."""
    earliest, allowed = numbers["earliest_min"], -60 * numbers["pre_hours"]
    judged = numbers["rule"] == "within_stay" and earliest is not None
    return CheckOutcome(
        not judged or earliest >= allowed,
        f"rule {numbers['rule']}: earliest film {earliest} min after arrival"
        + (f" (at least {allowed:g})" if judged else ", not judged"),
    )


def every_record_has_features(numbers: dict[str, Any]) -> CheckOutcome:
    """As many rows of features as records they were made from."""
    differing = ", ".join(numbers["differing"])
    return CheckOutcome(
        not differing,
        f"{numbers['encoded']} encoded of {numbers['records']}"
        + (f", not the same in {differing}" if differing else ""),
        {"encoded": numbers["encoded"], "records": numbers["records"]},
    )


def features_fit_their_room(numbers: dict[str, Any]) -> CheckOutcome:
    """Stored tokens of a record take at most 150 kB."""
    size = numbers["bytes"] / max(1, numbers["encoded"])
    return CheckOutcome(
        size <= MOST_FEATURE_BYTES,
        f"{size / 1000:.1f} kB a record (at most {MOST_FEATURE_BYTES / 1000:.0f} kB)",
        {"bytes_per_record": size},
    )


def every_training_has_a_score(numbers: dict[str, Any]) -> CheckOutcome:
    """Every variant and seed reached a finite score on validate; the least is published, nothing where one has none."""
    least = numbers["least_val_score"]
    finite = least is not None and isfinite(least)
    return CheckOutcome(
        finite, f"least best score on validate {least:.3f}" if finite else "a variant has no finite score on validate"
    )


def release_is_of_the_current_evaluation(numbers: dict[str, Any]) -> CheckOutcome:
    """The released bundle names the evaluation that is current."""
    named, current = numbers["named"], numbers["current"]
    return CheckOutcome(named == current, f"names evaluation {named}, current is {current}")


def filter_finds_planted_terms(numbers: dict[str, Any]) -> CheckOutcome:
    """The filter removes planted leaks and leaves clean complaints alone."""
    return CheckOutcome(
        numbers["recall"] >= LEAST_RECALL and numbers["clean_kept"] >= LEAST_CLEAN_KEPT,
        f"recall {numbers['recall']:.3f} (at least {LEAST_RECALL}), "
        f"clean texts unchanged {numbers['clean_kept']:.3f} (at least {LEAST_CLEAN_KEPT})",
        {"recall": numbers["recall"], "clean_kept": numbers["clean_kept"]},
    )


def redaction_tells_nothing(numbers: dict[str, Any]) -> CheckOutcome:
    """Where terms were planted without looking at labels, having been redacted predicts no label."""
    return CheckOutcome(
        numbers["flags_excluding_half"] <= MOST_OUTSIDE_BY_CHANCE,
        f"{numbers['flags_excluding_half']} labels' intervals exclude .5 "
        f"(at most {MOST_OUTSIDE_BY_CHANCE} by chance); farthest AUROC {numbers['flag_auroc_worst']:.3f}",
        {"flags_excluding_half": numbers["flags_excluding_half"], "farthest": numbers["flag_auroc_worst"]},
    )


def filtered_text_is_as_good_as_leak_free(numbers: dict[str, Any]) -> CheckOutcome:
    """A bag-of-words probe reads no more from filtered text than from leak-free twins."""
    return CheckOutcome(
        numbers["probes_outside"] <= MOST_OUTSIDE_BY_CHANCE,
        f"{numbers['probes_outside']} of {numbers['probes']} labels outside the twin's interval "
        f"(at most {MOST_OUTSIDE_BY_CHANCE} by chance)",
        {"outside": numbers["probes_outside"], "probed": numbers["probes"]},
    )


def notes_are_read_to_their_end(numbers: dict[str, Any]) -> CheckOutcome:
    """The encoder's token limit cuts few notes."""
    share = numbers["truncated_share"]
    return CheckOutcome(
        share <= MOST_TRUNCATED, f"{share:.1%} truncated (at most {MOST_TRUNCATED:.0%})", {"truncated_share": share}
    )


def encoder_is_the_one_asked_for(numbers: dict[str, Any]) -> CheckOutcome:
    """No encoder was passed over for another."""
    passed_over = numbers["fell_back"] or ""
    return CheckOutcome(not passed_over, passed_over or f"{numbers['encoder']}, as asked", {})


def model_beats_chance(numbers: dict[str, Any]) -> CheckOutcome:
    """The fused model may be released: above the floor on the held-out test split, its 95 % interval above chance."""
    low, high = numbers["macro_auroc_ci_low"], numbers["macro_auroc_ci_high"]
    refusal = release_refusal(numbers)
    measured = f"macro AUROC {numbers['macro_auroc']:.3f} ({low:.3f} to {high:.3f}), floor {LEAST_MACRO_AUROC}"
    if numbers["n_test"] < LEAST_JUDGED:
        measured += f"; not judged on {numbers['n_test']} test studies"
    return CheckOutcome(
        refusal is None, refusal or measured, {"macro_auroc": numbers["macro_auroc"], "low": low, "high": high}
    )


def enough_test_studies(numbers: dict[str, Any]) -> CheckOutcome:
    """The test split has enough studies to judge a model by."""
    return CheckOutcome(
        numbers["n_test"] >= LEAST_JUDGED,
        f"{numbers['n_test']} test studies (at least {LEAST_JUDGED} to judge the release)",
        {"n_test": numbers["n_test"]},
    )


def calibration_holds(numbers: dict[str, Any]) -> CheckOutcome:
    """Calibration fitted on validate holds on test well enough to show probabilities."""
    return CheckOutcome(
        numbers["ece_after"] <= MOST_ECE_AFTER,
        f"ECE {numbers['ece_before']:.3f} before, {numbers['ece_after']:.3f} after (at most {MOST_ECE_AFTER})",
        {"ece_before": numbers["ece_before"], "ece_after": numbers["ece_after"]},
    )


def fusion_is_worth_it(numbers: dict[str, Any]) -> CheckOutcome:
    """The fused model beats the best single modality with an interval that excludes zero."""
    low, high = numbers["gain_ci_low"], numbers["gain_ci_high"]
    return CheckOutcome(
        low > 0,
        f"gain {numbers['gain_over_best_single']:+.3f} ({low:+.3f} to {high:+.3f}) over {numbers['best_single']}",
        {"gain": numbers["gain_over_best_single"], "low": low, "high": high},
    )


def splits_share_no_patient(numbers: dict[str, Any]) -> CheckOutcome:
    """No patient is in two splits."""
    shared = numbers["patients_in_two_splits"]
    return CheckOutcome(shared == 0, f"{shared} patients in more than one split", {"shared": shared})


def every_split_has_records(numbers: dict[str, Any]) -> CheckOutcome:
    """Train, validate and test all have valid records."""
    counts = {split: numbers[f"valid_{split}"] for split in SPLITS}
    return CheckOutcome(all(counts.values()), str(counts), counts)
