"""Spectral cubes: reading them from files, choosing their bands, resizing them, and the pseudo-cube of a photograph.

Belongs here: from the bytes of a `.npy`, `.npz` or ENVI file to reflectance at known wavelengths (nothing is ever
unpickled). Does not belong here: normalisation (`inputs.py`) and where files are (`layouts.py`).

Accepted:

- `.npz` with `cube` [H, W, B] and `wavelengths_nm` [B]; optionally `white_ref` and `dark_ref`, numbers that broadcast
  to the cube.
- `.npy` [H, W, B] beside a `.json` of the same stem with the same names.
- ENVI: the `.hdr` beside its raw file (no suffix, or .raw .img .dat .bin .bsq .bil .bip), data types 1, 2, 4 and 12.
"""

import io
import json
import math
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from mm_assets.pigmentation.envi import beside, read_envi
from mm_assets.records.unreadable import UnreadableImage

# Local files are the user's own: raw cubes of 1024 x 1024 pixels and 448 bands pass (2 GB as float32).
MAX_CUBE_VALUES = 512_000_000
# Imagers have some hundred bands; a longer list is no list of them.
MAX_BANDS = 4096
_NPY_HEADER_BYTES = 12_000
MIN_SIDE_PX = 8
# A requested band may lie this far outside the measured ones; further would be invention.
_EDGE_NM = 0.5
_SENSIBLE_NM = (200.0, 2600.0)
# Glare exceeds the white reference; more than twice is no reflectance.
_MOST_REFLECTANCE = 2.0
_UNCALIBRATED_MEDIAN = 1.5

_PICTURE_STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"GIF8", b"II*\0", b"MM\0*")

Companion = Callable[[str], bytes]


@dataclass(frozen=True, eq=False)
class Cube:
    """`reflectance` float32 [H, W, B], 0 black to 1 the white reference; `wavelengths_nm` float32 [B], rising."""

    reflectance: np.ndarray
    wavelengths_nm: np.ndarray


def read_cube(name: str, data: bytes, companion: Companion | None = None, *, max_values: int = MAX_CUBE_VALUES) -> Cube:
    """The cube in a file's bytes; the kind is told by the content.

    name: the file's path, to name its companions by; companion: path -> bytes of a file beside it, FileNotFoundError
    where there is none; None: there are none (an upload). max_values: most H x W x B; a reference may have as many as
    its cube.
    Raises UnreadableImage: `image_empty`, `cube_unreadable`, `cube_too_large` (found in the header), `cube_too_small`,
    `cube_wrong_bands` (as many wavelengths as bands), `cube_without_wavelengths`, `cube_uncalibrated`.
    """
    if not data:
        raise UnreadableImage("image_empty", "the file has no bytes")
    if data.startswith(b"\x93NUMPY"):
        return _cube(_array(data, "the cube", max_values), _sidecar(name, companion))
    if data.startswith(b"PK\x03\x04"):
        arrays = _arrays(data, max_values)
        if "cube" not in arrays:
            raise UnreadableImage("cube_unreadable", f"the .npz holds {', '.join(sorted(arrays))} and no cube")
        return _cube(arrays["cube"], arrays)
    if data.lstrip()[:4] == b"ENVI":
        envi = read_envi(name, data, companion, max_values)
        return _cube(envi.values, {"wavelengths_nm": envi.wavelengths_nm}, envi.scale)
    if data.startswith(_PICTURE_STARTS):
        raise UnreadableImage("cube_wrong_bands", "a picture of three channels is no spectral cube")
    seen = "MATLAB" if data.startswith(b"MATLAB") or data[1:4] == b"HDF" else f"starts with {data[:8].hex()}"
    raise UnreadableImage("cube_unreadable", f"neither .npy, .npz nor an ENVI header ({seen})")


def resample_bands(cube: Cube, wavelengths_nm: Sequence[float] | np.ndarray) -> Cube:
    """Reflectance at other wavelengths (rising, nm), linear between measured bands.

    Raises UnreadableImage `cube_wrong_bands` where one lies outside the measured range.
    """
    wanted = np.asarray(wavelengths_nm, dtype=np.float32)
    have = cube.wavelengths_nm
    if wanted.shape == have.shape and np.allclose(wanted, have, rtol=0, atol=0.01):
        return cube
    if wanted[0] < have[0] - _EDGE_NM or wanted[-1] > have[-1] + _EDGE_NM:
        raise UnreadableImage(
            "cube_wrong_bands",
            f"bands from {have[0]:.0f} to {have[-1]:.0f} nm where {wanted[0]:.0f} to {wanted[-1]:.0f} nm are read",
        )
    if len(have) == 1:
        return Cube(np.repeat(cube.reflectance, len(wanted), axis=2), wanted)
    upper = np.clip(np.searchsorted(have, wanted), 1, len(have) - 1)
    share = np.clip((wanted - have[upper - 1]) / (have[upper] - have[upper - 1]), 0.0, 1.0).astype(np.float32)
    reflectance = cube.reflectance[..., upper - 1] * (1 - share) + cube.reflectance[..., upper] * share
    return Cube(reflectance, wanted)


