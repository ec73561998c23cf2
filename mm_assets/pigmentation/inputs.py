"""How stored or uploaded pixels become a network's input: one specification, one function for every modality.

The specification is JSON and travels in the model's bundle, so training, evaluation, page and API cannot disagree.
A spectral cube is read as absorbance above the picture's own background, because that is what the label is about: more
melanin adds much the same absorbance whatever the skin around, while reflectance of dark skin hardly moves. So is a
photograph (`absorbance`), which also takes out the light it was taken in; `colour` is for encoders that were pretrained
on photographs. On 1,506 rendered lesions, one seed: error of all modalities .023 with colour and .017 with absorbance,
of the photograph alone .040 and .030, on dark skin 1.6 and 1.1 times that on the best tone.

Belongs here: resizing, rounding, normalising, and statistics of the training split. Does not belong here: decoding of
files (records/color_images.py, spectral.py) and random changes in training (augmentation.py).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from pydantic import BaseModel, ConfigDict, model_validator

from resources.errors import MendableError

Kind = Literal["rgb", "absorbance", "cube", "hsl"]
Photographs = Literal["colour", "absorbance"]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LIGHT_FLOOR = 0.003  # added to linear light: what the darkest skin and a lens still send back
_LEAST_STD = 1e-4  # a band that never changes is left as it is instead of being blown up
LEAST_REFLECTANCE = 2e-3  # below it a sensor sees its own noise
BACKGROUND_SHARE = 0.3  # quantile of absorbance that is the skin around a lesion: most of the field, and its light part
_CHUNK = 256  # records whose pixels are in memory at a time


class WrongChannels(MendableError):
    """Pixels have another number of channels than the model was trained on."""


class ModalitySpec(BaseModel):
    """One modality: what its pixels are, and mean and deviation per channel.

    Those of ``rgb`` are on the scale 0 to 1, those of ``cube`` and ``absorbance`` of what ``prepared`` gives.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Kind
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    wavelengths_nm: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _one_value_per_channel(self) -> Self:
        for field in ("mean", "std", "wavelengths_nm"):
            values = getattr(self, field)
            if values is not None and len(values) != self.channels:
                raise ValueError(f"{field} of {self.name} has {len(values)} values for {self.channels} channels")
        return self


class InputSpec(BaseModel):
    """Every modality in the model's order, and the side in pixels at which they are read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_size: int
    modalities: tuple[ModalitySpec, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(modality.name for modality in self.modalities)

    @property
    def channels(self) -> tuple[tuple[str, int], ...]:
        """(name, channels) of each, as a FusionConfig takes them."""
        return tuple((modality.name, modality.channels) for modality in self.modalities)

    def modality(self, name: str) -> ModalitySpec:
        return self.modalities[self.names.index(name)]

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        return cls.model_validate(values)


def photograph_spec(name: str, photographs: Photographs) -> ModalitySpec:
    """How a photograph is read, before there are statistics of a training split."""
    if photographs == "colour":
        return rgb_spec(name)
    return ModalitySpec(name=name, kind="absorbance", channels=3, mean=(0.0,) * 3, std=(1.0,) * 3)


def rgb_spec(name: str) -> ModalitySpec:
    """A colour photograph, normalised as ImageNet's are: pretrained encoders expect it, others do not mind."""
    return ModalitySpec(name=name, kind="rgb", channels=3, mean=IMAGENET_MEAN, std=IMAGENET_STD)


def prepared(spec: ModalitySpec, pixels: np.ndarray, size: int) -> np.ndarray:
    """uint8 [H, W, 3] or float [H, W, C] -> [size, size, C]: uint8 for ``rgb``, float16 for the others.

    Squashes to a square, antialiased; reflectance, or the light of a photograph, becomes absorbance above the picture's
    own background. The result is rounded as packed pixels are, so that a model sees the same numbers from a file and
    from an upload. Raises WrongChannels.
    """
    if pixels.ndim != 3 or pixels.shape[2] != spec.channels:
        found = pixels.shape[2] if pixels.ndim == 3 else "no"
        raise WrongChannels(
            f"the {spec.name} picture has {found} channels, and the model reads {spec.channels}: use a capture with "
            "the bands the model was trained on, or leave it out"
        )
    if spec.kind in ("rgb", "absorbance") and pixels.dtype != np.uint8:
        raise TypeError(f"{spec.name} takes uint8 pixels, got {pixels.dtype}")
    values = torch.from_numpy(np.array(pixels, np.float32)).permute(2, 0, 1)[None]
    if values.shape[-2:] != (size, size):
        values = F.interpolate(values, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
    out = values[0].permute(1, 2, 0).numpy()
    if spec.kind == "cube":
        out = above_background(-np.log10(np.maximum(out, LEAST_REFLECTANCE)))
    elif spec.kind == "absorbance":
        out = above_background(-np.log10(linear_light(np.rint(out).clip(0, 255)) + LIGHT_FLOOR))
    return np.rint(out).clip(0, 255).astype(np.uint8) if spec.kind == "rgb" else out.astype(np.float16)


def above_background(absorbance: np.ndarray) -> np.ndarray:
    """Absorbance float [H, W, B] minus that of the background in each band: about 0 on the skin around a lesion."""
    return absorbance - np.quantile(absorbance, BACKGROUND_SHARE, axis=(0, 1), keepdims=True)


def linear_light(srgb: np.ndarray) -> np.ndarray:
    """sRGB values 0 to 255 -> linear light 0 to 1 (IEC 61966-2-1)."""
    scaled = srgb / 255
    return np.where(scaled <= 0.04045, scaled / 12.92, ((scaled + 0.055) / 1.055) ** 2.4)


def normalised(spec: ModalitySpec, pixels: np.ndarray) -> torch.Tensor:
    """What ``prepared`` gave, stacked to [B, S, S, C] -> float32 [B, C, S, S] on the encoder's scale, channels last in
    memory, as encoders take it."""
    values = torch.from_numpy(np.array(pixels, np.float32)).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (spec.mean, spec.std))
    scale = 255.0 if spec.kind == "rgb" else 1.0
    return values.sub_(mean * scale).div_(std * scale)


def to_tensor(spec: ModalitySpec, pixels: np.ndarray, size: int) -> torch.Tensor:
    """One picture, uint8 [H, W, 3] or float [H, W, C] -> float32 [C, size, size]. Raises WrongChannels."""
    return normalised(spec, prepared(spec, pixels, size)[None])[0].contiguous()


def fit_statistics(pixels: np.ndarray, rows: Sequence[int] | np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation per channel of [N, S, S, C] over ``rows`` (those of the training split), in flat memory."""
    total, squares, count = np.zeros(pixels.shape[3]), np.zeros(pixels.shape[3]), 0
    for start in range(0, len(rows), _CHUNK):
        part = np.asarray(pixels[np.asarray(rows)[start : start + _CHUNK]], np.float64).reshape(-1, pixels.shape[3])
        total, squares, count = total + part.sum(0), squares + (part**2).sum(0), count + len(part)
    if count == 0:
        return (0.0,) * pixels.shape[3], (1.0,) * pixels.shape[3]
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    # Six digits: a statistic that differs in its last bits between machines would make another model of the same data.
    return tuple(float(f"{m:.6g}") for m in mean), tuple(float(f"{s:.6g}") if s > _LEAST_STD else 1.0 for s in std)
