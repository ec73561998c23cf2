"""Published stages in formats that other tools read: what `mm export` writes.

Belongs here: which stage is which table, and writing CSV, JSON or Parquet of it; the wing's own formats are called.
Does not belong here: making the stages.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.mimic.schema import QUARANTINE_COLUMNS, SPLITS
from resources.artifacts import ArtifactStore
from resources.errors import MendableError
from resources.settings import Settings

FORMATS = ("csv", "json", "parquet", "pt")
RECORD_FORMATS = ("standard", "enhanced_rag")


class ExportError(MendableError):
    """This stage can not be exported so."""


# Stage -> (asset, file) of the stages that are one published table.
TABLES: dict[str, tuple[str, str]] = {
    "links": ("links", "links.parquet"),
    "cohort_flow": ("links", "cohort_flow.parquet"),
    "filtered_text": ("filtered_text", "filtered.parquet"),
    "probes": ("leakage_audit", "probes.parquet"),
    "passages": ("knowledge_base", "passages.parquet"),
    "notes": ("phase2", "notes.parquet"),
    "phase3": ("phase3", "records.parquet"),
    "predictions": ("model", "predictions.parquet"),
    "ablation": ("evaluation", "ablation.parquet"),
    "per_label": ("evaluation", "per_label.parquet"),
    "subgroups": ("evaluation", "subgroups.parquet"),
    "missing_modality": ("evaluation", "missing_modality.parquet"),
}
STAGES = (*TABLES, "quarantine", "phase1")


def export_stage(
    settings: Settings, wing: str, stage: str, file_format: str, to: Path, record_format: str = "standard"
) -> list[Path]:
    """Write one stage below `to`; returns the files. Raises ExportError, ArtifactMissing."""
    if wing != "mimic":
        raise ExportError(f"there is no wing '{wing}': choose mimic")
    if stage not in STAGES:
        raise ExportError(f"there is no stage '{stage}': choose one of {', '.join(STAGES)}")
    if file_format not in FORMATS:
        raise ExportError(f"there is no format '{file_format}': choose one of {', '.join(FORMATS)}")
    if record_format not in RECORD_FORMATS:
        raise ExportError(f"there is no record format '{record_format}': choose one of {', '.join(RECORD_FORMATS)}")
    store = ArtifactStore(settings.home, settings.scratch)
    to.mkdir(parents=True, exist_ok=True)
    if file_format == "pt":
        if stage != "phase3":
            raise ExportError("pt is the format of phase3; the other stages are tables: choose csv, json or parquet")
        return export_pt(store, to, record_format)
    table = stage_table(store, stage)
    path = to / f"{stage}.{file_format}"
    WRITERS[file_format](table, path)
    return [path]


def stage_table(store: ArtifactStore, stage: str) -> pa.Table:
    """The published table of a stage; quarantine and phase1 are put together from their parts."""
    if stage == "quarantine":
        return quarantine(store)
    if stage == "phase1":
        from mm_assets.mimic.published import phase1_without_films

        return pa.concat_tables(list(phase1_without_films(store).values())).sort_by("study_id")
    asset, file = TABLES[stage]
    return store.read_table(store.current("mimic", asset), file)


def quarantine(store: ArtifactStore) -> pa.Table:
    """What linking and every published partition of phase 1 refused, with reasons."""
    parts = [store.read_table(store.current("mimic", "links"), "rejected.parquet")]
    parts += [store.read_table(part, "rejected.parquet") for part in store.partitions("mimic", "phase1").values()]
    wanted = list(QUARANTINE_COLUMNS)
    table = pa.concat_tables([part.select(wanted) for part in parts], promote_options="permissive")
    return table.sort_by([("study_id", "ascending"), ("dicom_id", "ascending"), ("reason", "ascending")])


def export_pt(store: ArtifactStore, to: Path, record_format: str) -> list[Path]:
    """Tensor files of the valid integrated records in one of the wing's two record formats; films one at a time.

    Raises StaleInputs unless phase 3 was made from the films as they are now.
    """
    from mm_assets.mimic.formats import enhanced_from_standard
    from mm_assets.mimic.integration import read_record
    from mm_assets.mimic.labels import LabelPolicy
    from mm_assets.mimic.pt_export import export_phase3_pt
    from mm_assets.mimic.published import image_encoder, phase1_partitions, phase1_settings, require_made_from

    ours, theirs = to / "phase3_metadata.json", sorted(to.glob("*_final*.pt"))
    if theirs and not ours.exists():
        raise ExportError(f"{to} holds {theirs[0].name}, which this command did not write: give another folder")
    records = store.current("mimic", "phase3")
    require_made_from(store, records, "mimic/phase1")
    parts = phase1_partitions(store)
    # The films keep their stored size: an encoder's own size is applied when it reads them.
    size = phase1_settings(store)["image_size"]
    transform = {**image_encoder(store)["transform"], "size": size}
    table = store.read_table(records, "records.parquet")
    table = table.filter(table["phase3_integrated"])

    def rows_of(split: str) -> Iterator[dict[str, Any]]:
        for directory, part in parts.items():
            chosen = table.filter((pc.field("split") == split) & (pc.field("directory") == directory))
            wanted = {row["study_id"]: row for row in chosen.to_pylist()}
            columns = ["study_id", "image", "attention_regions"]
            for batch in store.iter_batches(part, "records.parquet", columns, batch_rows=64):
                for film in batch.to_pylist():
                    if film["study_id"] in wanted:
                        record = read_record(film, wanted[film["study_id"]], LabelPolicy(), transform)
                        yield record if record_format == "standard" else enhanced_from_standard(record)

    counts = store.read_json(store.current("mimic", "links"), "rule_counts.json")
    return export_phase3_pt(
        {split: rows_of(split) for split in SPLITS},
        to,
        config={"image_size": size, "upstream": records.upstream, "synthetic": records.synthetic},
        quality=store.read_json(records, "quality.json"),
        stratified=counts["split_source"] != "official",
    )


def write_csv(table: pa.Table, path: Path) -> None:
    """CSV with a header; lists become JSON text, times ISO 8601."""
    frame = table.to_pandas()
    for name, type_ in zip(table.schema.names, table.schema.types, strict=True):
        if pa.types.is_list(type_) or pa.types.is_fixed_size_list(type_):
            frame[name] = [json.dumps(None if value is None else list(map(_plain, value))) for value in frame[name]]
    frame.to_csv(path, index=False)


def write_json(table: pa.Table, path: Path) -> None:
    """A list of objects; times ISO 8601, not-a-number as null."""
    table.to_pandas().to_json(path, orient="records", date_format="iso", indent=1)


def write_parquet(table: pa.Table, path: Path) -> None:
    """One Parquet file."""
    import pyarrow.parquet as pq

    pq.write_table(table, path)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


WRITERS: dict[str, Callable[[pa.Table, Path], None]] = {
    "csv": write_csv, "json": write_json, "parquet": write_parquet
}  # fmt: skip
