"""Training of the wing's variants: which loss, which score, and what a run's results depend on.

Belongs here: what is particular to severity. Does not belong here: the training loop (learning/training.py), the
network, evaluation, artifacts.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253

from mm_assets.learning.checkpoints import Mirror
from mm_assets.learning.losses import masked_mean
from mm_assets.learning.training import FitResult, Loss, Score, TrainConfig, fit, run_key
from mm_assets.pigmentation.augmentation import Augmenting
from mm_assets.pigmentation.datasets import LesionData
from mm_assets.pigmentation.fusion import FusionConfig
from mm_assets.pigmentation.model import LOG_SIGMA, SCORE, FusionModel
from mm_assets.pigmentation.schema import subsets
from mm_assets.pigmentation.severity import DEFAULT_THRESHOLDS, Thresholds, severity_ranks

# Raise on any change of loss, network, score or loop (here, model.py, fusion.py, augmentation.py, mm_assets/learning)
# that makes other weights of the same settings and data: a run kept from before is then trained anew. The asset's
# code_version is the same number (model_assets.py, which must not import torch; a test compares them).
TRAINING_VERSION = 3
COLOR_GAIN = 0.05  # each colour of a training photograph is changed by up to this share
# The least spread the likelihood may count on: without it one record fitted exactly pays for all others.
LEAST_SIGMA = 0.01
SPREAD_SHARE = 0.01  # of the spread's likelihood beside the squared error


@dataclass(frozen=True)
class TrainedVariant:
    """A trained variant in evaluation mode (CPU), its curves, and the folder of its checkpoints."""

    model: FusionModel
    fit: FitResult
    work_dir: Path


def train_variant(
    data: LesionData,
    config: FusionConfig,
    knobs: TrainConfig,
    *,
    scratch: Path,
    versions: Mapping[str, str],
    weights: Mapping[str, Path | None] | None = None,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
    mirror: Mirror | None = None,
) -> TrainedVariant:
    """Train one variant; a killed run with the same `variant_key` is resumed.

    The best epoch is the one with the least mean absolute error on ``validate``, each record read with the pictures it
    has; a classifier's is the one with the least loss.
    """
    torch.manual_seed(knobs.seed)
    model = FusionModel(config, weights)
    key = variant_key(config, knobs, data, versions, weights or {}, thresholds)
    work_dir = scratch / f"skin-{config.variant}-{knobs.seed}-{key}"
    result = fit(
        Augmenting(model, data.spec, COLOR_GAIN),
        data.batch,
        data.positions("train"),
        data.positions("validate"),
        loss_of(config, thresholds),
        knobs,
        work_dir,
        score=score_of(config),
        name=f"{config.variant} (seed {knobs.seed})",
        mirror=mirror,
    )
    return TrainedVariant(model.eval(), result, work_dir)


def variant_key(
    config: FusionConfig,
    knobs: TrainConfig,
    data: LesionData,
    versions: Mapping[str, str],
    weights: Mapping[str, Path | None],
    thresholds: Thresholds,
) -> str:
    """Digest of everything that a run's weights depend on. Pretrained weights are named by content, not by place."""
    settings = {
        "version": TRAINING_VERSION, "model": asdict(config), "train": asdict(knobs), "inputs": data.spec.as_json(),
        "color_gain": COLOR_GAIN, "least_sigma": LEAST_SIGMA, "spread": SPREAD_SHARE, "thresholds": asdict(thresholds),
        "weights": {name: _sha256(path) for name, path in sorted(weights.items()) if path is not None},
    }  # fmt: skip
    return run_key(settings, versions)


def loss_of(config: FusionConfig, thresholds: Thresholds = DEFAULT_THRESHOLDS) -> Loss:
    """The loss of a configuration: squared error, Gaussian likelihood, or cross-entropy of the three severities."""
    if config.head == "classification":
        return partial(severity_loss, thresholds=thresholds)
    if not config.predicts_spread:
        return squared_loss
    return gaussian_loss if config.loss == "heteroscedastic" else squared_loss_and_spread


