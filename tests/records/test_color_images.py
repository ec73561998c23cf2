import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mm_assets.records.color_images import (
    TRANSPARENT_GREY,
    decode_color,
    encode_color_jpeg,
    resize_color,
    stored_color,
)
from mm_assets.records.unreadable import UnreadableImage

FORMATS = ["JPEG", "PNG", "BMP"]


def skin(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    red, green, blue = 200 + 20 * np.sin(3 * x), 150 + 20 * np.cos(4 * y), 120 + 15 * x
    return np.rint(np.stack([red, green, blue], axis=-1)).astype(np.uint8)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(values: np.ndarray, depth: int, colour_type: int, size: tuple[int, int] | None = None) -> bytes:
    height, width = values.shape[:2]
    stored = values.astype(">u2" if depth == 16 else "u1")
    rows = b"".join(b"\0" + stored[row].tobytes() for row in range(height))
    width, height = size or (width, height)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def bmp_of_size(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, *[0] * 6)


def reason(data: bytes, **options: int) -> str:
    with pytest.raises(UnreadableImage) as caught:
        decode_color(data, **options)
    assert "\n" not in str(caught.value)
    return caught.value.reason_code


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_lossless_files_keep_every_pixel(kind: str) -> None:
    decoded = decode_color(saved(Image.fromarray(skin(40, 60)), kind))
    assert np.array_equal(decoded.pixels, skin(40, 60))
    assert (decoded.width, decoded.height, decoded.format, decoded.bits) == (60, 40, kind, 8)


def test_jpeg_stays_close_and_keeps_its_size_when_decoded_smaller() -> None:
    data = saved(Image.fromarray(skin(640, 512)), "JPEG", quality=95)
    assert np.abs(decode_color(data).pixels.astype(int) - skin(640, 512)).max() <= 6
    draft = decode_color(data, draft_px=200)
    assert draft.pixels.shape == (320, 256, 3) and (draft.width, draft.height) == (512, 640)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_grey_and_palette_become_three_channels(kind: str, mode: str) -> None:
    image = Image.fromarray(skin(32, 32)).convert(mode)
    if kind == "JPEG" and mode == "P":
        image = image.convert("CMYK")
    assert decode_color(saved(image, kind)).pixels.shape == (32, 32, 3)


def test_a_grey_photograph_has_equal_channels() -> None:
    pixels = decode_color(saved(Image.fromarray(skin(32, 32)).convert("L"), "PNG")).pixels
    assert (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_become_neutral_grey(mode: str) -> None:
    rgba = np.full((20, 20, 4), 255, dtype=np.uint8)
    rgba[:, :10, 3] = 0
    pixels = decode_color(saved(Image.fromarray(rgba).convert(mode), "PNG")).pixels
    assert (pixels[:, :10] == TRANSPARENT_GREY).all() and (pixels[:, 10:] == 255).all()


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bit_png_keeps_its_upper_8_bits_unstretched(colour_type: int, channels: int) -> None:
    values = np.full((20, 20, channels), 0x40FF)
    if channels in (2, 4):
        values[..., -1] = 0xFFFF
    decoded = decode_color(png(values, 16, colour_type))
    assert decoded.bits == 16 and (decoded.pixels == 0x40).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    decoded = decode_color(saved(Image.fromarray(skin(48, 96)), kind, exif=exif, **options))
    turns: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: np.rot90,
    }
    expected = turns[orientation](skin(48, 96))
    assert decoded.pixels.shape == expected.shape == (decoded.height, decoded.width, 3)
    assert np.abs(decoded.pixels.astype(int) - expected).max() <= 4


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "image_empty"),
        (b"\0" * 500, "image_unreadable"),
        (b"hello", "image_unreadable"),
        (b"GIF89a" + b"\0" * 50, "image_format_unsupported"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 50, "image_format_unsupported"),
        (b"<html><body>401", "image_format_unsupported"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 100 + b"\xff\xd9", "image_unreadable"),
        (b"BM" + b"\xff" * 200, "image_unreadable"),
    ],
)
def test_reasons(data: bytes, code: str) -> None:
    assert reason(data) == code


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.7, 0.98])
def test_a_cut_file_is_truncated(kind: str, kept: float) -> None:
    noisy = np.random.default_rng(0).integers(0, 255, (100, 100, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noisy), kind)
    assert reason(data[: int(len(data) * kept)]) == "image_truncated"


@pytest.mark.parametrize("data", [png(np.zeros((1, 1)), 8, 0, (30_000, 30_000)), bmp_of_size(30_000, 30_000)])
def test_30000_pixels_a_side_are_refused_by_the_header(data: bytes) -> None:
    assert reason(data) == "image_too_large"


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (15, 400), (400, 15)])
def test_a_side_of_a_few_pixels_is_too_small(kind: str, size: tuple[int, int]) -> None:
    assert reason(saved(Image.new("RGB", size), kind)) == "image_too_small"


def test_the_pixel_limit_is_the_callers() -> None:
    data = saved(Image.fromarray(skin(40, 50)), "PNG")
    assert reason(data, max_pixels=1999) == "image_too_large"
    assert decode_color(data, max_pixels=2000).width == 50


@settings(max_examples=60, deadline=None)
@given(
    position=st.integers(0, 10_000), value=st.integers(0, 255), cut=st.integers(0, 300), kind=st.sampled_from(FORMATS)
)
def test_damaged_files_decode_or_say_why(position: int, value: int, cut: int, kind: str) -> None:
    data = bytearray(saved(Image.fromarray(skin(30, 40)), kind))
    data[position % min(len(data), 1000)] = value
    try:
        decoded = decode_color(bytes(data[: max(1, len(data) - cut)]), max_pixels=1_000_000)
    except UnreadableImage:
        return
    assert decoded.pixels.dtype == np.uint8 and decoded.pixels.shape[2] == 3


def test_the_stored_photograph_is_square_and_drops_the_originals_metadata() -> None:
    exif = Image.Exif()
    exif[0x010E] = "Jane Doe"
    data = saved(Image.fromarray(skin(300, 200)), "JPEG", exif=exif, comment=b"Jane Doe", icc_profile=b"x" * 200)
    stored = stored_color(data, 64)
    image = Image.open(io.BytesIO(stored.jpeg))
    assert (image.size, image.mode, image.format) == ((64, 64), "RGB", "JPEG")
    assert (stored.width, stored.height, stored.format) == (200, 300, "JPEG")
    assert b"Jane" not in stored.jpeg and "icc_profile" not in image.info and not image.getexif()
    assert stored_color(data, 64).jpeg == stored.jpeg


def test_colour_survives_storing() -> None:
    # Red beside blue: with halved chroma both sides of the border would turn violet.
    pixels = np.zeros((64, 64, 3), dtype=np.uint8)
    pixels[:, :33, 0], pixels[:, 33:, 2] = 255, 255
    stored = decode_color(stored_color(saved(Image.fromarray(pixels), "PNG"), 64, quality=95).jpeg).pixels
    assert np.abs(stored.astype(int) - pixels).mean() < 2


def test_resizing_and_encoding_of_pixels() -> None:
    pixels = skin(100, 60)
    assert resize_color(pixels, 32).shape == (32, 32, 3)
    assert np.array_equal(resize_color(skin(32, 32), 32), skin(32, 32))
    assert decode_color(encode_color_jpeg(pixels)).pixels.shape == (100, 60, 3)
