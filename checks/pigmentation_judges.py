"""Judges of the wing `pigmentation`: bounds, and what is said when a measured number lies outside of them.

Belongs here: comparing. Does not belong here: measuring (the assets) and reading what they measured
(`checks/pigmentation.py`).
"""

from math import isfinite
from typing import Any

from checks.expectations import CheckOutcome
from mm_assets.pigmentation.evaluation_tables import LEAST_PER_TONE
from mm_assets.pigmentation.release_rule import release_refusal
from mm_assets.pigmentation.schema import DERIVED_LABEL_SOURCES

MOST_REJECTED = 0.05  # share of images; above it the set is not what its manifest says
LARGEST_SHARE_ALL = 0.25  # of the error of predicting the mean
LARGEST_SHARE_CLINICAL = 0.30
LARGEST_TONE_RATIO = 1.5  # error of the worst skin tone over that of the best
COVERAGE = (0.85, 0.95)  # of intervals that should cover 90 %


def most_images_are_readable(found: dict[str, Any]) -> CheckOutcome:
    """At most 5 % of the listed images are quarantined."""
    share = found["rejected"] / max(1, found["listed"])
    return CheckOutcome(
        share <= MOST_REJECTED,
        f"{found['rejected']} of {found['listed']} images were quarantined; at most {MOST_REJECTED:.0%} may be",
        {"share": share, "bound": MOST_REJECTED},
    )


def splits_share_no_patient(found: dict[str, Any]) -> CheckOutcome:
    """No patient is in two splits."""
    shared = found["patients_in_two_splits"]
    return CheckOutcome(shared == 0, f"{shared} patients are in more than one split", {"patients": shared})


def every_split_is_labelled(found: dict[str, Any]) -> CheckOutcome:
    """Every split has labelled records: training and evaluation refuse unlabelled ones."""
    empty = [name for name, count in found["labelled"].items() if count == 0]
    return CheckOutcome(
        not empty,
        f"no labelled record in {', '.join(empty)}: label the images, or train elsewhere" if empty else "all labelled",
        found["labelled"],
    )


def labels_are_not_derived(found: dict[str, Any]) -> CheckOutcome:
    """No label was computed from the images it is learnt from."""
    derived = sum(found["sources"].get(name, 0) for name in DERIVED_LABEL_SOURCES)
    return CheckOutcome(
        derived == 0,
        f"{derived} labels were derived from pixels: agreement with them is not agreement with a clinician",
        {"derived": derived},
    )


def every_run_has_a_score(found: dict[str, Any]) -> CheckOutcome:
    """Every training reached a finite score on validate."""
    least = found["least_val_score"]
    finite = least is not None and isfinite(least)
    return CheckOutcome(
        finite, f"least best score on validate {least:.3f}" if finite else "a variant has no finite score on validate"
    )


def model_is_releasable(found: dict[str, Any]) -> CheckOutcome:
    """The model with all modalities is clearly better than predicting the mean."""
    refusal = release_refusal(found)
    return CheckOutcome(
        refusal is None,
        refusal or "better than predicting the mean",
        {"mae_all": found["mae_all"], "mae_predict_mean": found["mae_predict_mean"]},
    )


def fused_beats_the_melanin_index(found: dict[str, Any]) -> CheckOutcome:
    """Learning is worth it: from the same photograph surely better than a calibrated hand-made melanin index."""
    gain, low, gain_all = (
        found[name]
        for name in ("gain_over_delta_melanin", "gain_over_delta_melanin_ci_low", "gain_over_delta_melanin_all")
    )
    return CheckOutcome(
        low is not None and low > 0,
        f"error of the melanin index less the model's: {gain:+.4f} from the photograph alone, {_interval_from(low)}; "
        f"{gain_all:+.4f} with all modalities",
        {"gain_photograph": gain, "gain_all": gain_all, **_shown(ci_low=low)},
    )


