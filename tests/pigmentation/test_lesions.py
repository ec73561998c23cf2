import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from mm_assets.pigmentation.lesions import (
    BATCH_ROWS,
    CaptureSettings,
    ImagesOutOfReach,
    Rejection,
    build_lesions,
    capture_settings,
    rejected_table,
)
from mm_assets.pigmentation.manifest import check_manifest
from mm_assets.pigmentation.schema import LESION_SCHEMA, REJECTED_SCHEMA
from mm_assets.pigmentation.spectral import pseudo_hsl, resize_cube
from mm_assets.pigmentation.synthetic.tree import SkinTreeConfig, write_tree
from mm_assets.records.color_images import decode_color
from resources.objects import ObjectStore

BANDS = (500.0, 600.0, 700.0)
SETTINGS = CaptureSettings(stored_px=32, multispectral="cube", wavelengths_nm=BANDS, cube_px=16)


def picture(kind: str = "PNG", size: tuple[int, int] = (48, 40), colour: tuple[int, ...] = (205, 160, 130)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format=kind)
    return buffer.getvalue()


def cube_file(bands: tuple[float, ...] = BANDS, px: int = 20, value: float | None = None) -> bytes:
    cube = np.random.default_rng(0).uniform(0, 1, (px, px, len(bands))).astype(np.float16)
    buffer = io.BytesIO()
    np.savez(buffer, cube=cube if value is None else np.full_like(cube, value), wavelengths_nm=np.float32(bands))
    return buffer.getvalue()


class Clinic:
    """A manifest and its files, one capture at a time."""

    def __init__(self) -> None:
        self.rows: list[dict] = []
        self.files: dict[str, bytes] = {}

    def take(self, lesion: str, modality: str, data: bytes | None, suffix: str = ".png", **known: object) -> None:
        path = f"{modality}/{lesion}-{len(self.rows)}{suffix}"
        base = {
            "patient_id": f"p-{lesion}",
            "lesion_id": lesion,
            "capture_id": path,
            "modality": modality,
            "path": path,
        }
        empty = dict.fromkeys(["visit", "label", "label_source", "ita_deg", "skin_tone", "diagnosis", "split"])
        self.rows.append(base | empty | known)
        if data is not None:
            self.files[path] = data

    def table(self) -> pa.Table:
        checked = check_manifest(pa.Table.from_pylist(self.rows))
        assert checked.rejected.num_rows == 0
        return checked.rows

    def read(self, path: str) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path]

    def build(self, settings: CaptureSettings = SETTINGS) -> tuple[list[dict], list[Rejection]]:
        rejected: list[Rejection] = []
        batches = list(build_lesions(self.table(), self.read, settings, rejected.append, workers=2))
        return pa.Table.from_batches(batches, schema=LESION_SCHEMA).to_pylist(), rejected


def test_a_record_holds_every_modality_as_stored() -> None:
    clinic = Clinic()
    clinic.take("l1", "clinical", picture("JPEG"), label=0.25, label_source="rater", ita_deg=35.0, diagnosis="naevus")
    clinic.take("l1", "dermoscopy", picture("BMP"))
    clinic.take("l1", "multispectral", cube_file(value=0.5), ".npz")
    records, rejected = clinic.build()
    (record,) = records
    assert rejected == []
    assert (record["record_id"], record["patient_id"], record["visit"]) == ("l1@1", "p-l1", 1)
    assert (record["score"], record["severity"], record["label_source"]) == (0.25, "Mild", "rater")
    assert (record["ita_deg"], record["tone"], record["tone_source"]) == (35.0, "intermediate", "manifest")
    assert record["diagnosis"] == "naevus" and record["official_split"] is None
    for name in ("clinical", "dermoscopy"):
        assert decode_color(record[name]).pixels.shape == (32, 32, 3)
    cube = np.frombuffer(record["multispectral"], np.float16).reshape(16, 16, 3)
    assert np.allclose(cube, 0.5, atol=1e-3)


def test_optional_images_that_were_not_taken_are_empty() -> None:
    clinic = Clinic()
    clinic.take("l1", "clinical", picture())
    records, rejected = clinic.build()
    assert (
        records[0]["dermoscopy"] is records[0]["multispectral"] is records[0]["score"] is records[0]["severity"] is None
    )
    assert rejected == []


def test_a_lesion_with_only_dermoscopy_is_quarantined() -> None:
    clinic = Clinic()
    clinic.take("l1", "dermoscopy", picture())
    clinic.take("l2", "clinical", picture())
    records, rejected = clinic.build()
    assert [record["lesion_id"] for record in records] == ["l2"]
    assert [(row.lesion_id, row.modality, row.reason) for row in rejected] == [
        ("l1", "dermoscopy", "no_clinical_image")
    ]


