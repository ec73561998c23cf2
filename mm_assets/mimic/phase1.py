"""Phase 1: one record per linked study from its film, its clinical tables and its labels.

Belongs here: joining what `records/images`, `clinical`, `labels` and `attention_regions` return into rows of
`schema.PHASE1_COLUMNS`, and a quarantine row for every study that yields none.
Does not belong here: where files are (the caller hands in a reader), and any linking, clinical or label rule.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.mimic.attention_regions import GRID, attention_regions
from mm_assets.mimic.clinical import (
    DEFAULT_MARGIN_MINUTES,
    chief_complaints,
    clinical_features,
    history_texts,
)
from mm_assets.mimic.schema import (
    CLINICAL_FEATURES,
    LABELS,
    PHASE1_COLUMNS,
    QUARANTINE_COLUMNS,
    REPAIRABLE_FEATURES,
    SPLITS,
    VITALS,
)
from mm_assets.records.images import QualityMode, ResizeMode, stored_image
from mm_assets.records.unreadable import UnreadableImage
from resources.compute import map_items
from resources.errors import MendableError

_TYPES: dict[str, pa.DataType] = {
    "subject_id": pa.int64(),
    "study_id": pa.int64(),
    "dicom_id": pa.string(),
    "stay_id": pa.int64(),
    "split": pa.string(),
    "view": pa.string(),
    "study_dt": pa.timestamp("ms"),
    "image": pa.binary(),
    "width": pa.int32(),
    "height": pa.int32(),
    "resize_mode": pa.string(),
    **{feature: pa.float32() for feature in CLINICAL_FEATURES},
    **{f"{feature}_repaired": pa.bool_() for feature in REPAIRABLE_FEATURES},
    "max_feature_time": pa.timestamp("ms"),
    "gender": pa.string(),
    "race": pa.string(),
    "chief_complaint": pa.string(),
    "history": pa.string(),
    "attention_regions": pa.binary(GRID * GRID),
    **{label: pa.float32() for label in LABELS},
}
PHASE1_SCHEMA: pa.Schema = pa.schema([(name, _TYPES[name]) for name in PHASE1_COLUMNS])
# Large enough that looking through all raw tables for their rows costs nothing beside their films; the frames of
# a whole partition would take as much memory as everything else together.
STUDIES_AT_A_TIME = 512
QUARANTINE_SCHEMA: pa.Schema = pa.schema(
    [(name, pa.int64() if name in ("subject_id", "study_id") else pa.string()) for name in QUARANTINE_COLUMNS]
)

# Reasons a linked study yields no record, besides those of `records.unreadable.UNREADABLE_REASONS`.
IMAGE_MISSING = "image_missing"
LABELS_MISSING = "labels_missing"
LABELS_CONFLICTING = "labels_conflicting"


class FilmsOutOfReach(MendableError):
    """The films' storage failed; says so without the film's path, which holds the patient's id."""


@dataclass(frozen=True)
class Phase1Config:
    """How films are stored and how long before the film an event must have happened."""

    image_size: int = 518
    resize_mode: ResizeMode = "squash"
    quality_mode: QualityMode = "default"
    margin_minutes: float = DEFAULT_MARGIN_MINUTES
    max_medication_classes: int = 12
    batch_rows: int = 64  # films in memory at a time; the row group they are stored in
    workers: int = 2


# What is read of each of the raw tables, which hold all stays there are.
_EVENT = ("stay_id", "charttime")
TABLE_COLUMNS: dict[str, tuple[str, ...]] = {
    "edstays": ("stay_id", "arrival_transport"),
    "triage": ("stay_id", *VITALS, "pain", "acuity", "chiefcomplaint"),
    "vitalsign": (*_EVENT, *VITALS, "pain"),
    "medrecon": (*_EVENT, "name", "etc_rn", "etcdescription"),
    "labels": ("study_id", *LABELS),
}


@dataclass(frozen=True)
class Phase1Tables:
    """Raw tables with `TABLE_COLUMNS`; more columns, and rows of other studies and stays, are allowed."""

    edstays: pa.Table
    triage: pa.Table
    vitalsign: pa.Table
    medrecon: pa.Table
    labels: pa.Table


@dataclass(frozen=True)
class Rejection:
    """A row of `rejected.parquet`: the study that yields no record, and why."""

    subject_id: int
    study_id: int
    dicom_id: str
    reason: str
    detail: str


