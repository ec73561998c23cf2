"""When the wing `cloud_vision` runs: its job and its sensor for new X-rays.

Belongs here: selections and sensors. Does not belong here: what an asset does, or whether its result is good.
"""

import dagster as dg

from jobs.new_files import FoundFile, files_below, new_files_sensor
from resources.dagster_resources import House

cloud_vision_job = dg.define_asset_job(
    "cloud_vision",
    selection=dg.AssetSelection.groups("cloud_vision"),
    description="Everything from X-rays and tables of two organisations to their released model.",
)


def chest_xrays(house: House) -> list[FoundFile]:
    """Every file of the configured X-rays; nothing where they are drawn."""
    settings = house.settings()
    return files_below(settings.cloud_vision_url, gcs_user_project=settings.gcs_user_project)


cloud_vision_new_xrays = new_files_sensor(
    "cloud_vision_new_xrays", cloud_vision_job, chest_xrays, watched="chest X-rays"
)
