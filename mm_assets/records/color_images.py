"""Safe decoding of photographs to 8-bit RGB, resizing, and the colour JPEG that records store.

Belongs here: everything between the bytes of a JPEG, PNG or BMP file and a square colour image.
Does not belong here: grey films (`images.py`), per-encoder normalisation, and what is done with an image that cannot
be used (the caller writes a quarantine row with the reason code).

Colour is the measurement here: nothing is stretched or equalised, chroma is stored at full resolution, and what was
transparent becomes a neutral grey. An embedded colour profile is applied (`color_profiles.py`); without one, and where
it cannot be used, values are taken as sRGB; whoever decodes is told why and counts it.
"""

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from mm_assets.records.color_profiles import to_srgb
from mm_assets.records.image_files import (
    BMP_START,
    JPEG_START,
    MAX_PIXELS,
    PNG_START,
    load,
    load_bmp,
    load_png,
    no_known_format,
    on_background,
    open_jpeg,
    orientation_of,
    upright,
)
from mm_assets.records.unreadable import UnreadableImage

ColorFormat = Literal["JPEG", "PNG", "BMP"]

# Fewer pixels a side show no lesion: a placeholder, a tracking pixel or a thumbnail's thumbnail.
MIN_SIDE_PX = 16
# Neither skin nor lesion, and no colour cast.
TRANSPARENT_GREY = 128
# How much finer than the stored size a JPEG is decoded (DCT scaling) before the LANCZOS resize.
_DRAFT_FACTOR = 2


@dataclass(frozen=True, eq=False)
class DecodedColor:
    """sRGB pixels (uint8, [H, W, 3]) beside the width and height of the upright original, its format and bits.

    `pixels` is smaller than `height` x `width` where a JPEG was decoded with DCT scaling. `profile_ignored`: why an
    embedded colour profile was not applied; None: there is none, or it was.
    """

    pixels: np.ndarray
    width: int
    height: int
    format: ColorFormat
    bits: int
    profile_ignored: str | None


@dataclass(frozen=True, eq=False)
class StoredColor:
    """The square JPEG of a record, the pixels it was made from ([S, S, 3] uint8), and the original's size in px;
    `profile_ignored` as in `DecodedColor`."""

    jpeg: bytes
    pixels: np.ndarray
    width: int
    height: int
    format: ColorFormat
    profile_ignored: str | None


@dataclass(frozen=True, eq=False)
class _Photograph:
    """As `DecodedColor`, still in Pillow's hands, where resizing is cheapest."""

    image: Image.Image
    width: int
    height: int
    format: ColorFormat
    bits: int
    profile_ignored: str | None


def decode_color(data: bytes, *, max_pixels: int = MAX_PIXELS, draft_px: int | None = None) -> DecodedColor:
    """Decode a JPEG, PNG or BMP file to upright 8-bit RGB; grey becomes three equal channels.

    draft_px: a JPEG may be decoded at 1/2, 1/4 or 1/8 as long as both sides stay >= draft_px.
    16-bit values keep their upper 8 bits. Transparent parts become a neutral grey.

    Raises UnreadableImage: `image_empty`, `image_truncated`, `image_unreadable`, `image_too_large` (found in the
    header, nothing is decoded), `image_too_small` (a side below `MIN_SIDE_PX`), `image_format_unsupported`.
    """
    photograph = _decode(data, max_pixels, draft_px)
    return DecodedColor(
        pixels=np.asarray(photograph.image),
        width=photograph.width,
        height=photograph.height,
        format=photograph.format,
        bits=photograph.bits,
        profile_ignored=photograph.profile_ignored,
    )


def resize_color(pixels: np.ndarray, size: int) -> np.ndarray:
    """[H, W, 3] uint8 squashed to [size, size, 3] with LANCZOS; an image of that size is returned as it is."""
    if pixels.shape[:2] == (size, size):
        return pixels
    return np.asarray(_square(Image.fromarray(pixels), size))


def encode_color_jpeg(pixels: np.ndarray, quality: int = 95) -> bytes:
    """[H, W, 3] uint8 as a JPEG with full-resolution chroma; the same pixels give the same bytes."""
    return _encoded(Image.fromarray(pixels), quality)


def stored_color(data: bytes, size: int, quality: int = 95) -> StoredColor:
    """The photograph of a record: decoded with DCT scaling, squashed to [size, size], encoded as JPEG without any
    of the original's metadata (place, time and camera stay behind). Raises UnreadableImage as `decode_color` does.
    """
    photograph = _decode(data, MAX_PIXELS, _DRAFT_FACTOR * size)
    image = _square(photograph.image, size)
    jpeg = _encoded(image, quality)
    return StoredColor(
        jpeg=jpeg,
        pixels=np.asarray(image),
        width=photograph.width,
        height=photograph.height,
        format=photograph.format,
        profile_ignored=photograph.profile_ignored,
    )


def _square(image: Image.Image, size: int) -> Image.Image:
    if image.size == (size, size):
        return image
    return image.resize((size, size), Image.Resampling.LANCZOS)


def _encoded(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    plain = Image.frombytes("RGB", image.size, image.tobytes())  # no EXIF, no comment, no profile
    plain.save(buffer, format="JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def _decode(data: bytes, max_pixels: int, draft_px: int | None) -> _Photograph:
    image: Image.Image
    form: ColorFormat
    bits, orientation = 8, 1
    if data.startswith(JPEG_START):
        jpeg, form = open_jpeg(data, max_pixels), "JPEG"
        _refuse_too_small(jpeg)
        width, height = jpeg.size
        orientation = orientation_of(jpeg)
        jpeg.draft("RGB", (draft_px, draft_px) if draft_px else jpeg.size)
        load(jpeg, form)
        image = jpeg
    elif data.startswith(PNG_START):
        (png, bits), form = load_png(data, max_pixels), "PNG"
        _refuse_too_small(png)
        width, height = png.size
        orientation = orientation_of(png)
        image = png
    elif data.startswith(BMP_START):
        image, form = load_bmp(data, max_pixels), "BMP"
        _refuse_too_small(image)
        width, height = image.size
    else:
        raise no_known_format(data, "JPEG, PNG nor BMP")
    coloured, ignored = _rgb(image)
    turned_image, turned = upright(coloured, orientation)
    if turned:
        width, height = height, width
    return _Photograph(turned_image, width, height, form, bits, ignored)


def _rgb(image: Image.Image) -> tuple[Image.Image, str | None]:
    """sRGB, and why an embedded profile was not applied."""
    profile, ignored = image.info.get("icc_profile"), None
    if image.mode.startswith("I"):  # 16-bit grey; Pillow itself keeps the upper bits of every other 16-bit kind
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if profile:
        image, ignored = to_srgb(image, profile)
    image = on_background(image, TRANSPARENT_GREY)
    return image if image.mode == "RGB" else image.convert("RGB"), ignored


def _refuse_too_small(image: Image.Image) -> None:
    width, height = image.size
    if min(width, height) < MIN_SIDE_PX:
        raise UnreadableImage("image_too_small", f"{width} x {height} pixels, a side is below {MIN_SIDE_PX}")
