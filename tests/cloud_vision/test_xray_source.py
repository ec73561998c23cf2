"""Real X-rays: layouts, classes by name, and a reason for everything that is not used."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from mm_assets.cloud_vision.schema import XRAY_SCHEMA
from mm_assets.cloud_vision.xray_source import (
    REASONS,
    Rejection,
    XraySourceError,
    build_xrays,
    class_of,
    list_xrays,
)
from resources.objects import ObjectStore


def _film(path: Path, seed: int, side: int = 80) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side + 10), dtype=np.uint8)).save(path)
    return path


def _dicom(path: Path) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    film = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    film.Rows, film.Columns, film.SamplesPerPixel = 90, 100, 1
    film.PhotometricInterpretation, film.PixelRepresentation = "MONOCHROME2", 0
    film.BitsAllocated, film.BitsStored, film.HighBit = 16, 12, 11
    film.PixelData = np.random.default_rng(9).integers(0, 4096, (90, 100), dtype=np.uint16).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    film.save_as(path, enforce_file_format=True)


def _build(root: Path, px: int = 96) -> tuple[pa.Table, list[Rejection]]:
    store = ObjectStore.at(root)
    rejected: list[Rejection] = []
    batches = list(build_xrays(list_xrays(store).files, store.get, rejected.append, px=px, batch_rows=2))
    return pa.Table.from_batches(batches, schema=XRAY_SCHEMA), rejected


@pytest.mark.parametrize(
    ("name", "label"),
    [("COVID", 0), ("covid-19", 0), ("Normal", 1), ("Viral Pneumonia", 2), ("viral_pneumonia", 2), ("2", 2),
     ("Lung_Opacity", None), ("", None)],
)  # fmt: skip
def test_classes_as_people_write_them(name: str, label: int | None) -> None:
    assert class_of(name) == label


def test_folders_named_after_classes(tmp_path: Path) -> None:
    _film(tmp_path / "COVID/images/COVID-1.png", 1)
    _film(tmp_path / "COVID/masks/COVID-1.png", 2)
    _film(tmp_path / "Normal/Normal-1.JPG", 3)
    _film(tmp_path / "Lung_Opacity/images/x.png", 4)
    _dicom(tmp_path / "Viral Pneumonia/film.dcm")
    (tmp_path / "COVID/readme.txt").write_text("no X-ray")
    listing = list_xrays(ObjectStore.at(tmp_path))
    assert [(row.path, row.reason) for row in listing.rejected] == [("Lung_Opacity/images/x.png", "unknown_class")]
    table, rejected = _build(tmp_path)
    assert rejected == []
    rows = {row["path"]: row for row in table.to_pylist()}
    assert {path: row["label"] for path, row in rows.items()} == {
        "COVID/images/COVID-1.png": 0, "Normal/Normal-1.JPG": 1, "Viral Pneumonia/film.dcm": 2
    }  # fmt: skip
    assert [row["format"] for row in rows.values()] == ["PNG", "JPEG", "DICOM"]
    first = rows["COVID/images/COVID-1.png"]
    assert (first["width"], first["height"]) == (90, 80) and first["xray"].startswith(b"\xff\xd8\xff")
    # An id must not tell the class, as the names of these files do.
    assert all(row["image_id"] == f"IMG_{row['sha256'][:12]}" for row in rows.values())


def test_a_manifest_with_ids_and_splits(tmp_path: Path) -> None:
    for number in range(3):
        _film(tmp_path / f"x/{number}.png", number)
    rows = "x/0.png,COVID-19,a,train\nx/1.png,normal,b,test\nx/2.png,Viral pneumonia,c,\n"
    (tmp_path / "manifest.csv").write_text(f"path,class,image_id,split\n{rows}")
    table, rejected = _build(tmp_path)
    assert rejected == []
    assert table.select(["image_id", "label", "split"]).to_pylist() == [
        {"image_id": "a", "label": 0, "split": "train"},
        {"image_id": "b", "label": 1, "split": "test"},
        {"image_id": "c", "label": 2, "split": None},
    ]


def test_rows_that_break_a_rule_name_it(tmp_path: Path) -> None:
    _film(tmp_path / "good.png", 1)
    lines = (
        "good.png,0,a,", "../out.png,0,b,", "p.png,Edema,c,", "q.png,1,d,holdout", "r.png,1,e,", "s.png,2,e,", ",1,f,"
    )  # fmt: skip
    (tmp_path / "manifest.csv").write_text("\n".join(["path,label,image_id,split", *lines]))
    listing = list_xrays(ObjectStore.at(tmp_path))
    assert [file.image_id for file in listing.files] == ["a"]
    assert [(row.image_id, row.reason) for row in listing.rejected] == [
        ("b", "path_outside_root"), ("c", "unknown_class"), ("d", "unknown_split"), ("e", "duplicate_image_id"),
        ("e", "duplicate_image_id"), ("f", "path_outside_root"),
    ]  # fmt: skip


def test_ids_that_tell_the_class_or_cannot_name_a_file_are_quarantined(tmp_path: Path) -> None:
    ids = (
        "COVID-12", "viral pneumonia 3", "a/b", "ä", "x" * 81, "IMG-1", "img_1", "Film 7", "covid ward 7",
        "case-covid-3", "late_Viral Pneumonia-3b", "ward 7 covert",
    )  # fmt: skip
    lines = [f"{number}.png,normal,{image_id}" for number, image_id in enumerate(ids)]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,class,image_id", *lines]))
    listing = list_xrays(ObjectStore.at(tmp_path))
    # What two organisations would take for one id is one.
    assert [(row.image_id, row.reason) for row in listing.rejected] == [
        ("COVID-12", "telling_image_id"), ("viral pneumonia 3", "telling_image_id"), ("a/b", "unfit_image_id"),
        ("ä", "unfit_image_id"), ("x" * 81, "unfit_image_id"), ("IMG-1", "duplicate_image_id"),
        ("img_1", "duplicate_image_id"), ("covid ward 7", "telling_image_id"), ("case-covid-3", "telling_image_id"),
        ("late_Viral Pneumonia-3b", "telling_image_id"),
    ]  # fmt: skip
    assert [file.image_id for file in listing.files] == ["Film 7", "ward 7 covert"]


def test_files_that_cannot_be_used_are_quarantined_with_a_reason(tmp_path: Path) -> None:
    good = _film(tmp_path / "normal/good.png", 1)
    whole = _film(tmp_path / "normal/whole.jpg", 2).read_bytes()
    (tmp_path / "normal/half.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "normal/empty.png").write_bytes(b"")
    (tmp_path / "normal/page.jpg").write_bytes(b"<html>503</html>")
    (tmp_path / "normal/same.png").write_bytes(good.read_bytes())
    _film(tmp_path / "normal/tiny.png", 3, side=20)
    both = _film(tmp_path / "covid/both.png", 4).read_bytes()
    (tmp_path / "normal/both.png").write_bytes(both)
    table, rejected = _build(tmp_path)
    assert set(table["path"].to_pylist()) == {"normal/good.png", "normal/whole.jpg"}
    assert {row.path: row.reason for row in rejected} == {
        "normal/half.jpg": "image_truncated",
        "normal/empty.png": "image_empty",
        "normal/page.jpg": "image_format_unsupported",
        "normal/same.png": "duplicate_content",
        "normal/tiny.png": "image_too_small",
        "covid/both.png": "conflicting_labels",
        "normal/both.png": "conflicting_labels",
    }
    assert {row.reason for row in rejected} <= set(REASONS) and all(row.detail for row in rejected)


def test_a_file_that_is_gone_is_quarantined(tmp_path: Path) -> None:
    _film(tmp_path / "a.png", 1)
    (tmp_path / "manifest.csv").write_text("path,class\na.png,0\ngone.png,1\n")
    table, rejected = _build(tmp_path)
    assert table.num_rows == 1 and [(row.path, row.reason) for row in rejected] == [("gone.png", "image_missing")]


def test_any_store_will_do() -> None:
    store = ObjectStore.at("memory://xrays")
    image = Image.fromarray(np.full((70, 70), 90, dtype=np.uint8))
    import io

    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    store.put("normal/1.png", buffer.getvalue())
    listing = list_xrays(store)
    batches = list(build_xrays(listing.files, store.get, pytest.fail, px=64))
    assert [batch.num_rows for batch in batches] == [1]


@pytest.mark.parametrize(
    ("manifest", "message"),
    [("", "columns path and class"), ("file,class\na,0\n", "columns path and class"), (b"\xff\xfe\0", "no UTF-8"),
     ("path,class\na.png,Edema\n", "no X-ray that can be used"), (None, "no X-ray that can be used")],
)  # fmt: skip
def test_a_source_that_cannot_be_used_says_why(tmp_path: Path, manifest: str | bytes | None, message: str) -> None:
    if manifest is not None:
        data = manifest if isinstance(manifest, bytes) else manifest.encode()
        (tmp_path / "manifest.csv").write_bytes(data)
    with pytest.raises(XraySourceError, match=message):
        list_xrays(ObjectStore.at(tmp_path))
