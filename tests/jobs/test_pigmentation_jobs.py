"""The sensor of skin images picks each new or rewritten file of the configured folder up exactly once."""

import os
from pathlib import Path

import dagster as dg
import pytest

from jobs.pigmentation import pigmentation_job, pigmentation_new_images
from mm_assets.definitions import build_defs
from resources.dagster_resources import House


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the layout of the original program, one lesion in it."""
    monkeypatch.setenv("MM_PIGMENTATION_URL", str(tmp_path))
    write(tmp_path / "clinical" / "images" / "1.jpg", 1000)
    write(tmp_path / "dermoscopy" / "images" / "1.jpg", 1000)
    return tmp_path


def write(path: Path, time: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    os.utime(path, (time, time))


def tick(cursor: str | None) -> dg.SensorResult:
    with dg.instance_for_test() as instance:
        context = dg.build_sensor_context(
            instance=instance, cursor=cursor, resources={"house": House()}, definitions=build_defs()
        )
        return pigmentation_new_images.evaluate_tick(context)


def test_new_images_ask_once_and_together(images: Path) -> None:
    first = tick(None)
    (request,) = first.run_requests or []
    assert request.tags["mm/new_files"] == "2"
    # Names of files are often those of patients.
    assert request.run_key and len(request.run_key) == 64 and str(images) not in request.run_key
    # No asset of the wing is partitioned.
    assert not any(name.startswith("dagster/asset_partition") for name in request.tags)
    again = tick(first.cursor)
    assert not again.run_requests and again.cursor in (None, first.cursor)


def test_another_lesion_a_rewritten_image_and_labels_are_seen(images: Path) -> None:
    cursor = tick(None).cursor
    for name, time in (("clinical/images/2.jpg", 1500), ("clinical/images/1.jpg", 2000), ("labels.csv", 2001)):
        write(images / name, time)
        found = tick(cursor)
        assert len(found.run_requests or []) == 1, name
        cursor = found.cursor
    assert not tick(cursor).run_requests


def test_rendered_images_are_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MM_PIGMENTATION_URL", raising=False)
    found = tick(None)
    assert not found.run_requests and "no new skin images" in (found.skip_message or "")


def test_the_job_and_its_sensor_cover_the_wing_and_are_off() -> None:
    assert pigmentation_new_images.default_status == dg.DefaultSensorStatus.STOPPED
    assert pigmentation_new_images.job_name == pigmentation_job.name == "pigmentation"
    graph = build_defs().resolve_asset_graph()
    asked = build_defs().resolve_job_def("pigmentation").asset_layer.executable_asset_keys
    assert asked == {key for key in graph.materializable_asset_keys if key.path[0] == "pigmentation"}
