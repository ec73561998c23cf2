"""When the wing `pigmentation` runs: its job and its sensor for new images.

Belongs here: selections and sensors. Does not belong here: what an asset does, or whether its result is good.
"""

import dagster as dg

from jobs.new_files import FoundFile, new_files_sensor
from resources.dagster_resources import House
from resources.objects import ObjectStore

pigmentation_job = dg.define_asset_job(
    "pigmentation",
    selection=dg.AssetSelection.groups("pigmentation"),
    description="Everything from skin images to the released model.",
)


def skin_images(house: House) -> list[FoundFile]:
    """Every file of the configured image set; nothing where the set is synthetic."""
    settings = house.settings()
    if settings.pigmentation_url is None:
        return []
    store = ObjectStore.at(settings.pigmentation_url, gcs_user_project=settings.gcs_user_project)
    return sorted(
        FoundFile(info.last_modified.timestamp(), f"{store.url}/{info.path}", info.size) for info in store.list("")
    )


pigmentation_new_images = new_files_sensor(
    "pigmentation_new_images", pigmentation_job, skin_images, watched="skin images"
)
