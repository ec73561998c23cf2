"""What split and central training share: records, knobs, the order of batches, and a party's optimiser.

Belongs here: whatever has to be the same for both to end with the same bits. Does not belong here: either loop
(split_training.py, central_training.py) and the networks (split_model.py).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from torch import nn  # noqa: TID253

from mm_assets.learning.batching import epoch_order
from mm_assets.learning.training import schedule_factor
from resources.errors import MendableError

PREDICT_ROWS = 256


class RowsUnfit(MendableError):
    """Records of a shape or type that no network reads, or with values missing."""


@dataclass(frozen=True)
class SplitKnobs:
    """Knobs of one training run, shared by both parties. Learning rates are peaks, reached after the warm-up."""

    epochs: int = 20
    batch_size: int = 64
    org2_learning_rate: float = 2e-3  # its bottom and the top
    org3_learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: float = 0.1  # share of all steps
    seed: int = 0


@dataclass(frozen=True)
class Org2Rows:
    """The label holder's records, in the order of the common ids: features float32 [N, F], labels int64 [N]."""

    features: np.ndarray
    labels: np.ndarray
    digest: str  # ids.ids_digest of the common ids

    def __post_init__(self) -> None:
        _check("features", self.features, np.float32, 2, len(self.labels))
        _check("labels", self.labels, np.int64, 1, len(self.labels))


@dataclass(frozen=True)
class Org3Rows:
    """The image holder's records, in the order of the common ids: uint8 [N, S, S], features float32 [N, F]."""

    pixels: np.ndarray  # may be a memory map
    features: np.ndarray
    digest: str

    def __post_init__(self) -> None:
        _check("pixels", self.pixels, np.uint8, 3, len(self.features))
        _check("features", self.features, np.float32, 2, len(self.features))

    def batch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(np.ascontiguousarray(self.pixels[rows])), torch.from_numpy(self.features[rows])


class PartyOptimiser:
    """One party's AdamW and its schedule. Nothing of another party enters it."""

    def __init__(self, parts: list[nn.Module], learning_rate: float, records: int, knobs: SplitKnobs) -> None:
        parameters = [parameter for part in parts for parameter in part.parameters()]
        self._adam = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=knobs.weight_decay)
        self._peak, self._warmup, self._taken = learning_rate, knobs.warmup, 0
        self._total = knobs.epochs * len(batches(np.arange(records), knobs, 0))

    def zero_grad(self) -> None:
        self._adam.zero_grad()

    def step(self) -> None:
        for group in self._adam.param_groups:
            group["lr"] = self._peak * schedule_factor(self._taken, self._total, self._warmup)
        self._adam.step()
        self._taken += 1


def batches(rows: np.ndarray, knobs: SplitKnobs, epoch: int) -> list[np.ndarray]:
    """The batches of one epoch: the same for whoever knows rows, seed and epoch."""
    return epoch_order(rows, knobs.batch_size, seed=knobs.seed, epoch=epoch)


def curve_row(epoch: int, losses: list[float], logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """One epoch's row of the curves."""
    loss = float(F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels)))
    accuracy = float((logits.argmax(1) == labels).mean())
    return {
        "epoch": float(epoch), "train_loss": math.fsum(losses) / len(losses), "val_loss": loss,
        "val_accuracy": accuracy, "val_score": -loss,
    }  # fmt: skip


def in_parts(rows: np.ndarray) -> list[np.ndarray]:
    """Rows to predict, a bounded number at a time."""
    return np.array_split(rows, max(1, -(-len(rows) // PREDICT_ROWS)))


def _check(name: str, values: np.ndarray, kind: type, dims: int, rows: int) -> None:
    if values.dtype != kind or values.ndim != dims or len(values) != rows:
        raise RowsUnfit(
            f"{name} are {values.dtype} {list(values.shape)}: pass {np.dtype(kind)}, {dims} dimensions, {rows} rows"
        )
    if values.dtype == np.float32 and not np.isfinite(values).all():
        raise RowsUnfit(f"{name} hold missing or infinite values: run them through the party's preprocessor first")
