import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.data import get_testdata_file

from mm_assets.records.images import decode_image, encode_jpeg, resize_square, stored_image
from mm_assets.records.unreadable import UnreadableImage


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.rint(128 + 60 * np.sin(5 * x) + 60 * np.cos(4 * y)).astype(np.uint8)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of_size(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def reason(data: bytes, **options: object) -> str:
    with pytest.raises(UnreadableImage) as caught:
        decode_image(data, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return caught.value.reason_code


@pytest.fixture(scope="module")
def film() -> bytes:
    return encode_jpeg(smooth(640, 512))


def test_jpeg_keeps_pixels_and_size(film: bytes) -> None:
    decoded = decode_image(film)
    assert (decoded.width, decoded.height, decoded.format, decoded.bits) == (512, 640, "JPEG", 8)
    assert np.array_equal(decoded.pixels, np.asarray(Image.open(io.BytesIO(film))))


def test_draft_halves_the_pixels_but_not_the_reported_size(film: bytes) -> None:
    decoded = decode_image(film, draft_px=200)
    assert decoded.pixels.shape == (320, 256)
    assert (decoded.width, decoded.height) == (512, 640)


def test_draft_never_goes_below_the_asked_size(film: bytes) -> None:
    assert decode_image(film, draft_px=300).pixels.shape == (640, 512)


def test_colour_jpeg_becomes_luminance() -> None:
    colour = np.zeros((64, 64, 3), dtype=np.uint8)
    colour[..., 1] = 200
    pixels = decode_image(saved(Image.fromarray(colour), "JPEG", quality=95)).pixels
    assert abs(float(pixels.mean()) - 0.587 * 200) < 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    image = Image.fromarray(smooth(48, 96))
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_image(saved(image, kind, exif=exif, **({"quality": 100} if kind == "JPEG" else {})))
    turns: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: np.transpose,
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).T,
        8: np.rot90,
    }
    expected = turns[orientation](smooth(48, 96))
    assert decoded.pixels.shape == expected.shape == (decoded.height, decoded.width)
    assert np.abs(decoded.pixels.astype(int) - expected.astype(int)).max() <= 3


def test_16_bit_png_is_stretched_from_its_darkest_to_its_brightest_value() -> None:
    ramp = np.linspace(1000, 5095, 64 * 64).reshape(64, 64).astype(np.uint16)
    decoded = decode_image(saved(Image.fromarray(ramp), "PNG"), equalize=False)
    expected = np.rint((ramp.astype(float) - 1000) * 255 / 4095)
    assert decoded.bits == 16
    assert np.array_equal(decoded.pixels, expected.astype(np.uint8))


def test_16_bit_png_is_equalised_by_default_and_8_bit_png_is_not() -> None:
    dark = (smooth(64, 64).astype(np.uint16) ** 2) // 8
    assert decode_image(saved(Image.fromarray(dark), "PNG")).pixels.mean() == pytest.approx(127.5, abs=6)
    dim = smooth(64, 64) // 4
    assert np.array_equal(decode_image(saved(Image.fromarray(dim), "PNG")).pixels, dim)


def test_transparent_pixels_become_black_and_do_not_reveal_what_is_below() -> None:
    rgba = np.full((8, 8, 4), 255, dtype=np.uint8)
    rgba[:, :4, 3] = 0
    pixels = decode_image(saved(Image.fromarray(rgba), "PNG")).pixels
    assert (pixels[:, :4] == 0).all() and (pixels[:, 4:] == 255).all()


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGB", "L"])
def test_png_modes_give_grey(mode: str) -> None:
    image = Image.fromarray(np.repeat(smooth(32, 32)[..., None], 3, axis=2)).convert("L").convert(mode)
    assert decode_image(saved(image, "PNG")).pixels.shape == (32, 32)


def test_a_png_bomb_is_refused_by_its_header() -> None:
    assert reason(png_of_size(100_000, 100_000)) == "image_too_large"


