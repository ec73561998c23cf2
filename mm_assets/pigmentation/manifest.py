"""The manifest: one row per image file, saying which lesion of which patient it shows, and what is known of it.

Belongs here: reading a manifest file, its columns and types, and the rules that every row must keep.
Does not belong here: finding images in folders (`layouts.py`), opening them (`lesions.py`).

A row that breaks a rule is rejected with a reason; no rule guesses. Whether a file exists, and can be read, is found
out later, image by image.
"""

import io
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from mm_assets.pigmentation.schema import (
    LABEL_SOURCES,
    MANIFEST_SCHEMA,
    MODALITIES,
    REJECTED_SCHEMA,
    TONES,
    UNKNOWN_TONE,
)
from mm_assets.records.splits import SPLIT_NAMES
from resources.errors import MendableError

SYNTHETIC_SOURCE = "synthetic"  # of a rendered label
REQUIRED_COLUMNS = ("patient_id", "lesion_id", "capture_id", "modality", "path")

# Reason -> what is wrong with the row and how to mend it. The codes are written into `rejected.parquet`.
MANIFEST_REASONS: dict[str, str] = {
    "missing_id": "patient_id, lesion_id, capture_id or path is empty: fill it in",
    "unknown_modality": f"modality is none of {', '.join(MODALITIES)}",
    "duplicate_capture_id": "another row has this capture_id: give every image file its own",
    "label_out_of_range": "the label is not between 0 and 1: divide mMASI by 24",
    "unknown_label_source": f"label_source is none of {', '.join(LABEL_SOURCES)}",
    "label_without_source": "a label without label_source: say where it comes from",
    "path_outside_root": "the path does not lead to a file below the source's root: write it relative, without '..'",
    "patient_of_lesion_differs": "this lesion_id belongs to two patients: make lesion ids unique over patients",
    "conflicting_labels": "images of this lesion and visit carry different labels or label sources: correct them",
    "conflicting_splits": "images of this lesion and visit are in different splits: correct them",
    "repeated_modality": "this lesion has another image of this modality at this visit: number the visits",
    "unknown_skin_tone": f"skin_tone is none of {', '.join(TONES)}: leave it empty where it is not known",
    "ita_out_of_range": "ita_deg is not between -90 and 90 degrees",
    "unknown_split": f"split is none of {', '.join(SPLIT_NAMES)}: leave it empty in all rows for our own split",
}


class ManifestError(MendableError):
    """A manifest that cannot be used as a whole: not a table, columns missing, or of another type."""


@dataclass(frozen=True, eq=False)
class ManifestRows:
    """`rows`: MANIFEST_SCHEMA, every rule kept and `visit` filled in; `rejected`: REJECTED_SCHEMA."""

    rows: pa.Table
    rejected: pa.Table


def read_manifest_file(name: str, data: bytes) -> pa.Table:
    """The table in a `.csv` or `.parquet` file's bytes. From CSV every column comes as text; `check_manifest` gives it
    its type. Raises ManifestError."""
    try:
        if name.lower().endswith(".parquet"):
            return pq.read_table(io.BytesIO(data))
        header = io.BytesIO(data).readline().decode("utf-8-sig").strip()
        names = [column.strip().strip('"') for column in header.split(",")]
        texts = pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
        )
        return pyarrow.csv.read_csv(io.BytesIO(data), convert_options=texts)
    except UnicodeDecodeError:
        raise ManifestError(f"{name} is not UTF-8 text: save it as UTF-8") from None
    except (pa.ArrowException, OSError) as error:
        # Without Arrow's words: they quote the row, which is a patient's.
        kind = "Parquet" if name.lower().endswith(".parquet") else "CSV"
        raise ManifestError(f"{name} is not a whole {kind} file ({type(error).__name__}): write it again") from None


