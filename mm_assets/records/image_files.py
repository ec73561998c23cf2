"""Opening image files that strangers send: headers, limits, truncation and orientation, in grey and in colour alike.

Belongs here: from bytes to a loaded, upright Pillow image, or the reason why there is none.
Does not belong here: what becomes of the pixels (`images.py`: grey films; `color_images.py`: photographs).
"""

import io
import struct
import zlib

from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from mm_assets.records.color_profiles import png_without_profile
from mm_assets.records.unreadable import UnreadableImage

MAX_PIXELS = 60_000_000  # seven times a full-size chest film

JPEG_START = b"\xff\xd8\xff"
PNG_START = b"\x89PNG\r\n\x1a\n"
BMP_START = b"BM"
_JPEG_END = b"\xff\xd9"
# Formats people do send, told apart from damaged files.
_OTHER_STARTS: dict[bytes, str] = {
    b"GIF8": "GIF",
    BMP_START: "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"RIFF": "WebP",
    b"\0\0\0\x0cjP": "JPEG 2000",
    b"%PDF": "PDF",
    b"<": "HTML or XML",
}
_HEIC_BRANDS = (b"heic", b"heix", b"mif1", b"avif")
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
_HEADER_ERRORS = (SyntaxError, OSError, ValueError, KeyError, OverflowError, struct.error, zlib.error)


def open_jpeg(data: bytes, max_pixels: int) -> JpegImageFile:
    """The header of a JPEG file, nothing decoded yet, so that a `draft` can still be asked for.

    Raises UnreadableImage: `image_truncated` without an end marker, `image_unreadable`, `image_too_large`.
    """
    # A download whose tail was never written decodes to a plausible half picture: the end marker tells.
    if data.rfind(_JPEG_END) < len(data) // 2:
        raise UnreadableImage("image_truncated", "the JPEG has no end marker")
    # The plugin's own class, not Image.open: its pixel limit is a process-wide warning, ours an argument.
    try:
        image = JpegImageFile(io.BytesIO(data))
    except _HEADER_ERRORS as error:
        raise UnreadableImage("image_unreadable", f"JPEG header: {error}") from error
    _refuse_too_large(image, max_pixels)
    return image


def load_png(data: bytes, max_pixels: int) -> tuple[PngImageFile, int]:
    """A decoded PNG in its own mode, and its bits per channel (1, 2, 4, 8, 16); a colour profile, of whatever size, is
    in its `info["icc_profile"]`.

    Raises UnreadableImage: `image_truncated`, `image_unreadable`, `image_too_large`.
    """
    file, profile = png_without_profile(data)
    try:
        image = PngImageFile(io.BytesIO(file))
    except _HEADER_ERRORS as error:
        reason = "image_truncated" if len(data) < 33 else "image_unreadable"  # signature and header chunk
        raise UnreadableImage(reason, f"PNG header: {error}") from error
    _refuse_too_large(image, max_pixels)
    load(image, "PNG")
    if profile is not None:
        image.info["icc_profile"] = profile
    return image, data[24]  # the IHDR chunk is first and has the depth in its ninth byte


def load_bmp(data: bytes, max_pixels: int) -> BmpImageFile:
    """A decoded BMP in its own mode. Raises UnreadableImage as `load_png` does."""
    try:
        image = BmpImageFile(io.BytesIO(data))
    except _HEADER_ERRORS as error:
        reason = "image_truncated" if len(data) < 54 else "image_unreadable"  # the two headers of the usual kind
        raise UnreadableImage(reason, f"BMP header: {error}") from error
    _refuse_too_large(image, max_pixels)
    load(image, "BMP")
    return image


def load(image: Image.Image, name: str) -> None:
    """Decode the pixels; raises UnreadableImage `image_truncated` or `image_unreadable`."""
    try:
        image.load()
    except (*_HEADER_ERRORS, IndexError, EOFError) as error:
        # Pillow has no type for a file that ends too early, only words.
        words = str(error).lower()
        early = isinstance(error, EOFError) or "truncated" in words or "incomplete" in words
        reason = "image_truncated" if early else "image_unreadable"
        raise UnreadableImage(reason, f"{name}: {error}") from error


def orientation_of(image: JpegImageFile | PngImageFile) -> int:
    """EXIF orientation 1 to 8; an unreadable EXIF block counts as none, because the pixels are still good."""
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except (SyntaxError, ValueError, KeyError, TypeError, OSError, struct.error):
        return 1
    return value if value in _UPRIGHT else 1


def upright(image: Image.Image, orientation: int) -> tuple[Image.Image, bool]:
    """The picture as the camera saw it, and whether width and height changed places."""
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    return image, orientation >= 5


def on_background(image: Image.Image, grey: int) -> Image.Image:
    """The image with its transparent parts filled by a grey level; as it is where it has none.

    The colour hidden below transparent pixels is arbitrary and must not show through.
    """
    if not image.has_transparency_data:
        return image
    background = Image.new("RGBA", image.size, (grey, grey, grey, 255))
    return Image.alpha_composite(background, image.convert("RGBA"))


def no_known_format(data: bytes, accepted: str) -> UnreadableImage:
    """Why bytes in none of the accepted formats are refused; `accepted`: as in "JPEG, PNG nor BMP"."""
    if not data:
        return UnreadableImage("image_empty", "the file has no bytes")
    for start, name in _OTHER_STARTS.items():
        if data.startswith(start):
            return UnreadableImage("image_format_unsupported", f"the file looks like {name}")
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS:
        return UnreadableImage("image_format_unsupported", "the file looks like HEIC or AVIF")
    return UnreadableImage("image_unreadable", f"neither {accepted} (starts with {data[:8].hex()})")


def _refuse_too_large(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise UnreadableImage("image_too_large", f"{width} x {height} pixels, more than {max_pixels:,}")
