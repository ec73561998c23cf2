"""The rows of the evaluation's tables.

Belongs here: which numbers stand in a row, over which records, with which interval. Does not belong here: the choice
of what is told first (evaluation.py), the bootstrap's draws (learning/bootstrap.py), figures.

A record is a patient here. All intervals of a split come from the same draws, so that differences are paired; several
seeds are averaged inside a draw, and the trained networks are held fixed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mm_assets.cloud_vision.predictions import Key, SplitAnswers, probabilities
from mm_assets.cloud_vision.schema import CLASSES
from mm_assets.learning.bootstrap import draw_patients, mean_over_labels, percentile_interval, replicate_metrics
from mm_assets.learning.metrics import auroc

METRICS = ("accuracy", "macro_f1", "auroc")
_NUMBERS = [(f"{metric}{end}", pa.float64()) for metric in METRICS for end in ("", "_low", "_high")]
MODELS_SCHEMA = pa.schema(
    [
        ("model", pa.string()), ("split", pa.string()), ("n", pa.int64()), ("seeds", pa.int64()), *_NUMBERS,
        ("accuracy_sd", pa.float64()),  # over seeds
        ("ceiling", pa.float64()),  # of accuracy, by the planted law; null where nobody knows it
    ]
)  # fmt: skip
CONFUSION_SCHEMA = pa.schema(
    [
        ("model", pa.string()), ("seed", pa.int32()), ("split", pa.string()), ("label", pa.string()),
        ("answered", pa.string()), ("n", pa.int64()),
    ]
)  # fmt: skip
LEAK_MEANS = ("accuracy", "validated", "leak", "guess", "leak_random_labels")
LEAK_SCHEMA = pa.schema(
    [
        ("defence", pa.string()), ("seeds", pa.int64()), *((name, pa.float64()) for name in LEAK_MEANS),
        ("epsilon", pa.float64()),  # null: nothing bounds what another attack could learn
    ]
)  # fmt: skip


class Bench:
    """One split's answers with its draws of records."""

    def __init__(self, answers: SplitAnswers, replicates: int, seed: int) -> None:
        self.answers = answers
        self._resamples = draw_patients(answers.image_ids, replicates, seed)
        # How often each record was drawn, [n, replicates].
        self._draws = self._resamples.draws[self._resamples.row_patient]

    def row(self, model: str) -> dict[str, Any]:
        """Mean over seeds of every metric with its interval, records, seeds and the spread over seeds."""
        keys = [(model, seed) for seed in self.answers.seeds(model)]
        points = [self._points(key) for key in keys]
        drawn = [self._replicates(key) for key in keys]
        found: dict[str, Any] = {"model": model, "n": len(self.answers.labels), "seeds": len(keys)}
        for metric in METRICS:
            found[metric] = float(np.mean([values[metric] for values in points]))
            found |= bounds(np.mean([values[metric] for values in drawn], 0), metric)
        spread = np.std([values["accuracy"] for values in points], ddof=1) if len(keys) > 1 else None
        return {**found, "accuracy_sd": None if spread is None else float(spread)}

    def gain(self, model: str, other: str) -> dict[str, float]:
        """``value, low, high`` of one model's accuracy less the other's, both averaged over their seeds."""
        difference = self._right(model) - self._right(other)
        drawn = difference @ self._draws / len(difference)
        return {"value": float(difference.mean()), **bounds(drawn, "")}

    def accuracy(self, key: Key) -> dict[str, float]:
        """``value, low, high`` of one network with one seed."""
        right = self.answers.right(key)
        return {"value": float(right.mean()), **bounds(right @ self._draws / len(right), "")}

    def _right(self, model: str) -> np.ndarray:
        """Share of the seeds that are right, per record."""
        return np.mean([self.answers.right((model, seed)) for seed in self.answers.seeds(model)], 0)

    def _points(self, key: Key) -> dict[str, float]:
        counts = confusion(self.answers, key).reshape(-1, 1)
        shares = probabilities(self.answers.logits[key])
        areas = [auroc(shares[:, place], self.answers.labels == place) for place in range(len(CLASSES))]
        return {
            "accuracy": float(accuracy_of(counts)[0]),
            "macro_f1": float(macro_f1_of(counts)[0]),
            "auroc": float(np.mean(areas)),
        }

    def _replicates(self, key: Key) -> dict[str, np.ndarray]:
        cells = np.eye(len(CLASSES) ** 2)[_cells(self.answers, key)]
        counts = cells.T @ self._draws
        targets = np.eye(len(CLASSES))[self.answers.labels]
        known = np.ones_like(targets, dtype=bool)
        drawn = replicate_metrics(probabilities(self.answers.logits[key]), targets, known, self._resamples)
        areas = mean_over_labels(drawn.auroc, np.ones(len(CLASSES), bool))
        return {"accuracy": accuracy_of(counts), "macro_f1": macro_f1_of(counts), "auroc": areas}


