"""Each judge of the wing's data passes on sound numbers and fails on the ones it exists for."""

from collections.abc import Callable
from typing import Any

import pytest

from checks import cloud_vision_judges as judges
from checks.expectations import CheckOutcome

DIGESTS = {"noted": "aa", "of its rows": "aa", "of the parties' records": "aa"}
SOUND = {
    "kind": "generator", "grey_logistic": 0.35, "grey_boosting": 0.34, "grey_chance": 0.335,
    "grey_standard_error": 0.017, "exposure_gap": 2.9, "unreadable_share": 0.02,
    "common": {"train": [22, 21, 23], "validate": [5, 6, 5], "test": [9, 9, 8]},
    "foreign": [], "width": 5, "own_width": 5,
    "mapped": 80, "wrong": {"not in the manifest": 0, "of another size": 0},
    "digests": DIGESTS, "ids": {"common": 70, "missing": 0, "foreign": 0}, "splits_apart": 0,
    "digest": "aa", "digest_aligned": "aa", "rows": {"features": 70, "labels": 70}, "rows_aligned": 70,
}  # fmt: skip
REAL = {"kind": "images"}


@pytest.mark.parametrize(
    ("judge", "broken"),
    [
        (judges.every_class_is_everywhere, {"common": {"train": [3, 3, 3], "validate": [2, 0, 2], "test": [1, 1, 1]}}),
        (judges.classes_are_balanced, {"common": {"train": [31, 20, 25]}}),
        (judges.classes_are_balanced, {"common": {"train": [5, 0, 5]}}),
        (judges.most_xrays_are_readable, {"unreadable_share": 0.051}),
        # Above chance by more than three standard errors, whichever of the two models finds it.
        (judges.class_hides_from_grey_levels, {"grey_logistic": 0.387}),
        (judges.class_hides_from_grey_levels, {"grey_boosting": 0.6}),
        (judges.real_class_hides_from_grey_levels, {**REAL, "grey_logistic": 0.387}),
        (judges.shifted_films_differ, {"exposure_gap": 0.49}),
        (judges.nothing_of_the_other_party, {"foreign": ["label"]}),
        (judges.nothing_of_the_other_party, {"width": 10}),
        (judges.every_xray_is_uploaded, {"wrong": {"not in the manifest": 0, "of another size": 1}}),
        # As many ids, and not the same.
        (judges.records_are_aligned_by_id, {"digests": {**DIGESTS, "of the parties' records": "bb"}}),
        (judges.records_are_aligned_by_id, {"digests": {**DIGESTS, "noted": "bb"}}),
        (judges.records_are_aligned_by_id, {"splits_apart": 1}),
        (judges.features_follow_the_alignment, {"digest": "bb"}),
        (judges.features_follow_the_alignment, {"rows": {"features": 70, "labels": 69}}),
        (judges.features_follow_the_alignment, {"rows_aligned": 71}),
    ],
)
def test_judge(judge: Callable[[dict[str, Any]], CheckOutcome], broken: dict[str, Any]) -> None:
    assert judge(dict(SOUND)).passed
    refused = judge({**SOUND, **broken})
    assert not refused.passed and len(refused.description) > 20


@pytest.mark.parametrize(
    ("judge", "unmeasured"),
    [
        # Guessing worse than chance is no shortcut.
        (judges.class_hides_from_grey_levels, {"grey_logistic": 0.1, "grey_boosting": 0.1}),
        # Too few films of a class.
        (judges.class_hides_from_grey_levels, {"grey_chance": None, "grey_logistic": None, "grey_boosting": None}),
        # Real X-rays are warned about, and do not block.
        (judges.class_hides_from_grey_levels, {**REAL, "grey_logistic": 0.9}),
        (judges.real_class_hides_from_grey_levels, {"grey_logistic": 0.9}),
        (judges.shifted_films_differ, {"exposure_gap": None}),
        # Tables have no tensors.
        (judges.nothing_of_the_other_party, {"width": None}),
    ],
)
def test_what_was_not_measured_is_not_judged(
    judge: Callable[[dict[str, Any]], CheckOutcome], unmeasured: dict[str, Any]
) -> None:
    assert judge({**SOUND, **unmeasured}).passed


def test_the_class_and_split_that_lack_records_are_named() -> None:
    found = {"common": {"train": [3, 3, 3], "validate": [2, 0, 2], "test": [1, 1, 0]}}
    told = judges.every_class_is_everywhere(found).description
    assert "Normal in validate, Viral pneumonia in test" in told
