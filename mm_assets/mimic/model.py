"""Enhanced MDF-Net: film tokens, note tokens and clinical measurements -> 14 logits.

Belongs here: the fusion network over stored tokens, its configuration and its variants. Does not belong here:
encoders (learning/encoders.py), the full configuration with encoders inside (full_model.py), training.

Structure: project each modality to ``dim``; cross-modal attention (film asks text, text asks film,
measurements ask both); concatenate [vision + text + clinical + attention] as pooled vectors; a 512/256 head
with batch normalisation. Three linear heads on the single modalities are added to its logits, so that the
head has to learn only what the modalities say together; with about a thousand records this is what keeps
fusion above its best part.

Batch normalisation needs batches of at least about eight records in training; the batches of
learning/batching.py never leave a small remainder.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch  # noqa: TID253
from torch import nn  # noqa: TID253

from mm_assets.learning.attention import CrossAttention, drop_modalities, masked_max_pool, masked_mean_pool
from mm_assets.mimic.schema import CLINICAL_FEATURES, LABELS, SINGLE_MODALITIES, STAGE1_VARIANTS
from resources.errors import MendableError

Batch = dict[str, torch.Tensor]


class UnknownVariant(MendableError):
    """A model variant that does not exist was asked for."""


@dataclass(frozen=True)
class MDFNetConfig:
    """What a saved model needs to be built again. Dimensions of tokens come from the encoders."""

    variant: str = "fused"
    image_dim: int = 1280
    image_tokens: int = 16  # patches after pooling, a square grid
    text_dim: int = 384
    clinical_features: tuple[str, ...] = CLINICAL_FEATURES
    labels: tuple[str, ...] = LABELS
    dim: int = 64
    heads: int = 4
    head_widths: tuple[int, int] = (512, 256)
    head_dropout: tuple[float, float] = (0.3, 0.2)
    token_dropout: float = 0.2  # on projected tokens
    modality_dropout: float = 0.15  # chance that a training record loses a modality

    def __post_init__(self) -> None:
        if self.variant not in STAGE1_VARIANTS:
            raise UnknownVariant(f"there is no variant '{self.variant}': choose one of {', '.join(STAGE1_VARIANTS)}")

    @property
    def modalities(self) -> tuple[str, ...]:
        """Which of image, text, tabular this variant reads."""
        return (self.variant,) if self.variant in SINGLE_MODALITIES else SINGLE_MODALITIES

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "MDFNetConfig":
        """From parsed JSON, where tuples have become lists; unknown keys are refused by the constructor."""
        tuples = {f.name for f in fields(cls) if isinstance(f.default, tuple)}
        restored: dict[str, Any] = {key: tuple(v) if key in tuples else v for key, v in values.items()}
        return cls(**restored)

    @classmethod
    def from_json(cls, text: str) -> "MDFNetConfig":
        return cls.from_dict(json.loads(text))


class ImageTokens(nn.Module):
    """Patch tokens [B, T, Di] -> [B, T, dim] with a learned position per patch."""

    def __init__(self, config: MDFNetConfig) -> None:
        super().__init__()
        # No scale and shift: the projection that follows would only repeat them.
        self.norm = nn.LayerNorm(config.image_dim, elementwise_affine=False)
        self.project = nn.Linear(config.image_dim, config.dim)
        self.position = nn.Parameter(torch.randn(config.image_tokens, config.dim) * 0.02)
        self.dropout = nn.Dropout(config.token_dropout)

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = self.dropout(self.project(self.norm(batch["image_tokens"])) + self.position)
        return tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)


class TextTokens(nn.Module):
    """Note tokens and retrieved passages -> [B, Tt + k, dim]; a learned type tells the two apart."""

    def __init__(self, config: MDFNetConfig) -> None:
        super().__init__()
        # No scale and shift: the projection that follows would only repeat them.
        self.norm = nn.LayerNorm(config.text_dim, elementwise_affine=False)
        self.project = nn.Linear(config.text_dim, config.dim)
        self.kind = nn.Parameter(torch.randn(2, config.dim) * 0.02)
        self.dropout = nn.Dropout(config.token_dropout)

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        parts = [(batch["text_tokens"], batch["text_mask"]), (batch["passage_tokens"], batch["passage_mask"])]
        tokens = torch.cat([self.project(self.norm(t)) + self.kind[i] for i, (t, _) in enumerate(parts)], dim=1)
        return self.dropout(tokens), torch.cat([mask.bool() for _, mask in parts], dim=1)


class TabularTokens(nn.Module):
    """Measurements [B, F] with missing flags -> one token per feature [B, F, dim].

    Values are standardised with the training set's mean and deviation, kept as buffers so that they travel
    with the weights. A missing value becomes a learned token of its feature, never a number.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, config: MDFNetConfig) -> None:
        super().__init__()
        n = len(config.clinical_features)
        self.register_buffer("mean", torch.zeros(n))
        self.register_buffer("std", torch.ones(n))
        self.weight = nn.Parameter(torch.randn(n, config.dim) * 0.3)
        self.bias = nn.Parameter(torch.randn(n, config.dim) * 0.02)
        self.missing = nn.Parameter(torch.randn(n, config.dim) * 0.02)
        self.dropout = nn.Dropout(config.token_dropout)

    def standardise(self, clinical: torch.Tensor) -> torch.Tensor:
        # Five deviations are kept: beyond that a value is an outlier whose size says nothing more.
        return ((clinical - self.mean) / self.std).clamp(-5, 5)

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        missing = batch["clinical_missing"].bool()
        values = self.standardise(batch["clinical"].masked_fill(missing, 0.0)).unsqueeze(-1)
        tokens = torch.where(missing.unsqueeze(-1), self.missing, values * self.weight + self.bias)
        return self.dropout(tokens), torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)