def check_manifest(table: pa.Table) -> ManifestRows:
    """The rows that can be used, in their order, and those that cannot, with the first reason that holds.

    Further columns are left out; absent optional ones count as empty. Text is trimmed, and empty text is null. A
    label of NaN is null; without a label there is no label_source. `visit`, where empty, is the number of the capture
    among the images of its lesion and modality, from 1, in the order of the rows.

    A rule about several rows (a repeated capture_id, a lesion of two patients, two labels of one record) rejects all
    of them: which one is right is not for us to say.
    Raises ManifestError: no rows, a required column is absent, a column's values are of another type, rendered labels
    beside others.
    """
    rows = _typed(table).to_pandas(types_mapper={pa.int32(): pd.Int32Dtype()}.get)
    rows["label_source"] = rows["label_source"].where(rows["label"].notna(), None)
    reasons = pd.Series(None, index=rows.index, dtype=object)

    def reject(reason: str, broken: pd.Series) -> None:
        reasons[broken & reasons.isna()] = reason

    texts = rows[["patient_id", "lesion_id", "capture_id", "path"]]
    reject("missing_id", texts.isna().any(axis=1))
    reject("unknown_modality", ~rows["modality"].isin(MODALITIES))
    reject("path_outside_root", ~rows["path"].map(_below_root).astype(bool))
    reject("duplicate_capture_id", rows["capture_id"].duplicated(keep=False))
    labelled = rows["label"].notna()
    reject("label_out_of_range", labelled & ~rows["label"].between(0, 1))
    reject("label_without_source", labelled & rows["label_source"].isna())
    reject("unknown_label_source", labelled & ~rows["label_source"].isin(LABEL_SOURCES))
    reject("ita_out_of_range", rows["ita_deg"].notna() & ~rows["ita_deg"].between(-90, 90))
    reject("unknown_skin_tone", rows["skin_tone"].notna() & ~rows["skin_tone"].isin((*TONES, UNKNOWN_TONE)))
    reject("unknown_split", rows["split"].notna() & ~rows["split"].isin(SPLIT_NAMES))

    def several(by: list[str], column: str) -> pd.Series:
        """Rows, of those not rejected yet, in groups with more than one value of the column."""
        good = rows[reasons.isna()]
        return (good.groupby(by)[column].transform("nunique") > 1).reindex(rows.index, fill_value=False)

    reject("patient_of_lesion_differs", several(["lesion_id"], "patient_id"))
    rows["visit"] = _visits(rows[reasons.isna()]).reindex(rows.index)
    good = rows[reasons.isna()]
    repeated = good.duplicated(["lesion_id", "visit", "modality"]).reindex(rows.index, fill_value=False)
    reject("repeated_modality", repeated)
    record = ["lesion_id", "visit"]
    reject("conflicting_labels", several(record, "label") | several(record, "label_source"))
    reject("conflicting_splits", several(record, "split"))

    kept = reasons.isna()
    _require_one_origin(rows.loc[kept, "label_source"])
    rejected = rows.loc[~kept].assign(reason=reasons[~kept], detail=reasons[~kept].map(MANIFEST_REASONS))
    return ManifestRows(_table(rows.loc[kept], MANIFEST_SCHEMA), _table(rejected, REJECTED_SCHEMA))


def _require_one_origin(sources: pd.Series) -> None:
    """A set is synthetic as a whole or not at all: real photographs must never be shown as rendered ones are."""
    labelled = sources.dropna()
    rendered = int((labelled == SYNTHETIC_SOURCE).sum())
    if 0 < rendered < len(labelled):
        raise ManifestError(
            f"the manifest mixes {rendered} rows of label_source '{SYNTHETIC_SOURCE}' with {len(labelled) - rendered} "
            "of other sources: keep rendered and real images in two manifests, or correct the label_source"
        )


def _typed(table: pa.Table) -> pa.Table:
    missing = [name for name in REQUIRED_COLUMNS if name not in table.column_names]
    if missing:
        raise ManifestError(
            f"the manifest lacks {', '.join(missing)} (it has {', '.join(table.column_names)}): add the columns; "
            f"{', '.join(REQUIRED_COLUMNS)} are required"
        )
    repeated = sorted({name for name in MANIFEST_SCHEMA.names if table.column_names.count(name) > 1})
    if repeated:
        raise ManifestError(f"the manifest names {', '.join(repeated)} twice: keep one column of each name")
    if table.num_rows == 0:
        raise ManifestError("the manifest has no rows: name at least one image")
    columns, wrong = [], []
    for field in MANIFEST_SCHEMA:
        if field.name not in table.column_names:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        try:
            columns.append(_cast(table[field.name], field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            wrong.append(f"{field.name} ({table[field.name].type} instead of {field.type})")
    if wrong:
        raise ManifestError(f"values of the manifest are of another type in {', '.join(wrong)}: correct these columns")
    return pa.Table.from_arrays(columns, schema=MANIFEST_SCHEMA)


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pc.utf8_trim_whitespace(column.cast(pa.string()))
        column = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
    return column.cast(kind)


def _below_root(path: str | None) -> bool:
    """Whether a store finds this path below its root: relative, `/` between names, no `.` or `..`."""
    if not path or "\\" in path or not path.isprintable():
        return False
    return all(part not in ("", ".", "..") for part in path.split("/"))


def _visits(rows: pd.DataFrame) -> pd.Series:
    """The visit of every row: as given, else the smallest numbers that its lesion and modality leaves free."""
    visits = rows["visit"].copy()
    open_rows = rows[visits.isna()]
    given = rows[visits.notna()].groupby(["lesion_id", "modality"])["visit"].agg(set).to_dict()
    next_free: dict[tuple[str, str], int] = {}
    for index, lesion, modality in zip(open_rows.index, open_rows["lesion_id"], open_rows["modality"]):
        key = (lesion, modality)
        number = next_free.get(key, 1)
        while number in given.get(key, ()):
            number += 1
        visits[index] = number
        next_free[key] = number + 1
    return visits


def _table(rows: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pandas(rows[schema.names], schema=schema, preserve_index=False)


def says_synthetic(rows: pa.Table) -> bool:
    """Whether a checked manifest's labels are rendered: then the images are, wherever they lie, and stay marked so."""
    return bool(pc.any(pc.equal(rows["label_source"], SYNTHETIC_SOURCE)).as_py())
