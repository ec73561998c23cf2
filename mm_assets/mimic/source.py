"""Where the raw tables and films are: three data sets, each at a folder or URL in the published layout.

Belongs here: the files of each data set, which of them a run needs, what follows when one is absent, the
published row counts, and bringing a table to this machine.
Does not belong here: parsing (``mm_assets.records.tables``), what the columns mean (``schema.py``), judging a
tree (``verify.py``).

Accepted roots (each file as ``.csv.gz`` or ``.csv``):

- MIMIC-CXR-JPG 2.1.0: the folder that holds ``files/`` and ``mimic-cxr-2.0.0-metadata.csv.gz``.
- MIMIC-IV-ED 2.2: ``mimic-iv-ed/2.2`` or its ``ed/``. The public demo (``mimic-iv-ed-demo/2.2``) has the same
  files; it is recognised by its name, and only its counts differ (preset ``ed-demo``).
- MIMIC-IV 3.1, optional: ``mimiciv/3.1`` or its ``hosp/``.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from mm_assets.mimic.schema import (
    CXR_CHEXPERT,
    CXR_LABEL_COLUMNS,
    CXR_METADATA,
    CXR_METADATA_COLUMNS,
    CXR_SPLIT,
    CXR_SPLIT_COLUMNS,
    EDSTAYS_COLUMNS,
    MEDRECON_COLUMNS,
    PATIENTS_COLUMNS,
    TRIAGE_COLUMNS,
    VITALSIGN_COLUMNS,
)
from mm_assets.records.tables import empty_table, read_csv_table
from resources.errors import MendableError

if TYPE_CHECKING:
    from resources.objects import ObjectInfo, ObjectStore

DataSet = Literal["cxr", "ed", "iv"]
Preset = Literal["mimic", "ed-demo"]


class SourceError(MendableError):
    """A data set is not configured, or its folder lacks a table that nothing can stand in for."""


@dataclass(frozen=True)
class MimicSource:
    """The roots of the data sets (URL or path). ``iv`` is None without MIMIC-IV."""

    cxr: str
    ed: str
    iv: str | None = None
    synthetic: bool = False
    preset: Preset = "mimic"


@dataclass(frozen=True)
class TableFile:
    data_set: DataSet
    file: str  # without .gz
    columns: Mapping[str, str]  # name -> DuckDB type
    without: str | None = None  # what a run does without it; None: it cannot run
    empty_stands_in: bool = False  # absent is the same as a table without rows


TABLES: dict[str, TableFile] = {
    "cxr_metadata": TableFile("cxr", CXR_METADATA, CXR_METADATA_COLUMNS),
    "cxr_chexpert": TableFile("cxr", CXR_CHEXPERT, CXR_LABEL_COLUMNS),
    "cxr_split": TableFile(
        "cxr", CXR_SPLIT, CXR_SPLIT_COLUMNS, "patients are divided 70/15/15 by our own stratified split"
    ),
    "edstays": TableFile("ed", "edstays.csv", EDSTAYS_COLUMNS),
    "triage": TableFile("ed", "triage.csv", TRIAGE_COLUMNS),
    "vitalsign": TableFile(
        "ed", "vitalsign.csv", VITALSIGN_COLUMNS, "vital signs come from triage alone", empty_stands_in=True
    ),
    "medrecon": TableFile(
        "ed", "medrecon.csv", MEDRECON_COLUMNS, "the history names no home medicines", empty_stands_in=True
    ),
    "patients": TableFile("iv", "patients.csv", PATIENTS_COLUMNS, "the age is missing and flagged as missing"),
}

# Rows of the published files: MIMIC-CXR-JPG 2.1.0, MIMIC-IV-ED 2.2 and its public demo, MIMIC-IV 3.1.
PUBLISHED_COUNTS: dict[Preset, dict[str, int]] = {
    "mimic": {
        "cxr_metadata": 377_110,
        "cxr_chexpert": 227_827,
        "cxr_split": 377_110,
        "edstays": 425_087,
        "triage": 425_087,
        "vitalsign": 1_564_610,
        "medrecon": 2_987_342,
        "patients": 364_627,
    },
    "ed-demo": {"edstays": 222, "triage": 222, "vitalsign": 1_038, "medrecon": 2_764},
}

# First words of the README of a generated tree.
SYNTHETIC_README = b"SYNTHETIC DATA"

_FOLDERS: dict[DataSet, tuple[str, ...]] = {"cxr": ("",), "ed": ("", "ed"), "iv": ("", "hosp")}
_DATA_SET_NAMES: dict[DataSet, str] = {
    "cxr": "MIMIC-CXR-JPG 2.1.0",
    "ed": "MIMIC-IV-ED 2.2",
    "iv": "MIMIC-IV 3.1",
}
_MENDS: dict[DataSet, str] = {
    "cxr": "set MM_MIMIC_CXR_URL to the folder that holds files/ and mimic-cxr-2.0.0-metadata.csv.gz",
    "ed": "emergency data are a data set of their own, mimic-iv-ed/2.2/ed/, not inside mimiciv/; "
    "set MM_MIMIC_ED_URL to mimic-iv-ed/2.2",
    "iv": "set MM_MIMIC_IV_URL to mimiciv/3.1, which holds hosp/patients.csv.gz, or unset it",
}


@dataclass(frozen=True)
class LocatedTable:
    root: str  # of the data set
    path: str  # below it
    size: int  # bytes
    stamp: str  # changes when the file does


@dataclass(frozen=True)
class MimicLayout:
    source: MimicSource
    tables: dict[str, LocatedTable]  # name in TABLES -> where, those that are there
    absent: dict[str, str]  # name -> what the run does without it


OpenStore = Callable[[str], "ObjectStore"]


def configured_source(cxr_url: str | None, ed_url: str | None, iv_url: str | None) -> MimicSource | None:
    """The source that the settings name; None where they name none. Raises SourceError for half a source."""
    if not (cxr_url or ed_url or iv_url):
        return None
    if not cxr_url:
        raise SourceError(f"{_DATA_SET_NAMES['cxr']} is not configured: {_MENDS['cxr']}")
    if not ed_url:
        raise SourceError(f"{_DATA_SET_NAMES['ed']} is not configured: {_MENDS['ed']}")
    preset: Preset = "ed-demo" if "mimic-iv-ed-demo" in ed_url.lower() else "mimic"
    return MimicSource(cxr=cxr_url, ed=ed_url, iv=iv_url or None, preset=preset)


def locate(source: MimicSource, open_store: OpenStore) -> MimicLayout:
    """Find every table of TABLES below the roots of ``source`` without reading any.

    Raises SourceError naming the data set, the file and the setting to mend where a required one is absent.
    """
    roots: dict[DataSet, str | None] = {"cxr": source.cxr, "ed": source.ed, "iv": source.iv}
    stores = {data_set: open_store(root) for data_set, root in roots.items() if root}
    source = replace(source, synthetic=source.synthetic or says_synthetic(stores["cxr"]))
    tables: dict[str, LocatedTable] = {}
    absent: dict[str, str] = {}
    for name, table in TABLES.items():
        root, store = roots[table.data_set], stores.get(table.data_set)
        info = _find(store, table) if store else None
        if root and info:
            stamp = f"{info.etag}|{info.last_modified.isoformat()}"
            tables[name] = LocatedTable(root, info.path, info.size, stamp)
        elif table.without is None or (root and table.data_set == "iv"):
            folders = " or ".join(f"{root}/{folder}".rstrip("/") for folder in _FOLDERS[table.data_set])
            raise SourceError(
                f"{_DATA_SET_NAMES[table.data_set]} has no {table.file}.gz or {table.file} in {folders}: "
                f"{_MENDS[table.data_set]}"
            )
        else:
            absent[name] = table.without
    return MimicLayout(source, tables, absent)


def manifest_table(layout: MimicLayout) -> pa.Table:
    """One row per table file: name, root, path, size (bytes). Times are no content: see `stamps`."""
    return pa.Table.from_pylist(
        [
            {"table": name, "root": table.root, "path": table.path, "size": table.size}
            for name, table in layout.tables.items()
        ]
    )


def stamps(layout: MimicLayout) -> dict[str, str]:
    """`{"stamp of NAME": text}` per table, which changes when its file does."""
    return {f"stamp of {name}": table.stamp for name, table in layout.tables.items()}


def load_tables(layout: MimicLayout, open_store: OpenStore, scratch: Path) -> Iterator[tuple[str, pa.Table]]:
    """Yield (name, typed table), one in memory at a time; what is absent stands in ``layout.absent``.

    Absent tables are left out, or come without rows where that means the same. Raises TableError.
    """
    for name, table in TABLES.items():
        if name in layout.tables:
            yield name, read_csv_table(local_table(layout, name, open_store, scratch), table.columns)
        elif table.empty_stands_in:
            yield name, empty_table(table.columns)


def local_table(layout: MimicLayout, name: str, open_store: OpenStore, scratch: Path) -> Path:
    """The table's file on this machine: in place where the store is a folder, else a copy in ``scratch``.

    A copy is kept under a name that changes with the object, so a second run downloads nothing.
    """
    table = layout.tables[name]
    store = open_store(table.root)
    in_place = store.local_path(table.path)
    if in_place is not None:
        return in_place
    stamp = hashlib.sha256(f"{table.root}|{table.path}|{table.size}|{table.stamp}".encode()).hexdigest()[:16]
    copy = scratch / "mimic-tables" / stamp / Path(table.path).name
    return copy if copy.is_file() else store.fetch(table.path, copy)


def says_synthetic(cxr: "ObjectStore") -> bool:
    """Whether the README of the film tree says that it was generated, as `mm synth` writes it."""
    return cxr.head("README") is not None and cxr.get("README").startswith(SYNTHETIC_README)


def _find(store: "ObjectStore", table: TableFile) -> "ObjectInfo | None":
    for folder in _FOLDERS[table.data_set]:
        for file in (f"{table.file}.gz", table.file):
            info = store.head(f"{folder}/{file}" if folder else file)
            if info is not None:
                return info
    return None
