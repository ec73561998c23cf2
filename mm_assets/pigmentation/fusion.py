"""Tokens of several pictures -> one vector, in three designs; the configuration of a fusion model.

Belongs here: spatial cross-attention with masks (``fused``), the original pooled-token attention (``pooled``), plain
concatenation (``concat``), and how attention is told per token and per modality. Does not belong here: encoders, the
head and modality dropout (model.py).

Attention is told as norm-weighted attention (`attention_shares`), never as bare weights. A weight says how much a token
is asked, not how much it answers: on rendered lesions it rests on plain skin, whose values are short, and hiding the
places of largest weight changes the score less than hiding places at random (attention_trial.py).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from torch import nn  # noqa: TID253

from mm_assets.pigmentation.schema import NO_MODALITY, REQUIRED_MODALITY, VARIANTS
from resources.errors import MendableError

Tokens = dict[str, torch.Tensor]


class FusionConfigError(MendableError):
    """A fusion model was asked for that cannot be built."""


@dataclass(frozen=True)
class FusionConfig:
    """What a saved model needs to be built again. The defaults are the original's encoders at their full size."""

    modalities: tuple[tuple[str, int], ...] = (("clinical", 3), ("dermoscopy", 3), ("multispectral", 12))
    variant: str = "fused"
    encoder: str = "swin_tiny_patch4_window7_224"  # any name of timm
    stage: int | None = None  # of the encoder, after which it is cut; None: all of it
    image_size: int = 224
    width: int = 256  # of a token in ``fused``; the other two keep the encoder's
    heads: int = 8
    depth: int = 1  # attention blocks of ``fused``
    dropout: float = 0.3
    modality_dropout: float = 0.4  # chance that a training record loses an optional picture; never in ``pooled``
    head: Literal["regression", "classification"] = "regression"
    loss: Literal["mse", "heteroscedastic"] = "mse"

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise FusionConfigError(f"there is no variant '{self.variant}': choose one of {', '.join(VARIANTS)}")
        if REQUIRED_MODALITY not in self.names or len(set(self.names)) != len(self.names):
            raise FusionConfigError(f"modalities must be distinct and name '{REQUIRED_MODALITY}': {self.names}")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.modalities)

    @property
    def optional(self) -> tuple[str, ...]:
        """Every modality that a record may lack."""
        return tuple(name for name in self.names if name != REQUIRED_MODALITY)

    @property
    def predicts_spread(self) -> bool:
        """The original design gives a score alone."""
        return self.head == "regression" and self.variant != "pooled"

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FusionConfig":
        """From parsed JSON, where tuples have become lists; unknown keys are refused by the constructor."""
        pairs = tuple((str(name), int(channels)) for name, channels in values["modalities"])
        return cls(**{**values, "modalities": pairs})


