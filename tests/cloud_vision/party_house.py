"""A small data set of two organisations, and the parties' steps and assets run on it.

Belongs here: what several tests of the parties need. Does not belong here: tests.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq

from mm_assets.cloud_vision import party_process
from mm_assets.cloud_vision.assets import source
from mm_assets.cloud_vision.parties import party_access
from mm_assets.cloud_vision.party_assets import cloud_vision_party_assets
from resources.artifacts import ArtifactStore
from resources.dagster_resources import House
from resources.settings import Settings, load_settings

PX = 32
PUBLISHED = {"upstream": {}, "synthetic": True, "run_id": None}


@dataclass(frozen=True)
class PartyHouse:
    """A home with a source of its own; ``folder`` may be changed before the source is published."""

    folder: Path

    @property
    def settings(self) -> Settings:
        return load_settings()

    @property
    def store(self):
        return ArtifactStore(self.settings.home, self.settings.scratch)

    def access(self, party):
        return party_access(self.settings, party)

    def change(self, party, change, name="table.parquet"):
        """Rewrites a party's table by a function of it."""
        path = self.folder / party / name
        pq.write_table(change(pq.read_table(path)), path)

    def publish_source(self, *, synthetic=True):
        with self.store.draft("cloud_vision", "source") as draft:
            shutil.copytree(self.folder, draft.path("data"))
            return draft.publish(**PUBLISHED | {"synthetic": synthetic})

    def materialize(self, *names, **config):
        """The assets named, in this process; ``config``: of alignment."""
        assets = [source, *cloud_vision_party_assets]
        features = {"config": {"image_px": PX}}
        run_config = {"ops": {}}
        for name in names:
            if name.endswith("_features"):
                run_config["ops"][f"cloud_vision__{name}"] = features
            if name == "alignment":
                run_config["ops"]["cloud_vision__alignment"] = {"config": config}
        return dg.materialize(
            assets,
            selection=dg.AssetSelection.keys(*(["cloud_vision", name] for name in names)),
            resources={"house": House()},
            run_config=run_config,
        )


def drive(access, job, url, token):
    """The label holder's process alone, with whoever answers at ``url``."""
    with party_process._started(access, {"role": "drive", "job": dict(job)}) as process:
        return party_process._driven_to(process, access, url, token)


def records_job(house, party):
    """The job of a party's first step, without a source asset."""
    return {"task": "records", "folder": str(house.folder / party), "published": PUBLISHED}