def fused_survives_a_missing_modality(found: dict[str, Any]) -> CheckOutcome:
    """With every modality, and with the photograph alone, the error is a small share of predicting the mean."""
    mean = found["mae_predict_mean"]
    shares = {"share_all": found["mae_all"] / mean, "share_clinical_only": found["mae_clinical_only"] / mean}
    good = shares["share_all"] <= LARGEST_SHARE_ALL and shares["share_clinical_only"] <= LARGEST_SHARE_CLINICAL
    return CheckOutcome(
        good,
        f"{shares['share_all']:.0%} of the mean's error with all modalities (at most {LARGEST_SHARE_ALL:.0%}), "
        f"{shares['share_clinical_only']:.0%} with the photograph alone (at most {LARGEST_SHARE_CLINICAL:.0%})",
        shares,
    )


def tones_are_served_alike(found: dict[str, Any]) -> CheckOutcome:
    """The worst skin tone's error is within 1.5 times the best's. Above, it is told whether the interval is as well."""
    ratio, low = found["worst_tone_ratio"], found["worst_tone_ratio_ci_low"]
    if ratio is None:
        return CheckOutcome(True, "not judged: no two skin tones have enough test lesions")
    surely_not = low is not None and low > LARGEST_TONE_RATIO
    verdict = "alike" if ratio <= LARGEST_TONE_RATIO else "surely not alike" if surely_not else "not shown to be alike"
    return CheckOutcome(
        ratio <= LARGEST_TONE_RATIO,
        f"{verdict}: the worst tone's error is {ratio:.2f} times the best's, {_interval_from(low, 2)}; at most "
        f"{LARGEST_TONE_RATIO} is alike",
        {"worst_tone_ratio": ratio, "bound": LARGEST_TONE_RATIO, **_shown(ci_low=low)},
    )


def every_tone_is_judged(found: dict[str, Any]) -> CheckOutcome:
    """Every skin tone has enough test lesions for its error to mean something."""
    least = found["least_tone_n"]
    return CheckOutcome(
        least >= LEAST_PER_TONE,
        f"{least} test lesions of the rarest tone; {LEAST_PER_TONE} are needed to judge it",
        {"least_tone_n": least, "bound": LEAST_PER_TONE},
    )


def intervals_cover(found: dict[str, Any]) -> CheckOutcome:
    """Intervals made to cover 90 % of the scores cover about that on test."""
    coverage, (low, high) = found["coverage90"], COVERAGE
    return CheckOutcome(
        low <= coverage <= high,
        f"90 % intervals cover {coverage:.1%} of the test records; {low:.0%} to {high:.0%} is right",
        {"coverage90": coverage},
    )


def attention_means_something(found: dict[str, Any]) -> CheckOutcome:
    """Deleting the most attended patches surely changes the answer more than deleting patches at random."""
    gain, low = found["deletion_gain"], found["deletion_gain_ci_low"]
    if gain is None:
        return CheckOutcome(True, "not tried: this model has no map of attention to one score")
    shown = low is not None and low > 0
    return CheckOutcome(
        shown,
        f"area between the deletion curves {gain:+.4f}, {_interval_from(low)}: "
        + ("the most attended patches matter more than chance" if shown else "the maps are no explanation here"),
        {"deletion_gain": gain, **_shown(ci_low=low)},
    )


def release_is_current(found: dict[str, Any]) -> CheckOutcome:
    """The released bundle was judged by the current evaluation."""
    return CheckOutcome(
        found["named"] == found["current"],
        "released from the current evaluation" if found["named"] == found["current"] else "released from an older one",
    )


def _interval_from(low: float | None, digits: int = 4) -> str:
    return "without an interval" if low is None else f"interval from {low:.{digits}f}"


def _shown(**numbers: float | None) -> dict[str, float]:
    """Those that were measured."""
    return {name: value for name, value in numbers.items() if value is not None}
