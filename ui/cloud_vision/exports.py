"""What `mm export cloud_vision` can write.

Belongs here: which stage is which table, and in whose home it lies. Does not belong here: making the stages, and
writing CSV, JSON or Parquet (`ui.exports`).

The tables of an organisation come from its own home: whoever exports them needs its credentials.
"""

from resources.artifacts import ArtifactStore
from resources.settings import Settings
from ui.exports import Exports

# Stage -> (asset, file). `mapping` and `expected` are what the original design's scripts saved: local and cloud name of
# every X-ray, and the class of every common record.
TABLES = {
    "org2": ("org2_records", "records.parquet"),
    "org3": ("org3_records", "records.parquet"),
    "mapping": ("org3_records", "mapping.parquet"),
    "expected": ("org2_records", "expected.parquet"),
    "common": ("alignment", "common.parquet"),
    "predictions": ("model", "predictions.parquet"),
    **{name: ("evaluation", f"{name}.parquet") for name in ("models", "gains", "confusion", "leak", "misalignment")},
    "quarantine": ("source", "rejected.parquet"),
}


def store_of(settings: Settings, store: ArtifactStore, asset: str) -> ArtifactStore:
    """Where an asset of the wing is published. Raises SettingsError."""
    from mm_assets.cloud_vision.published import open_homes

    return open_homes(settings, store).store_of(asset)


EXPORTS = Exports(tables=TABLES, store_of=store_of)
