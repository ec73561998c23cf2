"""Real X-rays: which files of a folder or URL there are, what class each has, and which of them can be used.

Belongs here: the manifest or the folders of a source, the rules its rows must keep, decoding to square grey JPEG. Does
not belong here: how a format is decoded (`mm_assets.records.images`), features and labels of the organisations.

Two layouts:

- `manifest.csv` at the root: columns `path` and `class` (or `label`), optionally `image_id` and `split`.
- folders named after the classes, at any depth: the innermost folder whose name is a class decides. Files below a
  folder `masks` are passed over, because they are no X-rays.

Names of files often tell the class ("COVID-12.png"), and whoever sees an id would know the label: without an
`image_id` of the manifest's own, the id is made of the content.
"""

import csv
import hashlib
import io
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pyarrow as pa

from mm_assets.cloud_vision.ids import normalise_id
from mm_assets.cloud_vision.schema import CLASSES, LABEL_COLUMN, REJECTED_SCHEMA, SPLITS, XRAY_SCHEMA
from mm_assets.records.images import stored_image
from mm_assets.records.unreadable import UNREADABLE_REASONS, UnreadableImage
from resources.compute import map_items
from resources.errors import MendableError
from resources.objects import ObjectMissing

if TYPE_CHECKING:
    from resources.objects import ObjectStore

MANIFEST_FILE = "manifest.csv"
# Formats that cannot be decoded are listed too: they end in quarantine instead of being passed over.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".dcm", ".dicom", ".bmp", ".gif", ".tif", ".tiff", ".webp")
LEAST_SIDE_PX = 64

# Reason -> what is wrong with the row and how to mend it. The codes are written into `rejected.parquet`.
SOURCE_REASONS: dict[str, str] = {
    "unknown_class": f"the class is none of {', '.join(CLASSES)}: name the folder or the row after one",
    "path_outside_root": "the path does not lead to a file below the source's root: write it relative, without '..'",
    "unknown_split": f"the split is none of {', '.join(SPLITS)}: leave it empty in all rows for our own split",
    "unfit_image_id": "the image_id cannot name a file: use at most 80 letters, digits, blanks and . _ -, and begin "
    "with a letter or digit",
    "telling_image_id": "the image_id names the class, which whoever holds the X-ray must not know: rename it, or "
    "leave the column out",
    "duplicate_image_id": "another row has this image_id, spelled alike or nearly so: give every X-ray its own",
    "duplicate_content": "an earlier file has the same bytes: leave one of them out",
    "conflicting_labels": "the same bytes are listed under two classes: find out which is right",
    "image_missing": "there is no file at this path: put it there or leave the row out",
}
REASONS = SOURCE_REASONS | UNREADABLE_REASONS

# Letters and digits of a name, small -> class; as the public sets and the label itself write them.
_CLASS_NAMES = {
    "covid19": 0, "covid": 0, "covid19positive": 0, "normal": 1, "healthy": 1, "viralpneumonia": 2, "pneumoniaviral": 2,
    "viral": 2, "0": 0, "1": 1, "2": 2,
}  # fmt: skip
# Becomes the name of a file at the image holder, in every store.
_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}")


class XraySourceError(MendableError):
    """A source that cannot be used as a whole: no X-rays, or a manifest without its columns."""


@dataclass(frozen=True)
class XrayFile:
    """One listed X-ray. image_id None: made of the content; split None: no official one."""

    path: str
    label: int
    image_id: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class Rejection:
    """A row of REJECTED_SCHEMA; reason: a key of REASONS."""

    path: str
    reason: str
    detail: str
    image_id: str | None = None


@dataclass(frozen=True)
class XrayListing:
    """Files to open, in the order of the manifest or of their paths, and rows that are out without opening them."""

    files: tuple[XrayFile, ...]
    rejected: tuple[Rejection, ...]


@dataclass(frozen=True)
class _Opened:
    sha256: str
    missing: bool = False


