"""The registry: what each wing gives stands behind its own name, and asking for it is cheap."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from mm_assets.definitions import build_defs
from resources.artifacts import ArtifactStore
from resources.settings import Settings
from tests.ui.fakes import FakeStore, fake_load, film_bytes
from tests.ui.second_wing import TeethPredictor, two_wings
from ui.demo import demo_config, print_closing
from ui.exports import ExportError, export_stage
from ui.released import ReleasedModel
from ui.running import CheckReport, RunReport, StepReport
from ui.server import assemble
from ui.study import StudyFailed, readme_table, write_readme_table
from ui.wings import UnknownWing, wing_named, wings

__all__ = ["two_wings"]  # a fixture

ORIGIN = "http://localhost:3000"
SLOW = ("torch", "gradio", "fastapi", "dagster", "pandas", "pyarrow", "duckdb", "sklearn", "timm")


def served(mimic: str | None = "a" * 16, teeth: str | None = "b" * 16, origins: tuple[str, ...] = ()) -> TestClient:
    models: dict[str, ReleasedModel] = {
        "mimic": ReleasedModel(FakeStore(mimic), "mimic", fake_load),  # type: ignore[arg-type]
        "teeth": ReleasedModel(FakeStore(teeth), "teeth", lambda _, found: TeethPredictor(found.version)),  # type: ignore[arg-type]
    }
    for released in models.values():
        released.refresh()
    return TestClient(assemble(models, origins), raise_server_exceptions=False)


def test_every_wing_of_the_graph_has_an_entry_of_its_name() -> None:
    graph = build_defs().resolve_asset_graph()
    assert set(wings()) == {key.path[0] for key in graph.materializable_asset_keys}
    assert all(name == wing.name and wing.title for name, wing in wings().items())


def test_the_command_line_starts_without_what_is_slow() -> None:
    probe = f"import sys, ui.cli; print([name for name in {SLOW!r} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[-1] == "[]"


def test_an_unknown_wing_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownWing, match=r"there is no wing 'nails': choose .*mimic"):
        wing_named("nails")


@pytest.mark.usefixtures("two_wings")
def test_each_answer_names_the_model_behind_its_path() -> None:
    client = served()
    assert set(client.get("/").json()["predict"]) == {"mimic", "teeth"}
    for path, version in (("/predict/teeth", "b" * 16), ("/predict", "b" * 16), ("/predict/mimic", "a" * 16)):
        answer = client.post(path, data={"complaint": "cough"})
        assert answer.status_code == 200 and answer.headers["x-model-version"] == version
    refused = client.post("/predict/mimic", files={"image": ("f", film_bytes()[:3000])})
    assert refused.status_code == 422 and refused.headers["x-model-version"] == "a" * 16
    assert "x-model-version" not in client.get("/healthz").headers
    assert client.post("/predict/nails").status_code == 404


@pytest.mark.usefixtures("two_wings")
def test_a_wing_without_a_release_does_not_hold_up_the_other() -> None:
    client = served(teeth=None)
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert {name: state["version"] for name, state in ready.json()["wings"].items()} == {
        "mimic": "a" * 16, "teeth": None
    }  # fmt: skip
    answer = client.post("/predict/teeth")
    assert answer.status_code == 503 and "mm demo --wing teeth" in answer.json()["detail"]
    nothing = served(mimic=None, teeth="broken1").get("/readyz")
    assert nothing.status_code == 503
    detail = nothing.json()["detail"]
    assert "mm demo --wing mimic" in detail and "No model of wing teeth can be used. Version broken1" in detail


@pytest.mark.usefixtures("two_wings")
def test_the_page_has_a_tab_per_wing() -> None:
    config = served().get("/demo/config").text
    assert "Chest X-ray" in config and "teeth-banner" in config and "chest-banner" in config


def test_only_listed_origins_may_call_the_api() -> None:
    released = ReleasedModel(FakeStore(), "mimic", fake_load)  # type: ignore[arg-type]
    released.refresh()
    client = TestClient(assemble({"mimic": released}, (ORIGIN,)))
    asks = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    preflight = client.options("/predict/mimic", headers=asks)
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-credentials" not in preflight.headers
    refused = client.post("/predict/mimic", headers={"Origin": ORIGIN})
    assert refused.status_code == 422 and refused.headers["access-control-allow-origin"] == ORIGIN
    assert "x-model-version" in refused.headers["access-control-expose-headers"].lower()
    other = client.get("/healthz", headers={"Origin": "http://elsewhere.example"})
    assert "access-control-allow-origin" not in other.headers


@pytest.mark.usefixtures("two_wings")
def test_a_limit_sizes_every_wing() -> None:
    assert set(demo_config(80)) == {"mimic/source", "teeth/source"}
    assert demo_config(80)["teeth/source"] == {"mouths": 40}


def test_a_wing_went_well_when_none_of_its_own_steps_or_blocking_checks_failed() -> None:
    report = RunReport(
        "run", False,
        (StepReport("mimic/source", True, 1.0, True, None), StepReport("teeth/source", True, 1.0, False, "no")),
        (CheckReport("mimic/source", "odd", False, blocking=False),),
    )  # fmt: skip
    assert report.succeeded_in("mimic")
    assert not report.succeeded_in("teeth") and not report.succeeded_in("nails")
    stopped = RunReport("run", False, report.steps, (CheckReport("mimic/source", "wrong", False, blocking=True),))
    assert not stopped.succeeded_in("mimic")


@pytest.mark.usefixtures("two_wings")
def test_closing_shows_the_results_of_the_wings_that_went_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(home=str(tmp_path / "home"), scratch=tmp_path / "scratch")
    store = ArtifactStore(settings.home, settings.scratch)
    row = {"variant": "fused", "macro_auroc": 0.8, "macro_auroc_low": 0.7, "macro_auroc_high": 0.9,
           "difference": 0.1, "difference_low": None, "difference_high": None}  # fmt: skip
    for wing in ("mimic", "teeth"):
        with store.draft(wing, "evaluation") as draft:
            draft.write_table("ablation.parquet", pa.Table.from_pylist([row]))
            draft.publish(upstream={}, synthetic=True, run_id=None)
    steps = (StepReport("mimic/source", True, 1.0, True, None), StepReport("teeth/source", True, 1.0, False, "no"))
    print_closing(RunReport("run", False, steps, ()), settings, seconds=61)
    said = capsys.readouterr().out
    assert "mimic, held-out test split, SYNTHETIC data" in said and "0.700 to 0.900" in said
    assert "FAILED in 61 s" in said and "teeth/source: no" in said
    assert said.count("held-out") == 1 and "next:" not in said


@pytest.mark.usefixtures("two_wings")
def test_exports_write_what_the_wing_names(tmp_path: Path) -> None:
    settings = Settings(home=str(tmp_path / "home"), scratch=tmp_path / "scratch")
    store = ArtifactStore(settings.home, settings.scratch)
    with store.draft("teeth", "source") as draft:
        draft.write_table("records.parquet", wing_named("teeth").exports().composed["counts"](store))
        draft.publish(upstream={}, synthetic=True, run_id=None)
    to = tmp_path / "out"
    for stage in ("records", "counts"):
        (path,) = export_stage(settings, "teeth", stage, "csv", to)
        assert path.read_text() == "n\n32\n"
    assert export_stage(settings, "teeth", "records", "stl", to, "fine") == [to / "fine.stl"]
    for wing, stage, kind, said in (
        ("teeth", "links", "csv", "records, counts"),
        ("teeth", "records", "pt", "csv, json, parquet, stl"),
        ("teeth", "counts", "stl", "stl is the format of records"),
        ("mimic", "links", "pt", "pt is the format of phase3"),
    ):
        with pytest.raises(ExportError, match=said):
            export_stage(settings, wing, stage, kind, to)


@pytest.mark.usefixtures("two_wings")
def test_a_readme_without_a_place_for_the_wing_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = tmp_path / "README.md"
    monkeypatch.setattr("ui.study.README", readme)
    results = {"wing": "teeth", "headline": {"n": 32}}
    assert readme_table(results) == "32 teeth"
    readme.write_text("# House\n")
    with pytest.raises(StudyFailed, match="results:teeth"):
        write_readme_table("teeth", results)
    readme.write_text("# House\n<!-- results:teeth -->old<!-- /results:teeth -->\nend\n")
    write_readme_table("teeth", results)
    assert readme.read_text() == "# House\n<!-- results:teeth -->\n32 teeth\n<!-- /results:teeth -->\nend\n"