@dataclass(frozen=True)
class _Film:
    jpeg: bytes
    width: int
    height: int
    regions: bytes


def build_records(
    links: pa.Table,
    tables: Phase1Tables,
    read_image: Callable[[str], bytes],
    config: Phase1Config,
    reject: Callable[[Rejection], None],
    desc: str | None = None,
) -> Iterator[pa.RecordBatch]:
    """Batches of `PHASE1_SCHEMA` in order of study_id, from rows of `schema.LINK_COLUMNS`.

    read_image: image_path -> file bytes, called from `config.workers` threads; FileNotFoundError makes the
    study `image_missing`, any other error ends the run with FilmsOutOfReach.
    reject: called once for every study that yields no record, in order of study_id within each kind.
    desc: title of the progress bar.
    Holds the tabular rows of `STUDIES_AT_A_TIME` studies and one batch of films in memory, however many links
    there are. One empty batch where no study yields a record. Raises FutureFeature as `clinical_features` does.
    """
    chunks: deque[pd.DataFrame] = deque()

    def paths() -> Iterator[str]:
        for rows in _study_chunks(links, tables, config, reject):
            chunks.append(rows)
            yield from rows["image_path"]

    work = partial(_read_film, read_image=read_image, config=config)
    films = map_items(work, paths(), workers=config.workers, kind="thread", desc=desc, total=links.num_rows)
    kept: list[int] = []
    batch: list[_Film] = []
    position = rows_written = 0  # the film's place in the first of the chunks
    for film in films:
        rows = chunks[0]
        if isinstance(film, _Film):
            kept.append(position)
            batch.append(film)
        else:
            reason, detail = film
            reject(_rejection(rows.iloc[position], reason, detail))
        position += 1
        if batch and (len(batch) == config.batch_rows or position == len(rows)):
            rows_written += len(batch)
            ready = _record_batch(rows.iloc[kept], batch, config)
            kept, batch = [], []  # let go of before the reader takes its time
            yield ready
            del ready
        if position == len(rows):
            chunks.popleft()
            position = 0
    if not rows_written:
        # Whoever writes the batches reads the columns from one.
        yield pa.RecordBatch.from_pylist([], schema=PHASE1_SCHEMA)


def rejection_table(rejections: Iterable[Rejection]) -> pa.Table:
    """`rejected.parquet` (`QUARANTINE_SCHEMA`), sorted by study_id and reason."""
    ordered = sorted(rejections, key=lambda row: (row.study_id, row.reason))
    return pa.Table.from_pylist([vars(row) for row in ordered], schema=QUARANTINE_SCHEMA)


def small_sample(batches: Iterable[pa.RecordBatch], n_per_split: int) -> pa.Table:
    """The first `n_per_split` records of each split in the order given; study ids are not chronological.

    Reads the batches once and keeps only the sample. Returns a table of `PHASE1_SCHEMA` grouped by split.
    """
    taken: dict[str, list[pa.RecordBatch]] = {split: [] for split in SPLITS}
    for batch in batches:
        for split, parts in taken.items():
            missing = n_per_split - sum(part.num_rows for part in parts)
            if missing > 0:
                parts.append(batch.filter(pc.equal(batch.column("split"), split)).slice(0, missing))
    return pa.Table.from_batches([part for split in SPLITS for part in taken[split]], schema=PHASE1_SCHEMA)


def _study_chunks(
    links: pa.Table, tables: Phase1Tables, config: Phase1Config, reject: Callable[[Rejection], None]
) -> Iterator[pd.DataFrame]:
    """`_study_rows` of the links in order of study_id, a few hundred at a time, none of them empty."""
    ordered = links.sort_by("study_id")
    for start in range(0, ordered.num_rows, STUDIES_AT_A_TIME):
        rows = _study_rows(ordered.slice(start, STUDIES_AT_A_TIME), tables, config, reject)
        if len(rows):
            yield rows


