"""A whole synthetic data set: a folder for each organisation, and the answer key that only tests and checks read.

Belongs here: sizes and knobs, folders, files, the report. Does not belong here: what is in a record (cohort), how a
film looks (films), the same files around real X-rays (`around_xrays.py`), databases and stores (the wing's assets).

Layout below the target:

- `org2/table.parquet` (ORG2_SCHEMA) and `org2/expected.parquet` (EXPECTED_SCHEMA): the label holder's.
- `org3/table.parquet` (ORG3_SCHEMA), `org3/images/<id>.jpg` and `org3/mapping.parquet` (MAPPING_SCHEMA).
- `truth/records.parquet` (TRUTH_SCHEMA) and `truth/rows.parquet` (ROW_SCHEMA): of nobody.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mm_assets.cloud_vision.schema import (
    CLASSES,
    EXPECTED_SCHEMA,
    IMAGE_HOLDER,
    LABEL_HOLDER,
    MAPPING_SCHEMA,
    ORG2_SCHEMA,
    ORG3_SCHEMA,
    ORGANISATIONS,
    SPLITS,
)
from mm_assets.cloud_vision.synthetic.cohort import COMMON_SHARE, PlannedRow, RecordPlan, plan_records, plan_rows
from mm_assets.cloud_vision.synthetic.films import FILM_PX, FilmPlan, draw_films, film_jpeg, mask_png
from mm_assets.cloud_vision.synthetic.law import DEFAULT_DIFFICULTY, Design, PlantedLaw, planted_law
from resources.compute import map_items
from resources.errors import MendableError
from resources.objects import space_for

# Raised with every change that changes bytes: published data of the same settings and version are not drawn again.
GENERATOR_VERSION = 1

TRUTH_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),  # in the usual spelling
        ("split", pa.string()),
        ("label", pa.int32()),
        ("pattern", pa.string()),  # one of PATTERNS; null: a real X-ray
        ("severity", pa.float32()),  # 0 on a clear film; null: a real X-ray
        ("in_org2", pa.bool_()),
        ("in_org3", pa.bool_()),
        ("image", pa.string()),  # below organisation 3's folder; null: it has none
        ("mask", pa.binary()),  # PNG of one bit a pixel, `films.canvas_side` wide; null: no lesion, or no film
    ]
)
ROW_SCHEMA = pa.schema(
    [
        ("organisation", pa.string()),
        ("row", pa.int64()),  # of its table
        ("written", pa.string()),  # the id as the table has it
        ("image_id", pa.string()),  # in the usual spelling
        ("spelling", pa.string()),  # one of cohort.SPELLINGS
        ("repeated", pa.bool_()),  # the record has a row before this one
    ]
)

_README = """SYNTHETIC DATA