def list_xrays(root: "ObjectStore") -> XrayListing:
    """The X-rays below `root`; opens the manifest, where there is one, and no image.

    Raises XraySourceError: no X-ray at all, or a manifest that is no UTF-8 CSV with its columns.
    """
    if root.head(MANIFEST_FILE) is not None:
        listing = _from_manifest(root.url, root.get(MANIFEST_FILE))
    else:
        listing = _from_folders(sorted(info.path for info in root.list()))
    if not listing.files:
        raise XraySourceError(
            f"{root.url} has no X-ray that can be used ({len(listing.rejected)} files or rows are not): put images "
            f"into folders named {', '.join(CLASSES)}, or write a {MANIFEST_FILE} with the columns path and class"
        )
    return listing


def build_xrays(
    files: Sequence[XrayFile],
    read: Callable[[str], bytes],
    reject: Callable[[Rejection], None],
    *,
    px: int = 512,
    workers: int = 2,
    batch_rows: int = 64,
    desc: str | None = None,
) -> Iterator[pa.RecordBatch]:
    """The X-rays as XRAY_SCHEMA, a few at a time, in the order listed; what cannot be used goes to `reject`.

    read: bytes of a path, raising ObjectMissing; px: side of the stored image. Every file is read twice: first to find
    the same bytes under two names.
    """
    opened = list(map_items(lambda file: _open(file, read), files, workers=workers, kind="thread"))
    usable = []
    reasons = _repeated(files, opened)
    for file, state, reason in zip(files, opened, reasons, strict=True):
        if state.missing:
            reject(_rejection(file, "image_missing"))
        elif reason:
            reject(_rejection(file, reason))
        else:
            usable.append((file, state.sha256))

    def store(item: tuple[XrayFile, str]) -> dict[str, object] | Rejection:
        file, sha256 = item
        try:
            stored = stored_image(read(file.path), px)
            if min(stored.width, stored.height) < LEAST_SIDE_PX:
                raise UnreadableImage("image_too_small", f"{stored.width} x {stored.height} pixels")
        except UnreadableImage as error:
            return Rejection(file.path, error.reason_code, error.detail, file.image_id)
        return {
            "image_id": file.image_id or f"IMG_{sha256[:12]}",
            "path": file.path,
            "label": file.label,
            "split": file.split,
            "sha256": sha256,
            "width": stored.width,
            "height": stored.height,
            "format": stored.format,
            "xray": stored.jpeg,
        }

    rows: list[dict[str, object]] = []
    for result in map_items(store, usable, workers=workers, kind="thread", desc=desc):
        if isinstance(result, Rejection):
            reject(result)
            continue
        rows.append(result)
        if len(rows) == batch_rows:
            yield pa.RecordBatch.from_pylist(rows, schema=XRAY_SCHEMA)
            rows = []
    if rows:
        yield pa.RecordBatch.from_pylist(rows, schema=XRAY_SCHEMA)


class RealXrays:
    """The usable X-rays below `root`, decoded to squares of side `px` px while they are read, once; `rejected` grows
    meanwhile. Raises XraySourceError: at once where there is none, and in the end where none could be used."""

    def __init__(self, root: "ObjectStore", *, px: int, workers: int) -> None:
        self.px = px
        self._root, self._workers = root, workers
        self._listing = list_xrays(root)
        self.rejected = list(self._listing.rejected)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        found = 0
        for batch in build_xrays(
            self._listing.files, self._root.get, self.rejected.append, px=self.px, workers=self._workers, desc="X-rays"
        ):
            found += batch.num_rows
            yield batch
        if not found:
            reasons = Counter(row.reason for row in self.rejected)
            told = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
            raise XraySourceError(f"none of the X-rays below {self._root.url} can be used ({told}): mend the files")

    @property
    def unreadable_share(self) -> float:
        """Share of the files with a class that were rejected."""
        return (len(self.rejected) - len(self._listing.rejected)) / len(self._listing.files)


def rejected_table(rejected: Sequence[Rejection]) -> pa.Table:
    """The quarantine in REJECTED_SCHEMA, by path."""
    return pa.Table.from_pylist([asdict(row) for row in sorted(rejected, key=_place)], schema=REJECTED_SCHEMA)


def _place(row: Rejection) -> tuple[str, str, str]:
    return row.path, row.reason, row.image_id or ""


def class_of(name: str) -> int | None:
    """Place in CLASSES of a name as people write it ("covid_19", "Viral Pneumonia", "1"), None for any other."""
    return _CLASS_NAMES.get(re.sub(r"[^a-z0-9]", "", name.lower()))


