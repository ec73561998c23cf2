"""The asset `source`: drawn data or tables around real X-rays, what is measured on them, and when it is used again."""

import io
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow.compute as pc
import pytest
from PIL import Image

from mm_assets.cloud_vision.assets import source
from mm_assets.cloud_vision.schema import CLASSES, REJECTED_SCHEMA
from mm_assets.cloud_vision.source import DATA, TRUTH, outlined, record_counts
from mm_assets.cloud_vision.synthetic.films import mask_png
from resources.artifacts import ArtifactStore
from resources.dagster_resources import House

SMALL = {"train": 30, "validate_": 9, "test": 12, "shifted": 12, "px": 192}
TINY = {"train": 6, "validate_": 3, "test": 3, "shifted": 3, "px": 192}  # too small to be audited


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MM_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setenv("MM_WORKERS", "1")
    monkeypatch.delenv("MM_CLOUD_VISION_URL", raising=False)
    return tmp_path


def make(**config: Any) -> dict[str, Any]:
    """Metadata of a materialization."""
    given = {"ops": {"cloud_vision__source": {"config": config}}} if config else None
    result = dg.materialize([source], resources={"house": House()}, run_config=given)
    (event,) = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def store() -> ArtifactStore:
    return House().artifacts()


def film(path: Path, seed: int, grey: int = 256) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, grey, (80, 90), dtype=np.uint8)).save(path)


def real_set(root: Path, per_class: int) -> Path:
    for label, name in enumerate(("COVID", "Normal", "Viral Pneumonia")):
        for number in range(per_class):
            film(root / name / "images" / f"{name}-{number}.png", seed=100 * label + number)
    return root


def test_a_drawn_set_is_published_measured_and_used_again() -> None:
    shown = make(**SMALL)
    artifact = store().current("cloud_vision", "source")
    assert artifact.synthetic and shown["synthetic"] and "reused" not in shown
    noted = store().read_json(artifact, "source.json")
    assert (noted["kind"], noted["design"]) == ("generator", "complementary")
    assert noted["config"]["train"] == 30 and "jobs" not in noted["config"]
    names = {file.path for file in artifact.files}
    truth = store().read_table(artifact, TRUTH)
    films = truth.filter(pc.is_valid(truth["image"]))["image"].to_pylist()
    assert {f"{DATA}/org3/{name}" for name in films} == {name for name in names if name.endswith(".jpg")}
    assert {f"{DATA}/{name}.parquet" for name in ("org2/table", "org2/expected", "org3/table", "org3/mapping")} <= names
    assert float(artifact.metrics["exposure_gap"] or 0) > 0.5
    ceilings = store().read_json(artifact, "ceilings.json")
    assert ceilings["joint"] > max(ceilings["org2"], ceilings["org3"]) + 0.15
    audit = store().read_json(artifact, "film_statistics.json")
    trained = truth.filter(pc.and_(pc.equal(truth["split"], "train"), pc.is_valid(truth["image"])))
    assert audit["films"] == trained.num_rows and audit["standard_error"] == artifact.metrics["grey_standard_error"]
    assert "data:image/png" in shown["X-rays"] and shown["quarantined"] == 0
    before = artifact.created_at
    assert make(**SMALL)["reused"] and store().current("cloud_vision", "source").created_at == before


def test_other_settings_and_a_lost_file_are_drawn_anew() -> None:
    make(**TINY)
    first = store().current("cloud_vision", "source")
    audit = store().read_json(first, "film_statistics.json")
    assert audit["films"] > 0 and audit["logistic"] is None and first.metrics["grey_chance"] is None
    lost = next(file.path for file in first.files if file.path.endswith(".jpg"))
    store().local_file(first, lost).unlink()
    assert "reused" not in make(**TINY)
    assert store().local_file(store().current("cloud_vision", "source"), lost).is_file()
    assert "reused" not in make(**TINY, difficulty=0.2)
    assert store().current("cloud_vision", "source").version != first.version