def test_the_pixel_limit_holds_where_pillow_would_only_warn(film: bytes) -> None:
    assert reason(film, max_pixels=640 * 512 - 1) == "image_too_large"
    assert decode_image(film, max_pixels=640 * 512).width == 512


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "image_empty"),
        (b"\0" * 500, "image_unreadable"),
        (b"hello", "image_unreadable"),
        (b"GIF89a" + b"\0" * 50, "image_format_unsupported"),
        (b"<html><body>401", "image_format_unsupported"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 100 + b"\xff\xd9", "image_unreadable"),
    ],
)
def test_reasons(data: bytes, code: str) -> None:
    assert reason(data) == code


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.7, 0.98])
def test_a_cut_file_is_truncated(film: bytes, kept: float) -> None:
    png = saved(Image.fromarray(smooth(200, 200)), "PNG")
    assert reason(film[: int(len(film) * kept)]) == "image_truncated"
    assert reason(png[: int(len(png) * kept)]) == "image_truncated"


def test_a_file_whose_tail_was_never_written_is_truncated(film: bytes) -> None:
    half = len(film) // 2
    assert reason(film[:half] + b"\0" * half) == "image_truncated"


@settings(max_examples=50, deadline=None)
@given(position=st.integers(0, 10_000), value=st.integers(0, 255), cut=st.integers(0, 10_000), png=st.booleans())
def test_damaged_files_decode_or_say_why(position: int, value: int, cut: int, png: bool) -> None:
    image = Image.fromarray(smooth(40, 60))
    data = bytearray(saved(image, "PNG" if png else "JPEG"))
    data[position % len(data)] = value
    try:
        decoded = decode_image(bytes(data[: max(1, len(data) - cut % 200)]), max_pixels=1_000_000)
    except UnreadableImage:
        return
    assert decoded.pixels.dtype == np.uint8 and decoded.pixels.ndim == 2


def test_squash_letterbox_and_crop_place_the_film() -> None:
    wide = np.full((100, 200), 200, dtype=np.uint8)
    wide[:, :50] = 50
    squash, box, crop = (resize_square(wide, 40, mode) for mode in ("squash", "letterbox", "crop"))
    assert squash.shape == box.shape == crop.shape == (40, 40)
    assert squash[20, 5] == 50 and squash[20, 35] == 200
    assert (box[:10] == 0).all() and (box[30:] == 0).all() and box[20, 5] == 50
    assert (crop[:, 3:] == 200).all()  # the dark quarter lies outside the centre square


def test_unknown_resize_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="letterbox"):
        resize_square(np.zeros((4, 5), dtype=np.uint8), 4, "stretch")  # type: ignore[arg-type]


def test_a_film_of_the_stored_size_is_not_resampled() -> None:
    data = encode_jpeg(smooth(518, 518))
    assert np.array_equal(stored_image(data).pixels, decode_image(data).pixels)


def test_stored_image_is_one_channel_square_and_keeps_the_original_size() -> None:
    stored = stored_image(encode_jpeg(smooth(1300, 1100)), 128)
    image = Image.open(io.BytesIO(stored.jpeg))
    assert (image.size, image.mode, image.format) == ((128, 128), "L", "JPEG")
    assert (stored.width, stored.height, stored.format) == (1100, 1300, "JPEG")


@pytest.mark.parametrize(("quality_mode", "most"), [("default", 2), ("fast", 6)])
def test_dct_scaling_stays_close_to_full_decoding(quality_mode: str, most: int) -> None:
    data = encode_jpeg(smooth(1300, 1100))
    reference = resize_square(decode_image(data).pixels, 128).astype(int)
    stored = stored_image(data, 128, quality_mode=quality_mode)  # type: ignore[arg-type]
    assert np.abs(stored.pixels - reference).max() <= most


def test_the_same_file_gives_the_same_bytes(film: bytes) -> None:
    assert stored_image(film, 64).jpeg == stored_image(film, 64).jpeg


def test_a_real_chest_film_in_dicom() -> None:
    path = get_testdata_file("RG1_UNCR.dcm", download=False)
    assert path, "pydicom-data ships this film"
    stored = stored_image(Path(str(path)).read_bytes(), 256)
    assert (stored.width, stored.height, stored.format) == (1841, 1955, "DICOM")
    lungs, spine = stored.pixels[80:120, 60:90].mean(), stored.pixels[80:120, 120:136].mean()
    assert lungs + 80 < spine  # MONOCHROME1 was inverted: air is dark, bone is bright
