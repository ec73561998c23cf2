"""The severity model: an encoder per picture, a fusion, a head.

Belongs here: the network as a whole, its outputs, and building it from a saved folder. Does not belong here: the three
fusions (fusion.py), encoders (learning/image_encoders.py), loss and training (training.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch  # noqa: TID253
from torch import nn  # noqa: TID253

from mm_assets.learning.image_encoders import ImageEncoder
from mm_assets.pigmentation.fusion import FusionConfig, Tokens, attention_maps, attention_mass, build_fusion, hide
from mm_assets.pigmentation.schema import SEVERITIES

Batch = dict[str, torch.Tensor]
SCORE, LOG_SIGMA = 0, 1  # columns of a regression's output
HEAD_WIDTHS = (256, 64)
LOG_SIGMA_RANGE = (-6.0, 1.0)  # e^-6 is finer than a score of three digits can tell


@dataclass(frozen=True)
class Fused:
    """``output`` as FusionModel.forward gives it; ``attention`` [B, T], the tokens' `fusion.attention_shares`, or None
    where nothing attends."""

    output: torch.Tensor
    attention: torch.Tensor | None


class Head(nn.Module):
    """Linear 256, ReLU, dropout, Linear 64, ReLU, dropout, then the score, its spread, or a logit per severity."""

    def __init__(self, width: int, config: FusionConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for wide in HEAD_WIDTHS:
            layers += [nn.Linear(width, wide), nn.ReLU(), nn.Dropout(config.dropout)]
            width = wide
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(width, 1 if config.head == "regression" else len(SEVERITIES))
        self.spread = nn.Linear(width, 1) if config.predicts_spread else None
        self.regression = config.head == "regression"
        # Under squared error the spread is learned beside the score and must not change what the score is made of.
        self.apart = config.loss == "mse"

    def forward(self, fused: torch.Tensor) -> torch.Tensor:
        hidden = self.layers(fused)
        out = self.out(hidden)
        if not self.regression:
            return out
        score = out.float().sigmoid()
        if self.spread is None:
            return torch.cat([score, torch.full_like(score, torch.nan)], dim=1)
        log_sigma = self.spread(hidden.detach() if self.apart else hidden).float()
        # Starts at a spread of about .1.
        return torch.cat([score, (log_sigma - 2.3).clamp(*LOG_SIGMA_RANGE)], dim=1)


class FusionModel(nn.Module):
    """``forward(batch)`` -> [B, 2], score in (0, 1) and log of its spread (NaN in ``pooled``), or [B, 3] logits.

    The batch holds one float tensor [B, C, S, S] per modality and ``present`` bool [B, M] in the order of the
    configuration. Any number of modalities of any channel count works; the clinical picture must be there.
    """

    def __init__(self, config: FusionConfig, weights: Mapping[str, Path | None] | None = None) -> None:
        """``weights`` are pretrained ones per modality, as ImageEncoder takes them; random where none is named."""
        super().__init__()
        self.config = config
        given = weights or {}
        self.encoders = nn.ModuleDict(
            {
                name: ImageEncoder(
                    config.encoder, channels, config.image_size, stage=config.stage, weights=given.get(name)
                )
                for name, channels in config.modalities
            }
        )
        first = self.encoder(config.names[0])
        self.grid = first.grid
        self.fusion = build_fusion(config, first.dim, first.grid)
        self.head = Head(self.fusion.width, config)

    def encoder(self, name: str) -> ImageEncoder:
        encoder = self.encoders[name]
        assert isinstance(encoder, ImageEncoder)
        return encoder

    def forward(self, batch: Batch) -> torch.Tensor:
        present = batch["present"]
        if self.training and self.config.variant != "pooled":
            present = hide(present, self.config.names, self.config.modality_dropout)
        return self.fuse(self.encode({**batch, "present": present}), present).output

    def encode(self, batch: Batch) -> Tokens:
        """Tokens [B, T, D] per modality. Only pictures that are present are looked at; the others' tokens are zero,
        and a modality that nobody in the batch has is left out."""
        present = batch["present"]
        tokens = {}
        for i, name in enumerate(self.config.names):
            rows = present[:, i].nonzero()[:, 0]
            if len(rows) == len(present):
                tokens[name] = self.encoders[name](batch[name])
            elif len(rows):
                seen = self.encoders[name](batch[name][rows])
                tokens[name] = seen.new_zeros(len(present), *seen.shape[1:]).index_copy(0, rows, seen)
        return tokens

    def fuse(self, tokens: Tokens, present: torch.Tensor) -> Fused:
        """Tokens of ``encode`` (or of another runtime of the same encoders) and ``present`` [B, M] -> answer."""
        vector, attention = self.fusion(tokens, present)
        return Fused(self.head(vector), attention)

    def attention_mass(self, attention: torch.Tensor | None) -> Tokens:
        """Norm-weighted attention [B] per modality, and ``none``, adding up to 1; empty where nothing attends."""
        if attention is None:
            return {}
        return attention_mass(attention, self.config.names if self.config.variant == "fused" else self.config.optional)

    def attention_maps(self, attention: torch.Tensor | None) -> Tokens:
        """Norm-weighted attention [B, rows, columns] per modality, shares of all of it; empty where there are no places
        to attend to. The one map: deletion test, page and API take this."""
        if attention is None or self.config.variant != "fused":
            return {}
        return attention_maps(attention, self.config.names, self.grid)


def build_model(architecture: Mapping[str, Any], state_dict: Mapping[str, torch.Tensor]) -> FusionModel:
    """A saved model, in evaluation mode."""
    model = FusionModel(FusionConfig.from_dict(architecture))
    model.load_state_dict(dict(state_dict))
    return model.eval()


def parameter_counts(model: FusionModel) -> dict[str, int]:
    """Parameters per encoder, of the fusion, of the head, and ``total``."""
    parts: dict[str, nn.Module] = {f"encoder {name}": model.encoders[name] for name in model.config.names}
    parts |= {"fusion": model.fusion, "head": model.head, "total": model}
    return {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
