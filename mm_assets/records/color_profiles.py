"""An image's embedded ICC colour profile, applied: values of any calibrated camera or scanner become sRGB.

Belongs here: reading a profile that a stranger sent, and the conversion. Does not belong here: decoding
(`color_images.py`), and any correction of colours that no profile describes.
"""

import io
import struct
import zlib

from PIL import Image, ImageCms

# Profiles of printing presses have 2 MB; more is no description of colours.
MAX_PROFILE_BYTES = 4_000_000
# Colour space of a profile (ICC.1:2022, table 19) -> modes of Pillow whose values it can describe. A grey image may
# carry a colour profile: its three channels are equal.
_DESCRIBED = {"RGB": ("RGB", "RGBA", "P", "PA", "L", "LA", "1"), "GRAY": ("L", "LA", "1"), "CMYK": ("CMYK",)}


# Of a PNG: signature; length and name before a chunk's data, checksum behind them.
_PNG_SIGNATURE, _CHUNK_HEAD, _CHUNK_TAIL = 8, struct.Struct(">I4s"), struct.Struct(">I")


def png_without_profile(data: bytes) -> tuple[bytes, bytes | None]:
    """A PNG file as it would be without its colour profile, and that profile; None: it has none.

    Pillow refuses a whole PNG for a profile above 1 MB, and drops one that is damaged without a word. Of a profile
    above `MAX_PROFILE_BYTES` only so much is unpacked that it is seen to be too large. A chunk that is cut off or has
    a wrong checksum is left where it is: such a file is damaged, and its decoder says so.
    """
    at = _PNG_SIGNATURE
    while at + _CHUNK_HEAD.size <= len(data):
        length, name = _CHUNK_HEAD.unpack_from(data, at)
        start, end = at + _CHUNK_HEAD.size, at + _CHUNK_HEAD.size + length
        after = end + _CHUNK_TAIL.size
        if name == b"IDAT" or after > len(data):
            break
        if name == b"iCCP":
            if _CHUNK_TAIL.unpack_from(data, end) != (zlib.crc32(data[at + 4 : end]),):
                break
            return data[:at] + data[after:], _unpacked(data[start:end])
        at = after
    return data, None


def _unpacked(chunk: bytes) -> bytes:
    """The profile of an iCCP chunk (name, a zero byte, method 0, deflated bytes); what cannot be unpacked is no profile
    that anything can read."""
    _, _, packed = chunk.partition(b"\0")
    try:
        return zlib.decompressobj().decompress(packed[1:], MAX_PROFILE_BYTES + 1)
    except zlib.error:
        return packed


def to_srgb(image: Image.Image, profile: bytes) -> tuple[Image.Image, str | None]:
    """An 8-bit image with its colours in sRGB (mode RGB, or RGBA where it has transparent parts), and None.

    Where the profile cannot be used: the image as it is, and the reason in a few words. The conversion is relative
    colorimetric: white stays white, and colours that both spaces have are kept exactly.
    """
    if len(profile) > MAX_PROFILE_BYTES:
        return image, "it is too large"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
    except (OSError, ValueError):
        return image, "it cannot be read"
    if image.mode not in _DESCRIBED.get(space, ()):
        return image, f"it describes {space} and the image is {image.mode}"
    # Transparency is no colour: it goes around the conversion.
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[space]
    try:
        converted = ImageCms.profileToProfile(
            image.convert(mode), source, ImageCms.createProfile("sRGB"), outputMode="RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )  # fmt: skip
    except ImageCms.PyCMSError:
        return image, "it has no conversion to sRGB"
    assert converted is not None  # only a conversion in place gives nothing back
    if alpha is not None:
        converted.putalpha(alpha)
    return converted, None
