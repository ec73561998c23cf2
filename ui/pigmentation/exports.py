"""What `mm export pigmentation` can write.

Belongs here: which stage is which table, and those put together. Does not belong here: making the stages, and writing
CSV, JSON or Parquet (`ui.exports`).
"""

import pyarrow as pa

from resources.artifacts import ArtifactStore
from ui.exports import Exports

# Stage -> (asset, file) of the stages that are one published table.
TABLES = {
    "manifest": ("source", "manifest.parquet"),
    "split": ("split", "split.parquet"),
    "predictions": ("model", "predictions.parquet"),
    **{
        name: ("evaluation", f"{name}.parquet")
        for name in (
            "subsets",
            "tones",
            "baselines",
            "severity",
            "coverage",
            "bland_altman",
            "label_sources",
            "deletion",
        )
    },
}
_PICTURES = ("clinical", "dermoscopy", "multispectral")


def lesions(store: ArtifactStore) -> pa.Table:
    """The records without their pictures, and whether each was taken."""
    artifact = store.current("pigmentation", "lesions")
    table = store.read_table(artifact, "lesions.parquet")
    for name in _PICTURES:
        table = table.set_column(table.schema.get_field_index(name), name, table[name].is_valid())
    return table


def quarantine(store: ArtifactStore) -> pa.Table:
    """What the manifest check and the decoding refused, with reasons."""
    parts = [
        store.read_table(store.current("pigmentation", asset), "rejected.parquet") for asset in ("source", "lesions")
    ]
    return pa.concat_tables(parts, promote_options="permissive").sort_by(
        [("capture_id", "ascending"), ("reason", "ascending")]
    )


def metrics(store: ArtifactStore) -> pa.Table:
    """The released model's answer to each test record beside its label: the evaluation's `metrics.csv`."""
    from pyarrow.csv import read_csv

    return read_csv(store.local_file(store.current("pigmentation", "evaluation"), "metrics.csv"))


EXPORTS = Exports(tables=TABLES, composed={"lesions": lesions, "quarantine": quarantine, "metrics": metrics})
