"""The whole graph on one screen: assets, checks, jobs, schedules, sensors, resources.

Belongs here: assembly. Does not belong here: anything that reads, computes or decides.
"""

import dagster as dg

from checks.cloud_vision import cloud_vision_data_checks
from checks.cloud_vision_model import cloud_vision_model_checks
from checks.mimic import mimic_checks
from checks.pigmentation import pigmentation_checks
from jobs.cloud_vision import cloud_vision_job, cloud_vision_new_xrays
from jobs.everything import everything_job
from jobs.mimic import mimic_job, mimic_new_source_files, mimic_weekly
from jobs.pigmentation import pigmentation_job, pigmentation_new_images
from jobs.steps_logger import steps_logger
from mm_assets.cloud_vision.assets import cloud_vision_data_assets
from mm_assets.cloud_vision.model_assets import cloud_vision_model_assets
from mm_assets.cloud_vision.party_assets import cloud_vision_party_assets
from mm_assets.mimic.assets import mimic_data_assets
from mm_assets.mimic.model_assets import mimic_model_assets
from mm_assets.mimic.text_assets import mimic_text_assets
from mm_assets.pigmentation.assets import pigmentation_data_assets
from mm_assets.pigmentation.model_assets import pigmentation_model_assets
from resources.dagster_resources import House

# Forkserver with an explicit preload list starts a step four times faster than the default (docs/decisions.md).
executor = dg.multiprocess_executor.configured(
    {
        "max_concurrent": 2,
        "start_method": {"forkserver": {"preload_modules": ["jobs.preload", "mm_assets.definitions"]}},
    }
)


def build_defs(house: House | None = None) -> dg.Definitions:
    """All definitions, on the configured house or on the one given (tests give a temporary one)."""
    return dg.Definitions(
        assets=[
            *mimic_data_assets, *mimic_text_assets, *mimic_model_assets,
            *pigmentation_data_assets, *pigmentation_model_assets,
            *cloud_vision_data_assets, *cloud_vision_party_assets, *cloud_vision_model_assets,
        ],
        asset_checks=[
            *mimic_checks, *pigmentation_checks, *cloud_vision_data_checks, *cloud_vision_model_checks,
        ],
        jobs=[mimic_job, pigmentation_job, cloud_vision_job, everything_job],
        schedules=[mimic_weekly],
        sensors=[mimic_new_source_files, pigmentation_new_images, cloud_vision_new_xrays],
        resources={"house": house or House()},
        loggers={"console": dg.colored_console_logger, "steps": steps_logger},
        executor=executor,
    )  # fmt: skip


defs = build_defs()
