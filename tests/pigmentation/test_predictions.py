"""Published tables become arrays of one split, aligned by record."""

import numpy as np
import pyarrow as pa
import pytest

from mm_assets.learning.metrics import MetricInputError
from mm_assets.pigmentation.predictions import split_scores
from mm_assets.pigmentation.schema import PREDICTION_SCHEMA

COLUMNS = ("record_id", "patient_id", "score", "tone", "label_source", "split")
RECORDS = pa.Table.from_pylist(
    [
        dict(zip(COLUMNS, row, strict=True))
        for row in (
            ("a@1", "p", 0.25, "tan", "rater", "test"),
            ("b@1", "q", 0.75, "dark", "rater", "test"),
            ("c@1", "r", None, "dark", None, "test"),
            ("d@1", "s", 0.5, "dark", "rater", "train"),
        )
    ]
)


def prediction(record: str, score: float, subset: str = "clinical", log_sigma: float | None = None) -> dict:
    return {
        "record_id": record, "split": "test", "variant": "fused", "seed": 0, "subset": subset, "score": score,
        "log_sigma": log_sigma,
    }  # fmt: skip


def table(*rows: dict) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=PREDICTION_SCHEMA)


def test_rows_are_aligned_and_unlabelled_records_left_out() -> None:
    predictions = table(
        prediction("b@1", 0.5, log_sigma=0.0), prediction("a@1", 0.125, log_sigma=-1.0), prediction("c@1", 0.9),
        prediction("b@1", 0.625, "clinical+dermoscopy"),
    )  # fmt: skip
    found = split_scores(RECORDS, predictions, "test", {"predict_mean": {"a@1": 0.4, "b@1": 0.4}})
    assert found.record_ids == ["a@1", "b@1"]
    assert found.targets.tolist() == [0.25, 0.75] and found.tones.tolist() == ["tan", "dark"]
    assert found.scores["fused", 0, "clinical"].tolist() == [0.125, 0.5]
    np.testing.assert_allclose(found.sigmas["fused", 0, "clinical"], [np.exp(-1), 1])
    assert np.isnan(found.scores["fused", 0, "clinical+dermoscopy"][0])
    assert ("fused", 0, "clinical+dermoscopy") not in found.sigmas
    assert found.available("clinical+dermoscopy").tolist() == [False, True]
    assert found.baselines["predict_mean"].tolist() == [0.4, 0.4]


def test_a_split_without_labels_and_doubled_answers_are_refused() -> None:
    with pytest.raises(MetricInputError, match="no labelled record"):
        split_scores(RECORDS, table(), "validate")
    with pytest.raises(MetricInputError, match="answered a record twice"):
        split_scores(RECORDS, table(prediction("a@1", 0.1), prediction("a@1", 0.2)), "test")
