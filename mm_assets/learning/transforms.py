"""How pixels become an encoder's input: one plain specification, one function.

The specification is JSON and travels inside a model's bundle, so training, evaluation, page and API cannot
disagree. Belongs here: resizing and normalising. Does not belong here: decoding files (records/images.py).
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

TransformSpec = dict[str, Any]


def transform_spec(
    size: int, mean: tuple[float, ...] | float, std: tuple[float, ...] | float, interpolation: str = "bicubic"
) -> TransformSpec:
    """Specification of an encoder's input: side in pixels, mean and deviation on the 0 to 1 scale."""

    def three(value: tuple[float, ...] | float) -> list[float]:
        values = [float(value)] if isinstance(value, int | float) else [float(v) for v in value]
        return values * 3 if len(values) == 1 else values

    return {
        "size": int(size),
        "mean": three(mean),
        "std": three(std),
        "channels": 3,
        "interpolation": interpolation,
    }


def apply_transform(spec: TransformSpec, pixels: np.ndarray | torch.Tensor) -> torch.Tensor:
    """uint8 [H, W] (or a batch [B, H, W]) -> float32 [3, S, S] (or [B, 3, S, S]).

    Squashes to a square, as the stored films are square already. Resizing is antialiased and happens before
    the values are scaled, each exactly once (a second normalisation is a fault that nothing else would show).
    """
    values = torch.as_tensor(np.array(pixels) if isinstance(pixels, np.ndarray) else pixels)
    if values.dtype != torch.uint8:
        raise TypeError(f"apply_transform takes uint8 pixels, got {values.dtype}")
    single = values.ndim == 2
    batch = (values.unsqueeze(0) if single else values).unsqueeze(1).float()
    size = int(spec["size"])
    if batch.shape[-2:] != (size, size):
        batch = F.interpolate(batch, size=(size, size), mode=spec["interpolation"], antialias=True, align_corners=False)
    batch = batch.clamp_(0, 255).div_(255).expand(-1, int(spec["channels"]), -1, -1)
    mean = torch.tensor(spec["mean"], device=batch.device).view(1, -1, 1, 1)
    std = torch.tensor(spec["std"], device=batch.device).view(1, -1, 1, 1)
    batch = (batch - mean) / std
    return batch[0] if single else batch
