"""Each judge of the wing passes on sound numbers and fails on the ones it exists for."""

from collections.abc import Callable
from typing import Any

import pytest

from checks import mimic
from checks.expectations import CheckOutcome

SOUND = {
    "recall": 1.0, "clean_kept": 1.0, "restored": 1.0,
    "flags_excluding_half": 1, "flag_auroc_worst": 0.52, "probes": 14, "probes_outside": 0, "probe_excess": 0.01,
    "truncated_share": 0.01, "fell_back": "", "encoder": "minilm",
    "macro_auroc": 0.84, "macro_auroc_ci_low": 0.82, "macro_auroc_ci_high": 0.86,
    "ece_before": 0.09, "ece_after": 0.05,
    "gain_over_best_single": 0.09, "gain_ci_low": 0.07, "gain_ci_high": 0.11, "best_single": "image",
    "patients_in_two_splits": 0, "valid_train": 10, "valid_validate": 2, "valid_test": 4,
}  # fmt: skip


@pytest.mark.parametrize(
    ("judge", "broken"),
    [
        (mimic.filter_finds_planted_terms, {"recall": 0.9}),
        (mimic.filter_finds_planted_terms, {"clean_kept": 0.9}),
        (mimic.redaction_tells_nothing, {"flags_excluding_half": 6}),
        (mimic.filtered_text_is_as_good_as_leak_free, {"probes_outside": 5}),
        (mimic.notes_are_read_to_their_end, {"truncated_share": 0.2}),
        (mimic.encoder_is_the_one_asked_for, {"fell_back": "modernbert: not in the cache"}),
        (mimic.model_beats_chance, {"macro_auroc": 0.5, "macro_auroc_ci_low": 0.45, "macro_auroc_ci_high": 0.55}),
        (mimic.calibration_holds, {"ece_after": 0.3}),
        (mimic.fusion_is_worth_it, {"gain_ci_low": -0.01}),
        (mimic.splits_share_no_patient, {"patients_in_two_splits": 1}),
        (mimic.every_split_has_records, {"valid_test": 0}),
    ],
)
def test_judge(judge: Callable[[dict[str, Any]], CheckOutcome], broken: dict[str, Any]) -> None:
    assert judge(dict(SOUND)).passed
    assert not judge({**SOUND, **broken}).passed


def test_no_check_shares_a_name_within_its_asset() -> None:
    seen = [(key.asset_key, key.name) for check in mimic.mimic_checks for key in check.check_keys]
    assert len(seen) == len(set(seen)) > 50
