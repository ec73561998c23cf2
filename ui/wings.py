"""The wings as the front of the house sees them: one entry each, and whatever in `ui` differs between wings goes
through it.

Belongs here: what an entry must give, and the list of entries. Does not belong here: what an entry does
(`ui/<wing>/entry.py`).

To add a wing, write `ui/<wing>/entry.py` with one subclass of `Wing` and name it in `wings`. An entry gives

    name, title       the group of its assets, and the words on its tab
    load              the predictor of a released folder; it has `provenance`, `examples` and `try_once` (ui.released)
    router            its API routes: `POST /predict/<name>` and whatever other paths the same model answers
    page              its tab of the demo page
    add_commands      its commands below `mm verify`, `mm synth` and `mm predict`; a wing may leave a group alone
    demo_config       what `mm demo --limit N` makes of N: knobs of its source, {"wing/asset": {knob: value}}
    closing_table     what `mm demo` prints of its evaluation
    study_tables      which tables of its evaluation (without .parquet) go into docs/results/<name>.json
    readme_table      the README's part made from that file
    exports           what `mm export` can write of it
    original_config   optional: reads the configuration file of an earlier program for `mm materialize --config`

Every `mm` command imports every entry, `mm --help` too. So an entry and the module of its commands import nothing slow
at module level (torch, gradio, fastapi, dagster, pandas, pyarrow): its methods do.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import typer

from resources.errors import MendableError

if TYPE_CHECKING:
    from pathlib import Path

    import gradio as gr
    from fastapi import APIRouter
    from rich.table import Table

    from resources.artifacts import Artifact, ArtifactStore
    from resources.settings import Settings
    from ui.config_file import ConfigFile
    from ui.exports import Exports
    from ui.released import ReleasedModel, Served

# {"wing/asset": {knob: value}}
RunConfig = Mapping[str, Mapping[str, Any]]


class UnknownWing(MendableError):
    """No wing has this name."""


@dataclass(frozen=True)
class CommandGroups:
    """The groups of `mm` that a wing adds a command of its own name to."""

    verify: typer.Typer
    synth: typer.Typer
    predict: typer.Typer


class Wing(ABC):
    """One entry; see the top of this module."""

    name: ClassVar[str]
    title: ClassVar[str]
    study_tables: ClassVar[tuple[str, ...]]

    @abstractmethod
    def load(self, folder: "Path", artifact: "Artifact") -> "Served":
        """The predictor of a released model, from the local folder of its artifact."""

    @abstractmethod
    def router(self, released: "ReleasedModel[Any]") -> "APIRouter":
        """Routes that answer with whatever `released` holds at the time."""

    @abstractmethod
    def page(self, blocks: "gr.Blocks", released: "ReleasedModel[Any]") -> None:
        """Build the tab inside the current Blocks context."""

    @abstractmethod
    def add_commands(self, groups: CommandGroups) -> None:
        """Add the wing's own commands."""

    @abstractmethod
    def demo_config(self, limit: int) -> RunConfig:
        """A demo of about `limit` records, in the proportions of the whole demo."""

    @abstractmethod
    def closing_table(self, store: "ArtifactStore", evaluation: "Artifact") -> "Table":
        """The held-out results, with whether the data was synthetic in the title."""

    @abstractmethod
    def readme_table(self, results: Mapping[str, Any]) -> str:
        """Markdown made from a results file (`ui.study.results_of`) and from nothing else."""

    @abstractmethod
    def exports(self) -> "Exports":
        """Stages and formats."""

    def original_config(self, content: Mapping[str, Any]) -> "ConfigFile | None":
        """What a file of an earlier program asks for; None where it is not one of this wing's. Raises MendableError."""
        return None


def wings() -> dict[str, Wing]:
    """Every wing by its name, in the order they were built."""
    from ui.cloud_vision.entry import CloudVisionEntry
    from ui.mimic.entry import MimicEntry
    from ui.pigmentation.entry import PigmentationEntry

    entries: tuple[Wing, ...] = (MimicEntry(), PigmentationEntry(), CloudVisionEntry())
    return {entry.name: entry for entry in entries}


def wing_named(name: str) -> Wing:
    """The entry of a wing. Raises UnknownWing, which lists them."""
    known = wings()
    if name not in known:
        raise UnknownWing(f"there is no wing '{name}': choose {' or '.join(known)}")
    return known[name]


def store_of(settings: "Settings", store: "ArtifactStore", wing: str, asset: str) -> "ArtifactStore":
    """Where an asset is published: ``store``, which is MM_HOME's, or its owner's own. Raises UnknownWing."""
    return wing_named(wing).exports().store_of(settings, store, asset)