def resize_cube(reflectance: np.ndarray, size: int) -> np.ndarray:
    """float32 [H, W, B] squashed to [size, size, B], antialiased; a cube of that size is returned as it is."""
    if reflectance.shape[:2] == (size, size):
        return reflectance
    resized = np.empty((size, size, reflectance.shape[2]), np.float32)
    # Band by band in Pillow: matrices would do the same in BLAS, whose threads fight with the callers' own.
    for band in range(reflectance.shape[2]):
        image = Image.fromarray(np.ascontiguousarray(reflectance[..., band], np.float32))
        resized[..., band] = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
    return resized


def pseudo_hsl(rgb: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] -> float32 [H, W, 4]: S cos H, S sin H, S of HSV, and L* / 100 of CIELAB.

    A function of the photograph: it adds nothing the photograph does not hold. Hue is an angle, so it enters as a
    point on the circle: averages and interpolation are then right across red, and grey has no hue.
    """
    values = rgb.astype(np.float32) / 255
    red, green, blue = values[..., 0], values[..., 1], values[..., 2]
    highest, spread = values.max(axis=-1), np.ptp(values, axis=-1)
    safe = np.where(spread > 0, spread, 1)
    sixths = np.select(
        [highest == red, highest == green],
        [(green - blue) / safe, 2 + (blue - red) / safe],
        4 + (red - green) / safe,
    )
    hue = np.float32(np.pi / 3) * sixths
    saturation = spread / np.where(highest > 0, highest, 1)
    linear = _LINEAR[rgb]
    luminance = 0.2126 * linear[..., 0] + 0.7152 * linear[..., 1] + 0.0722 * linear[..., 2]
    lightness = np.where(luminance > 0.008856, 1.16 * np.cbrt(luminance) - 0.16, 9.033 * luminance)
    channels = [saturation * np.cos(hue), saturation * np.sin(hue), saturation, lightness]
    return np.stack(channels, axis=-1).astype(np.float32)


def _linear_table() -> np.ndarray:
    levels = np.arange(256) / 255
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4).astype(np.float32)


_LINEAR = _linear_table()  # sRGB level -> share of white light


def _cube(values: np.ndarray, notes: Mapping[str, Any], scale: float | None = None) -> Cube:
    """Checked and calibrated, with the bands in the order of their wavelengths."""
    if values.ndim != 3:
        raise UnreadableImage("cube_unreadable", f"an array of shape {values.shape} is no cube [H, W, B]")
    height, width, bands = values.shape
    if notes.get("wavelengths_nm") is None:
        raise UnreadableImage("cube_without_wavelengths", f"{bands} bands and no wavelengths_nm")
    wavelengths = _numbers(notes["wavelengths_nm"], "wavelengths_nm").reshape(-1).astype(np.float32)
    if len(wavelengths) != bands:
        raise UnreadableImage("cube_wrong_bands", f"{bands} bands and {len(wavelengths)} wavelengths")
    if min(height, width) < MIN_SIDE_PX:
        raise UnreadableImage("cube_too_small", f"{width} x {height} pixels, a side is below {MIN_SIDE_PX}")
    order = np.argsort(wavelengths, kind="stable")
    wavelengths = wavelengths[order]
    least, most = _SENSIBLE_NM
    if not (wavelengths[0] >= least and wavelengths[-1] <= most and (np.diff(wavelengths) > 0).all()):
        raise UnreadableImage(
            "cube_without_wavelengths",
            f"wavelengths_nm are not {bands} different numbers from {least:.0f} to {most:.0f}",
        )
    reflectance = _reflectance(values, notes, scale)
    if not (order[1:] > order[:-1]).all():
        reflectance = np.ascontiguousarray(reflectance[..., order])
    return Cube(reflectance, wavelengths)


def _reflectance(values: np.ndarray, notes: Mapping[str, Any], scale: float | None) -> np.ndarray:
    white, dark = notes.get("white_ref"), notes.get("dark_ref")
    reflectance = values.astype(np.float32)
    if white is not None:
        try:
            black = np.float32(0) if dark is None else _numbers(dark, "dark_ref").astype(np.float32)
            span = _numbers(white, "white_ref").astype(np.float32) - black
            np.broadcast_to(span, values.shape)
            reflectance -= black
        except ValueError as error:
            raise UnreadableImage("cube_wrong_bands", f"white_ref or dark_ref does not fit: {error}") from error
        if not (span > 0).all():
            raise UnreadableImage("cube_uncalibrated", "the white reference is not brighter than the dark one")
        reflectance /= span
    elif scale is not None:
        reflectance /= scale
    elif values.dtype.kind != "f":
        raise UnreadableImage("cube_uncalibrated", "whole numbers without a white reference or scale")
    if not np.isfinite(reflectance).all():
        raise UnreadableImage("cube_unreadable", "a value is not finite")
    median = float(np.median(reflectance.reshape(-1)[:: max(1, reflectance.size // 100_000)]))
    if not -0.1 <= median <= _UNCALIBRATED_MEDIAN:
        raise UnreadableImage("cube_uncalibrated", f"the middle value is {median:.3g}: no reflectance")
    return np.clip(reflectance, 0.0, _MOST_REFLECTANCE, out=reflectance)


def _numbers(values: Any, what: str) -> np.ndarray:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UnreadableImage("cube_unreadable", f"{what} are no numbers") from error
    if not np.isfinite(numbers).all():
        raise UnreadableImage("cube_unreadable", f"a value of {what} is not finite")
    return numbers


def _sidecar(name: str, companion: Companion | None) -> dict[str, Any]:
    data = beside(re.sub(r"\.[^./]*$", "", name) + ".json", companion)
    if data is None:
        return {}
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UnreadableImage("cube_unreadable", "the .json beside the .npy is not JSON") from error
    if not isinstance(found, dict):
        raise UnreadableImage("cube_unreadable", "the .json beside the .npy is not an object with wavelengths_nm")
    return found


def _arrays(data: bytes, max_values: int) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` that a cube is made of; what else it holds is not read."""
    wanted = {f"{name}.npy": name for name in ("cube", "wavelengths_nm", "white_ref", "dark_ref")}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            arrays: dict[str, np.ndarray] = {}
            # The cube first: no reference needs more values than it.
            most = max_values
            for file, name in wanted.items():
                if file in archive.namelist():
                    arrays[name] = _member(archive, file, name, MAX_BANDS if name == "wavelengths_nm" else most)
                    most = arrays["cube"].size if "cube" in arrays else 0
            return arrays
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise UnreadableImage("cube_unreadable", f"the .npz: {error}") from error


