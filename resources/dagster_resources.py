"""The one Dagster resource: where the project's artifacts live and with which settings.

Belongs here: handing settings and stores to assets and checks.
Does not belong here: what they do; this is the only file of the ground floor that imports Dagster.
"""

import dagster as dg

from resources.artifacts import ArtifactStore
from resources.settings import Settings, load_settings


class House(dg.ConfigurableResource):
    """Artifact store and settings of a run: the ``MM_*`` variables, unless overridden here."""

    home: str | None = None
    profile: str | None = None

    def settings(self) -> Settings:
        """Raises ``SettingsError``."""
        return load_settings(home=self.home, profile=self.profile)

    def artifacts(self) -> ArtifactStore:
        settings = self.settings()
        return ArtifactStore(settings.home, settings.scratch)
