"""The network cut between two organisations: a bottom each, and a top with the label holder.

Belongs here: the networks, their seeded dropout, and their configuration. Does not belong here: training
(split_training.py, central_training.py) and what crosses (wire.py).

Everything random, first weights and dropout, is drawn from a seed per party, never from torch's shared generator: the
same network then trains to the same bits whether its parts stand in one process or in two.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch  # noqa: TID253
from torch import nn  # noqa: TID253

from mm_assets.cloud_vision.schema import IMAGE_HOLDER, LABEL_HOLDER
from mm_assets.learning.image_encoders import ImageEncoder
from resources.errors import MendableError

TOP = "top"  # beside a bottom of each organisation
COMPACT = "compact"  # the built-in encoder; any other name is timm's
_PARTY_SEEDS = {LABEL_HOLDER: 2, IMAGE_HOLDER: 3, TOP: 1}


class SplitConfigError(MendableError):
    """A configuration that no network can be built from, or that two parties do not share."""


@dataclass(frozen=True)
class SplitConfig:
    """The whole network. Both parties hold the same configuration; each builds its own part only."""

    classes: int = 3
    org2_features: int = 5
    org3_features: int = 5  # 0: the image alone
    image_px: int = 64
    encoder: str = COMPACT
    stage: int | None = None  # cuts a timm network after that stage
    channels: int = 16  # of the compact encoder's first layer; doubled by each of the next two
    embedding: int = 32  # numbers a record that cross, each way and party
    hidden: int = 64
    top_hidden: tuple[int, ...] = (64,)
    dropout: float = 0.1

    def __post_init__(self) -> None:
        least = {"classes": 2, "org2_features": 1, "org3_features": 0, "image_px": 16, "embedding": 1, "hidden": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise SplitConfigError(f"{name} is {getattr(self, name)}: set it to {value} or more")
        if not 0 <= self.dropout < 1:
            raise SplitConfigError(f"dropout is {self.dropout}: set it to 0 or more and below 1")

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "top_hidden": list(self.top_hidden)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SplitConfig":
        return cls(**{**values, "top_hidden": tuple(values["top_hidden"])})


class SeededDropout(nn.Module):
    """Dropout with a generator of its own, set by ``seed_step``; the mask is drawn on the CPU, alike on any device."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.generator = torch.Generator()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if not self.training or self.share == 0:
            return values
        kept = torch.empty(values.shape).bernoulli_(1 - self.share, generator=self.generator)
        return values * (kept / (1 - self.share)).to(values.device)


def seed_step(part: nn.Module, name: str, seed: int, epoch: int, step: int) -> None:
    """Seed every dropout of one part (``org2``, ``org3`` or ``top``) for one training step."""
    for number, module in enumerate(m for m in part.modules() if isinstance(m, SeededDropout)):
        module.generator.manual_seed(seed_of(seed, _PARTY_SEEDS[name], epoch, step, number))


class Org2Bottom(nn.Module):
    """The label holder's bottom: standardised features [B, F] -> embedding [B, E]."""

    def __init__(self, config: SplitConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = _perceptron(config.org2_features, (config.hidden,), config.embedding, config.dropout)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.layers(features)


class Org3Bottom(nn.Module):
    """The image holder's bottom: grey pixels uint8 [B, S, S] and features [B, F] -> embedding [B, E]."""

    def __init__(self, config: SplitConfig) -> None:
        super().__init__()
        self.config = config
        if config.encoder == COMPACT:
            self.encoder: nn.Module = CompactEncoder(config.channels)
            dim = 4 * config.channels
        else:
            encoder = ImageEncoder(config.encoder, 1, config.image_px, stage=config.stage)
            self.encoder, dim = encoder, encoder.dim
        self.table = (
            _perceptron(config.org3_features, (), config.hidden, 0.0, last=nn.ReLU()) if config.org3_features else None
        )
        wide = 2 * dim + (config.hidden if config.org3_features else 0)
        self.join = _perceptron(wide, (config.hidden,), config.embedding, config.dropout)

    def forward(self, pixels: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return self.embed(self.image_map(pixels), features)

    def image_map(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels uint8 [B, S, S] -> the encoder's map [B, C, rows, columns], what Grad-CAM looks at."""
        if pixels.shape[1:] != (self.config.image_px, self.config.image_px):
            raise SplitConfigError(
                f"images are {tuple(pixels.shape[1:])} px and the model reads {self.config.image_px}: resize them first"
            )
        found = self.encoder((pixels[:, None].float() / 255.0 - 0.5) / 0.25)
        if isinstance(self.encoder, ImageEncoder):
            rows, columns = self.encoder.grid
            found = found.transpose(1, 2).reshape(len(found), -1, rows, columns)
        return found

    def embed(self, image_map: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """The rest of the bottom network, from the encoder's map on. The mean sees how much, the maximum whether."""
        parts = [image_map.mean((2, 3)), image_map.amax((2, 3))]
        if self.table is not None:
            parts.append(self.table(features))
        return self.join(torch.cat(parts, 1))


class Top(nn.Module):
    """Embeddings of the parties, [B, E] each -> logits [B, classes]."""

    def __init__(self, config: SplitConfig, parties: int = 2) -> None:
        super().__init__()
        self.layers = _perceptron(parties * config.embedding, config.top_hidden, config.classes, config.dropout)

    def forward(self, *embeddings: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.cat(embeddings, 1))


class CompactEncoder(nn.Module):
    """A small convolutional network for grey films, [B, 1, S, S] -> [B, 4 * channels, S / 8, S / 8].

    Groups, not batches, are normalised: a record's embedding must not depend on the records beside it. The first layer
    steps over every second pixel: it takes half of the time of one that sees them all and is pooled, as accurately.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, channels, 4, stride=2, padding=1), *_normed(channels)]
        wide = channels
        for out in (2 * channels, 4 * channels):
            layers += [nn.Conv2d(wide, out, 3, padding=1), *_normed(out), nn.AvgPool2d(2)]
            wide = out
        layers += [nn.Conv2d(wide, wide, 3, padding=1), *_normed(wide)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


def build_org2(config: SplitConfig, seed: int) -> Org2Bottom:
    """The label holder's bottom with first weights of its own seed."""
    with _seeded(LABEL_HOLDER, seed):
        return Org2Bottom(config)


def build_org3(config: SplitConfig, seed: int) -> Org3Bottom:
    """The image holder's bottom with first weights of its own seed."""
    with _seeded(IMAGE_HOLDER, seed):
        return Org3Bottom(config)


def build_top(config: SplitConfig, seed: int, parties: int = 2) -> Top:
    """The top network with first weights of its own seed."""
    with _seeded(TOP, seed):
        return Top(config, parties)


@contextmanager
def _seeded(name: str, seed: int) -> Iterator[None]:
    """Torch's shared generator, which fills first weights, is seeded inside and left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, _PARTY_SEEDS[name]))
        yield


def _normed(channels: int) -> list[nn.Module]:
    return [nn.GroupNorm(max(1, channels // 8), channels), nn.ReLU()]


def _perceptron(
    wide: int, hidden: tuple[int, ...], out: int, dropout: float, *, last: nn.Module | None = None
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(wide, width), nn.ReLU(), SeededDropout(dropout)]
        wide = width
    layers.append(nn.Linear(wide, out))
    return nn.Sequential(*layers, *([last] if last is not None else []))


def seed_of(*key: int) -> int:
    """One 63-bit number of several, so that neighbours do not get neighbouring seeds."""
    return int(np.random.SeedSequence(list(key)).generate_state(1, np.uint64)[0] >> np.uint64(1))
