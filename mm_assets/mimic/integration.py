"""Phase 3: one row per study that points at its film and holds everything else a model or a reader needs.

Belongs here: joining the phases, validating the result, and reading one record in the standard
format. Does not belong here: the quality report (quality.py), the formats themselves (formats.py), batching
(datasets.py).
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.mimic.attention_regions import GRID
from mm_assets.mimic.labels import LabelPolicy, raw_labels, targets_and_mask
from mm_assets.mimic.notes import context_of
from mm_assets.mimic.schema import CLINICAL_FEATURES, FRONTAL_VIEWS, LABELS, REPAIRABLE_FEATURES, SPLITS
from resources.errors import MendableError

if TYPE_CHECKING:
    from mm_assets.learning.transforms import TransformSpec

_FROM_PHASE1: tuple[str, ...] = (
    "subject_id", "study_id", "dicom_id", "stay_id", "split", "view", "study_dt", "width", "height",
    *CLINICAL_FEATURES, *(f"{feature}_repaired" for feature in REPAIRABLE_FEATURES), "max_feature_time",
    "gender", "race", *LABELS,
)  # fmt: skip
_FROM_FILTERED: tuple[str, ...] = ("chief_complaint", "history")
_FROM_NOTES: tuple[str, ...] = (
    "pseudo_note", "enhanced_note", "passage_ids", "passage_scores", "input_ids", "n_tokens", "truncated",
)  # fmt: skip
# `directory` and `row`: the partition and row number of the film in phase 1's records.parquet.
# How often text was redacted stays behind: it must not become a feature.
PHASE3_COLUMNS: tuple[str, ...] = (
    *_FROM_PHASE1, "directory", "row", *_FROM_FILTERED, *_FROM_NOTES,
    "phase1_processed", "phase2_processed", "phase3_integrated", "synthetic", "problems",
)  # fmt: skip


class IntegrationError(MendableError):
    """Tables of the earlier phases that cannot be joined."""


def integrate(phase1: Mapping[str, pa.Table], filtered: pa.Table, notes: pa.Table, *, synthetic: bool) -> pa.Table:
    """Join the phases into a table of PHASE3_COLUMNS, sorted by study_id.

    phase1: partition -> its records in file order, with at least the columns of phase 1 but for image and
    attention_regions, which are not read. filtered, notes: tables of text_stages.py. Every phase 1 record
    gives a row; one that lacks text or breaks a rule of PROBLEMS keeps its row, with the names of its
    problems and `phase3_integrated` false. Raises IntegrationError when a table names a study twice, or
    when no partition is given.
    """
    if not phase1:
        raise IntegrationError("there is no phase 1 partition: run `mm materialize mimic/phase1`")
    parts = []
    for directory, records in sorted(phase1.items()):
        part = records.select(_FROM_PHASE1)
        part = part.append_column("directory", pa.array([directory] * part.num_rows, pa.string()))
        parts.append(part.append_column("row", pa.array(np.arange(part.num_rows), pa.int64())))
    table = pa.concat_tables(parts).sort_by("study_id")
    for name, source in (("phase1", table), ("filtered_text", filtered), ("phase2", notes)):
        n_distinct = pc.count_distinct(source["study_id"]).as_py()
        if n_distinct != source.num_rows:
            raise IntegrationError(
                f"mimic/{name} has {source.num_rows} rows for {n_distinct} studies: "
                f"run `mm materialize mimic/{name}` again"
            )
    table = _with_columns(table, filtered, _FROM_FILTERED)
    table = _with_columns(table, notes, _FROM_NOTES)
    problems = find_problems(table)
    flags = {
        "phase1_processed": pa.array([True] * table.num_rows, pa.bool_()),
        "phase2_processed": pc.is_valid(table["pseudo_note"]),
        "phase3_integrated": pa.array([not names for names in problems], pa.bool_()),
        "synthetic": pa.array([synthetic] * table.num_rows, pa.bool_()),
        "problems": pa.array(problems, pa.list_(pa.string())),
    }
    for column, values in flags.items():
        table = table.append_column(column, values)
    return table.select(PHASE3_COLUMNS)


def find_problems(table: pa.Table) -> list[list[str]]:
    """Per row the names of the PROBLEMS it has; empty for a valid record.

    A missing modality is no problem: the model has a token for it. A value that contradicts itself is.
    """
    hits = {name: np.asarray(rule(table)) for name, rule in PROBLEMS.items()}
    return [[name for name, rows in hits.items() if rows[i]] for i in range(table.num_rows)]


def read_record(
    phase1_row: Mapping[str, Any],
    phase3_row: Mapping[str, Any],
    policy: LabelPolicy,
    transform: "TransformSpec",
) -> dict[str, Any]:
    """One record in the standard format (formats.py), as tensors.

    phase1_row: `image` (JPEG) and `attention_regions`; phase3_row: a row of PHASE3_COLUMNS. Adds to the
    format's names what a reader needs beside them: `clinical_missing`, the policy's `label_targets` and `label_mask`,
    `stay_id`, `split`, `synthetic`. Shapes and units: image float32 [3, S, S] as `transform` says
    (learning/transforms.py, S = its size); text_input_ids and text_attention_mask int64 [T], unpadded;
    clinical_features float32 [F] in the order and units of CLINICAL_FEATURES, NaN where clinical_missing
    (bool [F]); labels {name: 1.0, 0.0, -1.0 or None}; label_targets float32 [14] and label_mask bool [14];
    attention_regions {"edge_energy": uint8 [16, 16]}. Raises UnreadableImage.
    """
    import torch

    from mm_assets.learning.transforms import apply_transform
    from mm_assets.records.images import decode_image

    raw = np.array([_number(phase3_row[label]) for label in LABELS], dtype=np.float32)
    targets, mask = targets_and_mask(raw[None], policy)
    clinical = torch.tensor([_number(phase3_row[name]) for name in CLINICAL_FEATURES], dtype=torch.float32)
    input_ids = torch.tensor(phase3_row["input_ids"] or [], dtype=torch.int64)
    regions = np.frombuffer(phase1_row["attention_regions"], dtype=np.uint8).reshape(GRID, GRID)
    enhanced = phase3_row["enhanced_note"] or ""
    return {
        "format": "standard",
        "format_version": 1,
        **{name: phase3_row[name] for name in ("subject_id", "study_id", "dicom_id", "stay_id", "split")},
        "image": apply_transform(transform, decode_image(phase1_row["image"]).pixels),
        "attention_regions": {"edge_energy": torch.from_numpy(regions.copy())},
        "text_input_ids": input_ids,
        "text_attention_mask": torch.ones_like(input_ids),
        "pseudo_note": phase3_row["pseudo_note"] or "",
        "enhanced_note": enhanced,
        "retrieved_knowledge": context_of(enhanced),
        "clinical_features": clinical,
        "clinical_missing": torch.isnan(clinical),
        "labels": {name: None if np.isnan(value) else float(value) for name, value in zip(LABELS, raw, strict=True)},
        "label_targets": torch.from_numpy(targets[0]),
        "label_mask": torch.from_numpy(mask[0]),
        "view_position": phase3_row["view"],
        **{
            flag: bool(phase3_row[flag])
            for flag in ("phase1_processed", "phase2_processed", "phase3_integrated", "synthetic")
        },
    }


def _with_columns(table: pa.Table, other: pa.Table, columns: tuple[str, ...]) -> pa.Table:
    """Columns of `other` beside the rows of the same study; null where `other` lacks the study."""
    found = other.select(columns).take(pc.index_in(table["study_id"], other["study_id"].combine_chunks()))
    for name in columns:
        table = table.append_column(name, found[name])
    return table


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _floats(table: pa.Table, column: str) -> np.ndarray:
    return np.asarray(table[column].cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=float)


def _key_missing(table: pa.Table) -> np.ndarray:
    keys = ("subject_id", "study_id", "dicom_id", "stay_id", "study_dt")
    return np.any([np.asarray(pc.is_null(table[name])) for name in keys], axis=0)


def _none_of(column: str, known: tuple[str, ...]) -> Callable[[pa.Table], np.ndarray]:
    return lambda table: ~np.asarray(pc.is_in(table[column], pa.array(known)))


def _future_feature(table: pa.Table) -> np.ndarray:
    # A record without any timed feature has null here and cannot look ahead.
    late = pc.greater_equal(table["max_feature_time"], table["study_dt"])
    return np.asarray(pc.fill_null(late, False))


def _size_invalid(table: pa.Table) -> np.ndarray:
    return ~((_floats(table, "width") > 0) & (_floats(table, "height") > 0))


def _clinical_infinite(table: pa.Table) -> np.ndarray:
    return np.any([np.isinf(_floats(table, name)) for name in CLINICAL_FEATURES], axis=0)


def _label_invalid(table: pa.Table) -> np.ndarray:
    raw = raw_labels(table)
    return ~(np.isnan(raw) | np.isin(raw, (-1, 0, 1))).all(axis=1)


def _tokens_inconsistent(table: pa.Table) -> np.ndarray:
    kept = pc.fill_null(pc.list_value_length(table["input_ids"]), 0).to_numpy()
    total = pc.fill_null(table["n_tokens"], 0).to_numpy()
    truncated = np.asarray(pc.fill_null(table["truncated"], False))
    has_text = np.asarray(pc.greater(pc.fill_null(pc.utf8_length(table["pseudo_note"]), 0), 0))
    return (truncated != (total > kept)) | (kept > total) | (has_text != (kept > 0))


# Name of a problem -> which rows have it, bool [N].
PROBLEMS: dict[str, Callable[[pa.Table], np.ndarray]] = {
    "key_missing": _key_missing,
    "split_unknown": _none_of("split", SPLITS),
    "view_not_frontal": _none_of("view", FRONTAL_VIEWS),
    "film_size_invalid": _size_invalid,
    "feature_from_the_future": _future_feature,
    "clinical_infinite": _clinical_infinite,
    "label_invalid": _label_invalid,
    "filtered_text_missing": lambda table: np.asarray(pc.is_null(table["chief_complaint"])),
    "note_missing": lambda table: np.asarray(pc.is_null(table["pseudo_note"])),
    "tokens_inconsistent": _tokens_inconsistent,
}
