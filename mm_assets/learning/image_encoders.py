"""Trainable image encoders of any channel count: pixels become a grid of tokens, whatever timm's network returns.

Belongs here: building a timm network by name, cutting it after a stage, and bringing its output into one form. Does not
belong here: frozen pretrained encoders (encoders.py), normalising of pixels, and what is done with the tokens.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from resources.hub import ENCODERS, EncoderCard, EncoderUnavailable, EncoderUnknown, local_folder, weights_source

WEIGHTS_FILE = "model.safetensors"
RANDOM, HUB = "random", "hub"


class ImageEncoder(nn.Module):
    """``forward``: normalised [B, C, S, S] -> tokens [B, rows * columns, dim], row by row.

    ``stage`` None runs the whole network; a number cuts it after that feature stage (0 is the finest map), so that a
    small picture keeps a map worth looking at. ``weights`` is a safetensors file of timm's own tensor names for three
    channels; another channel count takes their first layer repeated, as timm does. Raises EncoderUnknown,
    EncoderUnavailable.
    """

    def __init__(
        self, name: str, channels: int, image_size: int, *, stage: int | None = None, weights: Path | None = None
    ) -> None:
        super().__init__()
        self.name = name
        # Convolutions on a CPU take a third less time with channels last; other layers do not mind.
        self.trunk = _timm_trunk(name, channels, image_size, stage, weights).to(memory_format=torch.channels_last)
        self.cut = stage is not None
        self.dim, self.grid, self._form = self._look(channels, image_size)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        out = self._features(images)
        if self._form == "NCHW":
            return out.flatten(2).transpose(1, 2)
        if self._form == "NHWC":
            return out.flatten(1, 2)
        # Class and register tokens come first; what is left is the full grid of patches.
        return out[:, out.shape[1] - self.grid[0] * self.grid[1] :]

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        return self.trunk(images)[0] if self.cut else self.trunk.forward_features(images)  # type: ignore[operator]

    @torch.no_grad()
    def _look(self, channels: int, size: int) -> tuple[int, tuple[int, int], str]:
        """Width, grid and form of the output, from one empty picture: timm has no single place that tells them."""
        was_training = self.training
        out = self.eval()._features(torch.zeros(1, channels, size, size))
        self.train(was_training)
        if self.cut:
            dim = int(self.trunk.feature_info.channels()[0])  # type: ignore[operator, union-attr]
        else:
            dim = int(self.trunk.num_features)  # type: ignore[arg-type]
        if out.ndim == 4:
            last = out.shape[-1] == dim and (out.shape[1] != dim or _names_channels_last(self.trunk))
            rows, columns = (out.shape[1], out.shape[2]) if last else (out.shape[2], out.shape[3])
            return dim, (rows, columns), "NHWC" if last else "NCHW"
        side = int((out.shape[1] - int(getattr(self.trunk, "num_prefix_tokens", 0))) ** 0.5)
        return dim, (side, side), "tokens"


def find_weights(name: str, wanted: str) -> Path | None:
    """The safetensors file of a timm network: ``random`` none, ``hub`` or ``hub@<revision>``, else a path.

    ``hub`` looks into ``$MM_HUB_DIR/<name>`` first. Raises EncoderUnknown, EncoderUnavailable.
    """
    if wanted == RANDOM:
        return None
    if wanted != HUB and not wanted.startswith(f"{HUB}@"):
        return Path(wanted)
    card = _timm_card(name, wanted.partition("@")[2])
    folder = local_folder(card)
    if folder is not None:
        return folder / WEIGHTS_FILE
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(str(weights_source(card)), WEIGHTS_FILE, revision=card.revision))
    except Exception as error:  # the hub's client raises many unrelated types
        raise EncoderUnavailable(
            f"the weights of {name} ({card.hub_id}, revision {card.revision}) cannot be had: connect to the hub, put "
            f"{WEIGHTS_FILE} into MM_HUB_DIR/{name}, or set weights to {RANDOM}"
        ) from error


def _timm_card(name: str, revision: str) -> EncoderCard:
    """The registry's card where it has one of that name, else timm's own facts about its default weights."""
    import timm

    if name in ENCODERS and not revision:
        return ENCODERS[name]
    _check_known(name)
    facts = timm.get_pretrained_cfg(name)
    if facts is None or not facts.hf_hub_id:
        raise EncoderUnavailable(f"timm names no weights for {name}: set weights to {RANDOM} or to a file")
    return EncoderCard(
        name=name, modality="vision", hub_id=facts.hf_hub_id, token_dim=0, licence=facts.license or "unknown",
        loader="timm", revision=revision or "main",
    )  # fmt: skip


def _timm_trunk(name: str, channels: int, image_size: int, stage: int | None, weights: Path | None) -> nn.Module:
    import timm

    _check_known(name)
    facts = timm.get_pretrained_cfg(name)
    arguments: dict[str, Any] = {"in_chans": channels}
    if facts is not None and facts.fixed_input_size:
        arguments["img_size"] = image_size
    if stage is None:
        arguments["num_classes"] = 0
    else:
        arguments |= {"features_only": True, "out_indices": (stage,)}
    if weights is not None:
        if weights.suffix != ".safetensors" or not weights.is_file():
            raise EncoderUnavailable(f"{weights} is no safetensors file: name one, or set weights to {RANDOM}")
        arguments |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(weights), "source": "file"}}
    try:
        return timm.create_model(name, **arguments)
    except (RuntimeError, AssertionError, IndexError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise EncoderUnavailable(
            f"{name} cannot be built for {channels} channels at {image_size} px, stage {stage} ({reason}): choose "
            "another encoder, size, stage or weights"
        ) from error


def _check_known(name: str) -> None:
    import timm

    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:5]) or "timm.list_models()"
        raise EncoderUnknown(f"timm has no network {name!r}: choose another, such as {near}")


def _names_channels_last(trunk: nn.Module) -> bool:
    return str(getattr(trunk, "output_fmt", "NCHW")).upper().endswith("NHWC")
