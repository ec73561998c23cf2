import io
from pathlib import Path

import numpy as np
import pytest

from mm_assets.pigmentation.layout_files import LayoutError
from mm_assets.pigmentation.layouts import LAYOUTS, UnknownLayout, detect_layout, read_layout
from mm_assets.pigmentation.manifest import ManifestError, check_manifest
from resources.objects import ObjectStore


def tree(folder: Path, **files: str | bytes) -> ObjectStore:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return ObjectStore.at(str(folder))


def rows_of(root: ObjectStore, layout: str | None = None) -> dict[str, dict]:
    """Capture -> row, after the manifest's rules, which all rows must keep."""
    detected = detect_layout(root)
    assert layout in (None, detected)
    checked = check_manifest(read_layout(root, detected))
    assert checked.rejected.to_pylist() == []
    return {row["capture_id"]: row for row in checked.rows.to_pylist()}


FOLDERS = {
    "clinical/images/image_001.jpg": b"x",
    "clinical/images/image_002.JPEG": b"x",
    "clinical/images/.DS_Store": b"x",
    "clinical/images/notes.txt": b"x",
    "dermoscopy/images/image_001.png": b"x",
    "multispectral/images/image_001.npz": b"x",
    "multispectral/images/image_002.bmp": b"x",
}


def test_the_original_folders_are_matched_by_name(tmp_path: Path) -> None:
    rows = rows_of(tree(tmp_path, **FOLDERS), "folders")
    assert {name: (row["lesion_id"], row["visit"], row["label"]) for name, row in rows.items()} == {
        "clinical/image_001": ("image_001", 1, None),
        "clinical/image_002": ("image_002", 1, None),
        "dermoscopy/image_001": ("image_001", 1, None),
        "multispectral/image_001": ("image_001", 1, None),
        "multispectral/image_002": ("image_002", 1, None),
    }
    assert rows["clinical/image_002"]["path"] == "clinical/images/image_002.JPEG"


def test_labels_beside_the_folders_are_taken(tmp_path: Path) -> None:
    table = "image,label,label_source,patient_id,skin_tone\nimage_001,0.3,rater,p1,tan\nimage_002.JPEG,,,p1,\n"
    rows = rows_of(tree(tmp_path, **FOLDERS, **{"labels.csv": table}))
    assert rows["dermoscopy/image_001"]["label"] == pytest.approx(0.3)
    assert rows["clinical/image_001"]["skin_tone"] == "tan" and rows["clinical/image_001"]["label_source"] == "rater"
    assert rows["clinical/image_002"]["patient_id"] == "p1" and rows["clinical/image_002"]["label"] is None


def test_two_images_of_one_name_are_refused_by_the_manifest(tmp_path: Path) -> None:
    root = tree(tmp_path, **{"clinical/images/a.jpg": b"x", "clinical/images/a.png": b"x"})
    assert check_manifest(read_layout(root, "folders")).rejected["reason"].to_pylist() == ["duplicate_capture_id"] * 2


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ("image,label\nimage_001,0.3\n", "label_source"),
        ("name,label\nimage_001,0.3\n", "lacks the columns image"),
        ("image,label,label_source\nimage_999,0.3,rater\n", "none of the 1 names"),
        ("image,label,label_source\nimage_001,much,rater\n", "value of label"),
        ("image,patient_id\nimage_001,a\nimage_001.jpg,b\n", "twice"),
        ("image,label\n", "no rows"),
        (b"image\n\xff\xff\n", "UTF-8"),
    ],
)
def test_a_table_of_labels_that_cannot_be_used_says_why(tmp_path: Path, table: str | bytes, match: str) -> None:
    root = tree(tmp_path, **FOLDERS, **{"labels.csv": table})
    with pytest.raises(LayoutError, match=match):
        read_layout(root, "folders")


@pytest.mark.parametrize("table", ["image\nMuster_Erika\n", "image\nimage_001\nimage_001.jpg\n"])
def test_errors_count_images_and_do_not_name_them(tmp_path: Path, table: str) -> None:
    with pytest.raises(LayoutError) as refused:
        read_layout(tree(tmp_path, **FOLDERS, **{"labels.csv": table}), "folders")
    assert "Muster" not in str(refused.value) and "image_0" not in str(refused.value)


def test_derm7pt(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        **{
            "meta/meta.csv": "case_num,diagnosis,sex,clinic,derm\n1,melanoma,f,NEL/Nel025.JPG,NEL/Nel026.JPG\n"
            "2,clark nevus,m,FAL/Fal1.jpg,FAL/Fal2.jpg\n5,nevus,m,A/a.jpg,A/b.jpg\n",
            "meta/train_indexes.csv": "indexes\n0\n",
            "meta/valid_indexes.csv": "indexes\n2\n",
            "meta/test_indexes.csv": "indexes\n1\n",
            "images/NEL/NEL025.jpg": b"x",
        },
    )
    rows = rows_of(root, "derm7pt")
    assert len(rows) == 6
    assert rows["1/clinic"]["path"] == "images/NEL/NEL025.jpg" and rows["1/derm"]["path"] == "images/NEL/Nel026.JPG"
    assert rows["1/derm"]["modality"] == "dermoscopy" and rows["1/derm"]["diagnosis"] == "melanoma"
    assert [rows[f"{case}/clinic"]["split"] for case in (1, 2, 5)] == ["train", "test", "validate"]
    assert all(row["label"] is None and row["label_source"] is None for row in rows.values())


