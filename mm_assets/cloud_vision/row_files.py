"""Both organisations' rows as local files, opened by whoever may read both.

Belongs here: from files to the arrays that networks and baselines are trained on, and where each split lies. Does not
belong here: which artifact a file comes from (published.py), and making the files (the parties' own assets).

Only a simulation has a reader of both: in life nobody does, and what is built on this is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mm_assets.cloud_vision.ids import ids_digest
from mm_assets.cloud_vision.party_steps import Org2Rows, Org3Rows
from mm_assets.cloud_vision.schema import SPLITS
from resources.errors import MendableError


class RowsOutOfStep(MendableError):
    """The parties' rows and the list of common ids are not of one alignment."""


@dataclass(frozen=True)
class RowFiles:
    """org2, org3: `features.safetensors` of each party; common: `common.parquet`; digest: of its ids."""

    org2: Path
    org3: Path
    common: Path
    digest: str


@dataclass(frozen=True, eq=False)
class CommonRows:
    """The records that both organisations hold, in the order of their ids."""

    org2: Org2Rows
    org3: Org3Rows
    image_ids: np.ndarray  # text [N]
    split: np.ndarray  # text [N], one of SPLITS

    @cached_property
    def places(self) -> Mapping[str, np.ndarray]:
        """Split -> positions int64 [n]."""
        return {name: np.flatnonzero(self.split == name) for name in SPLITS}


def open_rows(files: RowFiles) -> CommonRows:
    """Raises RowsOutOfStep, RowsUnfit."""
    import pyarrow.parquet as pq
    from safetensors.numpy import load_file

    common = pq.read_table(files.common, columns=["image_id", "split"])
    image_ids = common["image_id"].to_pylist()
    own, other = load_file(files.org2), load_file(files.org3)
    counts = {len(image_ids), len(own["labels"]), len(other["pixels"])}
    if ids_digest(image_ids) != files.digest or len(counts) > 1:
        raise RowsOutOfStep(
            "the parties' features and the common ids are of different alignments: run `mm materialize "
            "cloud_vision/org2_features` and `mm materialize cloud_vision/org3_features`"
        )
    return CommonRows(
        org2=Org2Rows(own["features"], own["labels"], files.digest),
        org3=Org3Rows(other["pixels"], other["features"], files.digest),
        image_ids=np.array(image_ids, str),
        split=np.array(common["split"].to_pylist(), str),
    )
