"""The wing `cloud_vision` on the command line and in tables: records, exports from three homes, results for people."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

from mm_assets.cloud_vision.parties import party_access
from mm_assets.cloud_vision.profiles import PROFILES
from mm_assets.cloud_vision.schema import CLASSES, EXPECTED_SCHEMA, MAPPING_SCHEMA
from resources.artifacts import ArtifactStore
from resources.settings import Settings, load_settings
from tests.cloud_vision.tiny_split_release import split_case, write_tiny_release
from ui.cli import app
from ui.cloud_vision.commands import SIZES
from ui.cloud_vision.entry import CloudVisionEntry
from ui.cloud_vision.exports import TABLES
from ui.cloud_vision.prediction import RecordUnreadable, parse_features, read_record
from ui.cloud_vision.results import SHIFTED, models_table, readme_table
from ui.exports import export_stage


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("MM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MM_SCRATCH", str(tmp_path / "scratch"))
    return load_settings()


def release(settings: Settings) -> None:
    with ArtifactStore(settings.home, settings.scratch).draft("cloud_vision", "released_model") as draft:
        write_tiny_release(draft.folder)
        draft.publish(upstream={}, synthetic=True, run_id="run-1")


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)


def test_a_record_on_the_command_line_is_answered_as_by_the_predictor(settings: Settings, tmp_path: Path) -> None:
    from mm_assets.cloud_vision.predictor import SplitPredictor

    release(settings)
    case = split_case(2, seed=31)
    (tmp_path / "film.jpg").write_bytes(case.xray)
    values = {**case.org2, **case.org3}
    del values["f6"]
    listed = ",".join(f"{name}={value!r}" for name, value in values.items())
    done = run("predict", "cloud_vision", "--xray", str(tmp_path / "film.jpg"), "--features", listed, "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    store = ArtifactStore(settings.home, settings.scratch)
    released = store.current("cloud_vision", "released_model")
    predictor = SplitPredictor.load(store.local_folder(released), version=released.version, run_id="run-1")
    org3 = {name: value for name, value in case.org3.items() if name != "f6"}
    expected = predictor.predict(type(case)(case.xray, case.org2, org3))
    assert answer == expected.model_dump() and answer["missing"] == ["f6"]

    (tmp_path / "record.json").write_text(json.dumps({"xray": "film.jpg", **values, "f6": None}))
    again = run("predict", "cloud_vision", "--record", str(tmp_path / "record.json"), "--json")
    assert json.loads(again.stdout) == answer
    block = run("predict", "cloud_vision", "--record", str(tmp_path / "record.json")).stdout
    assert all(label in block for label in CLASSES)
    assert "missing, median of train instead: f6" in block and "SYNTHETIC data" in block
    assert "org3 -> org2" in block and "leak: Organisation 3 could read 97%" in block


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "give either --xray"),
        (("--xray", "a.jpg", "--record", "b.json"), "give either --xray"),
        (("--xray", "nowhere.jpg"), "there is no file nowhere.jpg"),
        (("--xray", __file__, "--features", "f11=2"), "there is no feature 'f11'"),
        (("--xray", __file__, "--features", "f1=two"), "f1='two' is no number"),
        (("--xray", __file__), "has not been published"),
    ],
)
def test_what_cannot_be_answered_is_one_line(settings: Settings, arguments: tuple[str, ...], told: str) -> None:
    done = run("predict", "cloud_vision", *arguments)
    assert done.exit_code == 2 and told in done.stderr
    assert "Traceback" not in done.output and len(done.stderr.strip().splitlines()) == 1


def test_records_are_read_with_their_film_beside_them(tmp_path: Path) -> None:
    assert parse_features(" f0 = 1.5, f9=-2e-1 ,") == {"f0": 1.5, "f9": -0.2}
    path = tmp_path / "record.json"
    path.write_text('{"xray": "films/a.jpg", "f3": 2, "f4": null}')
    assert read_record(path) == (tmp_path / "films/a.jpg", {"f3": 2.0})
    for content in ("{", "[]", '{"f0": 1}', '{"xray": "a", "label": 2}', '{"xray": "a", "f0": [1]}'):
        path.write_text(content)
        with pytest.raises(RecordUnreadable):
            read_record(path)


def test_synth_writes_a_data_set_of_the_size_asked_for(tmp_path: Path) -> None:
    done = run("synth", "cloud_vision", "--to", str(tmp_path / "data"), "--size", "tiny", "--px", "192", "--seed", "5")
    assert done.exit_code == 0, done.output
    assert "SYNTHETIC data" in done.stdout and "train 24, validate 12, test 12, shifted 12" in done.stdout
    assert pq.read_metadata(tmp_path / "data" / "truth" / "records.parquet").num_rows == 60
    again = run("synth", "cloud_vision", "--to", str(tmp_path / "data"))
    assert again.exit_code == 2 and "is not empty" in again.stderr
    assert run("synth", "cloud_vision", "--to", str(tmp_path / "other"), "--px", "201").exit_code == 2
    assert not (tmp_path / "other").exists()


def test_each_table_comes_from_the_home_of_who_holds_it(settings: Settings, tmp_path: Path) -> None:
    """As the original design's scripts saved them: local and cloud names, and expected outcomes, as JSON."""
    mapping = {"local": "images/IMG_1.jpg", "cloud": "xrays/test/IMG_1.jpg", "content_type": "image/jpeg"}
    expected = {"image_id": "IMG_1", "split": "test", "label": 2, "class_name": "Viral pneumonia"}
    for party, name, row, schema in (
        ("org3", "mapping", mapping, MAPPING_SCHEMA),
        ("org2", "expected", expected, EXPECTED_SCHEMA),
    ):
        access = party_access(settings, party)  # type: ignore[arg-type]
        with access.artifacts().draft("cloud_vision", f"{party}_records") as draft:
            draft.write_table(f"{name}.parquet", pa.Table.from_pylist([row], schema=schema))
            draft.write_table("records.parquet", pa.table({"image_id": ["IMG_1"], "f": np.float32([0.5])}))
            draft.publish(upstream={}, synthetic=True, run_id=None)
    for name, row in (("mapping", mapping), ("expected", expected)):
        [path] = export_stage(settings, "cloud_vision", name, "json", tmp_path / "out")
        assert json.loads(path.read_text()) == [row]
    [path] = export_stage(settings, "cloud_vision", "org2", "csv", tmp_path / "out")
    assert path.read_text().splitlines() == ["image_id,f", "IMG_1,0.5"]
    assert {asset for asset, _ in TABLES.values()} == {
        "org2_records", "org3_records", "alignment", "model", "evaluation", "source"
    }  # fmt: skip


