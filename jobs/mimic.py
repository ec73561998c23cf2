"""When the wing `mimic` runs: its job, its retraining schedule and its sensor for new source files.

Belongs here: selections, cron lines, sensors. Does not belong here: what an asset does, or whether its result is good.
"""

import json
from typing import Any

import dagster as dg

from mm_assets.mimic.schema import CXR_CHEXPERT, CXR_METADATA, CXR_SPLIT, DIRECTORIES
from resources.dagster_resources import House
from resources.objects import ObjectStore

# An object that arrives with a time up to this much older than the newest one seen is still picked up, seconds.
OVERLAP_S = 3600.0

CXR_TABLES = (CXR_METADATA, CXR_CHEXPERT, CXR_SPLIT)
ED_TABLES = ("edstays.csv", "triage.csv", "vitalsign.csv", "medrecon.csv")

# One run materialises all of p10..p19: assets are single-run backfills.
ALL_DIRECTORIES_TAGS = {
    "dagster/asset_partition_range_start": DIRECTORIES[0],
    "dagster/asset_partition_range_end": DIRECTORIES[-1],
}

mimic_job = dg.define_asset_job(
    "mimic",
    selection=dg.AssetSelection.groups("mimic"),
    description="Everything from the raw tables to the released model.",
)


@dg.schedule(
    job=mimic_job,
    cron_schedule="0 3 * * 0",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Retrain on Sundays at 03:00; off until somebody turns it on.",
)
def mimic_weekly() -> dg.RunRequest:
    """One run over all directories."""
    return dg.RunRequest(tags=ALL_DIRECTORIES_TAGS)


def source_files(house: House) -> list[tuple[float, str]]:
    """(time of the object, URL) of every table file of the configured source, oldest first.

    Only the tables are watched: a release of MIMIC replaces them whenever it changes images, and listing 377,110
    images each minute would cost more than it tells.
    """
    settings = house.settings()
    roots = {
        settings.mimic_cxr_url: CXR_TABLES,
        settings.mimic_ed_url: tuple(f"{folder}{name}" for folder in ("", "ed/") for name in ED_TABLES),
        settings.mimic_iv_url: tuple(f"{folder}patients.csv" for folder in ("", "hosp/")),
    }
    found: list[tuple[float, str]] = []
    for url, names in roots.items():
        if url is None:
            continue
        store = ObjectStore.at(url, gcs_user_project=settings.gcs_user_project)
        for name in names:
            for path in (name, f"{name}.gz"):
                if info := store.head(path):
                    found.append((info.last_modified.timestamp(), f"{store.url}/{path}"))
    return sorted(found)


@dg.sensor(
    job=mimic_job,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Asks for one run of the wing when a source table is new or was rewritten.",
)
def mimic_new_source_files(context: dg.SensorEvaluationContext, house: House) -> dg.SensorResult | dg.SkipReason:
    """Cursor: newest object time seen and the objects seen around it; never the wall clock."""
    state: dict[str, Any] = json.loads(context.cursor) if context.cursor else {"mark": 0.0, "seen": {}}
    fresh = [
        (time, key)
        for time, key in source_files(house)
        if time > state["mark"] - OVERLAP_S and state["seen"].get(key) != time
    ]
    if not fresh:
        return dg.SkipReason("no new source tables")
    mark = max(state["mark"], fresh[-1][0])
    seen = {**state["seen"], **{key: time for time, key in fresh}}
    cursor = {"mark": mark, "seen": {key: time for key, time in seen.items() if time > mark - OVERLAP_S}}
    newest_time, newest_key = fresh[-1]
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=f"{newest_key}:{newest_time}:{len(fresh)}",
                tags={**ALL_DIRECTORIES_TAGS, "mm/new_files": str(len(fresh))},
            )
        ],
        cursor=json.dumps(cursor, sort_keys=True),
    )
