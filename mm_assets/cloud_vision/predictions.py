"""Answers of every network, in the order of the common ids, beside the labels.

Belongs here: arranging logits by record. Does not belong here: computing them (train_job.py, pooled_model.py) and what
they are worth (evaluation.py).
"""

from collections.abc import MutableMapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.cloud_vision.row_files import CommonRows
from mm_assets.cloud_vision.schema import SPLITS
from mm_assets.cloud_vision.train_job import LOGIT_COLUMNS
from resources.errors import MendableError

Key = tuple[str, int]  # model, seed


class AnswersMissing(MendableError):
    """A network has no answer to a record that it was asked about."""


@dataclass(frozen=True, eq=False)
class SplitAnswers:
    """One split: image_ids text [n], sorted; labels int64 [n]; logits: (model, seed) -> float [n, classes]."""

    image_ids: np.ndarray
    labels: np.ndarray
    logits: MutableMapping[Key, np.ndarray] = field(default_factory=dict)

    def seeds(self, model: str) -> list[int]:
        return sorted(seed for name, seed in self.logits if name == model)

    def right(self, key: Key) -> np.ndarray:
        """1.0 where the most probable class is the label, else 0.0."""
        return (self.logits[key].argmax(1) == self.labels).astype(np.float64)


def split_answers(rows: CommonRows, predicted: pa.Table) -> dict[str, SplitAnswers]:
    """Split -> answers, of all splits but train that have records. Raises AnswersMissing.

    predicted: train_job.PREDICTION_SCHEMA, in any order.
    """
    found = {
        split: SplitAnswers(rows.image_ids[rows.places[split]], rows.org2.labels[rows.places[split]])
        for split in SPLITS
        if split != "train" and len(rows.places[split])
    }
    keys = predicted.group_by(["split", "model", "seed"]).aggregate([]).to_pylist()
    for key in sorted(keys, key=lambda key: (key["split"], key["model"], key["seed"])):
        chosen = predicted.filter(
            pc.and_(
                pc.and_(pc.equal(predicted["split"], key["split"]), pc.equal(predicted["model"], key["model"])),
                pc.equal(predicted["seed"], key["seed"]),
            )
        ).sort_by("image_id")
        answers = found[key["split"]]
        if chosen["image_id"].to_pylist() != answers.image_ids.tolist():
            raise AnswersMissing(
                f"{key['model']} answered other records of {key['split']} than both parties hold: run `mm materialize "
                "cloud_vision/model`"
            )
        answers.logits[key["model"], key["seed"]] = np.stack([chosen[name].to_numpy() for name in LOGIT_COLUMNS], 1)
    return found


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Softmax of logits [n, classes] over the temperature."""
    scaled = logits.astype(np.float64) / temperature
    shares = np.exp(scaled - scaled.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def cross_entropy(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    """Mean of minus the log of the probability given to the label."""
    given = probabilities(logits, temperature)[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(given, 1e-300)).mean())


def softmax_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature of least cross-entropy on [n, classes], [n] (Guo et al. 2017), within calibration's bounds."""
    from scipy.optimize import minimize_scalar

    from mm_assets.learning.calibration import LOG_TEMPERATURE_BOUNDS

    found = minimize_scalar(
        lambda log_t: cross_entropy(logits, labels, float(np.exp(log_t))),
        bounds=LOG_TEMPERATURE_BOUNDS, method="bounded", options={"xatol": 1e-6},
    )  # fmt: skip
    return float(np.exp(found.x))
