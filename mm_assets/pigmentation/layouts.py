"""Folders of skin images as a manifest: which layout a folder has, and its rows.

Belongs here: the list of layouts, telling them apart, and those that are not one published data set's own: a manifest
file, the original folders of images, a folder of cubes. Does not belong here: published data sets
(`public_layouts.py`), rules about rows (`manifest.py`), opening images.

Layouts:

- `manifest`: `manifest.parquet` or `manifest.csv` with the columns of MANIFEST_SCHEMA.
- `folders`: `clinical/images`, and where taken `dermoscopy/images` and `multispectral/images`; images of a lesion have
  the same name (without suffix) in each. Optional `labels.csv`: `image`, and any of label, label_source, patient_id,
  lesion_id, visit, ita_deg, skin_tone, diagnosis, split. Without a patient_id every lesion is a patient of its own.
- `derm7pt`, `milk10k`, `pad_ufes_20`: as published. They have no severity label: it stays empty.
- `hyperspectral`: spectral cubes anywhere below the root, each with a photograph of the same name beside it or
  elsewhere below the root; `labels.csv` as above.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mm_assets.pigmentation.layout_files import (
    CUBE_SUFFIXES,
    PHOTOGRAPH_SUFFIXES,
    LayoutError,
    csv_header,
    csv_rows,
    manifest_of,
    suffix_of,
)
from mm_assets.pigmentation.manifest import read_manifest_file
from mm_assets.pigmentation.public_layouts import (
    MILK10K_COLUMNS,
    PAD_UFES_COLUMNS,
    read_derm7pt,
    read_milk10k,
    read_pad_ufes_20,
)
from mm_assets.pigmentation.schema import MODALITIES, REQUIRED_MODALITY

if TYPE_CHECKING:
    from resources.objects import ObjectStore

MANIFEST_FILES = ("manifest.parquet", "manifest.csv")
LABELS_FILE = "labels.csv"
LABEL_COLUMNS = (
    "label", "label_source", "patient_id", "lesion_id", "visit", "ita_deg", "skin_tone", "diagnosis", "split",
)  # fmt: skip

# Layout -> what it is recognised by, in the order of looking.
LAYOUTS: dict[str, str] = {
    "manifest": "manifest.parquet or manifest.csv",
    "derm7pt": "meta/meta.csv and images/",
    "milk10k": f"a .csv with the columns {', '.join(MILK10K_COLUMNS)}",
    "pad_ufes_20": f"metadata.csv with the columns {', '.join(PAD_UFES_COLUMNS)}",
    "folders": "clinical/images/",
    "hyperspectral": "files that end in .npz, .npy or .hdr",
}


class UnknownLayout(LayoutError):
    """A folder in none of the layouts, or a layout that does not exist."""


def detect_layout(root: "ObjectStore") -> str:
    """The name of the root's layout, one of LAYOUTS. Raises UnknownLayout, which lists what was looked for."""
    files = _files(root)
    names = set(files)
    tables = [path for path in files if "/" not in path and path.lower().endswith(".csv")]
    if names & set(MANIFEST_FILES):
        return "manifest"
    if "meta/meta.csv" in names:
        return "derm7pt"
    for layout, columns in (("milk10k", MILK10K_COLUMNS), ("pad_ufes_20", PAD_UFES_COLUMNS)):
        if any(set(columns) <= set(csv_header(root, path)) for path in tables):
            return layout
    if any(path.startswith(f"{REQUIRED_MODALITY}/images/") for path in files):
        return "folders"
    if any(suffix_of(path) in CUBE_SUFFIXES for path in files):
        return "hyperspectral"
    looked_for = "; ".join(f"{name}: {sign}" for name, sign in LAYOUTS.items())
    raise UnknownLayout(
        f"{root.url} holds {len(files)} files in no layout that is known ({looked_for}): "
        "point at the folder that holds these, or write a manifest.csv"
    )


def read_layout(root: "ObjectStore", layout: str) -> pa.Table:
    """The manifest of the images below `root`, not checked yet; the columns of MANIFEST_SCHEMA, or of the root's own
    manifest file.

    Reads tables and names of files; opens no image. Raises UnknownLayout, LayoutError (a file or column is absent),
    ManifestError (a manifest file that is broken).
    """
    readers: dict[str, Callable[[ObjectStore, list[str]], pa.Table]] = {
        "manifest": _read_manifest,
        "folders": _read_folders,
        "derm7pt": read_derm7pt,
        "milk10k": read_milk10k,
        "pad_ufes_20": read_pad_ufes_20,
        "hyperspectral": _read_hyperspectral,
    }
    if layout not in readers:
        raise UnknownLayout(f"there is no layout {layout!r}: choose one of {', '.join(LAYOUTS)}")
    return readers[layout](root, _files(root))


