"""Published sets of skin images, as they are published, as manifests: derm7pt, MILK10k and PAD-UFES-20.

Belongs here: what the columns and folders of these data sets mean. Does not belong here: rules about rows
(`manifest.py`), other layouts (`layouts.py`).

None of them has a severity label: it stays empty, and training needs one from a rater. Diagnoses are kept. Skin types
(Fitzpatrick I to VI, and MILK10k's 0 to 5 from dark to light) are taken as the six tone classes in their order, which
is an approximation: they were judged by eye, not measured.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pyarrow as pa

from mm_assets.pigmentation.layout_files import (
    PHOTOGRAPH_SUFFIXES,
    LayoutError,
    csv_header,
    csv_rows,
    manifest_of,
    suffix_of,
)
from mm_assets.pigmentation.schema import TONES

if TYPE_CHECKING:
    from resources.objects import ObjectStore

DERM7PT_TABLE = "meta/meta.csv"
DERM7PT_COLUMNS = ("case_num", "diagnosis", "clinic", "derm")
DERM7PT_SPLITS = {
    "train": "meta/train_indexes.csv",
    "validate": "meta/valid_indexes.csv",
    "test": "meta/test_indexes.csv",
}
MILK10K_COLUMNS = ("isic_id", "lesion_id", "image_type")
MILK10K_TYPES = {"clinical: close-up": "clinical", "dermoscopic": "dermoscopy"}
PAD_UFES_COLUMNS = ("patient_id", "lesion_id", "img_id", "diagnostic")


def read_derm7pt(root: "ObjectStore", files: list[str]) -> pa.Table:
    """Cases of derm7pt, a clinical and a dermoscopic photograph each, with the official split where it is there.

    The set does not name patients: each case counts as one.
    """
    rows = csv_rows(root, DERM7PT_TABLE, DERM7PT_COLUMNS)
    splits: dict[int, str] = {}
    for name, path in DERM7PT_SPLITS.items():
        if path in files:
            splits |= {_whole(row["indexes"], path): name for row in csv_rows(root, path, ("indexes",))}
    # The published table and the published files differ in capital letters.
    paths = {path.lower(): path for path in files}
    manifest = []
    for index, row in enumerate(rows):
        for column, modality in (("clinic", "clinical"), ("derm", "dermoscopy")):
            if row[column]:
                path = f"images/{row[column]}"
                manifest.append(
                    {
                        "patient_id": row["case_num"] or None,
                        "lesion_id": row["case_num"] or None,
                        "capture_id": f"{row['case_num']}/{column}",
                        "modality": modality,
                        "path": paths.get(path.lower(), path),
                        "visit": 1,
                        "diagnosis": row["diagnosis"] or None,
                        "split": splits.get(index),
                    }
                )
    return manifest_of(manifest)


def read_milk10k(root: "ObjectStore", files: list[str]) -> pa.Table:
    """Lesions of MILK10k, a clinical close-up and a dermoscopic photograph each.

    The set does not name patients: each lesion counts as one. Diagnoses come from the ground truth beside the table,
    one column a class. Raises LayoutError for a skin tone class beyond 0 to 5.
    """
    table = _table_with(root, files, MILK10K_COLUMNS)
    rows = csv_rows(root, table, MILK10K_COLUMNS)
    diagnoses = _milk10k_diagnoses(root, files)
    images = _by_stem(files)
    manifest = []
    for row in rows:
        tone = row.get("skin_tone_class", "")
        manifest.append(
            {
                "patient_id": row["lesion_id"] or None,
                "lesion_id": row["lesion_id"] or None,
                "capture_id": row["isic_id"] or None,
                "modality": MILK10K_TYPES.get(row["image_type"], row["image_type"]),
                "path": images.get(row["isic_id"].lower(), f"{row['lesion_id']}/{row['isic_id']}.jpg"),
                "skin_tone": _tone_from(tone, {str(n): name for n, name in enumerate(reversed(TONES))}, table),
                "diagnosis": row.get("diagnosis_1") or diagnoses.get(row["lesion_id"]),
            }
        )
    return manifest_of(manifest)


def read_pad_ufes_20(root: "ObjectStore", files: list[str]) -> pa.Table:
    """Lesions of PAD-UFES-20: photographs by smartphone, several of one lesion as its visits."""
    table = _table_with(root, files, PAD_UFES_COLUMNS)
    rows = csv_rows(root, table, PAD_UFES_COLUMNS)
    images = _by_stem(files)
    types = {str(number): name for number, name in enumerate(TONES, start=1)}
    manifest = []
    for row in rows:
        stem = PurePosixPath(row["img_id"]).stem if suffix_of(row["img_id"]) else row["img_id"]
        patient, lesion = row["patient_id"], row["lesion_id"]
        manifest.append(
            {
                "patient_id": patient or None,
                # Lesions are numbered over all patients; the patient's id makes sure of it.
                "lesion_id": f"{patient}-{lesion}" if patient and lesion else None,
                "capture_id": row["img_id"] or None,
                "modality": "clinical",
                "path": images.get(stem.lower(), f"images/{row['img_id']}"),
                "skin_tone": _tone_from(row.get("fitspatrick", ""), types, table),
                "diagnosis": row["diagnostic"] or None,
            }
        )
    return manifest_of(manifest)


def _table_with(root: "ObjectStore", files: list[str], columns: tuple[str, ...]) -> str:
    """The CSV file at the root that has these columns."""
    tables = [path for path in files if "/" not in path and suffix_of(path) == ".csv"]
    found = next((path for path in tables if set(columns) <= set(csv_header(root, path))), None)
    if found is None:
        raise LayoutError(
            f"{root.url} has no .csv with the columns {', '.join(columns)}: put the published table there, or choose "
            "another layout"
        )
    return found


def _milk10k_diagnoses(root: "ObjectStore", files: list[str]) -> dict[str, str]:
    table = next((path for path in files if "/" not in path and path.lower().endswith("groundtruth.csv")), None)
    if table is None:
        return {}
    classes = [name for name in csv_header(root, table) if name != "lesion_id"]
    diagnoses = {}
    for row in csv_rows(root, table, ("lesion_id",)):
        named = next((name for name in classes if row[name] in ("1", "1.0")), None)
        if named:
            diagnoses[row["lesion_id"]] = named
    return diagnoses


def _by_stem(files: list[str]) -> dict[str, str]:
    """Name of an image without suffix, in small letters -> its path, wherever it lies."""
    return {PurePosixPath(path).stem.lower(): path for path in files if suffix_of(path) in PHOTOGRAPH_SUFFIXES}


def _tone_from(text: str, tones: Mapping[str, str], table: str) -> str | None:
    """The tone of a skin type, which tables write as `3` or `3.0`; None where it is not given."""
    if text in ("", "nan", "NaN", "NA"):
        return None
    number = text.removesuffix(".0")
    if number not in tones:
        raise LayoutError(
            f"{table} has a skin type that is none of {', '.join(tones)}: this is another release; correct the column, "
            "or empty it"
        )
    return tones[number]


def _whole(text: str, path: str) -> int:
    if not text.isdigit():
        raise LayoutError(f"{path}: a value of indexes is no whole number: fetch the file again")
    return int(text)
