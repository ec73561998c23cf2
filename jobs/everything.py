"""The job that runs all wings.

Belongs here: what spans wings. Does not belong here: a single wing's job (see its own file).
"""

import dagster as dg

everything_job = dg.define_asset_job(
    "everything",
    selection=dg.AssetSelection.all(),
    description="Every asset of every wing.",
)
