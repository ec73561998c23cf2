"""The tree as a stranger would read it: files, headers, conventions, counts, determinism."""

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mm_assets.mimic import schema
from mm_assets.mimic.synthetic.tables import ADMISSIONS_COLUMNS
from mm_assets.mimic.synthetic.tree import TreeConfig, TreeExists, TreeReport, write_tree

HEADERS = {
    f"cxr/{schema.CXR_METADATA}.gz": schema.CXR_METADATA_COLUMNS,
    f"cxr/{schema.CXR_CHEXPERT}.gz": schema.CXR_LABEL_COLUMNS,
    f"cxr/{schema.CXR_NEGBIO}.gz": schema.CXR_LABEL_COLUMNS,
    f"cxr/{schema.CXR_SPLIT}.gz": schema.CXR_SPLIT_COLUMNS,
    "ed/ed/edstays.csv.gz": schema.EDSTAYS_COLUMNS,
    "ed/ed/triage.csv.gz": schema.TRIAGE_COLUMNS,
    "ed/ed/vitalsign.csv.gz": schema.VITALSIGN_COLUMNS,
    "ed/ed/medrecon.csv.gz": schema.MEDRECON_COLUMNS,
    "ed/ed/pyxis.csv.gz": schema.PYXIS_COLUMNS,
    "ed/ed/diagnosis.csv.gz": schema.DIAGNOSIS_COLUMNS,
    "iv/hosp/patients.csv.gz": schema.PATIENTS_COLUMNS,
    "iv/hosp/admissions.csv.gz": ADMISSIONS_COLUMNS,
}


