"""Predictions of one split, by variant and seed, and the averages that every table takes over them.

Belongs here: the shape of what is evaluated and its checks. Does not belong here: tables and choices
(evaluation.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mm_assets.learning import metrics
from mm_assets.learning.metrics import Array, BoolArray, MetricInputError
from mm_assets.mimic.schema import SINGLE_MODALITIES, VARIANTS

HEADLINE_VARIANT = "fused"


@dataclass(frozen=True)
class SplitPredictions:
    """One split: N studies, L labels, logits of every trained variant and seed."""

    logits: Mapping[tuple[str, int], Array]  # (variant, seed) -> [N, L]
    targets: Array  # [N, L] 0/1 where known
    mask: BoolArray  # [N, L] True where known
    patients: npt.NDArray[Any]  # [N]


def check_splits(validate: SplitPredictions, test: SplitPredictions, labels: Sequence[str]) -> None:
    """Raise MetricInputError unless both splits hold the same models, share no patient and fit in shape."""
    if set(validate.logits) != set(test.logits):
        raise MetricInputError("validate and test hold predictions of different variants or seeds; predict both again")
    for variant in (HEADLINE_VARIANT, *SINGLE_MODALITIES):
        if not any(name == variant for name, _ in test.logits):
            raise MetricInputError(f"no predictions of variant '{variant}'; train it before evaluating")
    shared = np.intersect1d(validate.patients, test.patients)
    if shared.size:
        raise MetricInputError(f"{shared.size} patients are in validate and in test; split by patient")
    for name, split in (("validate", validate), ("test", test)):
        if not metrics.both_classes(split.targets, split.mask).any():
            raise MetricInputError(f"no label has both classes on the {name} split; take more studies")
        for logits in split.logits.values():
            metrics.check_inputs(logits, split.targets, split.mask)
            if logits.shape != (len(split.patients), len(labels)):
                raise MetricInputError(
                    f"logits are {logits.shape}, not ({len(split.patients)}, {len(labels)}); predict again"
                )


def variants(split: SplitPredictions) -> list[str]:
    """The variants predicted, in the order of VARIANTS."""
    present = {variant for variant, _ in split.logits}
    return [variant for variant in VARIANTS if variant in present]


def of_variant(split: SplitPredictions, variant: str) -> list[tuple[str, int]]:
    """The keys of one variant, by seed."""
    return sorted(key for key in split.logits if key[0] == variant)


def label_values(metric: Callable[[Array, Array], float], split: SplitPredictions, scores: Array) -> Array:
    """A one-label metric of [N, L] scores against the split's known targets: -> [L]."""
    return metrics.per_label(metric, scores, split.targets, split.mask)


def macro_auroc(split: SplitPredictions, key: tuple[str, int], labels: Sequence[str]) -> float:
    """Mean AUROC over the labels with both classes."""
    return metrics.macro(label_values(metrics.auroc, split, split.logits[key]), labels).value


def mean_macro_auroc(split: SplitPredictions, variant: str, labels: Sequence[str]) -> float:
    """Macro AUROC averaged over the variant's seeds."""
    return float(np.mean([macro_auroc(split, key, labels) for key in of_variant(split, variant)]))