def _member(archive: zipfile.ZipFile, file: str, what: str, max_values: int) -> np.ndarray:
    """One array; its header is judged before the rest is unpacked: a few kilobytes can hold gigabytes."""
    if archive.getinfo(file).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # What NumPy writes; Python unpacks the other kinds without a limit.
        raise UnreadableImage("cube_unreadable", f"{what} is packed in an unusual way")
    with archive.open(file) as packed:
        most_bytes = _checked_bytes(io.BytesIO(packed.read(_NPY_HEADER_BYTES)), what, max_values)
    with archive.open(file) as packed:
        return _array(packed.read(most_bytes), what, max_values)


def _array(data: bytes, what: str, max_values: int) -> np.ndarray:
    stream = io.BytesIO(data)
    if _checked_bytes(stream, what, max_values) > len(data):
        raise UnreadableImage("cube_unreadable", f"{what} ends too early")
    stream.seek(0)
    try:
        return np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, TypeError, EOFError, MemoryError, OverflowError) as error:
        raise UnreadableImage("cube_unreadable", f"{what}: {type(error).__name__}") from error


def _checked_bytes(stream: io.BytesIO, what: str, max_values: int) -> int:
    """How many bytes the array takes, by its header. Raises UnreadableImage where it may not be read."""
    try:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(stream)
    except Exception as error:  # whatever Python's own parser raises for a header that is no literal
        raise UnreadableImage("cube_unreadable", f"{what}: {type(error).__name__}") from error
    if dtype.kind not in "fui" or dtype.itemsize > 8:
        raise UnreadableImage("cube_unreadable", f"{what} holds {dtype}, not plain numbers")
    if any(side < 0 for side in shape):
        raise UnreadableImage("cube_unreadable", f"{what} has shape {shape}")
    values = math.prod(shape)
    if values > max_values:
        raise UnreadableImage("cube_too_large", f"{what} has shape {shape}, more than {max_values:,} values")
    return stream.tell() + values * int(dtype.itemsize)
