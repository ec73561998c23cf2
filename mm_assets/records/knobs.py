"""Knobs of an asset that take the profile's value where nobody sets them.

Belongs here: how a Config takes the numbers of a profile. Does not belong here: the numbers (a wing's profiles.py).
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, ClassVar

import dagster as dg

# Profile -> name of a Config class -> its defaults.
Profiles = Mapping[str, Mapping[str, Mapping[str, Any]]]


class Knobs(dg.Config):
    """A Config whose unset fields (None) take the profile's value. Each wing subclasses it once, with its profiles."""

    profiles: ClassVar[Profiles] = {}

    def filled(self, profile: str) -> Any:
        """The same fields as plain attributes; an unset one is what the profile says of this class, or None."""
        defaults = self.profiles[profile].get(type(self).__name__, {})
        fields = self.model_dump()
        given = {name: value for name, value in fields.items() if value is not None}
        return SimpleNamespace(**{**fields, **defaults, **given})