def names_a_class(image_id: str) -> bool:
    """Whether a word of an id, or several beside each other, are the name of a class, digits apart ("COVID-12",
    "case viral pneumonia 3")."""
    words = re.findall(r"[a-z]+", re.sub(r"[0-9]", " ", image_id.lower()))
    return any(
        class_of("".join(words[first:last])) is not None
        for first in range(len(words))
        for last in range(first + 1, len(words) + 1)
    )


def _from_folders(paths: Sequence[str]) -> XrayListing:
    files, rejected = [], []
    for path in paths:
        parts = PurePosixPath(path)
        folders = parts.parts[:-1]
        if parts.suffix.lower() not in IMAGE_SUFFIXES or any(name.startswith(".") for name in parts.parts):
            continue
        if any(name.lower() == "masks" for name in folders):
            continue
        found = [label for name in reversed(folders) if (label := class_of(name)) is not None]
        if found:
            files.append(XrayFile(path, found[0]))
        else:
            rejected.append(Rejection(path, "unknown_class", SOURCE_REASONS["unknown_class"]))
    return XrayListing(tuple(files), tuple(rejected))


def _from_manifest(url: str, data: bytes) -> XrayListing:
    try:
        rows = [
            {(name or "").strip(): value.strip() for name, value in row.items() if isinstance(value, str)}
            for row in csv.DictReader(io.StringIO(data.decode("utf-8-sig")), strict=True)
        ]
    except (UnicodeDecodeError, csv.Error):
        raise XraySourceError(f"{url}/{MANIFEST_FILE} is no UTF-8 CSV file: save it again") from None
    named = next((name for name in ("class", LABEL_COLUMN) if rows and name in rows[0]), None)
    if not rows or "path" not in rows[0] or named is None:
        raise XraySourceError(f"{url}/{MANIFEST_FILE} needs rows with the columns path and class: add them")
    ids = Counter(normalise_id(row.get("image_id") or "") for row in rows)
    files, rejected = [], []
    for row in rows:
        path, image_id = row.get("path", ""), row.get("image_id") or None
        label, split = class_of(row.get(named, "")), row.get("split") or None
        if not _below_root(path):
            reason = "path_outside_root"
        elif label is None:
            reason = "unknown_class"
        elif split is not None and split not in SPLITS:
            reason = "unknown_split"
        elif image_id is not None and not _PLAIN_ID.fullmatch(image_id):
            reason = "unfit_image_id"
        elif image_id is not None and names_a_class(image_id):
            reason = "telling_image_id"
        elif image_id is not None and ids[normalise_id(image_id)] > 1:
            reason = "duplicate_image_id"
        else:
            files.append(XrayFile(path, label, image_id, split))
            continue
        rejected.append(Rejection(path, reason, SOURCE_REASONS[reason], image_id))
    return XrayListing(tuple(files), tuple(rejected))


def _below_root(path: str) -> bool:
    if not path or "\\" in path or not path.isprintable():
        return False
    return all(part not in ("", ".", "..") for part in path.split("/"))


def _open(file: XrayFile, read: Callable[[str], bytes]) -> _Opened:
    try:
        return _Opened(hashlib.sha256(read(file.path)).hexdigest())
    except (ObjectMissing, FileNotFoundError):
        return _Opened("", missing=True)


def _repeated(files: Sequence[XrayFile], opened: Sequence[_Opened]) -> list[str | None]:
    """Why a file is out because of others with the same bytes; None where it is not."""
    labels: dict[str, set[int]] = defaultdict(set)
    for file, state in zip(files, opened, strict=True):
        labels[state.sha256].add(file.label)
    seen: set[str] = set()
    reasons: list[str | None] = []
    for state in opened:
        if len(labels[state.sha256]) > 1:
            reasons.append("conflicting_labels")
        else:
            reasons.append("duplicate_content" if state.sha256 in seen else None)
        seen.add(state.sha256)
    return reasons


def _rejection(file: XrayFile, reason: str) -> Rejection:
    return Rejection(file.path, reason, SOURCE_REASONS[reason], file.image_id)
