"""When the wing `pigmentation` runs: its job and its sensor for new images.

Belongs here: selections and sensors. Does not belong here: what an asset does, or whether its result is good.
"""

import dagster as dg

from jobs.new_files import FoundFile, files_below, new_files_sensor
from resources.dagster_resources import House

pigmentation_job = dg.define_asset_job(
    "pigmentation",
    selection=dg.AssetSelection.groups("pigmentation"),
    description="Everything from skin images to the released model.",
)


def skin_images(house: House) -> list[FoundFile]:
    """Every file of the configured image set; nothing where the set is synthetic."""
    settings = house.settings()
    return files_below(settings.pigmentation_url, gcs_user_project=settings.gcs_user_project)


pigmentation_new_images = new_files_sensor(
    "pigmentation_new_images", pigmentation_job, skin_images, watched="skin images"
)