def row_of(model: str, split: str, accuracy: float, ceiling: float | None = None) -> dict[str, Any]:
    ends = {"accuracy_low": accuracy - 0.03, "accuracy_high": accuracy + 0.03}
    return {"model": model, "split": split, "n": 280, "seeds": 2, "accuracy": accuracy, **ends, "macro_f1": accuracy,
            "auroc": 0.9, "ceiling": ceiling}  # fmt: skip


MODELS = [
    row_of("joint", "test", 0.81, 0.85), row_of("org2", "test", 0.58, 0.6), row_of("org3", "test", 0.59, 0.62),
    row_of("image_only", "test", 0.56, 0.61), row_of("pooled", "test", 0.8, 0.85), row_of("joint", "shifted", 0.74),
    row_of("org2", "shifted", 0.5),
]  # fmt: skip
HEADLINE = {
    "leak_accuracy": 0.97, "leak_accuracy_defended": 0.51, "leak_guess": 0.48, "leak_defence": "noise 2",
    "leak_reached": 1, "wire_bytes_per_epoch": 258_400,
}  # fmt: skip


def test_the_closing_table_fits_a_terminal_and_tells_what_leaks() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(models_table(MODELS, HEADLINE, "cloud_vision, held-out test split, SYNTHETIC data"))
    text = console.export_text()
    assert "…" not in text and max(map(len, text.splitlines())) <= 80
    rows = [line for line in text.splitlines() if line.startswith("│")]
    assert [line.split("│")[1].strip() for line in rows] == [
        "both, split-trained", "both, pooled", "organisation 2 alone", "organisation 3 alone",
        "X-ray alone", SHIFTED,
    ]  # fmt: skip
    assert "0.780 to 0.840" in rows[0] and "0.850" in rows[0]
    told = " ".join(text.split())
    assert "97% without a defence, 51% with noise 2, which counts." in told and "0.26 MB" in told
    missed = str(models_table(MODELS, {**HEADLINE, "leak_reached": 0}, "t").caption)
    assert "51% with noise 2, the nearest: no defence that was tried counts." in missed


def test_the_readme_has_the_models_the_defences_and_misalignment() -> None:
    leak = [{"defence": "none", "accuracy": 0.81, "leak": 0.97, "guess": 0.48, "leak_random_labels": 1.0}]
    results = {
        "headline": HEADLINE, "synthetic": True, "date": "d", "machine": "m", "commit": "c", "wing": "cloud_vision",
        "models": MODELS, "leak": leak, "misalignment": [{"share": 0.05, "accuracy": 0.8, "loss": 0.01}],
    }  # fmt: skip
    table = readme_table(results)
    assert table.startswith("**Synthetic data.** Test split: 280 records") and "2 seeds" in table
    assert "| both, split-trained | 0.810 | 0.780 to 0.840 | 0.810 | 0.900 | 0.850 |" in table
    assert "| both, shifted test | 0.740 | 0.710 to 0.770 | 0.740 | 0.900 |  |" in table
    assert "| none | 0.810 | 0.970 | 1.000 | 0.480 |" in table and "| 5% | 0.800 |" in table
    assert readme_table({**results, "synthetic": False}).startswith("**Real X-rays, made-up tables.**")


def test_the_size_demo_is_the_demos() -> None:
    knobs = PROFILES["demo"]["XraySourceConfig"]
    assert SIZES["demo"] == tuple(knobs[name] for name in ("train", "validate_", "test", "shifted"))


def test_a_limit_sizes_every_split_with_records_in_each() -> None:
    sizes = CloudVisionEntry().demo_config(460)["cloud_vision/source"]
    assert sum(sizes.values()) == pytest.approx(460, abs=3) and sizes["train"] > sizes["test"] > sizes["validate_"]
    assert min(CloudVisionEntry().demo_config(40)["cloud_vision/source"].values()) == 12
