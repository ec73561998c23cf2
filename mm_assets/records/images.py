"""Safe decoding of image files to 8-bit grey, resizing, and the JPEG that records store.

Belongs here: everything between the bytes of a JPEG, PNG or DICOM file and a square grey image.
Does not belong here: per-encoder size and normalisation (applied when a record is read) and what is done
with an image that cannot be used (the caller writes a quarantine row with the reason code).

The page, the API and the assets all decode here, so that one file looks the same everywhere.
"""

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from mm_assets.records.dicom import decode_dicom, is_dicom
from mm_assets.records.intensity import equalize_hist, min_max_to_uint8
from mm_assets.records.unreadable import UnreadableImage

ResizeMode = Literal["squash", "letterbox", "crop"]
QualityMode = Literal["default", "fast"]

# How much finer than the stored size a JPEG is decoded (DCT scaling) before the LANCZOS resize.
# Twice: SSIM .9986 against full decoding at half the CPU time; once: .9957 at 2.7 times less.
DRAFT_FACTOR: dict[str, int] = {"default": 2, "fast": 1}
MAX_PIXELS = 60_000_000  # seven times a full-size chest film

_JPEG_START = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"
_PNG_START = b"\x89PNG\r\n\x1a\n"
# Formats people do send, told apart from damaged files.
_OTHER_STARTS: dict[bytes, str] = {
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"RIFF": "WebP",
    b"\0\0\0\x0cjP": "JPEG 2000",
    b"%PDF": "PDF",
    b"<": "HTML or XML",
}
_EXIF_ORIENTATION = 0x0112
_UPRIGHT: dict[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


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
    if not data:
        raise UnreadableImage("image_empty", "the file has no bytes")
    if data.startswith(_JPEG_START):
        return _decode_jpeg(data, max_pixels, draft_px)
    if data.startswith(_PNG_START):
        return _decode_png(data, max_pixels, equalize)
    if is_dicom(data):
        film = decode_dicom(data, max_pixels=max_pixels, equalize=equalize)
        height, width = film.pixels.shape
        return _Film(Image.fromarray(film.pixels), width, height, "DICOM", film.bits)
    for start, name in _OTHER_STARTS.items():
        if data.startswith(start):
            raise UnreadableImage("image_format_unsupported", f"the file looks like {name}")
    raise UnreadableImage("image_unreadable", f"neither JPEG, PNG nor DICOM (starts with {data[:8].hex()})")


def _decode_jpeg(data: bytes, max_pixels: int, draft_px: int | None) -> _Film:
    # A download whose tail was never written decodes to a plausible half film: the end marker tells.
    if data.rfind(_JPEG_END) < len(data) // 2:
        raise UnreadableImage("image_truncated", "the JPEG has no end marker")
    # The plugin's own class, not Image.open: its pixel limit is a process-wide warning, ours an argument.
    try:
        image = JpegImageFile(io.BytesIO(data))
    except (SyntaxError, OSError, ValueError, struct.error) as error:
        raise UnreadableImage("image_unreadable", f"JPEG header: {error}") from error
    width, height = image.size
    _refuse_too_large(width, height, max_pixels)
    orientation = _orientation(image)
    image.draft("L", (draft_px, draft_px) if draft_px else image.size)
    _load(image, "JPEG")
    # Convert copies even what is grey already.
    upright, turned = _upright(image if image.mode == "L" else image.convert("L"), orientation)
    if turned:
        width, height = height, width
    return _Film(upright, width, height, "JPEG", 8)


def _decode_png(data: bytes, max_pixels: int, equalize: bool) -> _Film:
    try:
        image = PngImageFile(io.BytesIO(data))
    except (SyntaxError, OSError, ValueError, struct.error, zlib.error) as error:
        reason = "image_truncated" if len(data) < 33 else "image_unreadable"  # signature and header chunk
        raise UnreadableImage(reason, f"PNG header: {error}") from error
    _refuse_too_large(*image.size, max_pixels)
    bits = data[24]  # the IHDR chunk is first and has the depth in its ninth byte
    _load(image, "PNG")
    orientation = _orientation(image)
    if image.mode.startswith("I"):
        grey = min_max_to_uint8(np.asarray(image))
    else:
        # Pillow keeps the upper 8 of 16 bits in colour and in grey with alpha.
        grey = np.asarray(_on_black(image).convert("L"))
        if bits == 16:
            grey = min_max_to_uint8(grey)
    if bits == 16 and equalize:
        grey = equalize_hist(grey)
    upright, _ = _upright(Image.fromarray(grey), orientation)
    return _Film(upright, upright.width, upright.height, "PNG", bits)


def _refuse_too_large(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise UnreadableImage("image_too_large", f"{width} x {height} pixels, more than {max_pixels:,}")


def _load(image: JpegImageFile | PngImageFile, name: str) -> None:
    try:
        image.load()
    except (OSError, SyntaxError, ValueError, IndexError, struct.error, zlib.error, EOFError) as error:
        # Pillow has no type for a file that ends too early, only words.
        early = isinstance(error, EOFError) or "truncated" in str(error) or "incomplete" in str(error)
        reason = "image_truncated" if early else "image_unreadable"
        raise UnreadableImage(reason, f"{name}: {error}") from error


def _orientation(image: JpegImageFile | PngImageFile) -> int:
    """EXIF orientation 1 to 8; an unreadable EXIF block counts as none, because the pixels are still good."""
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except (SyntaxError, ValueError, KeyError, TypeError, OSError, struct.error):
        return 1
    return value if value in _UPRIGHT else 1


def _upright(image: Image.Image, orientation: int) -> tuple[Image.Image, bool]:
    """The film as the camera saw it, and whether width and height changed places."""
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    return image, orientation >= 5


def _on_black(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, image.convert("RGBA"))
