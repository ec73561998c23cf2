"""Each judge of the wing passes on sound numbers and fails on the ones it exists for."""

from collections.abc import Callable
from typing import Any

import pytest

from checks import mimic_judges
from checks.expectations import CheckOutcome

SOUND = {
    "recall": 1.0, "clean_kept": 1.0, "restored": 1.0,
    "flags_excluding_half": 1, "flag_auroc_worst": 0.52, "probes": 14, "probes_outside": 0, "probe_excess": 0.01,
    "truncated_share": 0.01, "fell_back": "", "encoder": "minilm",
    "n_test": 400, "macro_auroc": 0.84, "macro_auroc_ci_low": 0.82, "macro_auroc_ci_high": 0.86,
    "ece_before": 0.09, "ece_after": 0.05,
    "gain_over_best_single": 0.09, "gain_ci_low": 0.07, "gain_ci_high": 0.11, "best_single": "image",
    "absent": [], "listed": 8, "rule": "within_stay", "pre_hours": 0.0, "earliest_min": 2.5,
    "records": 50, "encoded": 50, "differing": [], "bytes": 50 * 41_000, "least_val_score": 0.55,
    "named": "0123456789abcdef", "current": "0123456789abcdef",
    "patients_in_two_splits": 0, "valid_train": 10, "valid_validate": 2, "valid_test": 4,
}  # fmt: skip


@pytest.mark.parametrize(
    ("judge", "broken"),
    [
        (mimic_judges.filter_finds_planted_terms, {"recall": 0.9}),
        (mimic_judges.filter_finds_planted_terms, {"clean_kept": 0.9}),
        (mimic_judges.redaction_tells_nothing, {"flags_excluding_half": 6}),
        (mimic_judges.filtered_text_is_as_good_as_leak_free, {"probes_outside": 5}),
        (mimic_judges.notes_are_read_to_their_end, {"truncated_share": 0.2}),
        (mimic_judges.encoder_is_the_one_asked_for, {"fell_back": "modernbert: not in the cache"}),
        (mimic_judges.required_tables_are_listed, {"absent": ["triage"]}),
        (mimic_judges.films_lie_in_their_stay, {"earliest_min": -1.0}),
        (mimic_judges.every_record_has_features, {"encoded": 49, "differing": ["p12"]}),
        (mimic_judges.features_fit_their_room, {"bytes": 50 * 150_001}),
        (mimic_judges.every_training_has_a_score, {"least_val_score": None}),
        (mimic_judges.every_training_has_a_score, {"least_val_score": float("nan")}),
        # The upper end of the interval lies above the floor: that is not enough.
        (
            mimic_judges.model_beats_chance,
            {"macro_auroc": 0.52, "macro_auroc_ci_low": 0.42, "macro_auroc_ci_high": 0.61},
        ),
        (mimic_judges.model_beats_chance, {"macro_auroc": 0.61, "macro_auroc_ci_low": 0.49}),
        (mimic_judges.model_beats_chance, {"macro_auroc": 0.59, "macro_auroc_ci_low": 0.55}),
        (mimic_judges.enough_test_studies, {"n_test": 15}),
        (mimic_judges.release_is_of_the_current_evaluation, {"current": "fedcba9876543210"}),
        (mimic_judges.calibration_holds, {"ece_after": 0.3}),
        (mimic_judges.fusion_is_worth_it, {"gain_ci_low": -0.01}),
        (mimic_judges.splits_share_no_patient, {"patients_in_two_splits": 1}),
        (mimic_judges.every_split_has_records, {"valid_test": 0}),
    ],
)
def test_judge(judge: Callable[[dict[str, Any]], CheckOutcome], broken: dict[str, Any]) -> None:
    assert judge(dict(SOUND)).passed
    assert not judge({**SOUND, **broken}).passed


@pytest.mark.parametrize(
    "allowed",
    [{"rule": "abs24h", "earliest_min": -300.0}, {"pre_hours": 2.0, "earliest_min": -90.0}, {"earliest_min": None}],
)
def test_films_before_arrival_are_judged_by_the_rule_that_linked_them(allowed: dict[str, Any]) -> None:
    assert mimic_judges.films_lie_in_their_stay({**SOUND, **allowed}).passed


def test_room_of_the_features_is_that_of_the_encoding() -> None:
    from mm_assets.mimic.features import BUDGET_BYTES

    assert mimic_judges.MOST_FEATURE_BYTES == BUDGET_BYTES


def test_too_few_test_studies_are_not_judged() -> None:
    assert mimic_judges.model_beats_chance(
        {**SOUND, "macro_auroc": 0.4, "macro_auroc_ci_low": 0.2, "n_test": 15}
    ).passed