BAD_FILES = {
    "image_missing": None,
    "image_empty": b"",
    "image_unreadable": b"\0" * 100,
    "image_format_unsupported": b"<html>503",
    "image_truncated": picture("JPEG")[:300],
    "image_too_small": picture("PNG", (1, 1)),
    "image_too_large": picture("BMP")[:18] + (30_000).to_bytes(4, "little") * 2 + picture("BMP")[26:],
}


@pytest.mark.parametrize("reason", BAD_FILES)
def test_a_bad_clinical_image_quarantines_the_record(reason: str) -> None:
    clinic = Clinic()
    clinic.take("l1", "clinical", BAD_FILES[reason])
    clinic.take("l1", "dermoscopy", picture())
    records, rejected = clinic.build()
    assert records == []
    assert [(row.modality, row.reason) for row in rejected] == [
        ("clinical", reason),
        ("dermoscopy", "no_clinical_image"),
    ]


@pytest.mark.parametrize("reason", BAD_FILES)
def test_a_bad_dermoscopic_image_is_left_out_of_its_record(reason: str) -> None:
    clinic = Clinic()
    clinic.take("l1", "clinical", picture())
    clinic.take("l1", "dermoscopy", BAD_FILES[reason])
    records, rejected = clinic.build()
    assert records[0]["clinical"] and records[0]["dermoscopy"] is None
    assert [(row.modality, row.reason) for row in rejected] == [("dermoscopy", reason)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (cube_file((500.0, 600.0)), "cube_wrong_bands"),
        (cube_file(BANDS, px=2), "cube_too_small"),
        (picture(), "cube_wrong_bands"),
        (b"hello", "cube_unreadable"),
        (None, "image_missing"),
    ],
)
def test_a_bad_cube_is_left_out_of_its_record(data: bytes | None, reason: str) -> None:
    clinic = Clinic()
    clinic.take("l1", "clinical", picture())
    clinic.take("l1", "multispectral", data, ".npz")
    records, rejected = clinic.build()
    assert records[0]["multispectral"] is None and [row.reason for row in rejected] == [reason]


def test_the_tone_is_measured_where_the_manifest_has_none() -> None:
    clinic = Clinic()
    clinic.take("angle", "clinical", picture(), ita_deg=-45.0, skin_tone="tan")
    clinic.take("light", "clinical", picture(colour=(238, 208, 190)))
    clinic.take("named", "clinical", picture(), skin_tone="brown")
    clinic.take("none", "clinical", picture(colour=(20, 30, 200)))
    records, _ = clinic.build()
    found = {record["lesion_id"]: (record["tone"], record["tone_source"]) for record in records}
    assert found["angle"] == ("dark", "manifest") and found["named"] == ("brown", "manifest")
    assert found["light"][0] in ("light", "very light") and found["light"][1] == "image"
    assert found["none"] == ("unknown", "image")
    assert [record["ita_deg"] is None for record in records] == [False, False, True, True]


def test_visits_are_records_of_their_own_in_order() -> None:
    clinic = Clinic()
    for visit in (2, 1, 10):
        clinic.take("l1", "clinical", picture(), visit=visit, label=visit / 10, label_source="synthetic")
    records, _ = clinic.build()
    assert [(record["record_id"], record["severity"]) for record in records] == [
        ("l1@1", "Mild"),
        ("l1@2", "Mild"),
        ("l1@10", "Severe"),
    ]


def test_bands_are_those_that_most_cubes_have() -> None:
    clinic = Clinic()
    for number, bands in enumerate([(500.0, 600.0), BANDS, BANDS]):
        clinic.take(f"l{number}", "clinical", picture())
        clinic.take(f"l{number}", "multispectral", cube_file(bands), ".npz")
    clinic.take("l9", "multispectral", b"broken", ".npz")
    options = {"stored_px": 32, "cube_px": 16}
    settings = capture_settings(clinic.table(), clinic.read, multispectral="cube", **options)
    assert settings == SETTINGS
    chosen = capture_settings(clinic.table(), clinic.read, multispectral="cube", wavelengths_nm=[650, 550], **options)
    assert chosen.wavelengths_nm == (550.0, 650.0) and chosen.channels == 2
    records, _ = clinic.build(chosen)
    assert [record["multispectral"] is None for record in records] == [True, False, False]


def test_without_cubes_there_are_no_bands() -> None:
    clinic = Clinic()
    clinic.take("l1", "clinical", picture())
    settings = capture_settings(clinic.table(), clinic.read, multispectral="cube", stored_px=32, cube_px=16)
    assert settings.wavelengths_nm is None and settings.channels == 0
    assert clinic.build(settings)[0][0]["multispectral"] is None


