"""Published stages in formats that other tools read: what `mm export` writes.

Belongs here: writing CSV, JSON or Parquet of a stage of any wing. Does not belong here: which stages a wing has and its
own formats (`ui/<wing>/exports.py`), and making the stages.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from resources.artifacts import ArtifactStore
from resources.errors import MendableError
from resources.settings import Settings
from ui.wings import wing_named


class ExportError(MendableError):
    """This stage can not be exported so."""


@dataclass(frozen=True)
class OwnFormat:
    """A format that only one stage of a wing has. ``write`` takes the store, a folder that is there and the value of
    `--record-format`; it returns the files."""

    stage: str
    write: Callable[[ArtifactStore, Path, str], list[Path]]


@dataclass(frozen=True)
class Exports:
    """Stages of a wing: stage -> (asset, file) of those that are one published table, stage -> function of those put
    together from several, and format -> what writes it. ``store_of``: where an asset lies (settings, MM_HOME's store,
    asset), for a wing that does not keep all of them in MM_HOME."""

    tables: Mapping[str, tuple[str, str]]
    composed: Mapping[str, Callable[[ArtifactStore], pa.Table]] = field(default_factory=dict)
    own_formats: Mapping[str, OwnFormat] = field(default_factory=dict)
    store_of: Callable[[Settings, ArtifactStore, str], ArtifactStore] = lambda settings, store, asset: store

    @property
    def stages(self) -> tuple[str, ...]:
        return (*self.tables, *self.composed)


def export_stage(
    settings: Settings, wing: str, stage: str, file_format: str, to: Path, record_format: str = "standard"
) -> list[Path]:
    """Write one stage below `to`; returns the files. Raises UnknownWing, ExportError, ArtifactMissing."""
    exports = wing_named(wing).exports()
    if stage not in exports.stages:
        raise ExportError(f"there is no stage '{stage}': choose one of {', '.join(exports.stages)}")
    formats = (*WRITERS, *exports.own_formats)
    if file_format not in formats:
        raise ExportError(f"there is no format '{file_format}': choose one of {', '.join(formats)}")
    store = ArtifactStore(settings.home, settings.scratch)
    to.mkdir(parents=True, exist_ok=True)
    if own := exports.own_formats.get(file_format):
        if stage != own.stage:
            raise ExportError(
                f"{file_format} is the format of {own.stage}; the other stages are tables: choose csv, json or parquet"
            )
        return own.write(store, to, record_format)
    path = to / f"{stage}.{file_format}"
    WRITERS[file_format](stage_table(settings, store, wing, exports, stage), path)
    return [path]


def stage_table(settings: Settings, store: ArtifactStore, wing: str, exports: Exports, stage: str) -> pa.Table:
    """The published table of a stage, or what the wing puts together for it."""
    if stage in exports.composed:
        return exports.composed[stage](store)
    asset, file = exports.tables[stage]
    home = exports.store_of(settings, store, asset)
    return home.read_table(home.current(wing, asset), file)


def write_csv(table: pa.Table, path: Path) -> None:
    """CSV with a header; lists become JSON text, times ISO 8601; films and other bytes are left out."""
    table = _without_bytes(table)
    frame = table.to_pandas()
    for name, type_ in zip(table.schema.names, table.schema.types, strict=True):
        if pa.types.is_list(type_) or pa.types.is_fixed_size_list(type_):
            frame[name] = [json.dumps(None if value is None else list(map(_plain, value))) for value in frame[name]]
    frame.to_csv(path, index=False)


def write_json(table: pa.Table, path: Path) -> None:
    """A list of objects; times ISO 8601, not-a-number as null; films and other bytes are left out."""
    _without_bytes(table).to_pandas().to_json(path, orient="records", date_format="iso", indent=1)


def write_parquet(table: pa.Table, path: Path) -> None:
    """One Parquet file."""
    import pyarrow.parquet as pq

    pq.write_table(table, path)


def _without_bytes(table: pa.Table) -> pa.Table:
    binary = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    return table.select([field.name for field in table.schema if not any(test(field.type) for test in binary)])


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


WRITERS: dict[str, Callable[[pa.Table, Path], None]] = {
    "csv": write_csv, "json": write_json, "parquet": write_parquet
}  # fmt: skip
