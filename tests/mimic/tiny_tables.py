"""Tables of a few rows in the published layout, for tests of linking, the source and its verification."""

import csv
import functools
import gzip
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from mm_assets.mimic.source import TABLES
from mm_assets.records.tables import empty_table

PATIENT = 10_000_032


def image(number: int, *, subject: int = PATIENT, study: int = 50_000_001, **fields: Any) -> dict[str, Any]:
    """A sound frontal film, at 08:05:56.875 on 6 May 2180 unless said otherwise."""
    return {
        "dicom_id": f"dicom-{number:03d}",
        "subject_id": subject,
        "study_id": study,
        "ViewPosition": "PA",
        "Rows": 3056,
        "Columns": 2544,
        "StudyDate": "21800506",
        "StudyTime": "80556.875",
        **fields,
    }


def stay(
    number: int, intime: str, outtime: str | None, *, subject: int | None = PATIENT, **fields: Any
) -> dict[str, Any]:
    """A stay; times as in the file, with the day 2180-05-06 where only a clock is given."""
    times = [f"2180-05-06 {t}" if t is not None and len(t) == 8 else t for t in (intime, outtime)]
    return {
        "subject_id": subject,
        "stay_id": 30_000_000 + number,
        "intime": times[0],
        "outtime": times[1],
        "gender": "F",
        "race": "WHITE",
        **fields,
    }


def labels(study: int, *, subject: int = PATIENT, **fields: Any) -> dict[str, Any]:
    return {"subject_id": subject, "study_id": study, **fields}


def split(number: int, name: str = "train", *, subject: int = PATIENT, study: int = 50_000_001) -> dict[str, Any]:
    return {"dicom_id": f"dicom-{number:03d}", "study_id": study, "subject_id": subject, "split": name}


def table(name: str, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """The rows as the typed table ``name`` of TABLES; columns that a row does not give are null."""
    schema = _schema(name)
    columns = [pa.array([row.get(field.name) for row in rows]).cast(field.type) for field in schema]
    return pa.table(columns, schema=schema)


@functools.cache
def _schema(name: str) -> pa.Schema:
    return empty_table(TABLES[name].columns).schema


def write_csv(path: Path, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """The rows as a file of the published header, gzipped where ``path`` says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, TABLES[name].columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