def _digests(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("path", HEADERS)
def test_headers_are_the_published_ones(root: Path, path: str) -> None:
    with gzip.open(root / path, "rt") as file:
        assert file.readline().strip().split(",") == list(HEADERS[path])


def test_same_config_gives_the_same_bytes_also_in_processes(root: Path, config: TreeConfig, tmp_path: Path) -> None:
    write_tree(tmp_path / "again", replace(config, jobs=2), progress=False)
    first, again = _digests(root), _digests(tmp_path / "again")
    assert first.keys() == again.keys()
    assert [name for name in first if first[name] != again[name]] == []


def test_another_seed_gives_other_patients(root: Path, config: TreeConfig, tmp_path: Path) -> None:
    write_tree(tmp_path / "other", replace(config, seed=4), progress=False)
    subjects = [pd.read_csv(r / "iv/hosp/patients.csv.gz")["subject_id"] for r in (root, tmp_path / "other")]
    assert set(subjects[0]) != set(subjects[1])


def test_an_existing_tree_is_not_written_over(root: Path, config: TreeConfig) -> None:
    with pytest.raises(TreeExists, match="already holds a tree"):
        write_tree(root, config, progress=False)


def test_all_ten_directories_and_disjoint_splits(root: Path) -> None:
    split = pd.read_csv(root / f"cxr/{schema.CXR_SPLIT}.gz")
    assert {f"p{str(subject)[:2]}" for subject in split["subject_id"]} == set(schema.DIRECTORIES)
    assert split.groupby("subject_id")["split"].nunique().max() == 1
    assert set(split["split"]) == set(schema.SPLITS)


def test_listed_images_exist_in_the_stored_size_except_the_trapped_one(root: Path) -> None:
    metadata = pd.read_csv(root / f"cxr/{schema.CXR_METADATA}.gz").drop_duplicates("dicom_id").set_index("dicom_id")
    traps = pd.read_parquet(root / "answer_key/traps.parquet")
    spoilt = set(traps.loc[traps["trap"].str.startswith("image_"), "dicom_id"])
    paths = (root / "cxr" / schema.CXR_IMAGE_LIST).read_text().split()
    assert len(paths) > 92
    for path in paths:
        dicom_id = Path(path).stem
        if dicom_id in spoilt:
            continue
        with Image.open(root / "cxr" / path) as image:
            row = metadata.loc[dicom_id]
            assert (image.height, image.width, image.mode) == (row["Rows"], row["Columns"], "L")
            assert path == f"files/p{str(row.subject_id)[:2]}/p{row.subject_id}/s{row.study_id}/{dicom_id}.jpg"


def test_label_values_follow_the_published_conventions(root: Path) -> None:
    labels = pd.read_csv(root / f"cxr/{schema.CXR_CHEXPERT}.gz")
    assert set(np.unique(labels[list(schema.LABELS)].stack())) <= {-1.0, 0.0, 1.0}
    assert set(labels[schema.NO_FINDING].dropna()) == {1.0}
    others = [label for label in schema.LABELS if label not in (schema.NO_FINDING, "Support Devices")]
    healthy = labels[labels[schema.NO_FINDING] == 1]
    assert not (healthy[others].abs() == 1).any().any()


def test_identifiers_and_times_look_published(root: Path) -> None:
    metadata = pd.read_csv(root / f"cxr/{schema.CXR_METADATA}.gz", dtype={"StudyTime": str})
    stays = pd.read_csv(root / "ed/ed/edstays.csv.gz", parse_dates=["intime", "outtime"])
    assert metadata["dicom_id"].str.fullmatch(r"([0-9a-f]{8}-){4}[0-9a-f]{8}").all()
    assert metadata["study_id"].between(50_000_000, 59_999_999).all()
    assert stays["stay_id"].between(30_000_000, 39_999_999).all() and stays["stay_id"].is_unique
    assert (stays["outtime"] > stays["intime"]).all()
    assert stays["hadm_id"].isna().any() and stays["hadm_id"].dropna().between(2e7, 3e7).all()
    assert metadata["StudyTime"].str.fullmatch(r"\d{1,6}\.\d+").all()
    assert "5.0" in set(metadata["StudyTime"])


def test_codes_keep_their_leading_zeros(root: Path) -> None:
    medrecon = pd.read_csv(root / "ed/ed/medrecon.csv.gz", dtype=str)
    assert medrecon["gsn"].str.fullmatch(r"\d{6}").all() and medrecon["ndc"].str.fullmatch(r"\d{11}").all()
    assert medrecon["etccode"].str.startswith("0000").all()


def test_vitals_are_charted_before_and_after_the_film(root: Path) -> None:
    findings = pd.read_parquet(root / "answer_key/findings.parquet")
    vitals = pd.read_csv(root / "ed/ed/vitalsign.csv.gz", parse_dates=["charttime"])
    linked = findings[findings["stay_id"] >= 0].merge(vitals, on="stay_id")
    after = linked["charttime"] > linked["study_dt"]
    assert after.groupby(linked["stay_id"]).any().all()
    assert (~after).groupby(linked["stay_id"]).any().mean() > 0.9
    assert not vitals.duplicated(["stay_id", "charttime"]).any()


def test_report_counts_what_was_asked(tree: TreeReport) -> None:
    assert tree.linked_studies == {"train": 60, "validate": 12, "test": 20}
    assert 0.75 < tree.linked_share < 0.85
    assert "Atelectasis" in tree.describe() and "SYNTHETIC" in tree.describe()
    assert "SYNTHETIC" in (tree.root / "cxr/README").read_text()


@pytest.mark.parametrize(
    ("knobs", "message"),
    [({"scale": 0}, "scale"), ({"linked_share": 2}, "linked_share"), ({"linked_studies": {"dev": 9}},
    "split"),
     ({"linked_studies": {"train": 3}}, "at least")],
)  # fmt: skip
def test_impossible_knobs_are_named(knobs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TreeConfig(**knobs)


def test_size_by_patients() -> None:
    config = TreeConfig.for_patients(500, seed=1)
    assert sum(config.linked_studies.values()) == 800
    assert config.linked_studies["train"] == 500