Every X-ray, feature and label below this folder was made by a program. Nothing here comes from any person, and nothing
learnt from it holds for one.
"""


class DataExist(MendableError):
    """The target already holds a data set."""


@dataclass(frozen=True)
class XrayDataConfig:
    """Size and knobs. train, validate, test, shifted: records of each split, over both organisations.

    px: side of a film, even. design and difficulty: see `law.planted_law`. common_share: of records that both
    organisations hold. jobs: processes that draw; they do not change a byte.
    """

    train: int = 640
    validate: int = 160
    test: int = 400
    shifted: int = 200
    px: int = FILM_PX
    design: Design = "complementary"
    difficulty: float = DEFAULT_DIFFICULTY
    common_share: float = COMMON_SHARE
    seed: int = 0
    jobs: int = 2

    def __post_init__(self) -> None:
        for name in SPLITS:
            if not 3 <= getattr(self, name) <= 100_000:
                raise ValueError(f"{name} must lie between 3 and 100000 records, not {getattr(self, name)}")
        if not 192 <= self.px <= 1024 or self.px % 2:
            raise ValueError(f"px must be even and lie between 192 and 1024, not {self.px}")
        if not 0.0 < self.common_share <= 1.0:
            raise ValueError(f"common_share must lie above 0 and be at most 1, not {self.common_share}")
        planted_law(self.design, self.difficulty)

    @property
    def law(self) -> PlantedLaw:
        """What the records are drawn from."""
        return planted_law(self.design, self.difficulty)


@dataclass(frozen=True)
class XrayDataReport:
    """What was written; rows count repeated ones, records do not."""

    root: Path
    records: int
    common: int
    rows: dict[str, int]  # per organisation
    films: int
    film_bytes: int
    per_split: dict[str, int]
    per_class: dict[str, int]

    def describe(self) -> str:
        """The report as plain text."""

        def listed(counts: dict[str, int]) -> str:
            return ", ".join(f"{name} {count}" for name, count in counts.items())

        return (
            f"SYNTHETIC data at {self.root}: {self.records} records, {self.common} of them at both organisations, "
            f"{self.films} X-rays ({self.film_bytes / 1e6:.0f} MB)\n"
            f"Rows: {listed(self.rows)}\n"
            f"Records per split: {listed(self.per_split)}\n"
            f"Records per class: {listed(self.per_class)}"
        )


@dataclass(frozen=True)
class _Drawing:
    path: Path
    film: FilmPlan
    px: int


@dataclass(frozen=True)
class _Drawn:
    size: int  # bytes
    mask: bytes | None


def write_data(folder: Path, config: XrayDataConfig, *, progress: bool = True) -> XrayDataReport:
    """Write a data set below `folder`; the same config gives the same bytes, whatever `jobs`.

    Raises DataExist when `folder` already holds one.
    """
    make_folders(folder)
    sizes = {split: getattr(config, split) for split in SPLITS}
    records = plan_records(config.law, sizes, config.common_share, config.seed)
    to_draw = [(record, record.film) for record in records if record.film and IMAGE_HOLDER in record.holders]
    drawn = list(
        map_items(
            _draw,
            [_Drawing(folder / IMAGE_HOLDER / record.image, film, config.px) for record, film in to_draw],
            workers=config.jobs,
            kind="process" if config.jobs > 1 else "inline",
            desc="drawing X-rays" if progress else None,
        )
    )
    masks = {record.image_id: film.mask for (record, _), film in zip(to_draw, drawn, strict=True)}
    rows = write_tables(folder, records, masks, config.seed)
    (folder / "README").write_text(_README)
    return XrayDataReport(
        root=folder,
        records=len(records),
        common=sum(len(record.holders) == len(ORGANISATIONS) for record in records),
        rows=rows,
        films=len(drawn),
        film_bytes=sum(film.size for film in drawn),
        per_split=_counts(SPLITS, (record.split for record in records)),
        per_class=_counts(CLASSES, (CLASSES[record.label] for record in records)),
    )


def make_folders(folder: Path) -> None:
    """The folders of a data set, empty. Raises DataExist when `folder` already holds one."""
    if any((folder / name).exists() for name in (*ORGANISATIONS, "truth")):
        raise DataExist(f"{folder} already holds a data set: choose another folder or delete this one")
    (folder / IMAGE_HOLDER / "images").mkdir(parents=True)
    for name in (LABEL_HOLDER, "truth"):
        (folder / name).mkdir()


def write_tables(
    folder: Path, records: list[RecordPlan], masks: Mapping[str, bytes | None], seed: int
) -> dict[str, int]:
    """Every table of a data set, its X-rays apart; `masks` by image_id. Returns the rows of each organisation."""
    rows = {name: plan_rows(records, name, seed) for name in ORGANISATIONS}
    for name, schema in ((LABEL_HOLDER, ORG2_SCHEMA), (IMAGE_HOLDER, ORG3_SCHEMA)):
        _write(folder / name / "table.parquet", [row.values(name) for row in rows[name]], schema)
    common = [_expected(record) for record in records if len(record.holders) == len(ORGANISATIONS)]
    _write(folder / LABEL_HOLDER / "expected.parquet", common, EXPECTED_SCHEMA)
    mapped = [_mapping(record) for record in records if IMAGE_HOLDER in record.holders]
    _write(folder / IMAGE_HOLDER / "mapping.parquet", mapped, MAPPING_SCHEMA)
    _write(folder / "truth" / "records.parquet", [_truth(record, masks) for record in records], TRUTH_SCHEMA)
    written = [_row(name, at, row) for name in ORGANISATIONS for at, row in enumerate(rows[name])]
    _write(folder / "truth" / "rows.parquet", written, ROW_SCHEMA)
    return {name: len(rows[name]) for name in ORGANISATIONS}


def cloud_name(record: RecordPlan) -> str:
    """Path of the X-ray in the cloud: its split and id, nothing of its class."""
    return f"xrays/{record.split}/{record.image_id}.jpg"


def _draw(drawing: _Drawing) -> _Drawn:
    films = draw_films([drawing.film], drawing.px)
    data = film_jpeg(films.pixels[0])
    with space_for(drawing.path):  # here, because an error's number does not outlive the way from a worker
        drawing.path.write_bytes(data)
    return _Drawn(len(data), None if drawing.film.pattern == "clear" else mask_png(films.masks[0]))


def _expected(record: RecordPlan) -> dict[str, Any]:
    return {
        "image_id": record.image_id,
        "split": record.split,
        "label": record.label,
        "class_name": CLASSES[record.label],
    }


def _mapping(record: RecordPlan) -> dict[str, Any]:
    return {"local": record.image, "cloud": cloud_name(record), "content_type": "image/jpeg"}


def _truth(record: RecordPlan, masks: Mapping[str, bytes | None]) -> dict[str, Any]:
    film = record.film
    return {
        "image_id": record.image_id,
        "split": record.split,
        "label": record.label,
        "pattern": film.pattern if film else None,
        "severity": film.severity if film else None,
        "in_org2": LABEL_HOLDER in record.holders,
        "in_org3": IMAGE_HOLDER in record.holders,
        "image": record.image if IMAGE_HOLDER in record.holders else None,
        "mask": masks.get(record.image_id),
    }


def _row(organisation: str, number: int, row: PlannedRow) -> dict[str, Any]:
    return {
        "organisation": organisation,
        "row": number,
        "written": row.image_id,
        "image_id": row.record.image_id,
        "spelling": row.spelling,
        "repeated": row.repeated,
    }


def _write(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def _counts(names: Iterable[str], values: Iterable[str]) -> dict[str, int]:
    counted = Counter(values)
    return {name: counted[name] for name in names}
