"""What the readers of layouts share: which files are images, small CSV tables, and rows as a manifest.

Belongs here: reading a table of names and turning rows into MANIFEST_SCHEMA.
Does not belong here: what one layout's columns mean.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mm_assets.pigmentation.schema import MANIFEST_SCHEMA
from resources.errors import MendableError

if TYPE_CHECKING:
    from resources.objects import ObjectStore

# Formats that cannot be decoded are listed too: they end in quarantine with a reason instead of being passed over.
PHOTOGRAPH_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".heic")
CUBE_SUFFIXES = (".npz", ".npy", ".hdr")
_HEADER_BYTES = 65_536


class LayoutError(MendableError):
    """A folder of images lacks a file or column that its layout has."""


def suffix_of(path: str) -> str:
    """The file's suffix in small letters: `.jpg` of `A/B.JPG`; empty without one."""
    return PurePosixPath(path).suffix.lower()


def csv_header(root: "ObjectStore", path: str) -> list[str]:
    """Names of the columns of a CSV file, reading its first bytes only; empty where they are no CSV header."""
    info = root.head(path)
    if info is None or info.size == 0:
        return []
    line = root.get_range(path, 0, min(info.size, _HEADER_BYTES)).split(b"\n", 1)[0]
    try:
        return [name.strip() for name in next(csv.reader([line.decode("utf-8-sig").rstrip("\r")]), [])]
    except (UnicodeDecodeError, csv.Error):
        return []


def csv_rows(root: "ObjectStore", path: str, required: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file as texts without spaces around them. Raises LayoutError: absent, not UTF-8, a required
    column is absent, or no rows."""
    if root.head(path) is None:
        raise LayoutError(f"{root.url} has no {path}: put the published file there, or choose another layout")
    try:
        text = root.get(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise LayoutError(f"{path} is not UTF-8 text: save it as UTF-8") from None
    try:
        # Fields beyond the header come under the name None, absent ones as None.
        rows = [
            {name.strip(): (value or "").strip() for name, value in row.items() if isinstance(name, str)}
            for row in csv.DictReader(io.StringIO(text))
        ]
    except csv.Error:
        raise LayoutError(f"{path} is not a well-formed CSV file: fetch it again") from None
    if not rows:
        raise LayoutError(f"{path} has no rows: fetch it again")
    missing = [name for name in required if name not in rows[0]]
    if missing:
        raise LayoutError(f"{path} lacks the columns {', '.join(missing)}: this is another file, or another release")
    return rows


def manifest_of(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows with some columns of MANIFEST_SCHEMA as such a table; texts become numbers where it has numbers.

    Raises LayoutError naming the column whose text is no number.
    """
    listed = list(rows)
    columns = []
    for field in MANIFEST_SCHEMA:
        values = [row.get(field.name) for row in listed]
        try:
            texts = pa.array([None if value is None else str(value) for value in values], pa.string())
            columns.append(texts if field.type == pa.string() else texts.cast(field.type))
        except pa.ArrowInvalid:
            raise LayoutError(f"a value of {field.name} is no {field.type}: correct it, or empty the field") from None
    return pa.Table.from_arrays(columns, schema=MANIFEST_SCHEMA)
