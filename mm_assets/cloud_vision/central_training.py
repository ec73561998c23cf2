"""The same networks trained in one place: what split training is held against, and each party alone.

Belongs here: training with all records in one process. Does not belong here: anything that crosses a border
(split_training.py); who calls this has been given all parties' records, as in a test or a study of made-up data.
"""

import copy
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from torch import nn  # noqa: TID253

from mm_assets.cloud_vision.party_steps import (
    Org2Rows,
    Org3Rows,
    PartyOptimiser,
    SplitKnobs,
    batches,
    curve_row,
    in_parts,
)
from mm_assets.cloud_vision.schema import IMAGE_HOLDER, LABEL_HOLDER
from mm_assets.cloud_vision.split_model import (
    TOP,
    Org2Bottom,
    Org3Bottom,
    SplitConfig,
    Top,
    build_org2,
    build_org3,
    build_top,
    seed_step,
)
from mm_assets.learning.training import best_so_far

Parties = Literal["joint", "org2", "org3"]


class CentralModel(nn.Module):
    """Both bottoms and the top; or one party's bottom with a top of its own."""

    def __init__(self, org2: Org2Bottom | None, org3: Org3Bottom | None, top: Top) -> None:
        super().__init__()
        self.org2, self.org3, self.top = org2, org3, top

    def forward(self, org2_features: torch.Tensor, pixels: torch.Tensor, org3_features: torch.Tensor) -> torch.Tensor:
        embeddings = []
        if self.org2 is not None:
            embeddings.append(self.org2(org2_features))
        if self.org3 is not None:
            embeddings.append(self.org3(pixels, org3_features))
        return self.top(*embeddings)

    @property
    def parts(self) -> dict[str, nn.Module]:
        found = {LABEL_HOLDER: self.org2, IMAGE_HOLDER: self.org3, TOP: self.top}
        return {name: part for name, part in found.items() if part is not None}


@dataclass(frozen=True)
class CentralRun:
    """The trained model in evaluation mode, at its best epoch (the least loss on validate)."""

    model: CentralModel
    curves: list[dict[str, float]]
    best_epoch: int


def build_central(config: SplitConfig, seed: int, parties: Parties = "joint") -> CentralModel:
    """The first weights of each part are those that the parties would build from the same seed."""
    org2 = build_org2(config, seed) if parties in ("joint", "org2") else None
    org3 = build_org3(config, seed) if parties in ("joint", "org3") else None
    return CentralModel(org2, org3, build_top(config, seed, 2 if parties == "joint" else 1))


def train_central(
    config: SplitConfig,
    org2: Org2Rows,
    org3: Org3Rows,
    train: np.ndarray,
    validate: np.ndarray,
    knobs: SplitKnobs,
    *,
    parties: Parties = "joint",
    desc: str | None = None,
) -> CentralRun:
    """Train on the rows ``train``; ``desc`` titles a progress bar on stderr.

    ``org2`` or ``org3`` alone is that party's baseline if it were given the labels; the image alone is ``org3`` with a
    configuration of no features.
    """
    from tqdm import tqdm

    model = build_central(config, knobs.seed, parties)
    own = [part for name, part in model.parts.items() if name != IMAGE_HOLDER]
    optimisers = [PartyOptimiser(own, knobs.org2_learning_rate, len(train), knobs)]
    if model.org3 is not None:
        optimisers.append(PartyOptimiser([model.org3], knobs.org3_learning_rate, len(train), knobs))
    curves: list[dict[str, float]] = []
    best: dict[str, Any] = {}
    for epoch in tqdm(range(knobs.epochs), desc=desc, disable=None if desc else True):
        losses = []
        for step, rows in enumerate(batches(train, knobs, epoch)):
            model.train()
            for name, part in model.parts.items():
                seed_step(part, name, knobs.seed, epoch, step)
            loss = F.cross_entropy(model(*_batch(org2, org3, rows)), torch.from_numpy(org2.labels[rows]))
            for optimiser in optimisers:
                optimiser.zero_grad()
            loss.backward()
            for optimiser in optimisers:
                optimiser.step()
            losses.append(float(loss.detach()))
        curves.append(curve_row(epoch, losses, predict_central(model, org2, org3, validate), org2.labels[validate]))
        if best_so_far(curves) == epoch:
            best = copy.deepcopy(model.state_dict())
    model.load_state_dict(best)
    return CentralRun(model.eval(), curves, best_so_far(curves))


@torch.no_grad()
def predict_central(model: CentralModel, org2: Org2Rows, org3: Org3Rows, rows: np.ndarray) -> np.ndarray:
    """Logits float32 [n, classes] of the rows given, in their order."""
    model.eval()
    return np.concatenate([model(*_batch(org2, org3, part)).numpy() for part in in_parts(rows)])


def _batch(org2: Org2Rows, org3: Org3Rows, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    pixels, features = org3.batch(rows)
    return torch.from_numpy(org2.features[rows]), pixels, features