def confusion(answers: SplitAnswers, key: Key) -> np.ndarray:
    """Counts int64 [label, answered]."""
    classes = len(CLASSES)
    return np.bincount(_cells(answers, key), minlength=classes**2).reshape(classes, classes)


def confusion_rows(answers: SplitAnswers, key: Key, split: str) -> list[dict[str, Any]]:
    """CONFUSION_SCHEMA: every pair of classes, also those that never met."""
    counts = confusion(answers, key)
    return [
        {
            "model": key[0], "seed": key[1], "split": split, "label": CLASSES[true], "answered": CLASSES[named],
            "n": int(counts[true, named]),
        }
        for true in range(len(CLASSES))
        for named in range(len(CLASSES))
    ]  # fmt: skip


def leak_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The audit's rows, each of one defence and seed, as means over the seeds of a defence, in the order tried."""
    found = []
    for defence in dict.fromkeys(row["defence"] for row in rows):
        here = [row for row in rows if row["defence"] == defence]
        means = {name: float(np.mean([row[name] for row in here])) for name in LEAK_MEANS}
        found.append({"defence": defence, "seeds": len(here), **means, "epsilon": here[0]["epsilon"]})
    return found


def misalignment_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Accuracy per share of misaligned rows, averaged over seeds, with the loss against the smallest share."""
    shares = sorted({row["share"] for row in rows})
    means = {share: float(np.mean([row["accuracy"] for row in rows if row["share"] == share])) for share in shares}
    return [
        {
            "share": share, "accuracy": mean, "loss": means[shares[0]] - mean,
            "seeds": sum(row["share"] == share for row in rows),
        }
        for share, mean in means.items()
    ]  # fmt: skip


def accuracy_of(counts: np.ndarray) -> np.ndarray:
    """Accuracy [R] of confusion counts [classes ** 2, R]."""
    table = _square(counts)
    found: np.ndarray = np.trace(table) / table.sum((0, 1))
    return found


def macro_f1_of(counts: np.ndarray) -> np.ndarray:
    """Mean F1 [R] over the classes that are in the labels or in the answers, of counts [classes ** 2, R]."""
    table = _square(counts)
    right = np.einsum("iir->ir", table)
    there = table.sum(0) + table.sum(1)
    return mean_over_labels(np.where(there > 0, 2 * right / np.maximum(there, 1), np.nan).T, np.ones(len(table), bool))


def bounds(drawn: np.ndarray, name: str) -> dict[str, float]:
    """``<name>_low`` and ``<name>_high`` of a 95 % percentile interval; ``low`` and ``high`` without a name."""
    interval = percentile_interval(drawn)
    start = f"{name}_" if name else ""
    return {f"{start}low": interval.low, f"{start}high": interval.high}


def _cells(answers: SplitAnswers, key: Key) -> np.ndarray:
    return answers.labels * len(CLASSES) + answers.logits[key].argmax(1)


def _square(counts: np.ndarray) -> np.ndarray:
    return counts.reshape(len(CLASSES), len(CLASSES), -1)
