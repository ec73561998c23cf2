"""Traps, checked against plain readings of the written files and against what the wing makes of them."""

import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mm_assets.pigmentation.lesions import CaptureSettings, Rejection, build_lesions
from mm_assets.pigmentation.manifest import check_manifest
from mm_assets.pigmentation.schema import MODALITIES
from mm_assets.pigmentation.synthetic.optics import WAVELENGTHS_NM
from mm_assets.pigmentation.synthetic.traps import TRAPS
from mm_assets.pigmentation.synthetic.tree import SkinTreeReport


@pytest.fixture(scope="module")
def traps(skin_root: Path) -> pd.DataFrame:
    return pd.read_parquet(skin_root / "traps.parquet")


@pytest.fixture(scope="module")
def manifest(skin_root: Path) -> pd.DataFrame:
    return pd.read_parquet(skin_root / "manifest.parquet")


def _rows(manifest: pd.DataFrame, traps: pd.DataFrame, kind: str) -> pd.DataFrame:
    return manifest[manifest["lesion_id"].isin(traps.loc[traps["kind"] == kind, "lesion_id"])]


def _file(root: Path, manifest: pd.DataFrame, traps: pd.DataFrame, kind: str) -> Path:
    capture_id = traps.loc[traps["kind"] == kind, "capture_id"].iloc[0]
    return root / manifest.loc[manifest["capture_id"] == capture_id, "path"].iloc[0]


def test_every_trap_is_planted_in_a_patient_of_its_own(traps: pd.DataFrame, manifest: pd.DataFrame) -> None:
    assert set(traps["kind"]) == {trap.__name__ for trap in TRAPS}
    assert traps.groupby("kind")["lesion_id"].nunique().max() == 1 and traps["lesion_id"].nunique() == len(TRAPS)
    assert set(traps["capture_id"]) <= set(manifest["capture_id"])
    outcomes = traps["expected"].str.partition(":")[0]
    assert set(outcomes) == {"record", "record_without", "quarantined", "not_trained"}


def test_spoilt_files_are_spoilt_as_named(skin_root: Path, manifest: pd.DataFrame, traps: pd.DataFrame) -> None:
    def file(kind: str) -> Path:
        return _file(skin_root, manifest, traps, kind)

    assert file("text_for_an_image").read_bytes().startswith(b"<html")
    assert file("truncated_jpeg").read_bytes()[:2] == b"\xff\xd8"
    assert not file("truncated_jpeg").read_bytes().endswith(b"\xff\xd9")
    assert file("empty_file").stat().st_size == 0
    assert not file("missing_file").exists()
    assert struct.unpack(">II", file("thirty_thousand_pixels").read_bytes()[16:24]) == (30_000, 30_000)
    with Image.open(file("one_pixel")) as image:
        assert image.size == (1, 1)


def test_awkward_files_hold_the_same_picture(skin_root: Path, manifest: pd.DataFrame, traps: pd.DataFrame) -> None:
    deep = _file(skin_root, manifest, traps, "sixteen_bit_png").read_bytes()
    assert deep[24] == 16  # bits of the header
    modes = {"sixteen_bit_png": ("PNG", "RGB"), "transparent_png": ("PNG", "RGBA"), "bitmap": ("BMP", "RGB"),
             "grey_jpeg": ("JPEG", "L"), "lying_phone": ("JPEG", "RGB")}  # fmt: skip
    for kind, (form, mode) in modes.items():
        with Image.open(_file(skin_root, manifest, traps, kind)) as image:
            assert (image.format, image.mode, image.size) == (form, mode, (64, 64)), kind
            assert np.asarray(image).std() > 1
    with Image.open(_file(skin_root, manifest, traps, "lying_phone")) as image:
        assert image.getexif()[0x0112] == 6


def test_cubes_lack_what_they_should(skin_root: Path, manifest: pd.DataFrame, traps: pd.DataFrame) -> None:
    with np.load(_file(skin_root, manifest, traps, "half_the_bands"), allow_pickle=False) as arrays:
        assert arrays["cube"].shape[2] == len(arrays["wavelengths_nm"]) == 6
    with np.load(_file(skin_root, manifest, traps, "bands_without_names"), allow_pickle=False) as arrays:
        assert set(arrays) == {"cube"}


def test_awkward_rows_are_as_named(manifest: pd.DataFrame, traps: pd.DataFrame) -> None:
    assert _rows(manifest, traps, "only_dermoscopy")["modality"].tolist() == ["dermoscopy"]
    assert _rows(manifest, traps, "capture_named_twice")["capture_id"].duplicated().sum() == 1
    assert _rows(manifest, traps, "lesion_of_two_patients")["patient_id"].nunique() == 2
    assert _rows(manifest, traps, "two_labels")["label"].nunique() == 2
    assert _rows(manifest, traps, "two_labels")["label"].between(0, 1).all()
    assert (_rows(manifest, traps, "label_beyond_one")["label"] > 1).all()
    assert _rows(manifest, traps, "label_of_nobody")["label_source"].isna().all()
    assert _rows(manifest, traps, "no_label")["label"].isna().all()
    assert "ultrasound" in set(_rows(manifest, traps, "unknown_instrument")["modality"])


def test_the_wing_reaches_every_expected_outcome(skin_tree: SkinTreeReport, traps: pd.DataFrame) -> None:
    root = skin_tree.root
    checked = check_manifest(pq.read_table(root / "manifest.parquet"))
    reasons = {(row["capture_id"], row["reason"]) for row in checked.rejected.to_pylist()}
    settings = CaptureSettings(stored_px=64, multispectral="cube", wavelengths_nm=WAVELENGTHS_NM, cube_px=16)

    def reject(rejection: Rejection) -> None:
        reasons.add((rejection.capture_id, rejection.reason))

    batches = build_lesions(checked.rows, lambda path: (root / path).read_bytes(), settings, reject, workers=1)
    records = {row["lesion_id"]: row for batch in batches for row in batch.to_pylist()}
    for trap in traps.itertuples():
        outcome, _, detail = trap.expected.partition(":")
        record = records.get(trap.lesion_id)
        if outcome == "quarantined":
            assert (trap.capture_id, detail) in reasons, trap.kind
            assert record is None, trap.kind
            continue
        assert record is not None, trap.kind
        lacking = {name for name in MODALITIES if record[name] is None}
        assert lacking == ({detail} if outcome == "record_without" else set()), trap.kind
        assert (record["score"] is None) == (outcome == "not_trained"), trap.kind
    # Nothing else is lost.
    trapped = set(traps["lesion_id"])
    assert sum(lesion not in trapped for lesion in records) == skin_tree.lesions
