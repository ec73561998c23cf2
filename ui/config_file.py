"""The file of `mm materialize --config`: knobs of assets, as YAML.

Belongs here: reading it, and asking the wings for one in an earlier program's form. Does not belong here: which knobs
there are (each asset's Config) and what an earlier program's keys mean (the wing).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resources.errors import MendableError
from ui.wings import RunConfig, wings


class ConfigFileError(MendableError):
    """The file says nothing that can be run."""


@dataclass(frozen=True)
class ConfigFile:
    """What a file asks for: knobs by asset, and `MM_*` variables that hold for this run."""

    config: RunConfig
    environment: Mapping[str, str] = field(default_factory=dict)


def read_config_file(path: Path) -> ConfigFile:
    """`{"wing/asset": {knob: value}}`, or a file that one of the wings knows. Raises ConfigFileError."""
    import yaml

    if not path.is_file():
        raise ConfigFileError(f"there is no file {path}: give a YAML file of knobs")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigFileError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ConfigFileError(f"{path} is not a mapping: write `wing/asset:` and its knobs below")
    if all("/" in name for name in content):
        return ConfigFile(knobs_by_asset(content, path))
    for wing in wings().values():
        if found := wing.original_config(content):
            return found
    odd = ", ".join(name for name in content if "/" not in name)
    raise ConfigFileError(f"{path} has {odd}, which names no asset: write `wing/asset:` and its knobs below")


def knobs_by_asset(content: dict[str, Any], path: Path) -> RunConfig:
    """The same with empty sections as no knobs. Raises ConfigFileError for anything else below an asset."""
    for name, knobs in content.items():
        if knobs is not None and not isinstance(knobs, dict):
            raise ConfigFileError(f"{path}: what stands below {name} is not a mapping of knobs to values")
    return {name: knobs or {} for name, knobs in content.items()}
