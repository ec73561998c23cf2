"""Training of the wing's variants: which loss, which score, which knobs.

Belongs here: what is particular to the chest models. Does not belong here: the training loop
(learning/training.py), evaluation and calibration, artifacts.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch  # noqa: TID253

from mm_assets.learning.losses import combined_loss, positive_weights
from mm_assets.learning.metrics import auroc, per_label
from mm_assets.learning.training import FitResult, TrainConfig, fit, predict_logits, run_key
from mm_assets.mimic.datasets import MultimodalData
from mm_assets.mimic.model import EnhancedMDFNet, MDFNetConfig, set_clinical_statistics

POS_WEIGHT_CAP = 20.0


@dataclass(frozen=True)
class TrainedVariant:
    """A trained variant: how to build it, its weights (CPU), and its raw logits on the held-out splits."""

    config: MDFNetConfig
    seed: int
    state_dict: dict[str, torch.Tensor]
    fit: FitResult
    logits: dict[str, np.ndarray]  # split -> float32 [n, 14], rows as data.positions(split)


def macro_auroc(logits: np.ndarray, targets: np.ndarray, mask: np.ndarray) -> float:
    """Mean AUROC over the labels that have both classes; NaN where none has."""
    values = per_label(auroc, logits, targets, mask)
    judged = values[np.isfinite(values)]
    return float(judged.mean()) if judged.size else float("nan")


def build_variant(data: MultimodalData, variant: str, *, width: int, seed: int) -> EnhancedMDFNet:
    """A fresh network for the data's token shapes, with the training split's clinical statistics."""
    tokens, image_dim = data.image_tokens
    torch.manual_seed(seed)
    model = EnhancedMDFNet(
        MDFNetConfig(variant=variant, image_dim=image_dim, image_tokens=tokens, text_dim=data.text_dim, dim=width)
    )
    set_clinical_statistics(model, data.records.clinical[data.positions("train")])
    return model


def train_variant(
    data: MultimodalData,
    variant: str,
    seed: int,
    knobs: TrainConfig,
    *,
    width: int,
    scratch: Path,
    versions: Mapping[str, str],
) -> TrainedVariant:
    """Train one variant with one seed; a killed run with the same knobs and data versions is resumed.

    The best epoch is the one with the highest macro AUROC on ``validate``; ``test`` is only predicted.
    """
    model = build_variant(data, variant, width=width, seed=seed)
    train = data.positions("train")
    targets = torch.from_numpy(data.records.targets[train]).float()
    mask = torch.from_numpy(data.records.target_mask[train])
    weights = positive_weights(targets, mask, POS_WEIGHT_CAP)
    config = replace(knobs, seed=seed)
    key = run_key({"model": asdict(model.config), "train": asdict(config)}, versions)
    make_batch = partial(data.batch, modalities=model.config.modalities)
    result = fit(
        model,
        make_batch,
        train,
        data.positions("validate"),
        partial(weighted_loss, pos_weight=weights),
        config,
        scratch / f"train-{variant}-{seed}-{key}",
        score=macro_auroc,
        name=f"{variant} (seed {seed})",
    )
    logits = {split: predict_logits(model, make_batch, data.positions(split)) for split in ("validate", "test")}
    return TrainedVariant(model.config, seed, dict(model.state_dict()), result, logits)


def weighted_loss(
    logits: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor, *, pos_weight: torch.Tensor
) -> torch.Tensor:
    """The wing's loss: .7 weighted cross-entropy + .3 focal, on whichever device the logits are."""
    return combined_loss(logits, targets, mask, pos_weight.to(logits.device))
