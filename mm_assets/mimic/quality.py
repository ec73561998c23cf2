"""Statistics of the integrated table: what a person reads before trusting it.

Belongs here: counting. Does not belong here: which rows are valid (integration.py) or good enough (checks).
"""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.mimic.integration import PROBLEMS
from mm_assets.mimic.labels import label_counts, raw_labels
from mm_assets.mimic.schema import CLINICAL_FEATURES, SPLITS


def quality_report(table: pa.Table) -> dict[str, Any]:
    """JSON-ready report on a table of `integration.PHASE3_COLUMNS`: `all`, and one section per split.

    Each section: records, patients, validation_rate, problems (count by name), views (count), missing
    (share per clinical feature), repaired (share, where a value was converted or clipped), text (lengths of
    notes in characters and tokens, share of empty and of cut notes), labels (counts per label). Rates of an
    empty section are None.
    """
    sections = {"all": table} | {split: table.filter(pc.equal(table["split"], split)) for split in SPLITS}
    return {name: _section(rows) for name, rows in sections.items()}


def split_counts(table: pa.Table) -> dict[str, int]:
    """Valid records per split (`valid_train`, ...) and `patients_in_two_splits`."""
    valid = table.filter(table["phase3_integrated"])
    return {
        **{f"valid_{split}": valid.filter(pc.equal(valid["split"], split)).num_rows for split in SPLITS},
        "patients_in_two_splits": patients_in_two_splits(table),
    }


def patients_in_two_splits(table: pa.Table) -> int:
    """Patients whose rows (subject_id, split) lie in more than one split."""
    per_patient = table.group_by("subject_id").aggregate([("split", "count_distinct")])
    return pc.sum(pc.greater(per_patient["split_count_distinct"], 1)).as_py() or 0


def _section(rows: pa.Table) -> dict[str, Any]:
    found = Counter(name for names in rows["problems"].to_pylist() for name in names)
    return {
        "records": rows.num_rows,
        "patients": pc.count_distinct(rows["subject_id"]).as_py(),
        "validation_rate": _share(rows["phase3_integrated"]),
        "problems": {name: found[name] for name in PROBLEMS},
        "views": dict(sorted(Counter(str(view) for view in rows["view"].to_pylist()).items())),
        "missing": {name: _share(pc.is_null(rows[name], nan_is_null=True)) for name in CLINICAL_FEATURES},
        "repaired": {
            name.removesuffix("_repaired"): _share(rows[name])
            for name in rows.schema.names
            if name.endswith("_repaired")
        },
        "text": {
            "note_characters": _lengths(pc.utf8_length(rows["pseudo_note"])),
            "note_tokens": _lengths(rows["n_tokens"]),
            "enhanced_characters": _lengths(pc.utf8_length(rows["enhanced_note"])),
            "empty_complaint": _share(_is_empty(rows["chief_complaint"])),
            "empty_note": _share(_is_empty(rows["pseudo_note"])),
            "truncated": _share(rows["truncated"]),
            "without_passages": _share(pc.equal(pc.fill_null(pc.list_value_length(rows["passage_ids"]), 0), 0)),
        },
        "labels": {row.pop("label"): row for row in label_counts(raw_labels(rows)).to_pylist()},
    }


def _is_empty(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.equal(pc.fill_null(pc.utf8_length(column), 0), 0)


def _share(flags: pa.ChunkedArray) -> float | None:
    mean = pc.mean(pc.cast(pc.fill_null(flags, False), pa.float64())).as_py()
    return None if mean is None else round(mean, 6)


def _lengths(lengths: pa.ChunkedArray) -> dict[str, float] | None:
    values = lengths.drop_null().to_numpy()
    if not len(values):
        return None
    low, median, p95, high = np.percentile(values, [0, 50, 95, 100])
    return {
        "min": float(low), "mean": round(float(values.mean()), 2), "median": float(median),
        "p95": float(p95), "max": float(high),
    }  # fmt: skip
