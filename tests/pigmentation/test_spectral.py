import io
import json
import time
import tracemalloc
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mm_assets.pigmentation.spectral import Cube, pseudo_hsl, read_cube, resample_bands, resize_cube
from mm_assets.records.unreadable import UnreadableImage

BANDS = np.array([450, 500, 600, 750], np.float32)
ENVI_CODES = {"u1": 1, "i2": 2, "f4": 4, "u2": 12}


def reflectance(height: int = 9, width: int = 11, bands: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.05, 0.95, (height, width, bands)).astype(np.float32)


def npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def npz(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def files(**named: bytes) -> Callable[[str], bytes]:
    stored = {name.replace("__", "."): data for name, data in named.items()}

    def read(path: str) -> bytes:
        if path not in stored:
            raise FileNotFoundError(path)
        return stored[path]

    return read


def envi(
    values: np.ndarray, interleave: str, kind: str = "f4", big: bool = False, extra: str = ""
) -> tuple[str, bytes]:
    axes = {"bsq": (2, 0, 1), "bil": (0, 2, 1), "bip": (0, 1, 2)}[interleave]
    raw = b"HEAD" + np.ascontiguousarray(values.transpose(axes)).astype((">" if big else "<") + kind).tobytes()
    height, width, bands = values.shape
    header = (
        f"ENVI\ndescription = {{\n  a = b}}\nsamples = {width}\nlines   = {height}\nbands   = {bands}\n"
        f"header offset = 4\ndata type = {ENVI_CODES[kind]}\ninterleave = {interleave.upper()}\n"
        f"byte order = {int(big)}\n{extra}"
    )
    return header, raw


def wavelength_field(values: np.ndarray, form: str = "nm") -> str:
    if form == "um":
        return "wavelength units = Micrometers\nwavelength = {" + ",\n ".join(str(v / 1000) for v in values) + "}\n"
    return "wavelength = {" + ", ".join(str(v) for v in values) + "}\n"


def reason(data: bytes, name: str = "a.npz", companion: Callable[[str], bytes] | None = None) -> str:
    with pytest.raises(UnreadableImage) as caught:
        read_cube(name, data, companion)
    assert "\n" not in str(caught.value)
    return caught.value.reason_code


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(8, 12),
    width=st.integers(8, 12),
    bands=st.integers(1, 6),
    kind=st.sampled_from(["npz", "npy", "bsq", "bil", "bip"]),
    big=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_cube_comes_back_as_it_was_written(
    height: int, width: int, bands: int, kind: str, big: bool, seed: int
) -> None:
    values = reflectance(height, width, bands, seed)
    wavelengths = np.linspace(450, 950, bands, dtype=np.float32)
    if kind == "npz":
        cube = read_cube("x/a.npz", npz(cube=values, wavelengths_nm=wavelengths))
    elif kind == "npy":
        beside = files(**{"x/a__json": json.dumps({"wavelengths_nm": wavelengths.tolist()}).encode()})
        cube = read_cube("x/a.npy", npy(np.asfortranarray(values)), beside)
    else:
        header, raw = envi(values, kind, big=big, extra=wavelength_field(wavelengths))
        cube = read_cube("x/a.hdr", header.encode(), files(**{"x/a__raw": raw}))
    assert cube.reflectance.dtype == np.float32 and np.array_equal(cube.reflectance, values)
    assert np.allclose(cube.wavelengths_nm, wavelengths)


@pytest.mark.parametrize("kind", ["u1", "i2", "u2"])
def test_envi_whole_numbers_are_divided_by_their_scale(kind: str) -> None:
    counts = np.rint(reflectance() * 200)
    header, raw = envi(counts, "bil", kind, extra="reflectance scale factor = 200\n" + wavelength_field(BANDS, "um"))
    cube = read_cube("a.hdr", header.replace("\n", "\r\n").encode(), files(a=raw))
    assert np.allclose(cube.reflectance, counts / 200, atol=1e-6)
    assert np.allclose(cube.wavelengths_nm, BANDS, atol=0.01)


@pytest.mark.parametrize("shape", [(4,), (1, 11, 4), (9, 11, 4)])
def test_counts_are_divided_by_the_white_reference(shape: tuple[int, ...]) -> None:
    white = np.random.default_rng(1).uniform(2000, 4000, shape)
    counts = np.rint(100 + reflectance() * (white - 100)).astype(np.uint16)
    cube = read_cube("a", npz(cube=counts, wavelengths_nm=BANDS, white_ref=white, dark_ref=np.array(100)))
    assert np.allclose(cube.reflectance, reflectance(), atol=1e-3)


def test_bands_are_put_in_the_order_of_their_wavelengths() -> None:
    values = reflectance()
    cube = read_cube("a", npz(cube=values, wavelengths_nm=BANDS[::-1]))
    assert np.array_equal(cube.wavelengths_nm, BANDS) and np.array_equal(cube.reflectance, values[..., ::-1])


def bomb() -> bytes:
    """A header that promises a terabyte, and an entry that says it unpacks to one."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "<f4", "fortran_order": False, "shape": (100_000, 100_000, 30)}
        )
        archive.writestr("cube.npy", header.getvalue())
        archive.writestr("wavelengths_nm.npy", npy(BANDS))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "image_empty"),
        (b"\xff\xd8\xff", "cube_wrong_bands"),
        (b"hello", "cube_unreadable"),
        (b"MATLAB 5.0", "cube_unreadable"),
        (b"PK\x03\x04 and nothing", "cube_unreadable"),
        (npz(cube=reflectance())[:200], "cube_unreadable"),
        (npz(picture=reflectance()), "cube_unreadable"),
        (npz(cube=reflectance()), "cube_without_wavelengths"),
        (npz(cube=reflectance(), wavelengths_nm=[0.45, 0.5, 0.6, 0.75]), "cube_without_wavelengths"),
        (npz(cube=reflectance(), wavelengths_nm=[450, 450, 600, 750]), "cube_without_wavelengths"),
        (npz(cube=reflectance(), wavelengths_nm=[450, 500, np.nan, 750]), "cube_unreadable"),
        (npz(cube=reflectance(), wavelengths_nm=BANDS[:3]), "cube_wrong_bands"),
        (npz(cube=reflectance(1, 1), wavelengths_nm=BANDS), "cube_too_small"),
        (npz(cube=reflectance()[0], wavelengths_nm=BANDS), "cube_unreadable"),
        (npz(cube=np.full((9, 9, 4), np.nan), wavelengths_nm=BANDS), "cube_unreadable"),
        (npz(cube=np.ones((9, 9, 4), np.uint16), wavelengths_nm=BANDS), "cube_uncalibrated"),
        (npz(cube=reflectance() * 4095, wavelengths_nm=BANDS), "cube_uncalibrated"),
        (npz(cube=reflectance(), wavelengths_nm=BANDS, white_ref=np.zeros(4)), "cube_uncalibrated"),
        (npz(cube=reflectance(), wavelengths_nm=BANDS, white_ref=np.ones(3)), "cube_wrong_bands"),
        (npz(cube=np.array([["a"]], dtype=object), wavelengths_nm=BANDS), "cube_unreadable"),
        (npz(cube=reflectance().astype(complex), wavelengths_nm=BANDS), "cube_unreadable"),
        (npy(reflectance()), "cube_without_wavelengths"),
        (npy(reflectance())[:-4], "cube_unreadable"),
        (bomb(), "cube_too_large"),
    ],
)
def test_reasons(data: bytes, code: str) -> None:
    assert reason(data) == code


def test_reasons_of_envi_files() -> None:
    header, raw = envi(reflectance(), "bsq", extra=wavelength_field(BANDS))
    with_raw = files(a=raw)
    assert reason(header.encode(), "a.hdr") == "cube_unreadable"  # an upload has nothing beside it
    assert reason(header.encode(), "b.hdr", with_raw) == "cube_unreadable"
    assert reason(header.encode(), "a.hdr", files(a=raw[:-1])) == "cube_unreadable"
    for old, new, code in [
        ("data type = 4", "data type = 5", "cube_unreadable"),
        ("samples = 11", "samples = many", "cube_unreadable"),
        ("samples = 11", "samples = -11", "cube_unreadable"),
        ("samples = 11", "samples = 99999999", "cube_too_large"),
        ("lines   = 9", "", "cube_unreadable"),
        ("wavelength =", "band names =", "cube_without_wavelengths"),
        ("450.0, ", "", "cube_wrong_bands"),
    ]:
        assert reason(header.replace(old, new).encode(), "a.hdr", with_raw) == code, new


@pytest.mark.parametrize("line", [" " * 900_000, "a={\n" * 200_000, "a" * 900_000 + "="])
def test_a_hostile_envi_header_costs_no_time(line: str) -> None:
    started = time.perf_counter()
    assert reason(b"ENVI\n" + line.encode(), "a.hdr") == "cube_unreadable"
    assert time.perf_counter() - started < 2


def test_the_limit_of_values_is_the_callers() -> None:
    values, header_raw = reflectance(), envi(reflectance(), "bip", extra=wavelength_field(BANDS))
    sidecar = json.dumps({"wavelengths_nm": BANDS.tolist()}).encode()
    beside = files(a=header_raw[1], a__json=sidecar)
    for data in (npz(cube=values, wavelengths_nm=BANDS), npy(values), header_raw[0].encode()):
        assert read_cube("a.hdr", data, beside, max_values=values.size).reflectance.shape == values.shape
        with pytest.raises(UnreadableImage) as caught:
            read_cube("a.hdr", data, beside, max_values=values.size - 1)
        assert caught.value.reason_code == "cube_too_large"


@pytest.mark.parametrize("name", ["cube", "wavelengths_nm", "white_ref", "dark_ref"])
@pytest.mark.parametrize("where", ["before", "after"])
def test_a_bomb_in_any_array_is_refused_by_its_header(name: str, where: str) -> None:
    bomb = np.zeros((4_000_000,), np.float64)  # 32 MB in 31 kB
    arrays = {"cube": reflectance(), "wavelengths_nm": BANDS}
    arrays.pop(name, None)
    arrays = {name: bomb, **arrays} if where == "before" else {**arrays, name: bomb}
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    assert len(stream.getvalue()) < 200_000
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableImage) as caught:
            read_cube("a.npz", stream.getvalue(), max_values=3_000_000)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.reason_code == "cube_too_large"
    assert most < 2_000_000


def test_a_raw_cube_of_a_local_file_passes_by_its_header_and_an_upload_has_less_room() -> None:
    from mm_assets.pigmentation.spectral import MAX_CUBE_VALUES
    from mm_assets.pigmentation.uploads import MAX_UPLOAD_VALUES

    assert MAX_UPLOAD_VALUES <= 10_000_000 < 1024 * 1024 * 448 < MAX_CUBE_VALUES


@pytest.mark.parametrize("shape", ["(-9, 9, 4)", "(-9, -9, 4)"])
def test_a_negative_shape_and_an_array_that_is_cut_off_are_unreadable(shape: str) -> None:
    data = npz(cube=reflectance(), wavelengths_nm=BANDS)
    stored = repr(reflectance().shape).encode()
    spoiled = npy(reflectance()).replace(stored, shape.ljust(len(stored)).encode())
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w") as new:
        new.writestr("cube.npy", spoiled)
        new.writestr("wavelengths_nm.npy", old.read("wavelengths_nm.npy"))
    assert reason(stream.getvalue()) == "cube_unreadable"
    assert reason(npy(reflectance())[:-8]) == "cube_unreadable"


def test_a_broken_sidecar_says_so() -> None:
    for text in (b"{", b"[1]", b'{"wavelengths_nm": "abc"}'):
        assert reason(npy(reflectance()), "a.npy", files(a__json=text)) == "cube_unreadable"


@settings(max_examples=40, deadline=None)
@given(position=st.integers(0, 10_000), value=st.integers(0, 255), kind=st.sampled_from(["npz", "npy", "hdr"]))
def test_damaged_files_are_read_or_say_why(position: int, value: int, kind: str) -> None:
    header, raw = envi(reflectance(), "bil", extra=wavelength_field(BANDS))
    stored = {"npz": npz(cube=reflectance(), wavelengths_nm=BANDS), "npy": npy(reflectance()), "hdr": header.encode()}
    data = bytearray(stored[kind])
    data[position % len(data)] = value
    sidecar = json.dumps({"wavelengths_nm": BANDS.tolist()}).encode()
    try:
        cube = read_cube(f"a.{kind}", bytes(data), files(a=raw, a__json=sidecar))
    except UnreadableImage:
        return
    assert cube.reflectance.ndim == 3 and cube.reflectance.shape[2] == len(cube.wavelengths_nm)


def test_resampling_is_linear_and_exact_where_measured() -> None:
    cube = Cube(np.repeat((BANDS / 1000)[None, None, :], 9, axis=0).repeat(9, axis=1), BANDS)
    wanted = [450.0, 475.0, 640.0, 750.0]
    resampled = resample_bands(cube, wanted)
    assert np.allclose(resampled.reflectance[3, 3], np.array(wanted) / 1000, atol=1e-6)
    assert resample_bands(cube, BANDS) is cube


@pytest.mark.parametrize("wanted", [[440.0, 500.0], [500.0, 760.0]])
def test_resampling_never_extrapolates(wanted: list[float]) -> None:
    with pytest.raises(UnreadableImage) as caught:
        resample_bands(Cube(reflectance(), BANDS), wanted)
    assert caught.value.reason_code == "cube_wrong_bands"


@pytest.mark.parametrize("size", [7, 11, 40])
def test_resizing_is_what_an_antialiased_resize_of_every_band_gives(size: int) -> None:
    values = reflectance(23, 31, 3)
    resized = resize_cube(values, size)
    for band in range(3):
        expected = Image.fromarray(values[..., band]).resize((size, size), Image.Resampling.BILINEAR)
        assert np.allclose(resized[..., band], np.asarray(expected), atol=1e-4)
    assert resize_cube(resized, size) is resized


def test_hue_is_circular() -> None:
    both = np.array([[[200, 20, 22], [200, 22, 20]]], np.uint8)  # either side of pure red: hue 359.4 and .6 degrees
    left, right = pseudo_hsl(both)[0]
    assert np.abs(left - right).max() < 0.03
    assert np.allclose(pseudo_hsl(np.full((2, 2, 3), 90, np.uint8))[..., :3], 0)


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_pseudo_hsl_agrees_with_the_standard_conversions(colour: tuple[int, int, int]) -> None:
    import colorsys

    cos, sin, saturation, lightness = (float(v) for v in pseudo_hsl(np.array([[colour]], np.uint8))[0, 0])
    hue, expected, _ = colorsys.rgb_to_hsv(*(value / 255 for value in colour))
    assert saturation == pytest.approx(expected, abs=1e-5)
    assert cos == pytest.approx(expected * np.cos(2 * np.pi * hue), abs=1e-4)
    assert sin == pytest.approx(expected * np.sin(2 * np.pi * hue), abs=1e-4)
    assert -1e-6 <= lightness <= 1 + 1e-5


def test_lightness_is_that_of_cielab() -> None:
    lightness = pseudo_hsl(np.array([[[255, 255, 255], [119, 119, 119], [0, 0, 0]]], np.uint8))[0, :, 3]
    assert np.allclose(lightness, [1.0, 0.5, 0.0], atol=0.005)
