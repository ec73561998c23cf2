"""ENVI files: a text header `.hdr` beside a raw file of numbers.

Belongs here: the header's grammar, the three orders of bands, and finding the raw file.
Does not belong here: what the numbers mean (`spectral.py` calibrates and checks them).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from mm_assets.records.unreadable import UnreadableImage

_RAW_SUFFIXES = ("", ".raw", ".img", ".dat", ".bin", ".bsq", ".bil", ".bip")
_TYPES = {"1": "u1", "2": "i2", "4": "f4", "12": "u2"}
_MOST_HEADER_BYTES = 1_000_000
# Interleave -> the raw file's axes as (lines, bands, samples) numbers, and the transposition to [H, W, B].
_AXES = {"bsq": ((1, 0, 2), (1, 2, 0)), "bil": ((0, 1, 2), (0, 2, 1)), "bip": ((0, 2, 1), (0, 1, 2))}


@dataclass(frozen=True, eq=False)
class EnviFile:
    """`values` [H, W, B] as stored; `scale`: divides them to reflectance, None where the header is silent."""

    values: np.ndarray
    wavelengths_nm: list[float] | None
    scale: float | None


def read_envi(name: str, header: bytes, companion: Callable[[str], bytes] | None, most_values: int) -> EnviFile:
    """The file whose `.hdr` is `header`; its raw file has the same stem, as read through `companion`.

    Raises UnreadableImage: `cube_unreadable` (a header it does not understand, data types other than 1, 2, 4 and 12,
    no raw file or a short one), `cube_too_large` (the raw file is not read then).
    """
    fields = _fields(header[:_MOST_HEADER_BYTES].decode("utf-8", "replace"))
    try:
        height, width, bands = (int(fields[key]) for key in ("lines", "samples", "bands"))
        dtype = np.dtype(_TYPES[fields["data type"]])
        order, to_cube = _AXES[fields["interleave"].lower()]
        offset = int(fields.get("header offset", "0"))
        scale = float(fields["reflectance scale factor"]) if "reflectance scale factor" in fields else None
        wavelengths = _wavelengths(fields)
    except KeyError as error:
        raise UnreadableImage("cube_unreadable", f"the ENVI header lacks, or has an unknown, {error}") from error
    except ValueError as error:
        raise UnreadableImage("cube_unreadable", f"the ENVI header: {error}") from error
    if min(height, width, bands) < 1 or offset < 0 or (scale is not None and not 0 < scale < float("inf")):
        raise UnreadableImage("cube_unreadable", "the ENVI header has a size or scale that is not positive")
    count = height * width * bands
    if count > most_values:
        raise UnreadableImage("cube_too_large", f"{width} x {height} x {bands} values, more than {most_values:,}")
    stem = re.sub(r"\.hdr$", "", name, flags=re.IGNORECASE)
    raw = next((found for suffix in _RAW_SUFFIXES if (found := beside(stem + suffix, companion)) is not None), None)
    if raw is None:
        raise UnreadableImage("cube_unreadable", "the raw file of this ENVI header is not beside it")
    if len(raw) < offset + count * dtype.itemsize:
        raise UnreadableImage("cube_unreadable", f"the raw file has {len(raw):,} bytes, fewer than its header says")
    stored = np.frombuffer(raw, dtype.newbyteorder(">" if fields.get("byte order", "0") == "1" else "<"), count, offset)
    sides = (height, bands, width)
    values = stored.reshape([sides[axis] for axis in order]).transpose(to_cube)
    return EnviFile(np.ascontiguousarray(values), wavelengths, scale)


def beside(name: str, companion: Callable[[str], bytes] | None) -> bytes | None:
    """The bytes of a companion file; None where there is none, or where nothing can be beside the file."""
    if companion is None:
        return None
    try:
        return companion(name)
    except FileNotFoundError:
        return None


def _fields(text: str) -> dict[str, str]:
    """`key = value` of every line, keys in small letters; a value in braces goes on to the line that closes them."""
    fields: dict[str, str] = {}
    open_key, parts = "", [""]
    for line in text.splitlines():
        if open_key:
            parts.append(line)
        else:
            key, sign, value = line.partition("=")
            if not sign:
                continue
            open_key, parts = key.strip().lower(), [value.strip()]
        if parts[0].startswith("{") and "}" not in parts[-1]:
            continue
        fields[open_key], open_key = " ".join(parts).strip(), ""
    return fields


def _wavelengths(fields: Mapping[str, str]) -> list[float] | None:
    if "wavelength" not in fields:
        return None
    numbers = [float(text) for text in fields["wavelength"].strip("{}").split(",") if text.strip()]
    micrometres = fields.get("wavelength units", "").lower() in ("micrometers", "micrometres", "um", "microns")
    return [number * 1000 for number in numbers] if micrometres else numbers