class MeanMaxPool(nn.Module):
    """Tokens [B, T, dim] -> [B, dim]: their mean plus a learned share of their maximum, normalised.

    A lesion fills one patch of many, and a mean alone loses it.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.full((dim,), 0.5))
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.norm(masked_mean_pool(tokens, mask) + self.share * masked_max_pool(tokens, mask))


class CrossModalAttention(nn.Module):
    """Every modality asks the others: film x text, text x film, measurements x both."""

    def __init__(self, config: MDFNetConfig) -> None:
        super().__init__()
        self.vision_text = CrossAttention(config.dim, config.heads)
        self.text_vision = CrossAttention(config.dim, config.heads)
        self.tabular_both = CrossAttention(config.dim, config.heads)

    def forward(self, tokens: dict[str, torch.Tensor], masks: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        both = torch.cat([tokens["image"], tokens["text"]], dim=1)
        both_mask = torch.cat([masks["image"], masks["text"]], dim=1)
        return {
            "image": self.vision_text(tokens["image"], tokens["text"], masks["text"]),
            "text": self.text_vision(tokens["text"], tokens["image"], masks["image"]),
            "tabular": self.tabular_both(tokens["tabular"], both, both_mask),
        }


class ClassificationHead(nn.Module):
    """Two hidden layers with batch normalisation, ReLU and dropout, then one logit per label."""

    def __init__(self, width_in: int, config: MDFNetConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width, dropout in zip(config.head_widths, config.head_dropout, strict=True):
            layers += [nn.Linear(width_in, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(dropout)]
            width_in = width
        self.layers = nn.Sequential(*layers, nn.Linear(width_in, len(config.labels)))

    def forward(self, fused: torch.Tensor) -> torch.Tensor:
        return self.layers(fused)


class EnhancedMDFNet(nn.Module):
    """``forward(batch) -> logits [B, 14]``; see MultimodalData.batch for the keys of a batch.

    Variants: ``fused`` is the whole; ``concat`` leaves the attention out; ``pooled3`` attends over the three
    pooled vectors only (the original design, a 3 x 3 map); ``image``, ``text`` and ``tabular`` read one
    modality.
    """

    def __init__(self, config: MDFNetConfig) -> None:
        super().__init__()
        self.config = config
        makers = {"image": ImageTokens, "text": TextTokens, "tabular": TabularTokens}
        self.tokens = nn.ModuleDict({name: makers[name](config) for name in config.modalities})
        self.missing = nn.ParameterDict(
            {name: nn.Parameter(torch.randn(config.dim) * 0.02) for name in config.modalities}
        )
        self.pool = nn.ModuleDict({name: MeanMaxPool(config.dim) for name in config.modalities})
        width = config.dim * len(config.modalities)
        if config.variant == "fused":
            self.cross_modal = CrossModalAttention(config)
            width += config.dim
        elif config.variant == "pooled3":
            self.pooled_attention = CrossAttention(config.dim, config.heads)
            width += config.dim
        self.head = ClassificationHead(width, config)
        self.single_heads = nn.ModuleDict(
            {name: nn.Linear(config.dim, len(config.labels)) for name in config.modalities}
        )

    def forward(self, batch: Batch) -> torch.Tensor:
        tokens, masks = self._modality_tokens(batch)
        pooled = {name: self.pool[name](tokens[name], masks[name]) for name in self.config.modalities}
        parts = list(pooled.values())
        if self.config.variant == "fused":
            attended = self.cross_modal(tokens, masks)
            means = torch.stack([masked_mean_pool(attended[name], masks[name]) for name in attended])
            parts.append(means.mean(0))
        elif self.config.variant == "pooled3":
            three = torch.stack(parts, dim=1)
            everything = torch.ones(three.shape[:2], dtype=torch.bool, device=three.device)
            parts.append(self.pooled_attention(three, three, everything).mean(1))
        logits = self.head(torch.cat(parts, dim=-1))
        for name, vector in pooled.items():
            logits = logits + self.single_heads[name](vector)
        return logits

    def _modality_tokens(self, batch: Batch) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Tokens and masks per modality; an absent modality is its one learned token."""
        names = self.config.modalities
        present = torch.stack([batch[f"{name}_present"].bool() for name in names], dim=1)
        if self.training and len(names) > 1:
            present = drop_modalities(present, self.config.modality_dropout)
        tokens, masks = {}, {}
        for i, name in enumerate(names):
            values, mask = self.tokens[name](batch)
            here = present[:, i].view(-1, 1)
            tokens[name] = torch.where(here.unsqueeze(-1), values, self.missing[name].to(values.dtype))
            first = torch.zeros_like(mask)
            first[:, 0] = True
            masks[name] = torch.where(here, mask, first)
        return tokens, masks