def _study_rows(
    links: pa.Table, tables: Phase1Tables, config: Phase1Config, reject: Callable[[Rejection], None]
) -> pd.DataFrame:
    """One row per study with everything but the film, in the order of the links, with a plain index."""
    rows = links.to_pandas()
    # The stored precision: what is strictly before the film must still be so after storing.
    rows["study_dt"] = rows["study_dt"].astype("datetime64[ns]").dt.floor("ms")
    rows["intime"] = rows["intime"].astype("datetime64[ns]")
    rows = _with_labels(rows, tables.labels, reject)
    stays = pa.array(rows["stay_id"].unique(), pa.int64())
    edstays, triage, vitalsign, medrecon = (
        _rows_of(getattr(tables, name), stays, TABLE_COLUMNS[name])
        for name in ("edstays", "triage", "vitalsign", "medrecon")
    )
    features = clinical_features(rows, edstays, triage, vitalsign, margin_minutes=config.margin_minutes)
    history = history_texts(
        rows, medrecon, margin_minutes=config.margin_minutes, max_classes=config.max_medication_classes
    )
    return pd.concat([rows.drop(columns="age"), features, chief_complaints(rows, triage), history], axis=1)


def _with_labels(rows: pd.DataFrame, labels: pa.Table, reject: Callable[[Rejection], None]) -> pd.DataFrame:
    """Rows with their 14 raw labels; a study without labels, or with two different sets, is rejected.

    A study without a label row must not pass as one whose 14 labels are blank: blank is negative by default.
    """
    studies = pa.array(rows["study_id"], pa.int64())
    frame = labels.filter(pc.is_in(labels["study_id"], studies)).select(list(TABLE_COLUMNS["labels"])).to_pandas()
    frame = frame.drop_duplicates()
    conflicting = set(frame.loc[frame.duplicated("study_id"), "study_id"])
    present = set(frame["study_id"])
    usable = []
    for position, study in enumerate(rows["study_id"]):
        if study not in present:
            reject(_rejection(rows.iloc[position], LABELS_MISSING, "the label file lacks this study"))
        elif study in conflicting:
            reject(_rejection(rows.iloc[position], LABELS_CONFLICTING, "the label file has different rows"))
        else:
            usable.append(position)
    return rows.iloc[usable].merge(frame, on="study_id", how="left")


def _rows_of(table: pa.Table, stays: pa.Array, columns: Sequence[str]) -> pd.DataFrame:
    """Rows of these stays only: the tables hold millions of rows, a partition needs a fraction."""
    return table.select(list(columns)).filter(pc.is_in(table["stay_id"], stays)).to_pandas()


def _read_film(path: str, read_image: Callable[[str], bytes], config: Phase1Config) -> _Film | tuple[str, str]:
    """The stored film, or (reason, detail) why there is none."""
    try:
        data = read_image(path)
    except FileNotFoundError:
        return IMAGE_MISSING, f"no file {path}"
    except Exception as error:
        said = (str(error).splitlines() or [""])[0].replace(path, "a film").replace(path.rpartition("/")[2], "a film")
        # `from None`: the error itself, with the path in it, must not reach the log beside this one.
        raise FilmsOutOfReach(
            f"a film cannot be read ({type(error).__name__}: {said}): mend the access to the films and run again"
        ) from None
    try:
        stored = stored_image(data, config.image_size, config.resize_mode, config.quality_mode)
    except UnreadableImage as error:
        return error.reason_code, error.detail
    regions = attention_regions(stored.pixels).tobytes()
    return _Film(stored.jpeg, stored.width, stored.height, regions)


def _rejection(row: pd.Series, reason: str, detail: str) -> Rejection:
    return Rejection(int(row["subject_id"]), int(row["study_id"]), str(row["dicom_id"]), reason, detail)


def _record_batch(rows: pd.DataFrame, films: list[_Film], config: Phase1Config) -> pa.RecordBatch:
    from_films: dict[str, list] = {
        "image": [film.jpeg for film in films],
        "width": [film.width for film in films],
        "height": [film.height for film in films],
        "resize_mode": [config.resize_mode] * len(films),
        "attention_regions": [film.regions for film in films],
    }
    arrays = []
    for name, kind in _TYPES.items():
        if name in from_films:
            arrays.append(pa.array(from_films[name], kind))
        elif name in CLINICAL_FEATURES:
            # Missing features stay NaN, blank labels become null: both as `schema` says.
            arrays.append(pa.array(rows[name].to_numpy(np.float32), kind, from_pandas=False))
        elif pa.types.is_timestamp(kind):
            arrays.append(pa.array(rows[name].astype("datetime64[ms]"), kind))
        else:
            arrays.append(pa.array(rows[name], kind, from_pandas=True))
    return pa.RecordBatch.from_arrays(arrays, schema=PHASE1_SCHEMA)
