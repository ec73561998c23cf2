"""What `mm export mimic` can write.

Belongs here: which stage is which table, those put together from several, and the tensor files of phase 3.
Does not belong here: making the stages, and writing CSV, JSON or Parquet (`ui.exports`).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.mimic.schema import QUARANTINE_COLUMNS, SPLITS
from resources.artifact_record import Artifact
from resources.artifacts import ArtifactStore
from ui.exports import ExportError, Exports, OwnFormat

# Stage -> (asset, file) of the stages that are one published table.
TABLES = {
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
RECORD_FORMATS = ("standard", "enhanced_rag")


def phase1(store: ArtifactStore) -> pa.Table:
    """The records of all directories without their films."""
    from mm_assets.mimic.published import phase1_without_films

    return pa.concat_tables(list(phase1_without_films(store).values())).sort_by("study_id")


def small_sample(store: ArtifactStore) -> pa.Table:
    """The first records of each split over all directories, as many as the knob `small_sample` of phase 1 says.

    With films, which only Parquet holds. Raises ExportError where no sample was stored.
    """
    from mm_assets.mimic import phase1
    from mm_assets.mimic.published import phase1_partitions

    parts = list(phase1_partitions(store).values())
    size = small_sample_size(parts)
    if size is None:
        raise ExportError(
            "phase 1 stored no small sample: run `mm materialize mimic/phase1 --config FILE` with `small_sample: 100` "
            "below `mimic/phase1:` in the file"
        )
    stored = (batch for part in parts for batch in store.iter_batches(part, "small_sample.parquet"))
    return phase1.small_sample(stored, size)


def small_sample_size(parts: Iterable[Artifact]) -> int | None:
    """Records per split that every partition stored as its sample; None where one stored none."""
    return min(int(part.metrics.get("small_sample") or 0) for part in parts) or None


def quarantine(store: ArtifactStore) -> pa.Table:
    """What linking and every published partition of phase 1 refused, with reasons."""
    parts = [store.read_table(store.current("mimic", "links"), "rejected.parquet")]
    parts += [store.read_table(part, "rejected.parquet") for part in store.partitions("mimic", "phase1").values()]
    wanted = list(QUARANTINE_COLUMNS)
    table = pa.concat_tables([part.select(wanted) for part in parts], promote_options="permissive")
    return table.sort_by([("study_id", "ascending"), ("dicom_id", "ascending"), ("reason", "ascending")])


def export_pt(store: ArtifactStore, to: Path, record_format: str) -> list[Path]:
    """Tensor files of the valid integrated records in one of the wing's two record formats; films one at a time.

    Raises ExportError, and StaleInputs unless phase 3 was made from the films as they are now.
    """
    if record_format not in RECORD_FORMATS:
        raise ExportError(f"there is no record format '{record_format}': choose one of {', '.join(RECORD_FORMATS)}")
    from mm_assets.mimic.formats import enhanced_from_standard
    from mm_assets.mimic.integration import read_record
    from mm_assets.mimic.labels import LabelPolicy
    from mm_assets.mimic.pt_export import export_phase3_pt
    from mm_assets.mimic.published import image_encoder, phase1_partitions, phase1_settings
    from mm_assets.records.staleness import require_made_from

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
        small_sample_size=small_sample_size(parts.values()),
    )


EXPORTS = Exports(
    tables=TABLES,
    composed={"quarantine": quarantine, "phase1": phase1, "small_sample": small_sample},
    own_formats={"pt": OwnFormat("phase3", export_pt)},
)
