"""Whether published assets that are read together were made from the same data.

Belongs here: comparing the upstream versions that an artifact notes with what is current. Does not belong here: a rule
that only one wing has, such as all partitions of one asset being alike (`mm_assets/<wing>/published.py`).
"""

from resources.artifact_record import Artifact
from resources.artifacts import ArtifactStore
from resources.errors import MendableError


class StaleInputs(MendableError):
    """Two published assets that are read together were not made from the same data."""


def require_made_from(store: ArtifactStore, artifact: Artifact, *names: str) -> None:
    """Raise StaleInputs unless the artifact was made from the current version of each "wing/asset"."""
    own = "/".join(artifact.key)
    for name in names:
        wing, asset = name.split("/")
        if artifact.upstream[name] != store.version(wing, asset):
            raise StaleInputs(f"{own} was made from another {name} than is current: run `mm materialize {own}`")