def test_pseudo_hsl_is_made_from_the_photograph_or_the_picture_that_stands_in() -> None:
    clinic = Clinic()
    clinic.take("a", "clinical", picture())
    clinic.take("b", "clinical", picture())
    clinic.take("b", "multispectral", picture(colour=(90, 60, 50)), ".bmp")
    clinic.take("c", "clinical", picture())
    clinic.take("c", "multispectral", cube_file(), ".npz")
    clinic.take("d", "clinical", picture())
    clinic.take("d", "multispectral", b"hello", ".jpg")
    settings = capture_settings(clinic.table(), clinic.read, multispectral="pseudo_hsl", stored_px=32, cube_px=16)
    assert settings.channels == 4
    records, rejected = clinic.build(settings)
    own = resize_cube(pseudo_hsl(decode_color(records[0]["clinical"]).pixels), 16).astype(np.float16).tobytes()
    assert records[0]["multispectral"] == own == records[2]["multispectral"] != records[1]["multispectral"]
    assert records[3]["multispectral"] is None and [row.reason for row in rejected] == ["image_unreadable"]


def test_settings_survive_their_file() -> None:
    for settings in (SETTINGS, CaptureSettings(32, "pseudo_hsl", None, 16)):
        assert CaptureSettings.from_json(settings.as_json()) == settings
    assert SETTINGS.as_json()["cube_shape"] == [16, 16, 3]


def test_batches_are_small_and_one_comes_even_without_records() -> None:
    clinic = Clinic()
    for number in range(BATCH_ROWS + 1):
        clinic.take(f"l{number:03}", "clinical", picture())
    batches = list(build_lesions(clinic.table(), clinic.read, SETTINGS, lambda _: None))
    assert [batch.num_rows for batch in batches] == [BATCH_ROWS, 1]
    nothing = list(build_lesions(clinic.table().slice(0, 0), clinic.read, SETTINGS, lambda _: None))
    assert [batch.num_rows for batch in nothing] == [0] and nothing[0].schema == LESION_SCHEMA


def test_a_storage_that_fails_ends_the_run_without_a_patients_path() -> None:
    clinic = Clinic()
    clinic.take("jane", "clinical", picture())

    def read(path: str) -> bytes:
        raise PermissionError(f"may not read {path}")

    with pytest.raises(ImagesOutOfReach) as caught:
        list(build_lesions(clinic.table(), read, SETTINGS, lambda _: None))
    assert "jane" not in str(caught.value)


def test_a_file_that_is_not_in_the_store_is_missing(tmp_path: Path) -> None:
    clinic = Clinic()
    clinic.take("l1", "clinical", None)
    rejected: list[Rejection] = []
    (tmp_path / "other").write_bytes(b"x")
    list(build_lesions(clinic.table(), ObjectStore.at(str(tmp_path)).get, SETTINGS, rejected.append))
    assert [row.reason for row in rejected] == ["image_missing"]


def with_junk_for_a_profile() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (48, 40), (205, 160, 130)).save(buffer, "JPEG", icc_profile=b"x" * 200)
    return buffer.getvalue()


def test_profiles_that_could_not_be_applied_are_counted_for_every_picture_of_a_record() -> None:
    clinic, odd = Clinic(), with_junk_for_a_profile()
    ignored: list[str] = []
    clinic.take("l1", "clinical", odd)
    clinic.take("l1", "dermoscopy", odd)
    clinic.take("l2", "clinical", picture())
    clinic.take("l3", "clinical", odd[:500])
    batches = build_lesions(clinic.table(), clinic.read, SETTINGS, lambda _: None, profile_ignored=ignored.append)
    assert sum(batch.num_rows for batch in batches) == 2
    assert ignored == ["it cannot be read"] * 2


def test_the_asset_shows_how_many_profiles_were_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dagster as dg

    from mm_assets.pigmentation import assets
    from resources.dagster_resources import House

    write_tree(tmp_path / "tree", SkinTreeConfig(patients=3, rgb_px=32, cube_px=16, jobs=1, traps=False))
    photographs = sorted((tmp_path / "tree" / "images" / "clinical").iterdir())
    photographs[0].write_bytes(with_junk_for_a_profile())
    monkeypatch.setenv("MM_PIGMENTATION_URL", str(tmp_path / "tree"))
    monkeypatch.setenv("MM_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setenv("MM_WORKERS", "1")
    with dg.instance_for_test() as instance:
        done = dg.materialize(
            [assets.source, assets.lesions],
            resources={"house": House(home=str(tmp_path / "home"))},
            run_config={"ops": {"pigmentation__lesions": {"config": {"stored_px": 32, "cube_px": 16}}}},
            instance=instance,
        )
        [event] = done.asset_materializations_for_node("pigmentation__lesions")
    assert event.metadata["profiles ignored"].value == {"it cannot be read": 1}
    assert event.metadata["quarantined"].value == 0


def test_rejections_become_a_sorted_table() -> None:
    rows = [
        Rejection(c, lesion, "p", "clinical", "x.jpg", "image_empty", "no bytes") for c, lesion in ["bb", "ab", "aa"]
    ]
    table = rejected_table(rows)
    assert table.schema == REJECTED_SCHEMA and table["capture_id"].to_pylist() == ["a", "a", "b"]
    assert rejected_table([]).schema == REJECTED_SCHEMA
