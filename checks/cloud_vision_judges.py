"""Judges of the data assets of the wing `cloud_vision`: bounds, and what is said when a number lies outside of them.

Belongs here: comparing. Does not belong here: measuring (the assets), reading what they measured
(`checks/cloud_vision.py`), and judging models (`checks/cloud_vision_model_judges.py`).
"""

from typing import Any

from checks.expectations import CheckOutcome
from mm_assets.cloud_vision.schema import CLASSES

MOST_REJECTED = 0.05  # share of X-rays; above it the set is not what its folders or manifest say
LARGEST_CLASS_RATIO = 1.5  # of the commonest class of train over its rarest
MOST_STANDARD_ERRORS = 3.0  # that guessing the class from grey levels may lie above chance
LEAST_EXPOSURE_GAP = 0.5  # standard deviations of a film's mean grey


def every_class_is_everywhere(found: dict[str, Any]) -> CheckOutcome:
    """Both organisations hold records of every class in every split."""
    lacking = [
        f"{CLASSES[label]} in {split}"
        for split, counts in found["common"].items()
        for label, count in enumerate(counts)
        if count == 0
    ]
    return CheckOutcome(
        not lacking,
        f"no record that both organisations hold of {', '.join(lacking)}: add some, or let the split be ours"
        if lacking
        else "every class is in every split",
        {"fewest": min(min(counts) for counts in found["common"].values())},
    )


def classes_are_balanced(found: dict[str, Any]) -> CheckOutcome:
    """The classes of train are about equally common."""
    counts = found["common"]["train"]
    ratio = max(counts) / max(1, min(counts))
    return CheckOutcome(
        ratio <= LARGEST_CLASS_RATIO,
        f"the commonest class of train has {ratio:.2f} times the records of the rarest; accuracy means little above "
        f"{LARGEST_CLASS_RATIO}",
        {"ratio": ratio, "bound": LARGEST_CLASS_RATIO},
    )


def most_xrays_are_readable(found: dict[str, Any]) -> CheckOutcome:
    """At most 5 % of the X-rays that have a class are quarantined."""
    share = found["unreadable_share"]
    return CheckOutcome(
        share <= MOST_REJECTED,
        f"{share:.1%} of the X-rays were quarantined; at most {MOST_REJECTED:.0%} may be",
        {"share": share, "bound": MOST_REJECTED},
    )


def class_hides_from_grey_levels(found: dict[str, Any]) -> CheckOutcome:
    """The class of a drawn film cannot be told from its grey levels alone."""
    if found["kind"] != "generator":
        return CheckOutcome(True, "not judged here: real X-rays have a check of their own")
    return _hidden(found)


def real_class_hides_from_grey_levels(found: dict[str, Any]) -> CheckOutcome:
    """The class of a real X-ray cannot be told from its grey levels: exposure is no shortcut to it."""
    if found["kind"] == "generator":
        return CheckOutcome(True, "not judged here: drawn films have a check of their own")
    return _hidden(found)


def _hidden(found: dict[str, Any]) -> CheckOutcome:
    chance, error = found["grey_chance"], found["grey_standard_error"]
    if chance is None:
        return CheckOutcome(True, "not judged: too few X-rays of a class in train")
    best = max(found["grey_logistic"], found["grey_boosting"])
    above = (best - chance) / error
    return CheckOutcome(
        above <= MOST_STANDARD_ERRORS,
        f"grey levels alone tell {best:.1%} of the classes, {above:+.1f} standard errors from chance ({chance:.1%}); "
        f"at most {MOST_STANDARD_ERRORS:.0f} above it, or a model learns the exposure instead of the disease",
        {"accuracy": best, "chance": chance, "standard_errors": above, "bound": MOST_STANDARD_ERRORS},
    )


def shifted_films_differ(found: dict[str, Any]) -> CheckOutcome:
    """The shifted test films have another exposure than those of test."""
    gap = found["exposure_gap"]
    if gap is None:
        return CheckOutcome(True, "not judged: there is no shifted test set, or too few films in it")
    return CheckOutcome(
        abs(gap) >= LEAST_EXPOSURE_GAP,
        f"mean grey levels of test and shifted films lie {gap:.2f} standard deviations apart; below "
        f"{LEAST_EXPOSURE_GAP} the shifted set tests nothing of its own",
        {"exposure_gap": gap, "bound": LEAST_EXPOSURE_GAP},
    )


def nothing_of_the_other_party(found: dict[str, Any]) -> CheckOutcome:
    """A party's artifact holds columns and tensors of its own alone."""
    foreign, width = found["foreign"], found["width"]
    fits = width is None or width == found["own_width"]
    told = f"{', '.join(foreign)} " if foreign else ""
    return CheckOutcome(
        not foreign and fits,
        "its own columns alone" if not foreign and fits else f"{told}does not belong here, or features are too many",
        {"foreign": len(foreign), **({} if width is None else {"features": width})},
    )


def every_xray_is_uploaded(found: dict[str, Any]) -> CheckOutcome:
    """Every X-ray of the mapping is in the manifest once, and in the bucket with its size and checksum."""
    wrong = {name: count for name, count in found["wrong"].items() if count}
    told = ", ".join(f"{count} {name}" for name, count in wrong.items())
    return CheckOutcome(
        not wrong,
        f"of {found['mapped']} X-rays: {told}" if wrong else f"all {found['mapped']} X-rays are there",
        {"mapped": found["mapped"], **wrong},
    )


def records_are_aligned_by_id(found: dict[str, Any]) -> CheckOutcome:
    """The common ids are those of both parties' records, in one split everywhere; ids are compared, not counts."""
    same, ids, apart = len(set(found["digests"].values())) == 1, found["ids"], found["splits_apart"]
    if not same:
        told = f"{ids['missing']} ids are missing, {ids['foreign']} are not of both parties, or they are out of order"
    elif apart:
        told = f"{apart} common records are in different splits"
    else:
        told = f"{ids['common']} common ids, those of both parties' records"
    return CheckOutcome(same and not apart, told, {**ids, "splits_apart": apart})


def features_follow_the_alignment(found: dict[str, Any]) -> CheckOutcome:
    """A party's features are of the common ids, in their order."""
    same_ids = found["digest"] == found["digest_aligned"]
    same_rows = set(found["rows"].values()) == {found["rows_aligned"]}
    return CheckOutcome(
        same_ids and same_rows,
        "of the common ids, in their order"
        if same_ids and same_rows
        else "of other ids, or of more or fewer rows, than the alignment: make the features again",
        {"rows_aligned": found["rows_aligned"], **{f"rows of {name}": rows for name, rows in found["rows"].items()}},
    )
