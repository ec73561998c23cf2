"""An embedded profile changes colours to what they stand for; one that cannot be used is told."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from mm_assets.records import color_profiles
from mm_assets.records.color_images import TRANSPARENT_GREY, decode_color, stored_color
from mm_assets.records.color_profiles import MAX_PROFILE_BYTES
from mm_assets.records.images import decode_image
from mm_assets.records.unreadable import UnreadableImage

# Adobe RGB (1998), adapted to D50 as profiles are: red, green and blue as X, Y, Z.
ADOBE = np.array([[0.60974, 0.31111, 0.01947], [0.20528, 0.62567, 0.06087], [0.14919, 0.06322, 0.74457]])
SRGB = np.array([[0.43607, 0.22249, 0.01392], [0.38515, 0.71687, 0.09708], [0.14307, 0.06061, 0.71410]])
GAMMA = 563 / 256
D50 = (0.9642, 1.0, 0.8249)


def profile_of(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """The bytes of an ICC display profile of version 2.1."""
    texts = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + b"\0" * 78, b"cprt": b"text\0\0\0\0none\0"}
    blocks = {**texts, b"wtpt": xyz(D50), **tags}
    table, body = struct.pack(">I", len(blocks)), b""
    start = 128 + 4 + 12 * len(blocks)
    for name, block in blocks.items():
        table += name + struct.pack(">II", start + len(body), len(block))
        body += block + b"\0" * (-len(block) % 4)
    size = struct.pack(">I", start + len(body))
    header = size + b"\0\0\0\0" + b"\x02\x10\0\0" + b"mntr" + space + b"XYZ " + b"\0" * 12 + b"acsp" + b"\0" * 28
    return header + b"".join(struct.pack(">i", round(v * 65536)) for v in D50) + b"\0" * 48 + table + body


def xyz(values: tuple[float, ...] | np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(float(v) * 65536)) for v in values)


def curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def adobe_like() -> bytes:
    colorants = {name: xyz(row) for name, row in zip((b"rXYZ", b"gXYZ", b"bXYZ"), ADOBE, strict=True)}
    return profile_of(b"RGB ", {**colorants, **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve(GAMMA))})


def gray_of(gamma: float) -> bytes:
    return profile_of(b"GRAY", {b"kTRC": curve(gamma)})


def as_srgb(values: np.ndarray) -> np.ndarray:
    """Adobe RGB values 0 to 255 as sRGB, by the definitions of both."""
    linear = np.clip((values / 255) ** GAMMA @ ADOBE @ np.linalg.inv(SRGB), 0, 1)
    return 255 * encoded(linear)


def encoded(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def saved(image: Image.Image, kind: str, profile: bytes) -> bytes:
    buffer = io.BytesIO()
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    image.save(buffer, kind, icc_profile=profile, **options)
    return buffer.getvalue()


def skin(side: int = 32) -> np.ndarray:
    """Skin colours, inside both spaces."""
    y, x = np.mgrid[0 : 1 : side * 1j, 0 : 1 : side * 1j]
    return np.rint(np.stack([190 + 30 * x, 140 + 30 * y, 110 + 20 * x], axis=-1)).astype(np.uint8)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_photograph_of_a_wider_space_is_brought_to_srgb(kind: str) -> None:
    decoded = decode_color(saved(Image.fromarray(skin()), kind, adobe_like()))
    assert decoded.profile_ignored is None
    expected = as_srgb(skin())
    # Adobe's red of skin is a stronger red in sRGB: unconverted, the picture would be paler.
    assert (expected[..., 0] - skin()[..., 0]).mean() > 5
    assert np.abs(decoded.pixels - expected).max() <= (4 if kind == "JPEG" else 1.5)


def test_what_is_stored_is_srgb_and_has_no_profile() -> None:
    stored = stored_color(saved(Image.fromarray(skin(64)), "JPEG", adobe_like()), 32)
    assert np.abs(stored.pixels.mean((0, 1)) - as_srgb(skin(64)).mean((0, 1))).max() < 2
    assert "icc_profile" not in Image.open(io.BytesIO(stored.jpeg)).info


def test_a_profile_of_srgb_changes_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    decoded = decode_color(saved(Image.fromarray(skin()), "PNG", srgb))
    assert np.abs(decoded.pixels.astype(int) - skin()).max() <= 1 and decoded.profile_ignored is None


def test_a_grey_image_is_read_by_a_grey_profile() -> None:
    grey = np.tile(np.arange(16, 240, 7, dtype=np.uint8), (32, 1))
    decoded = decode_color(saved(Image.fromarray(grey), "PNG", gray_of(1.0)))
    assert np.abs(decoded.pixels[..., 0] - 255 * encoded(grey / 255)).max() <= 1.5
    assert (decoded.pixels[..., 0] == decoded.pixels[..., 2]).all()


def test_a_grey_image_may_have_a_profile_of_colours() -> None:
    decoded = decode_color(saved(Image.new("L", (32, 32), 100), "PNG", adobe_like()))
    assert decoded.profile_ignored is None
    assert np.abs(decoded.pixels - as_srgb(np.full(3, 100.0))).max() <= 1.5


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_transparent_parts_stay_transparent_and_become_the_same_grey(mode: str) -> None:
    rgba = np.dstack([skin(), np.full((32, 32), 255, np.uint8)])
    rgba[:, :10, 3] = 0
    image = Image.fromarray(rgba)
    decoded = decode_color(saved(image if mode == "RGBA" else image.quantize(200), "PNG", adobe_like()))
    assert decoded.profile_ignored is None
    assert (decoded.pixels[:, :10] == TRANSPARENT_GREY).all()
    assert np.abs(decoded.pixels[:, 11:] - as_srgb(skin())[:, 11:]).max() <= (2 if mode == "RGBA" else 20)


@pytest.mark.parametrize(
    ("image", "profile", "told"),
    [
        (Image.fromarray(skin()), b"x" * 200, "it cannot be read"),
        (Image.fromarray(skin()), gray_of(2.2), "it describes GRAY and the image is RGB"),
        (Image.fromarray(skin()).convert("CMYK"), adobe_like(), "it describes RGB and the image is CMYK"),
        (Image.fromarray(skin()), profile_of(b"RGB ", {}), "it has no conversion to sRGB"),
        (Image.fromarray(skin()), adobe_like()[:200], "it cannot be read"),
    ],
)
def test_a_profile_that_cannot_be_used_is_told_and_the_pixels_stay(
    image: Image.Image, profile: bytes, told: str
) -> None:
    data = saved(image, "JPEG", profile)
    decoded = decode_color(data)
    assert decoded.profile_ignored == told
    plain = decode_color(saved(image, "JPEG", b""))
    assert np.array_equal(decoded.pixels, plain.pixels) and plain.profile_ignored is None
    assert stored_color(data, 16).profile_ignored == told


def test_a_huge_profile_is_not_even_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(color_profiles, "MAX_PROFILE_BYTES", 100)
    assert decode_color(saved(Image.fromarray(skin()), "PNG", adobe_like())).profile_ignored == "it is too large"


def test_a_png_with_a_profile_larger_than_its_decoder_takes_is_read_by_it() -> None:
    printers = adobe_like() + bytes(2_000_000)
    decoded = decode_color(saved(Image.fromarray(skin()), "PNG", printers))
    assert decoded.profile_ignored is None
    assert np.abs(decoded.pixels - as_srgb(skin())).max() <= 1.5


def test_a_png_with_too_large_a_profile_is_read_without_it() -> None:
    data = saved(Image.fromarray(skin()), "PNG", adobe_like() + bytes(MAX_PROFILE_BYTES))
    decoded = decode_color(data)
    assert decoded.profile_ignored == "it is too large" and np.array_equal(decoded.pixels, skin())
    assert decode_image(data).pixels.shape[:2] == (32, 32)  # a film, whose profile nobody asks for


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def with_profile_chunk(block: bytes) -> bytes:
    """A PNG of `skin()` with this iCCP chunk behind its header."""
    png = saved(Image.fromarray(skin()), "PNG", b"")
    return png[:33] + block + png[33:]


@pytest.mark.parametrize("data", [b"name\0\0junk", b"name\0", b"name"])
def test_a_profile_of_a_png_that_cannot_be_unpacked_is_told(data: bytes) -> None:
    decoded = decode_color(with_profile_chunk(chunk(b"iCCP", data)))
    assert np.array_equal(decoded.pixels, skin())
    assert decoded.profile_ignored == ("it cannot be read" if b"junk" in data else None)


def test_a_damaged_profile_of_a_png_is_a_damaged_file() -> None:
    block = chunk(b"iCCP", b"name\0\0" + zlib.compress(adobe_like()))
    assert decode_color(with_profile_chunk(block)).profile_ignored is None
    with pytest.raises(UnreadableImage) as caught:
        decode_color(with_profile_chunk(block[:-1] + bytes([block[-1] ^ 1])))
    assert caught.value.reason_code == "image_unreadable"