MILK10K = (
    "lesion_id,image_type,isic_id,attribution,skin_tone_class\n"
    "IL_1,clinical: close-up,ISIC_1,a,0\nIL_1,dermoscopic,ISIC_2,a,0\nIL_2,clinical: close-up,ISIC_3,a,5.0\n"
)


def test_milk10k(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        **{
            "MILK10k_Training_Metadata.csv": MILK10K,
            "MILK10k_Training_GroundTruth.csv": "lesion_id,AKIEC,BCC\nIL_1,0.0,1.0\nIL_2,1.0,0.0\n",
            "MILK10k_Training_Input/IL_1/ISIC_1.jpg": b"x",
            "MILK10k_Training_Input/IL_1/ISIC_2.jpg": b"x",
        },
    )
    rows = rows_of(root, "milk10k")
    assert rows["ISIC_2"]["modality"] == "dermoscopy"
    assert rows["ISIC_2"]["path"] == "MILK10k_Training_Input/IL_1/ISIC_2.jpg"
    assert (rows["ISIC_1"]["skin_tone"], rows["ISIC_3"]["skin_tone"]) == ("dark", "very light")
    assert (rows["ISIC_1"]["diagnosis"], rows["ISIC_3"]["diagnosis"]) == ("BCC", "AKIEC")


def test_a_skin_type_beyond_the_scale_is_no_guess(tmp_path: Path) -> None:
    root = tree(tmp_path, **{"m.csv": MILK10K.replace(",5.0", ",6")})
    with pytest.raises(LayoutError, match="skin type"):
        read_layout(root, "milk10k")


def test_pad_ufes_20(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        **{
            "metadata.csv": "patient_id,lesion_id,smoke,fitspatrick,diagnostic,img_id\n"
            "PAT_1,10,,3.0,NEV,PAT_1_10_5.png\nPAT_1,10,,3.0,NEV,PAT_1_10_7.png\nPAT_2,11,,,BCC,PAT_2_11_1.png\n",
            "imgs_part_1/PAT_1_10_5.png": b"x",
            "imgs_part_2/PAT_1_10_7.png": b"x",
        },
    )
    rows = rows_of(root, "pad_ufes_20")
    assert rows["PAT_1_10_7.png"]["path"] == "imgs_part_2/PAT_1_10_7.png"
    assert [row["visit"] for row in rows.values()] == [1, 2, 1]
    assert [row["skin_tone"] for row in rows.values()] == ["intermediate", "intermediate", None]
    assert {row["lesion_id"] for row in rows.values()} == {"PAT_1-10", "PAT_2-11"}


def test_cubes_find_the_photograph_of_their_name(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, cube=np.ones((8, 8, 2)), wavelengths_nm=[500, 600])
    root = tree(
        tmp_path,
        **{
            "VIS/p01.npz": buffer.getvalue(),
            "VIS/p02.hdr": b"ENVI",
            "VIS/p02.raw": b"x",
            "RGB/p01.png": b"x",
            "RGB/else.png": b"x",
        },
    )
    rows = rows_of(root, "hyperspectral")
    assert {name: row["path"] for name, row in rows.items()} == {
        "clinical/p01": "RGB/p01.png",
        "multispectral/p01": "VIS/p01.npz",
        "multispectral/p02": "VIS/p02.hdr",
    }


def test_a_manifest_comes_before_every_other_layout(tmp_path: Path) -> None:
    table = "patient_id,lesion_id,capture_id,modality,path\np,l,c,clinical,clinical/images/image_001.jpg\n"
    assert list(rows_of(tree(tmp_path, **FOLDERS, **{"manifest.csv": table}), "manifest")) == ["c"]


def test_captures_are_listed_with_numbers_in_their_order(tmp_path: Path) -> None:
    root = tree(tmp_path, **{f"clinical/images/{n}.jpg": b"x" for n in (10, 9, 100)})
    assert read_layout(root, "folders")["lesion_id"].to_pylist() == ["9", "10", "100"]


@pytest.mark.parametrize("files", [{}, {"readme.txt": "x"}, {"table.csv": "a,b\n1,2\n"}, {"empty.csv": ""}])
def test_an_unknown_folder_is_told_what_was_looked_for(tmp_path: Path, files: dict[str, str]) -> None:
    with pytest.raises(UnknownLayout) as caught:
        detect_layout(tree(tmp_path, **files))
    assert all(layout in str(caught.value) for layout in LAYOUTS)


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_a_layout_that_is_not_there_says_what_is_missing(tmp_path: Path, layout: str) -> None:
    with pytest.raises(LayoutError, match=r"has no|lacks"):
        read_layout(tree(tmp_path), layout)


def test_there_are_no_other_layouts(tmp_path: Path) -> None:
    with pytest.raises(UnknownLayout, match="derm7pt"):
        read_layout(tree(tmp_path), "derm8pt")


def test_a_broken_manifest_is_a_manifest_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError):
        read_layout(tree(tmp_path, **{"manifest.parquet": b"x"}), "manifest")
