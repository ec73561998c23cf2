"""Each judge of the wing passes on sound numbers and fails on the ones it exists for."""

from collections.abc import Callable
from typing import Any

import pytest

from checks import pigmentation_judges as judges
from checks.expectations import CheckOutcome

SOUND = {
    "listed": 1000, "rejected": 20, "patients_in_two_splits": 0,
    "labelled": {"train": 60, "validate": 12, "test": 28}, "sources": {"rater": 90, "mMASI/24": 10},
    "least_val_score": -0.04,
    "n_test_complete": 900, "mae_all": 0.03, "mae_clinical_only": 0.04, "mae_predict_mean": 0.2,
    "gain_over_mean_ci_low": 0.15, "gain_over_delta_melanin": 0.05, "gain_over_delta_melanin_ci_low": 0.04,
    "gain_over_delta_melanin_all": 0.06,
    "worst_tone_ratio": 1.3, "worst_tone_ratio_ci_low": 1.1, "least_tone_n": 120, "coverage90": 0.91,
    "deletion_gain": 0.05, "deletion_gain_ci_low": 0.01, "named": "0123456789abcdef", "current": "0123456789abcdef",
}  # fmt: skip


@pytest.mark.parametrize(
    ("judge", "broken"),
    [
        (judges.most_images_are_readable, {"rejected": 51}),
        (judges.splits_share_no_patient, {"patients_in_two_splits": 1}),
        (judges.every_split_is_labelled, {"labelled": {"train": 60, "validate": 0, "test": 28}}),
        (judges.labels_are_not_derived, {"sources": {"rater": 90, "derived_delta_melanin": 1}}),
        (judges.every_run_has_a_score, {"least_val_score": None}),
        (judges.every_run_has_a_score, {"least_val_score": float("nan")}),
        (judges.model_is_releasable, {"mae_all": 0.17}),
        # Better on average, but not surely.
        (judges.model_is_releasable, {"mae_all": 0.15, "gain_over_mean_ci_low": -0.01}),
        (judges.model_is_releasable, {"gain_over_mean_ci_low": None}),
        # Better on average, but not surely; what more images gain does not excuse the photograph.
        (judges.fused_beats_the_melanin_index, {"gain_over_delta_melanin_ci_low": -0.001}),
        (judges.fused_beats_the_melanin_index, {"gain_over_delta_melanin_ci_low": None}),
        (judges.fused_survives_a_missing_modality, {"mae_all": 0.051}),
        (judges.fused_survives_a_missing_modality, {"mae_clinical_only": 0.061}),
        (judges.tones_are_served_alike, {"worst_tone_ratio": 2.0, "worst_tone_ratio_ci_low": 1.6}),
        (judges.tones_are_served_alike, {"worst_tone_ratio": 1.8, "worst_tone_ratio_ci_low": 1.2}),
        (judges.tones_are_served_alike, {"worst_tone_ratio": 1.8, "worst_tone_ratio_ci_low": None}),
        (judges.every_tone_is_judged, {"least_tone_n": 99}),
        (judges.intervals_cover, {"coverage90": 0.84}),
        (judges.intervals_cover, {"coverage90": 0.96}),
        (judges.attention_means_something, {"deletion_gain_ci_low": 0.0}),
        (judges.attention_means_something, {"deletion_gain_ci_low": None}),
        (judges.release_is_current, {"current": "fedcba9876543210"}),
    ],
)
def test_judge(judge: Callable[[dict[str, Any]], CheckOutcome], broken: dict[str, Any]) -> None:
    assert judge(dict(SOUND)).passed
    refused = judge({**SOUND, **broken})
    assert not refused.passed and len(refused.description) > 20


@pytest.mark.parametrize(
    ("judge", "unmeasured"),
    [
        (judges.most_images_are_readable, {"listed": 0, "rejected": 0}),
        # Only one tone has enough lesions to be judged.
        (judges.tones_are_served_alike, {"worst_tone_ratio": None, "worst_tone_ratio_ci_low": None}),
        # A model of classes has no map of attention to a score.
        (judges.attention_means_something, {"deletion_gain": None, "deletion_gain_ci_low": None}),
        # So few that the error says nothing.
        (judges.model_is_releasable, {"n_test_complete": 99, "mae_all": 0.3, "gain_over_mean_ci_low": -0.2}),
    ],
)
def test_what_was_not_measured_is_not_judged(
    judge: Callable[[dict[str, Any]], CheckOutcome], unmeasured: dict[str, Any]
) -> None:
    assert judge({**SOUND, **unmeasured}).passed


@pytest.mark.parametrize(
    ("ratio", "low", "told"), [(1.4, 1.1, "alike: "), (1.8, 1.2, "not shown to be alike: "), (1.8, 1.6, "surely not")]
)
def test_tones_that_are_not_shown_to_be_alike_are_told_from_those_that_surely_are_not(
    ratio: float, low: float, told: str
) -> None:
    found = judges.tones_are_served_alike({**SOUND, "worst_tone_ratio": ratio, "worst_tone_ratio_ci_low": low})
    assert found.description.startswith(told) and found.passed == (ratio <= judges.LARGEST_TONE_RATIO)