def score_of(config: FusionConfig) -> Score | None:
    """What the best epoch is chosen by; None: the least loss on validate."""
    return None if config.head == "classification" else minus_mae


def squared_loss(outputs: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean squared error of the score."""
    return masked_mean((outputs[:, SCORE : SCORE + 1] - targets) ** 2, mask)


def squared_loss_and_spread(outputs: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Squared error of the score; beside it, and without a say in the score, the likelihood of its spread."""
    score, log_sigma = outputs[:, SCORE : SCORE + 1].detach(), outputs[:, LOG_SIGMA:]
    spread = _negative_log_likelihood(score, log_sigma, targets, mask)
    # A likelihood is some hundred times a squared error: a small share keeps both readable in one curve.
    return squared_loss(outputs, targets, mask) + SPREAD_SHARE * spread


def gaussian_loss(outputs: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Negative log likelihood of the label under the predicted score and spread, up to a constant."""
    return _negative_log_likelihood(outputs[:, SCORE : SCORE + 1], outputs[:, LOG_SIGMA:], targets, mask)


def _negative_log_likelihood(
    score: torch.Tensor, log_sigma: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    sigma = (log_sigma.exp() ** 2 + LEAST_SIGMA**2).sqrt()
    return masked_mean(sigma.log() + 0.5 * ((score - targets) / sigma) ** 2, mask)


def severity_loss(
    logits: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor, *, thresholds: Thresholds
) -> torch.Tensor:
    """Cross-entropy of the severity that the label's score is shown as."""
    known = mask[:, 0]
    ranks = [rank if keep else 0 for rank, keep in zip(_ranks(targets, known, thresholds), known.tolist(), strict=True)]
    classes = torch.tensor(ranks, device=logits.device)
    return masked_mean(F.cross_entropy(logits.float(), classes, reduction="none"), known)


def _ranks(targets: torch.Tensor, known: torch.Tensor, thresholds: Thresholds) -> list[int]:
    return severity_ranks(torch.where(known, targets[:, 0], 0.0).tolist(), thresholds)


def minus_mae(outputs: np.ndarray, targets: np.ndarray, mask: np.ndarray) -> float:
    """Minus the mean absolute error of the score, so that higher is better."""
    return -float(np.abs(outputs[:, SCORE] - targets[:, 0])[mask[:, 0]].mean())


@torch.inference_mode()
def predict_subsets(
    model: FusionModel, data: LesionData, positions: np.ndarray, batch_size: int = 128
) -> dict[tuple[str, ...], np.ndarray]:
    """Outputs float32 [n, columns] per subset of modalities, as if the others had not been taken.

    Every picture is encoded once for all subsets. Rows of records that lack a picture of the subset are NaN.
    """
    model.eval()
    device = next(model.parameters()).device
    names = data.spec.names
    chosen = subsets(names)
    parts: dict[tuple[str, ...], list[np.ndarray]] = {subset: [] for subset in chosen}
    for rows in np.array_split(positions, max(1, -(-len(positions) // batch_size))):
        batch = {key: value.to(device) for key, value in data.batch(rows).items()}
        tokens = model.encode(batch)
        for subset in chosen:
            read = torch.tensor([name in subset for name in names], device=device)
            output = model.fuse(tokens, batch["present"] & read).output.float()
            complete = (batch["present"] | ~read).all(1, keepdim=True)
            parts[subset].append(torch.where(complete, output, torch.nan).cpu().numpy())
    return {subset: np.concatenate(found) for subset, found in parts.items()}


def expected_score(logits: np.ndarray, thresholds: Thresholds = DEFAULT_THRESHOLDS) -> np.ndarray:
    """A classifier's score [n]: the mean of the middles of the severities, weighted by their probabilities [n, 3]."""
    bounds = np.array([0.0, thresholds.mild, thresholds.moderate, 1.0])
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return (shifted / shifted.sum(1, keepdims=True)) @ ((bounds[1:] + bounds[:-1]) / 2)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
