"""The sensor of X-rays picks each new or rewritten file of the configured folder up exactly once."""

import os
from pathlib import Path

import dagster as dg
import pytest

from jobs.cloud_vision import cloud_vision_job, cloud_vision_new_xrays
from mm_assets.cloud_vision.assets import cloud_vision_data_assets
from resources.dagster_resources import House


@pytest.fixture
def xrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MM_CLOUD_VISION_URL", str(tmp_path))
    write(tmp_path / "COVID" / "1.png", 1000)
    write(tmp_path / "Normal" / "1.dcm", 1000)
    return tmp_path


def write(path: Path, time: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    os.utime(path, (time, time))


def tick(cursor: str | None) -> dg.SensorResult:
    definitions = dg.Definitions(
        assets=cloud_vision_data_assets, jobs=[cloud_vision_job], sensors=[cloud_vision_new_xrays],
        resources={"house": House()},
    )  # fmt: skip
    with dg.instance_for_test() as instance:
        context = dg.build_sensor_context(
            instance=instance, cursor=cursor, resources={"house": House()}, definitions=definitions
        )
        return cloud_vision_new_xrays.evaluate_tick(context)


def test_new_xrays_ask_once_and_together(xrays: Path) -> None:
    first = tick(None)
    (request,) = first.run_requests or []
    assert request.tags["mm/new_files"] == "2"
    assert request.run_key and str(xrays) not in request.run_key
    again = tick(first.cursor)
    assert not again.run_requests
    write(xrays / "Viral Pneumonia" / "1.png", 1500)
    write(xrays / "COVID" / "1.png", 2000)
    (request,) = tick(first.cursor).run_requests or []
    assert request.tags["mm/new_files"] == "2"


def test_drawn_xrays_are_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MM_CLOUD_VISION_URL", raising=False)
    found = tick(None)
    assert not found.run_requests and "no new chest X-rays" in (found.skip_message or "")


def test_the_sensor_starts_the_wings_job_and_is_off() -> None:
    assert cloud_vision_new_xrays.default_status == dg.DefaultSensorStatus.STOPPED
    assert cloud_vision_new_xrays.job_name == cloud_vision_job.name == "cloud_vision"
