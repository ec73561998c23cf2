"""The full configuration: encoders inside, so that they can be fine-tuned.

Belongs here: ViT-B/16 and ModernBERT-base around the fusion network, freezing by stage, learning rates by
group. Does not belong here: the fusion network itself (model.py) and training on stored tokens (training.py).

Stage 1 trains fusion and head on frozen encoders (cheapest on stored tokens); stage 2 trains everything with
smaller rates below. About 245 M parameters; the original counted 354 M with a text tower nobody used.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch  # noqa: TID253
from torch import nn  # noqa: TID253
from torch.nn.modules.batchnorm import _BatchNorm  # noqa: TID253

from mm_assets.learning.encoders import TextEncoder, VisionEncoder
from mm_assets.mimic.features import pool_grid, pool_notes
from mm_assets.mimic.model import Batch, EnhancedMDFNet, MDFNetConfig

Stage = Literal[1, 2]


@dataclass(frozen=True)
class StageRates:
    """Peak learning rates of stage 2, smallest where the most was learned before."""

    encoders: float = 1e-5
    fusion: float = 5e-5
    head: float = 1e-4


class FullMDFNet(nn.Module):
    """``forward(batch) -> logits [B, 14]`` from pixels and ids instead of stored tokens.

    The batch holds ``images`` (normalised [B, 3, S, S]), ``input_ids`` and ``attention_mask`` [B, T],
    ``passage_tokens`` and ``passage_mask`` and everything else as MultimodalData.batch makes it. Film tokens
    are pooled to the fusion's grid, and notes to ``text_cap`` tokens (None: all of them), as stored ones are.
    """

    def __init__(
        self, vision: VisionEncoder, text: TextEncoder, fusion: EnhancedMDFNet, text_cap: int | None = None
    ) -> None:
        super().__init__()
        self.vision = vision
        self.text = text
        self.fusion = fusion
        self.grid = int(fusion.config.image_tokens**0.5)
        self.text_cap = text_cap
        self.encoders_frozen = False

    def forward(self, batch: Batch) -> torch.Tensor:
        # no_grad, not only requires_grad=False: the encoders' activations would be kept otherwise.
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.encoders_frozen):
            image_tokens = pool_grid(self.vision(batch["images"]), self.grid)
            text_tokens, text_mask = self.text(batch["input_ids"], batch["attention_mask"]), batch["attention_mask"]
            if self.text_cap is not None:
                text_tokens, text_mask = pool_notes(text_tokens, text_mask, self.text_cap)
        return self.fusion(
            {
                **batch,
                "image_tokens": image_tokens,
                "text_tokens": text_tokens,
                "text_mask": text_mask.bool(),
            }
        )

    def train(self, mode: bool = True) -> "FullMDFNet":
        """Frozen encoders stay in eval mode: their dropout and batch statistics belong to pretraining.

        With the encoders freed, all batch normalisation keeps the statistics it came with: the batches that
        fit into memory then are too small to count new ones, and accumulation does not make them larger.
        """
        super().train(mode)
        if self.encoders_frozen:
            self.vision.eval()
            self.text.eval()
        else:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


def full_config(variant: str = "fused") -> MDFNetConfig:
    """Fusion at width 768 over ViT-B/16 patches (196, unpooled) and ModernBERT tokens."""
    return MDFNetConfig(
        variant=variant, image_dim=768, image_tokens=196, text_dim=768, dim=768, heads=12, token_dropout=0.1
    )


def set_stage(model: FullMDFNet, stage: Stage) -> None:
    """Stage 1 freezes the encoders, stage 2 frees them."""
    model.encoders_frozen = stage == 1
    for encoder in (model.vision, model.text):
        encoder.requires_grad_(stage == 2)
    model.train(model.training)


def stage_groups(model: nn.Module, rates: StageRates, weight_decay: float = 0.05) -> list[dict[str, Any]]:
    """Groups ``encoders``, ``fusion`` and ``head`` of trainable weights, each with its peak learning rate."""
    assert isinstance(model, FullMDFNet)
    heads = nn.ModuleList([model.fusion.head, model.fusion.single_heads])
    in_head = {id(p) for p in heads.parameters()}
    members = {
        "encoders": [*model.vision.parameters(), *model.text.parameters()],
        "fusion": [p for p in model.fusion.parameters() if id(p) not in in_head],
        "head": list(heads.parameters()),
    }
    groups: list[dict[str, Any]] = []
    for name, parameters in members.items():
        for decays in (True, False):
            chosen = [p for p in parameters if p.requires_grad and (p.ndim > 1) == decays]
            if chosen:
                groups.append(
                    {
                        "params": chosen,
                        "lr": getattr(rates, name),
                        "weight_decay": weight_decay if decays else 0.0,
                        "name": f"{name}{'' if decays else ' (no decay)'}",
                    }
                )
    return groups
