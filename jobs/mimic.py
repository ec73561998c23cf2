"""When the wing `mimic` runs: its job, its retraining schedule and its sensor for new source files.

Belongs here: selections, cron lines, sensors. Does not belong here: what an asset does, or whether its result is good.
"""

import dagster as dg

from jobs.new_files import FoundFile, new_files_sensor
from mm_assets.mimic.schema import CXR_CHEXPERT, CXR_METADATA, CXR_SPLIT, DIRECTORIES
from resources.dagster_resources import House
from resources.objects import ObjectStore

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


def source_files(house: House) -> list[FoundFile]:
    """Every table file of the configured source, oldest first.

    Only the tables are watched: a release of MIMIC replaces them whenever it changes images, and listing 377,110
    images each minute would cost more than it tells.
    """
    settings = house.settings()
    roots = {
        settings.mimic_cxr_url: CXR_TABLES,
        settings.mimic_ed_url: tuple(f"{folder}{name}" for folder in ("", "ed/") for name in ED_TABLES),
        settings.mimic_iv_url: tuple(f"{folder}patients.csv" for folder in ("", "hosp/")),
    }
    found: list[FoundFile] = []
    for url, names in roots.items():
        if url is None:
            continue
        store = ObjectStore.at(url, gcs_user_project=settings.gcs_user_project)
        for name in names:
            for path in (name, f"{name}.gz"):
                if info := store.head(path):
                    found.append(FoundFile(info.last_modified.timestamp(), f"{store.url}/{path}", info.size))
    return sorted(found)


mimic_new_source_files = new_files_sensor(
    "mimic_new_source_files", mimic_job, source_files, watched="source tables", tags=ALL_DIRECTORIES_TAGS
)