class WeighedAttention(nn.Module):
    """Residual multi-head attention of one query that also tells what each token brought to it.

    Keys are normalised and values are not: how strong a token is says how much pigment it saw.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_queries, self.norm_keys = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.to_query, self.to_key, self.to_value, self.to_out = (nn.Linear(dim, dim) for _ in range(4))

    def forward(
        self, query: torch.Tensor, context: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Query [B, 1, D], context [B, K, D], mask bool [B, K] -> query [B, 1, D], `brought` [B, K, D]."""
        batch, n, dim = query.shape
        q = self._split(self.to_query(self.norm_queries(query)))
        k, v = self._split(self.to_key(self.norm_keys(context))), self._split(self.to_value(context))
        scores = (q @ k.transpose(2, 3)) * (dim // self.heads) ** -0.5
        weights = scores.masked_fill(~mask[:, None, None, :], -torch.inf).float().softmax(-1).to(v.dtype)
        attended = self.to_out((weights @ v).transpose(1, 2).reshape(batch, n, dim))
        return query + attended, brought(weights, v, self.to_out)

    def _split(self, values: torch.Tensor) -> torch.Tensor:
        return values.unflatten(2, (self.heads, -1)).transpose(1, 2)


class SpatialFusion(nn.Module):
    """``fused``: a query made of the mean tokens of the pictures that are there asks every token of theirs.

    Tokens carry their modality and their place. A learned null token is always there to be attended to, so that a
    record with one picture has a choice as well. ``forward(tokens, present) -> vector [B, width], attention_shares [B,
    M * T + 1]``, the null token last. A token reaches the query on two ways, through the mean it is made of and through
    attention; its share counts both.
    """

    def __init__(self, config: FusionConfig, dim: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.names, width = config.names, config.width
        if width % config.heads:
            raise FusionConfigError(f"width {width} cannot be shared by {config.heads} heads: choose a multiple")
        self.project = nn.ModuleDict({name: nn.Linear(dim, width) for name in self.names})
        self.kind = nn.Parameter(torch.randn(len(self.names), width) * 0.02)
        self.row, self.column = (nn.Parameter(torch.randn(n, width) * 0.02) for n in grid)
        self.null = nn.Parameter(torch.randn(width) * 0.02)
        self.query = nn.Parameter(torch.randn(width) * 0.02)
        self.attention = nn.ModuleList([WeighedAttention(width, config.heads) for _ in range(config.depth)])
        self.feed_forward = nn.ModuleList(
            [
                nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
                for _ in range(config.depth)
            ]
        )
        self.out_norm = nn.LayerNorm(width)
        self.width = width

    def forward(self, tokens: Tokens, present: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        context, mask = self._context(tokens, present)
        means = context[:, :-1].unflatten(1, (len(self.names), -1)).mean(2)
        there = present.to(means.dtype).unsqueeze(-1)
        asked = ((means * there).sum(1) / there.sum(1)).unsqueeze(1) + self.query
        given = self._given_to_the_query(context, mask)
        for attention, feed_forward in zip(self.attention, self.feed_forward, strict=True):
            asked, attended = attention(asked, context, mask)
            given = given + attended
            asked = asked + feed_forward(asked)
        return self.out_norm(asked[:, 0]), attention_shares(given)

    @torch.no_grad()
    def _given_to_the_query(self, context: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """What each token is of the mean that the query starts from, [B, M * T + 1, width]; the null token is not."""
        counted = mask.to(context.dtype).unsqueeze(-1)
        counted[:, -1] = 0
        return context * counted / counted.sum(1, keepdim=True)

    def _context(self, tokens: Tokens, present: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        batch, count, _ = tokens[REQUIRED_MODALITY].shape
        place = (self.row[:, None] + self.column[None]).flatten(0, 1)
        parts = []
        for i, name in enumerate(self.names):
            if name in tokens:
                values = self.project[name](tokens[name])
            else:  # nobody in the batch has it, so the mask hides it
                values = place.new_zeros(batch, count, self.width)
            parts.append(values + place + self.kind[i])
        parts.append(self.null.expand(batch, 1, -1))
        mask = torch.cat([present.repeat_interleave(count, dim=1), present.new_ones(batch, 1)], dim=1)
        return torch.cat(parts, dim=1), mask


class PooledFusion(nn.Module):
    """``pooled``, the original design: one mean token per picture, the clinical one asks the others.

    Without any other picture it asks a zero token. Attention over one token weighs it 1 whatever the query is; that is
    this design's fault and is kept, as the variant is there to be measured. ``forward -> vector [B, dim],
    attention_shares [B, M]``: one per optional modality, the zero token last; the clinical token, which asks, is not
    among them.
    """

    def __init__(self, config: FusionConfig, dim: int) -> None:
        super().__init__()
        if dim % config.heads:
            raise FusionConfigError(f"{config.encoder} has width {dim}, not a multiple of {config.heads} heads")
        self.names, self.others, self.heads = config.names, config.optional, config.heads
        self.to_query, self.to_key, self.to_value, self.to_out = (nn.Linear(dim, dim) for _ in range(4))
        self.norm = nn.LayerNorm(dim)
        self.width = dim

    def forward(self, tokens: Tokens, present: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        clinical = tokens[REQUIRED_MODALITY].mean(1)
        zero = torch.zeros_like(clinical)
        others = [tokens[name].mean(1) if name in tokens else zero for name in self.others]
        here = present[:, [self.names.index(name) for name in self.others]]
        mask = torch.cat([here, ~here.any(1, keepdim=True)], dim=1)
        context = torch.stack([*others, zero], dim=1)
        batch, count, dim = context.shape
        q = self.to_query(clinical).view(batch, 1, self.heads, -1).transpose(1, 2)
        k, v = (f(context).view(batch, count, self.heads, -1).transpose(1, 2) for f in (self.to_key, self.to_value))
        scores = (q @ k.transpose(2, 3)) * (dim // self.heads) ** -0.5
        weights = scores.masked_fill(~mask[:, None, None, :], -torch.inf).softmax(-1)
        attended = self.to_out((weights @ v).transpose(1, 2).reshape(batch, dim))
        return self.norm(attended + clinical), attention_shares(brought(weights, v, self.to_out))


class ConcatFusion(nn.Module):
    """``concat``: mean tokens side by side, a learned vector where a picture is missing. No attention, no weights."""

    def __init__(self, config: FusionConfig, dim: int) -> None:
        super().__init__()
        self.names = config.names
        self.missing = nn.ParameterDict({name: nn.Parameter(torch.randn(dim) * 0.02) for name in config.optional})
        self.norm = nn.ModuleDict({name: nn.LayerNorm(dim) for name in self.names})
        self.width = dim * len(self.names)

    def forward(self, tokens: Tokens, present: torch.Tensor) -> tuple[torch.Tensor, None]:
        parts = []
        for i, name in enumerate(self.names):
            if name not in tokens:
                parts.append(self.missing[name].expand(len(present), -1))
                continue
            values = self.norm[name](tokens[name].mean(1))
            if name in self.missing:
                values = torch.where(present[:, i : i + 1], values, self.missing[name].to(values.dtype))
            parts.append(values)
        return torch.cat(parts, dim=1), None


def build_fusion(config: FusionConfig, dim: int, grid: tuple[int, int]) -> SpatialFusion | PooledFusion | ConcatFusion:
    """The fusion of a variant over encoders of width ``dim``."""
    if config.variant == "fused":
        return SpatialFusion(config, dim, grid)
    return PooledFusion(config, dim) if config.variant == "pooled" else ConcatFusion(config, dim)


@torch.no_grad()
def brought(weights: torch.Tensor, values: torch.Tensor, to_out: nn.Linear) -> torch.Tensor:
    """What each token brought to one query: weights [B, heads, 1, K], values [B, heads, K, D / heads] -> [B, K, D].

    Each head's value times its weight, through the output's matrix. Summed over tokens, and with the output's bias,
    they are what attention adds to the query.
    """
    return F.linear((weights.transpose(2, 3) * values).transpose(1, 2).flatten(2), to_out.weight)


@torch.no_grad()
def attention_shares(given: torch.Tensor) -> torch.Tensor:
    """Norm-weighted attention: the vectors [B, K, D] that K tokens gave to the query -> shares [B, K] that add up to 1.

    A share is the length of a token's vector among all lengths. For attention that vector is weight x transformed value
    (Kobayashi et al. 2020, "Attention is not only a weight"); where the query is itself made of the tokens, what each
    gives it on that way is added before its length is taken (Kobayashi et al. 2021, "Incorporating residual and
    normalization layers"). Feed-forward layers are not followed.
    """
    lengths = given.float().norm(dim=-1)
    return lengths / lengths.sum(1, keepdim=True)


def attention_maps(shares: torch.Tensor, names: Sequence[str], grid: tuple[int, int]) -> Tokens:
    """``attention_shares`` of ``fused`` [B, M * T + 1] -> [B, rows, columns] per modality."""
    parts = shares[:, :-1].unflatten(1, (len(names), *grid))
    return {name: parts[:, i] for i, name in enumerate(names)}


def attention_mass(shares: torch.Tensor, names: Sequence[str]) -> Tokens:
    """``attention_shares`` [B] summed per modality in ``names``, and ``none``, of the null token: they add up to 1.

    How much of what the query was given came from a picture, by length: not how much the score would change without
    it. Takes the shares of ``fused`` with all modalities, or of ``pooled`` with the optional ones.
    """
    parts = shares[:, :-1].unflatten(1, (len(names), -1)).sum(2)
    return {**{name: parts[:, i] for i, name in enumerate(names)}, NO_MODALITY: shares[:, -1]}


def hide(present: torch.Tensor, names: Sequence[str], probability: float) -> torch.Tensor:
    """Hide optional modalities of a training batch at random: bool [B, M] -> bool [B, M]; the required one stays.

    Draws from torch's generator, which the training loop seeds from (seed, epoch, step).
    """
    kept = present & (torch.rand(present.shape, device=present.device) >= probability)
    required = F.one_hot(torch.tensor(names.index(REQUIRED_MODALITY)), len(names)).bool().to(present.device)
    return torch.where(required, present, kept)