def set_clinical_statistics(model: EnhancedMDFNet, clinical: np.ndarray) -> None:
    """Store mean and deviation of the training set's measurements [n, F] (NaN = missing) in the model."""
    if "tabular" not in model.config.modalities:
        return
    observed = np.where(np.isfinite(clinical), clinical, np.nan)
    counts = np.isfinite(observed).sum(0)
    total = np.nansum(observed, axis=0)
    mean = np.where(counts > 0, total / np.maximum(counts, 1), 0.0)
    spread = np.sqrt(np.nansum((observed - mean) ** 2, axis=0) / np.maximum(counts, 1))
    maker = model.tokens["tabular"]
    assert isinstance(maker, TabularTokens)
    maker.mean.copy_(torch.as_tensor(mean, dtype=torch.float32))
    maker.std.copy_(torch.as_tensor(np.where(spread > 1e-6, spread, 1.0), dtype=torch.float32))


def parameter_table(model: nn.Module, parts: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Rows ``{"part", "parameters", "trainable"}`` per direct child (or ``parts``), then the total."""
    rows = []
    for name, child in model.named_children():
        if parts is None or name in parts:
            rows.append(_count(name, child))
    return [*rows, _count("total", model)]


def _count(name: str, module: nn.Module) -> dict[str, Any]:
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    return {
        "part": name,
        "parameters": sum(n for n, _ in sizes),
        "trainable": sum(n for n, trainable in sizes if trainable),
    }
