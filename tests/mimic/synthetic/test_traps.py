"""The planted traps, checked against plain readings of the written tables and against the linking rules."""

from pathlib import Path

import pandas as pd

from mm_assets.mimic import schema
from mm_assets.mimic.synthetic.traps import LINKING_TRAPS, REJECTED_TRAPS
from mm_assets.mimic.synthetic.tree import TreeReport


def _traps(root: Path) -> pd.DataFrame:
    return pd.read_parquet(root / "answer_key/traps.parquet")


def test_every_trap_is_planted(root: Path) -> None:
    assert set(_traps(root)["trap"]) == {name for name, _ in (*LINKING_TRAPS, *REJECTED_TRAPS)}


def test_linking_reaches_every_expected_outcome(tree: TreeReport) -> None:
    from mm_assets.mimic.linking import link_studies
    from mm_assets.records.tables import read_csv_table

    specs = {
        "cxr_metadata": (f"cxr/{schema.CXR_METADATA}.gz", schema.CXR_METADATA_COLUMNS),
        "cxr_chexpert": (f"cxr/{schema.CXR_CHEXPERT}.gz", schema.CXR_LABEL_COLUMNS),
        "cxr_split": (f"cxr/{schema.CXR_SPLIT}.gz", schema.CXR_SPLIT_COLUMNS),
        "edstays": ("ed/ed/edstays.csv.gz", schema.EDSTAYS_COLUMNS),
        "patients": ("iv/hosp/patients.csv.gz", schema.PATIENTS_COLUMNS),
    }
    tables = {name: read_csv_table(tree.root / path, columns) for name, (path, columns) in specs.items()}
    result = link_studies(tables)
    stay_of = dict(zip(*(result.links[column].to_pylist() for column in ("dicom_id", "stay_id")), strict=True))
    reasons = {(row["dicom_id"], row["reason"]) for row in result.rejected.to_pylist()}
    traps = _traps(tree.root)
    images = traps["trap"].str.startswith("image_")
    for trap in traps[~images].itertuples():
        outcome, _, value = trap.expected.partition(":")
        if outcome == "linked":
            assert stay_of.get(trap.dicom_id) == int(value), trap.trap
        elif outcome == "rejected":
            assert (trap.dicom_id, value) in reasons, trap.trap
        else:
            assert trap.dicom_id not in stay_of, trap.trap
    # Films that cannot be read link like any other: they come on top of what was asked for.
    assert set(traps.loc[images, "dicom_id"]) <= set(stay_of)
    assert len(stay_of) == sum(tree.linked_studies.values()) + int(images.sum())


def test_spoilt_files_are_spoilt_as_named(root: Path) -> None:
    traps = _traps(root).set_index("trap")

    def file_of(name: str) -> Path:
        return next(iter((root / "cxr/files").rglob(f"{traps.at[name, 'dicom_id']}.jpg")), Path("none"))

    assert not file_of("image_missing").exists()
    assert file_of("image_empty").stat().st_size == 0
    assert file_of("image_truncated").read_bytes()[:2] == b"\xff\xd8"
    assert file_of("image_truncated").read_bytes()[-2:] != b"\xff\xd9"
    assert file_of("image_is_a_web_page").read_bytes()[:2] != b"\xff\xd8"


def test_celsius_trap_is_in_celsius(root: Path) -> None:
    stay = int(_traps(root).set_index("trap").at["celsius_triage", "expected"].removeprefix("linked:"))
    triage = pd.read_csv(root / "ed/ed/triage.csv.gz").set_index("stay_id")
    assert 33 < triage.at[stay, "temperature"] < 42
