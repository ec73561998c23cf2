"""The sensor picks each changed table up exactly once; the schedule asks for the whole wing."""

import os
from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest

from jobs.mimic import mimic_new_source_files, mimic_weekly
from mm_assets.definitions import build_defs
from resources.dagster_resources import House


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cxr, ed = tmp_path / "cxr", tmp_path / "ed"
    (ed / "ed").mkdir(parents=True)
    cxr.mkdir()
    monkeypatch.setenv("MM_MIMIC_CXR_URL", str(cxr))
    monkeypatch.setenv("MM_MIMIC_ED_URL", str(ed))
    monkeypatch.delenv("MM_MIMIC_IV_URL", raising=False)
    write(cxr / "mimic-cxr-2.0.0-metadata.csv.gz", 1000)
    write(ed / "ed" / "edstays.csv.gz", 1000)
    return tmp_path


def write(path: Path, time: float) -> None:
    path.write_bytes(b"x")
    os.utime(path, (time, time))


def tick(cursor: str | None) -> tuple[int, str | None]:
    """(number of runs asked for, next cursor) of one evaluation."""
    with dg.instance_for_test() as instance:
        context = dg.build_sensor_context(
            instance=instance, cursor=cursor, resources={"house": House()}, definitions=build_defs()
        )
        data = mimic_new_source_files.evaluate_tick(context)
    return len(data.run_requests or []), data.cursor


def test_a_new_table_asks_once(source: Path) -> None:
    asked, cursor = tick(None)
    assert asked == 1
    asked, again = tick(cursor)
    assert asked == 0
    assert again in (None, cursor)


def test_a_rewritten_table_and_a_late_older_one_are_seen(source: Path) -> None:
    _, cursor = tick(None)
    write(source / "cxr" / "mimic-cxr-2.0.0-metadata.csv.gz", 2000)
    asked, cursor = tick(cursor)
    assert asked == 1
    # Arrives after the newest one was seen, with an older time, as slow copies do.
    write(source / "ed" / "ed" / "triage.csv.gz", 1500)
    asked, cursor = tick(cursor)
    assert asked == 1
    assert tick(cursor)[0] == 0


def test_sensor_run_request_covers_all_directories(source: Path) -> None:
    with dg.instance_for_test() as instance:
        context = dg.build_sensor_context(
            instance=instance, cursor=None, resources={"house": House()}, definitions=build_defs()
        )
        (request,) = mimic_new_source_files.evaluate_tick(context).run_requests or []
    assert request.tags["dagster/asset_partition_range_start"] == "p10"
    assert request.tags["dagster/asset_partition_range_end"] == "p19"


def test_weekly_schedule_is_off_and_asks_for_the_wing() -> None:
    assert mimic_weekly.default_status == dg.DefaultScheduleStatus.STOPPED
    with dg.instance_for_test() as instance:
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=datetime(2026, 1, 4, 3, 0), repository_def=None
        )
        data = mimic_weekly.evaluate_tick(context)
    assert [request.job_name for request in data.run_requests or []] in ([None], ["mimic"])
    (request,) = data.run_requests or []
    assert request.tags["dagster/asset_partition_range_start"] == "p10"
