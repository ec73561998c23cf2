"""Training of the wing's variants: which loss, which score, and what a run's results depend on.

Belongs here: what is particular to the chest models. Does not belong here: the training loop
(learning/training.py), evaluation and calibration, artifacts.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253

from mm_assets.learning.checkpoints import Mirror
from mm_assets.learning.losses import combined_loss, positive_weights
from mm_assets.learning.metrics import auroc, per_label
from mm_assets.learning.training import FitResult, Loss, TrainConfig, fit, predict_logits, run_key
from mm_assets.mimic.datasets import MultimodalData
from mm_assets.mimic.labels import LabelPolicy
from mm_assets.mimic.model import EnhancedMDFNet, MDFNetConfig, set_clinical_statistics

# Raise on any change of loss, network, score or loop (here, model.py, full_model.py, stage2.py, mm_assets/learning)
# that makes other weights of the same settings and data: a run kept from before is then trained anew.
TRAINING_VERSION = 2
POS_WEIGHT_CAP = 20.0  # of negatives / positives
BCE_WEIGHT, FOCAL_WEIGHT, FOCAL_GAMMA = 0.7, 0.3, 2.0


@dataclass(frozen=True)
class TrainedVariant:
    """A trained variant: how to build it, its weights (CPU), and its raw logits on the held-out splits."""

    config: MDFNetConfig
    seed: int
    state_dict: dict[str, torch.Tensor]
    fit: FitResult
    logits: dict[str, np.ndarray]  # split -> float32 [n, 14], rows as data.positions(split)
    work_dir: Path  # checkpoints and TensorBoard's curves of the run


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
    policy: LabelPolicy = LabelPolicy(),
    mirror: Mirror | None = None,
) -> TrainedVariant:
    """Train one variant with one seed; a killed run with the same `variant_key` is resumed.

    ``policy`` is the one under which the targets of ``data`` were made; it only names the run.
    The best epoch is the one with the highest macro AUROC on ``validate``; ``test`` is only predicted.
    """
    model = build_variant(data, variant, width=width, seed=seed)
    config = replace(knobs, seed=seed)
    work_dir = scratch / f"train-{variant}-{seed}-{variant_key(model.config, config, policy, versions)}"
    make_batch = partial(data.batch, modalities=model.config.modalities)
    result = fit(
        model,
        make_batch,
        data.positions("train"),
        data.positions("validate"),
        training_loss(data),
        config,
        work_dir,
        score=macro_auroc,
        name=f"{variant} (seed {seed})",
        mirror=mirror,
    )
    logits = {split: predict_logits(model, make_batch, data.positions(split)) for split in ("validate", "test")}
    return TrainedVariant(model.config, seed, dict(model.state_dict()), result, logits, work_dir)


def variant_key(
    model: MDFNetConfig, train: TrainConfig, policy: LabelPolicy, versions: Mapping[str, str], **more: Any
) -> str:
    """Digest of everything that a run's weights depend on; ``more`` is what one kind of run adds."""
    loss = {"bce": BCE_WEIGHT, "focal": FOCAL_WEIGHT, "gamma": FOCAL_GAMMA, "pos_weight_cap": POS_WEIGHT_CAP}
    settings = {"model": asdict(model), "train": asdict(train), "policy": asdict(policy), "loss": loss, **more}
    return run_key({"version": TRAINING_VERSION, **settings}, versions)


def training_loss(data: MultimodalData) -> Loss:
    """The wing's loss with the weights of positives counted on the training split."""
    train = data.positions("train")
    targets = torch.from_numpy(data.records.targets[train]).float()
    mask = torch.from_numpy(data.records.target_mask[train])
    return partial(weighted_loss, pos_weight=positive_weights(targets, mask, POS_WEIGHT_CAP))


def weighted_loss(
    logits: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor, *, pos_weight: torch.Tensor
) -> torch.Tensor:
    """The wing's loss: .7 weighted cross-entropy + .3 focal, on whichever device the logits are."""
    return combined_loss(
        logits,
        targets,
        mask,
        pos_weight.to(logits.device),
        bce=BCE_WEIGHT,
        focal=FOCAL_WEIGHT,
        gamma=FOCAL_GAMMA,
    )
