"""From the files of a case to what the network reads: as training records were stored, then resized and normalised.

Belongs here: which file may be what, decoding in the order that training used, and a sentence for each refusal.
Does not belong here: decoding itself (`records.color_images`, `spectral.py`), the specification (`inputs.py`), warnings
about pictures that can be read (`capture_quality.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch  # noqa: TID253

from mm_assets.pigmentation.case import NOT_READ, SkinCase, UnusableImage
from mm_assets.pigmentation.inputs import InputSpec, ModalitySpec, to_tensor
from mm_assets.pigmentation.schema import REQUIRED_MODALITY
from mm_assets.pigmentation.spectral import pseudo_hsl, read_cube, resample_bands, resize_cube
from mm_assets.records.color_images import decode_color, stored_color
from mm_assets.records.unreadable import UnreadableImage

# 256 x 256 pixels of 122 bands, 32 MB as float32: several uploads are read at once.
MAX_UPLOAD_VALUES = 8_000_000
_PICTURE_STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"GIF8", b"RIFF", b"II*\0", b"MM\0*")
_SENTENCES = {
    "image_empty": "The file is empty.",
    "image_truncated": "The file ends too early: it was cut off. Send it again.",
    "image_too_large": "The image has too many pixels to be decoded safely.",
    "image_too_small": "The image is too small to show a lesion.",
    "image_format_unsupported": "This format cannot be read: send JPEG, PNG or BMP.",
    "image_unreadable": "The file cannot be read as JPEG, PNG or BMP.",
    "cube_unreadable": "The file is no readable spectral cube: send .npz with cube [H, W, B] and wavelengths_nm [B].",
    "cube_too_large": "The spectral cube is too large.",
    "cube_too_small": "The spectral cube is too small to show a lesion.",
    "cube_without_wavelengths": "The spectral cube does not name its wavelengths: send .npz with wavelengths_nm.",
    "cube_uncalibrated": "The values are no reflectance: add white_ref, or send reflectance from 0 to 1.",
}


@dataclass(frozen=True)
class StoredSizes:
    """How records were stored before training: sides in pixels of photographs and of cubes."""

    stored_px: int
    cube_px: int

    @classmethod
    def from_json(cls, captures: Mapping[str, Any]) -> "StoredSizes":
        return cls(stored_px=int(captures["stored_px"]), cube_px=int(captures["cube_px"]))


@dataclass(frozen=True, eq=False)
class ReadImage:
    """One image of a case: what the network reads (``tensor`` float32 [C, S, S]) and what a person may see.

    ``pixels`` is the stored form, uint8 [P, P, 3] or reflectance [P, P, B]; ``jpeg`` is that of a photograph. Width and
    height are those of the file. ``profile_ignored``: why the file's colour profile was not applied, else None.
    """

    modality: str
    tensor: torch.Tensor
    pixels: np.ndarray
    jpeg: bytes | None
    width: int
    height: int
    profile_ignored: str | None = None


def read_case(case: SkinCase, spec: InputSpec, sizes: StoredSizes) -> dict[str, ReadImage]:
    """Modality -> image. Raises UnusableImage, naming the modality, also for one that the model does not read.

    A model of pseudo-multispectral channels gets them from the clinical photograph, as in training, unless a picture
    was sent for them.
    """
    images = case.images()
    for name in images:
        known(name, spec)
    for modality in spec.modalities:
        if modality.kind == "hsl":
            images.setdefault(modality.name, images[REQUIRED_MODALITY])
    return {
        modality.name: read_image(images[modality.name], modality, spec.image_size, sizes)
        for modality in spec.modalities
        if modality.name in images
    }


def known(modality: str, spec: InputSpec) -> ModalitySpec:
    """How the model reads a modality. Raises UnusableImage where it reads none of that name."""
    if modality not in spec.names:
        sentence = "This model was trained without any and cannot read it: leave it out."
        raise UnusableImage(modality, NOT_READ, sentence)
    return spec.modality(modality)


def read_image(data: bytes, modality: ModalitySpec, size: int, sizes: StoredSizes) -> ReadImage:
    """One file as one modality. Raises UnusableImage."""
    try:
        if modality.kind == "cube":
            return _cube(data, modality, size, sizes)
        return _photograph(data, modality, size, sizes)
    except UnreadableImage as error:
        # The first letter only: units and names in the detail keep theirs.
        sentence = _SENTENCES.get(error.reason_code) or f"{error.detail[:1].upper()}{error.detail[1:]}."
        raise UnusableImage(modality.name, error.reason_code, sentence) from error


def _photograph(data: bytes, modality: ModalitySpec, size: int, sizes: StoredSizes) -> ReadImage:
    stored = stored_color(data, sizes.stored_px)
    # The JPEG and not the pixels it was made from: training saw the JPEG.
    pixels = decode_color(stored.jpeg).pixels
    channels = pixels
    if modality.kind == "hsl":
        channels = resize_cube(pseudo_hsl(pixels), sizes.cube_px).astype(np.float16)
    tensor = to_tensor(modality, channels, size)
    size_of_file = (stored.width, stored.height)
    return ReadImage(modality.name, tensor, pixels, stored.jpeg, *size_of_file, stored.profile_ignored)


def _cube(data: bytes, modality: ModalitySpec, size: int, sizes: StoredSizes) -> ReadImage:
    if data.startswith(_PICTURE_STARTS):
        raise UnreadableImage(
            "cube_wrong_bands", f"a picture of three channels was sent where the model reads {modality.channels} bands"
        )
    cube = read_cube("upload", data, max_values=MAX_UPLOAD_VALUES)
    height, width = cube.reflectance.shape[:2]
    cube = resample_bands(cube, modality.wavelengths_nm or cube.wavelengths_nm)
    if cube.reflectance.shape[2] != modality.channels:
        raise UnreadableImage(
            "cube_wrong_bands", f"the cube has {cube.reflectance.shape[2]} bands, the model reads {modality.channels}"
        )
    pixels = resize_cube(cube.reflectance, sizes.cube_px).astype(np.float16)
    return ReadImage(modality.name, to_tensor(modality, pixels, size), pixels, None, width, height)
