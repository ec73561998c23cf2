"""Whether published assets that are read together were made from the same data.

Belongs here: comparing the upstream versions that an artifact notes with what is current. Does not belong here: a rule
that only one wing has, such as all partitions of one asset being alike (`mm_assets/<wing>/published.py`).
"""

from collections.abc import Mapping

from resources.artifact_record import Artifact
from resources.artifacts import ArtifactStore
from resources.errors import MendableError


class StaleInputs(MendableError):
    """Two published assets that are read together were not made from the same data."""


def require_made_from(store: ArtifactStore, artifact: Artifact, *names: str) -> None:
    """Raise StaleInputs unless the artifact was made from the current version of each "wing/asset" of the store."""
    require_versions(artifact, {name: store.version(*name.split("/")) for name in names})


def require_versions(artifact: Artifact, current: Mapping[str, str]) -> None:
    """Raise StaleInputs unless the artifact was made from these versions of "wing/asset", whichever store has them."""
    own = "/".join(artifact.key)
    for name, version in current.items():
        if artifact.upstream.get(name) != version:  # absent: published before the asset was made from it
            raise StaleInputs(f"{own} was made from another {name} than is current: run `mm materialize {own}`")