def test_tables_are_made_around_real_xrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = real_set(tmp_path / "real", per_class=12)
    (root / "COVID" / "images" / "broken.png").write_bytes(b"no picture")
    film(root / "Lung_Opacity" / "images" / "x.png", seed=999)
    monkeypatch.setenv("MM_CLOUD_VISION_URL", str(root))
    shown = make(px=192)
    artifact = store().current("cloud_vision", "source")
    noted = store().read_json(artifact, "source.json")
    assert not artifact.synthetic and noted["kind"] == "images"
    # No picture of a patient leaves the store.
    assert "data:image" not in shown["X-rays"]
    rejected = store().read_table(artifact, "rejected.parquet")
    assert rejected.schema.remove_metadata() == REJECTED_SCHEMA
    assert dict(zip(rejected["path"].to_pylist(), rejected["reason"].to_pylist(), strict=True)) == {
        "COVID/images/broken.png": "image_unreadable", "Lung_Opacity/images/x.png": "unknown_class"
    }  # fmt: skip
    assert artifact.metrics["unreadable_share"] == pytest.approx(1 / 37)
    truth = store().read_table(artifact, TRUTH)
    assert truth.num_rows == 36 and truth["pattern"].null_count == truth["mask"].null_count == 36
    counts = record_counts(truth)
    assert {split: counts[split]["records"] for split in counts} == {"train": 23, "validate": 6, "test": 7}
    assert all(counts[split][name] > 0 for split in counts for name in CLASSES)
    held = [name for name, there in zip(truth["image"].to_pylist(), truth["in_org3"].to_pylist(), strict=True) if there]
    assert len(held) < 36
    stored = [file.path for file in artifact.files if file.path.endswith(".jpg")]
    assert sorted(stored) == sorted(f"{DATA}/org3/{name}" for name in held)
    with Image.open(store().local_file(artifact, stored[0])) as picture:
        assert picture.size == (192, 192) and picture.mode == "L"
    ceilings = store().read_json(artifact, "ceilings.json")
    assert ceilings["joint"] is ceilings["image_only"] is None and ceilings["tables_only"] > ceilings["org2"] > 0.5


def test_official_splits_of_a_manifest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = real_set(tmp_path / "real", per_class=4)
    rows = ["path,class,image_id,split"]
    for number, path in enumerate(sorted(root.rglob("*.png"))):
        split = ("train", "validate", "test", "shifted")[number % 4]
        rows.append(f"{path.relative_to(root).as_posix()},{path.parent.parent.name},Film {number},{split}")
    (root / "manifest.csv").write_text("\n".join(rows))
    monkeypatch.setenv("MM_CLOUD_VISION_URL", str(root))
    make(px=192)
    truth = store().read_table(store().current("cloud_vision", "source"), TRUTH).to_pylist()
    given = {row["image_id"]: row["split"] for row in truth}
    assert given == {f"Film {n}": ("train", "validate", "test", "shifted")[n % 4] for n in range(12)}


def test_a_source_without_a_usable_xray_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real" / "Normal").mkdir(parents=True)
    (tmp_path / "real" / "Normal" / "1.png").write_bytes(b"no picture")
    monkeypatch.setenv("MM_CLOUD_VISION_URL", str(tmp_path / "real"))
    with pytest.raises(Exception, match=r"can be used \(image_unreadable 1\)"):
        make(px=192)


def test_an_outline_surrounds_the_lesion_and_leaves_it_visible() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((64, 64), 90, np.uint8)).save(buffer, "PNG")
    mask = np.zeros((24, 24), bool)
    mask[9:15, 9:15] = True
    with Image.open(io.BytesIO(outlined(buffer.getvalue(), mask_png(mask)))) as picture:
        drawn = np.asarray(picture)
    assert drawn[32, 32] == 90 and drawn[22, 32] == 255 and drawn[5, 5] == 90
