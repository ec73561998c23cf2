"""When each warning about a case is due."""

import math

import numpy as np

from mm_assets.mimic.case import CaseWarning, ChestCase
from mm_assets.mimic.case_warnings import (
    UNCOMMON_DEVIATIONS,
    film_warnings,
    modality_warnings,
    text_warnings,
    value_warnings,
)
from mm_assets.mimic.out_of_domain import distance, fit_reference
from mm_assets.mimic.preprocessing import ClinicalInput, TextParts


def codes(warnings: list[CaseWarning]) -> list[str]:
    return [warning.code for warning in warnings]


def test_a_film_is_told_when_it_is_far_or_foreign() -> None:
    rng = np.random.default_rng(0)
    reference = fit_reference(rng.normal(size=(200, 4)), rng.normal(size=(100, 4)))
    near, far = np.zeros((1, 4)), np.full((1, 4), 50.0)
    assert distance(reference, near)[0] < reference.threshold < distance(reference, far)[0]
    assert codes(film_warnings(near, reference, foreign=False)) == []
    assert codes(film_warnings(far, reference, foreign=True)) == ["synthetic_model", "out_of_domain"]


def test_what_is_absent_and_what_is_left_out_are_told_apart() -> None:
    case = ChestCase(complaint="cough", heartrate=90)
    told = modality_warnings(case, ["text", "image"])
    assert codes(told) == ["missing_modality", "left_out"]
    assert "chest film" in told[0].message and told[1].message == "Read without: complaint and history."


def test_values_beyond_the_training_data_are_told_and_missing_ones_are_not() -> None:
    clinical = ClinicalInput(
        {"heartrate": 90 + 10 * UNCOMMON_DEVIATIONS + 1, "age": 91.0, "sbp": math.nan}, ("age",), ()
    )
    told = value_warnings(clinical, ([90.0, 60.0, 120.0], [10.0, 20.0, 20.0]))
    assert [(warning.code, warning.message.split()[0]) for warning in told] == [
        ("converted_value", "Age"),
        ("uncommon_value", "Heart"),
    ]
    refused = ClinicalInput({"temperature": math.nan}, (), ("temperature",))
    assert [warning.message for warning in value_warnings(refused, None)] == [
        "Temperature is not plausible and was not used."
    ]


def test_removed_words_are_told() -> None:
    assert codes(text_warnings(TextParts("note", 1, (), ()))) == ["words_removed"]
    assert text_warnings(TextParts("note", 0, (), ())) == []