def _files(root: "ObjectStore") -> list[str]:
    """Paths of all files below the root, sorted by name with numbers in their order; hidden ones left out."""
    paths = [info.path for info in root.list()]
    shown = [path for path in paths if not any(part.startswith(".") for part in path.split("/"))]
    return sorted(shown, key=lambda path: [(int(t), "") if t.isdigit() else (0, t) for t in re.split(r"(\d+)", path)])


def _read_manifest(root: "ObjectStore", files: list[str]) -> pa.Table:
    name = next((name for name in MANIFEST_FILES if name in files), None)
    if name is None:
        raise LayoutError(f"{root.url} has no {' or '.join(MANIFEST_FILES)}: put one there, or choose another layout")
    return read_manifest_file(name, root.get(name))


def _read_folders(root: "ObjectStore", files: list[str]) -> pa.Table:
    found = [
        (modality, path)
        for modality in MODALITIES
        for path in files
        if path.startswith(f"{modality}/images/") and suffix_of(path) in _suffixes(modality)
    ]
    if not any(modality == REQUIRED_MODALITY for modality, _ in found):
        raise LayoutError(
            f"{root.url} has no image in {REQUIRED_MODALITY}/images: put the clinical photographs there, or choose "
            "another layout"
        )
    return manifest_of(_with_labels(root, files, found))


def _read_hyperspectral(root: "ObjectStore", files: list[str]) -> pa.Table:
    cubes = [path for path in files if suffix_of(path) in CUBE_SUFFIXES]
    if not cubes:
        raise LayoutError(f"{root.url} has no .npz, .npy or .hdr file: put the cubes there, or choose another layout")
    stems = {PurePosixPath(path).stem for path in cubes}
    photographs = [p for p in files if suffix_of(p) in PHOTOGRAPH_SUFFIXES and PurePosixPath(p).stem in stems]
    found = [(REQUIRED_MODALITY, path) for path in photographs] + [("multispectral", path) for path in cubes]
    return manifest_of(_with_labels(root, files, found))


def _suffixes(modality: str) -> tuple[str, ...]:
    return (*PHOTOGRAPH_SUFFIXES, *CUBE_SUFFIXES) if modality == "multispectral" else PHOTOGRAPH_SUFFIXES


def _with_labels(root: "ObjectStore", files: list[str], found: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Rows of images that are matched by their name; two of one name and modality get one capture_id, so that the
    manifest's rules refuse them."""
    labels = _labels(root) if LABELS_FILE in files else {}
    rows, matched = [], set()
    for modality, path in found:
        stem = PurePosixPath(path).stem
        row: dict[str, Any] = {"patient_id": stem, "lesion_id": stem, "visit": 1}
        row |= {name: value for name, value in labels.get(stem, {}).items() if value}
        row |= {"capture_id": f"{modality}/{stem}", "modality": modality, "path": path}
        rows.append(row)
        matched.add(stem)
    if labels and not matched & set(labels):
        raise LayoutError(
            f"none of the {len(labels)} names in {LABELS_FILE} is that of one of the {len(matched)} images that are "
            "there: write the name of the file into its column image"
        )
    return rows


def _labels(root: "ObjectStore") -> dict[str, dict[str, str]]:
    """Name of an image without suffix -> its columns."""
    rows = csv_rows(root, LABELS_FILE, ("image",))
    if "label" in rows[0] and "label_source" not in rows[0]:
        raise LayoutError(f"{LABELS_FILE} has labels and no column label_source: say where each label comes from")
    named: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        stem = PurePosixPath(row["image"]).stem if suffix_of(row["image"]) else row["image"]
        named[stem].append({name: row[name] for name in LABEL_COLUMNS if name in row})
    # Counted, not named: the name of a file is often that of a patient.
    repeated = sum(len(several) > 1 for several in named.values())
    if repeated:
        raise LayoutError(f"{LABELS_FILE} names {repeated} of its images twice or more: keep one line for each")
    return {stem: several[0] for stem, several in named.items()}
