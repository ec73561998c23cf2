"""One severity for a score, wherever it is shown."""

import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mm_assets.pigmentation.schema import SEVERITIES
from mm_assets.pigmentation.severity import (
    SeverityError,
    Thresholds,
    severities,
    severity_of,
    severity_ranks,
    shown_score,
)
from resources.errors import MendableError

scores = st.floats(0, 1) | st.floats(0, 1, width=32) | st.integers(0, 2000).map(lambda k: k / 2000)


@given(scores)
@example(0.25)
@example(0.2504)
@example(0.2505)
@example(float(np.float32(0.6)))
@example(0.0625)
def test_the_label_is_that_of_the_number_shown(score: float) -> None:
    shown = shown_score(score)
    assert abs(shown - score) <= 0.0005 + 1e-12
    assert shown == float(f"{shown:.3f}") == shown_score(shown)
    assert severity_of(score) == severity_of(shown) == severity_of(float(json.loads(json.dumps(shown))))
    assert severity_of(score) == ("Mild" if shown <= 0.25 else "Moderate" if shown <= 0.6 else "Severe")


@given(st.lists(scores, max_size=20))
def test_many_scores_get_the_labels_that_each_gets_alone(many: list[float]) -> None:
    assert severities(many) == severities(np.array(many)) == [severity_of(score) for score in many]
    assert [SEVERITIES[k] for k in severity_ranks(many)] == severities(many)


@given(scores, scores)
def test_a_higher_score_is_never_milder(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert SEVERITIES.index(severity_of(low)) <= SEVERITIES.index(severity_of(high))


def test_bounds_belong_to_the_class_below() -> None:
    assert severities([0, 0.25, 0.2504, 0.251, 0.6, 0.6004, 0.601, 1]) == [
        "Mild", "Mild", "Mild", "Moderate", "Moderate", "Moderate", "Severe", "Severe",
    ]  # fmt: skip


def test_thresholds_are_configuration_and_survive_json() -> None:
    strict = Thresholds(mild=0.1, moderate=0.2)
    assert severities([0.1, 0.15, 0.25], strict) == ["Mild", "Moderate", "Severe"]
    assert Thresholds.from_json(json.loads(json.dumps(strict.as_json()))) == strict


@pytest.mark.parametrize("bounds", [(0.6, 0.25), (0.0, 0.6), (0.25, 1.0), (float("nan"), 0.6)])
def test_thresholds_out_of_order_are_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(SeverityError, match="0 < mild < moderate < 1"):
        Thresholds(*bounds)


@pytest.mark.parametrize("stored", [{}, {"mild": "x", "moderate": 0.6}, {"mild": None, "moderate": 0.6}])
def test_stored_thresholds_that_cannot_be_read_say_so(stored: dict) -> None:
    with pytest.raises(SeverityError, match="mild and moderate"):
        Thresholds.from_json(stored)


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_diverged_score_has_no_severity(score: float) -> None:
    with pytest.raises(MendableError, match="train it again"):
        severity_of(score)
