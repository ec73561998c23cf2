"""Safe decoding of image files to 8-bit grey, resizing, and the JPEG that records store.

Belongs here: everything between the bytes of a JPEG, PNG or DICOM file and a square grey image.
Does not belong here: per-encoder size and normalisation (applied when a record is read) and what is done
with an image that cannot be used (the caller writes a quarantine row with the reason code).

The page, the API and the assets all decode here, so that one file looks the same everywhere.
"""

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from mm_assets.records.dicom import decode_dicom, is_dicom
from mm_assets.records.image_files import (
    JPEG_START,
    MAX_PIXELS,
    PNG_START,
    load,
    load_png,
    no_known_format,
    on_background,
    open_jpeg,
    orientation_of,
    upright,
)
from mm_assets.records.intensity import equalize_hist, min_max_to_uint8

ResizeMode = Literal["squash", "letterbox", "crop"]
QualityMode = Literal["default", "fast"]

# How much finer than the stored size a JPEG is decoded (DCT scaling) before the LANCZOS resize.
# Twice: SSIM .9986 against full decoding at half the CPU time; once: .9957 at 2.7 times less.
DRAFT_FACTOR: dict[str, int] = {"default": 2, "fast": 1}
_FILM_BLACK = 0


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """Grey pixels (uint8, [H, W]) beside the width and height of the upright original, its format and bits.

    `pixels` is smaller than `height` x `width` where a JPEG was decoded with DCT scaling.
    """

    pixels: np.ndarray
    width: int
    height: int
    format: Literal["JPEG", "PNG", "DICOM"]
    bits: int


@dataclass(frozen=True, eq=False)
class StoredImage:
    """The square grey JPEG of a record, the pixels it was made from, and the original's size in px."""

    jpeg: bytes
    pixels: np.ndarray
    width: int
    height: int
    format: Literal["JPEG", "PNG", "DICOM"]


@dataclass(frozen=True, eq=False)
class _Film:
    """As `DecodedImage`, still in Pillow's hands: to take the pixels of a full-size film out of it and give them
    back costs a tenth of reducing the film."""

    image: Image.Image
    width: int
    height: int
    format: Literal["JPEG", "PNG", "DICOM"]
    bits: int


def decode_image(
    data: bytes, *, max_pixels: int = MAX_PIXELS, draft_px: int | None = None, equalize: bool = True
) -> DecodedImage:
    """Decode a JPEG, PNG or DICOM file to upright 8-bit grey.

    draft_px: a JPEG may be decoded at 1/2, 1/4 or 1/8 as long as both sides stay >= draft_px.
    equalize: DICOM and 16-bit PNG get the histogram equalisation of MIMIC-CXR-JPG; 8-bit JPEG and PNG
    never do, because the JPG release already has it.

    Colour becomes luminance. Transparent parts become black, which is what a film shows where nothing was
    exposed; the colour hidden below them is arbitrary. 16-bit values are min-max scaled.

    Raises UnreadableImage: `image_empty`, `image_truncated`, `image_unreadable`, `image_too_large` (found in
    the header, nothing is decoded), `image_format_unsupported`.
    A JPEG damaged in the middle but complete decodes with visible damage: the codec does not report it.
    """
    film = _decode(data, max_pixels, draft_px, equalize)
    return DecodedImage(np.asarray(film.image), film.width, film.height, film.format, film.bits)


def resize_square(pixels: np.ndarray, size: int = 518, mode: ResizeMode = "squash") -> np.ndarray:
    """Resize [H, W] uint8 to [size, size] uint8 with LANCZOS; an image of that size is returned as it is.

    squash: both sides to `size` (aspect ratio lost, nothing cut); letterbox: longer side to `size`, black
    bars; crop: the centre square.
    """
    if pixels.shape == (size, size):
        return pixels
    return np.asarray(_square(Image.fromarray(pixels), size, mode))


def encode_jpeg(pixels: np.ndarray, quality: int = 95) -> bytes:
    """[H, W] uint8 as a one-channel JPEG; the same pixels give the same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()


def stored_image(
    data: bytes, size: int = 518, mode: ResizeMode = "squash", quality_mode: QualityMode = "default"
) -> StoredImage:
    """The image of a record: decoded with DCT scaling, resized to a square, encoded as JPEG.

    Films smaller than twice the scaled size are decoded in full, so nothing is lost on them.
    Raises UnreadableImage as `decode_image` does.
    """
    film = _decode(data, MAX_PIXELS, DRAFT_FACTOR[quality_mode] * size, True)
    pixels = np.asarray(_square(film.image, size, mode))
    return StoredImage(encode_jpeg(pixels), pixels, film.width, film.height, film.format)


def _square(image: Image.Image, size: int, mode: ResizeMode) -> Image.Image:
    width, height = image.size
    if (width, height) == (size, size):
        return image
    if mode == "squash":
        return image.resize((size, size), Image.Resampling.LANCZOS)
    if mode == "crop":
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
        return image.resize((size, size), Image.Resampling.LANCZOS, box=box)
    if mode == "letterbox":
        scale = size / max(height, width)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        framed = Image.new("L", (size, size))
        corner = ((size - inner[0]) // 2, (size - inner[1]) // 2)
        framed.paste(image.resize(inner, Image.Resampling.LANCZOS), corner)
        return framed
    raise ValueError(f"resize mode {mode!r} is none of squash, letterbox, crop")


def _decode(data: bytes, max_pixels: int, draft_px: int | None, equalize: bool) -> _Film:
    if data.startswith(JPEG_START):
        return _decode_jpeg(data, max_pixels, draft_px)
    if data.startswith(PNG_START):
        return _decode_png(data, max_pixels, equalize)
    if is_dicom(data):
        film = decode_dicom(data, max_pixels=max_pixels, equalize=equalize)
        height, width = film.pixels.shape
        return _Film(Image.fromarray(film.pixels), width, height, "DICOM", film.bits)
    raise no_known_format(data, "JPEG, PNG nor DICOM")


def _decode_jpeg(data: bytes, max_pixels: int, draft_px: int | None) -> _Film:
    image = open_jpeg(data, max_pixels)
    width, height = image.size
    orientation = orientation_of(image)
    image.draft("L", (draft_px, draft_px) if draft_px else image.size)
    load(image, "JPEG")
    # Convert copies even what is grey already.
    turned_image, turned = upright(image if image.mode == "L" else image.convert("L"), orientation)
    if turned:
        width, height = height, width
    return _Film(turned_image, width, height, "JPEG", 8)


def _decode_png(data: bytes, max_pixels: int, equalize: bool) -> _Film:
    image, bits = load_png(data, max_pixels)
    orientation = orientation_of(image)
    if image.mode.startswith("I"):
        grey = min_max_to_uint8(np.asarray(image))
    else:
        # Pillow keeps the upper 8 of 16 bits in colour and in grey with alpha.
        grey = np.asarray(on_background(image, _FILM_BLACK).convert("L"))
        if bits == 16:
            grey = min_max_to_uint8(grey)
    if bits == 16 and equalize:
        grey = equalize_hist(grey)
    film, _ = upright(Image.fromarray(grey), orientation)
    return _Film(film, film.width, film.height, "PNG", bits)
