"""Each judge of the networks passes on sound numbers and fails on the ones it exists for."""

import pytest

from checks import cloud_vision_model_judges as judges
from checks.cloud_vision_model import cloud_vision_model_checks

SOUND = {
    "least_val_score": -0.6, "split_minus_central": 0.0, "n_test": 500,
    "accuracy_joint": 0.79, "accuracy_joint_ci_low": 0.75, "accuracy_org2": 0.54, "accuracy_org2_ci_low": 0.50,
    "accuracy_org3": 0.53, "accuracy_org3_ci_low": 0.49, "accuracy_image_only": 0.54,
    "accuracy_image_only_ci_low": 0.50, "accuracy_shifted": 0.77, "accuracy_shifted_ci_low": 0.71,
    "accuracy_ceiling": 0.875, "accuracy_ceiling_org2": 0.56, "accuracy_ceiling_org3": 0.626,
    "accuracy_ceiling_image_only": 0.62, "accuracy_ceiling_shifted": 0.87,
    "gain_over_org2": 0.25, "gain_over_org2_ci_low": 0.2, "gain_over_org3": 0.26, "gain_over_org3_ci_low": 0.2,
    "gain_over_image_only": 0.25, "gain_over_pooled": 0.01, "gain_over_pooled_ci_low": -0.02,
    "misaligned_0": 0.79, "misaligned_50": 0.68,
    "leak_reached": 1, "leak_accuracy": 0.95, "leak_accuracy_defended": 0.56, "leak_guess": 0.53,
    "leak_defence": "merged_labels of 0+2 0.6", "accuracy_undefended": 0.79, "accuracy_defended": 0.78,
    "named": "0123456789abcdef", "current": "0123456789abcdef",
}  # fmt: skip

BROKEN = [
    (judges.every_network_has_a_loss, {"least_val_score": None}),
    (judges.every_network_has_a_loss, {"least_val_score": float("nan")}),
    (judges.split_equals_central, {"split_minus_central": 1e-9}),
    (judges.model_is_releasable, {"split_minus_central": 1e-9}),
    # Better on average, but not surely.
    (judges.model_is_releasable, {"gain_over_org2_ci_low": -0.01}),
    (judges.model_is_releasable, {"gain_over_org3_ci_low": None}),
    (judges.joining_is_worth_it, {"gain_over_image_only": 0.149}),
    (judges.joining_is_worth_it, {"gain_over_org3": 0.1}),
    (judges.splitting_costs_little, {"gain_over_pooled": -0.021}),
    (judges.nobody_beats_the_ceiling, {"accuracy_org2": 0.7, "accuracy_org2_ci_low": 0.66}),
    (judges.nobody_beats_the_ceiling, {"accuracy_shifted": 0.99, "accuracy_shifted_ci_low": 0.97}),
    (judges.misalignment_hurts, {"misaligned_50": 0.78}),
    (judges.labels_are_kept, {"leak_reached": 0}),
    (judges.release_is_current, {"named": "another"}),
]


@pytest.mark.parametrize(("judge", "broken"), BROKEN)
def test_a_judge_passes_sound_numbers_and_fails_broken_ones(judge, broken):
    assert judge(SOUND).passed
    outcome = judge({**SOUND, **broken})
    assert not outcome.passed
    assert outcome.description


@pytest.mark.parametrize(
    ("judge", "left_open"),
    [
        (judges.nobody_beats_the_ceiling, {"accuracy_ceiling": None, "accuracy_joint_ci_low": 0.9}),  # real X-rays
        (judges.nobody_beats_the_ceiling, {"accuracy_shifted": None, "accuracy_shifted_ci_low": None}),
        (judges.nobody_beats_the_ceiling, {"accuracy_org3": 0.64, "accuracy_org3_ci_low": 0.61}),  # by chance
        (judges.misalignment_hurts, {"misaligned_50": None}),
        (judges.misalignment_hurts, {"n_test": 40, "misaligned_50": 0.9}),
        (judges.model_is_releasable, {"n_test": 40, "gain_over_org2_ci_low": -0.2}),
    ],
)
def test_what_cannot_be_judged_passes(judge, left_open):
    assert judge({**SOUND, **left_open}).passed


def test_what_must_hold_blocks_and_what_is_hoped_for_warns():
    specs = [spec for checks in cloud_vision_model_checks for spec in checks.check_specs]
    assert {spec.name for spec in specs if spec.blocking} == {
        "every_training_has_a_loss", "split_equals_central", "better_than_each_party", "below_the_ceiling",
        "of_the_current_evaluation",
    }  # fmt: skip
