"""A wing that only tests have, so that what spans wings is tested with two of them.

Belongs here: the least an entry can be.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
import pyarrow as pa
import pytest
from fastapi import APIRouter, Response
from rich.table import Table

from mm_assets.learning.provenance import Provenance
from resources.artifacts import Artifact, ArtifactStore
from ui import wings
from ui.config_file import ConfigFile
from ui.exports import Exports, OwnFormat
from ui.mimic.entry import MimicEntry
from ui.pages.components import origin
from ui.released import ReleasedModel
from ui.routes.shared import provenance_headers, release_of
from ui.wings import CommandGroups, RunConfig, Wing


class TeethPredictor:
    """Counts."""

    examples: tuple[str, ...] = ()

    def __init__(self, version: str) -> None:
        self.provenance = Provenance(model_version=version, run_id=None, data_version="d", synthetic=False)

    def try_once(self) -> None:
        if self.provenance.model_version.startswith("broken"):
            raise ValueError("no teeth")


class TeethEntry(Wing):
    name = "teeth"
    title = "Teeth"
    study_tables = ("counts",)

    def load(self, folder: Path, artifact: Artifact) -> TeethPredictor:
        return TeethPredictor(artifact.version)

    def router(self, released: ReleasedModel[TeethPredictor]) -> APIRouter:
        routes = APIRouter(tags=["teeth"])

        @routes.post("/predict/teeth")
        @routes.post("/predict")
        def predict_teeth(response: Response) -> dict[str, int]:
            response.headers.update(provenance_headers(release_of(released).predictor.provenance))
            return {"teeth": 32}

        return routes

    def page(self, blocks: gr.Blocks, released: ReleasedModel[TeethPredictor]) -> None:
        gr.HTML(origin.looking(), elem_id="teeth-banner")

    def add_commands(self, groups: CommandGroups) -> None:
        groups.predict.command(self.name)(lambda: None)

    def demo_config(self, limit: int) -> RunConfig:
        return {"teeth/source": {"mouths": limit // 2}}

    def closing_table(self, store: ArtifactStore, evaluation: Artifact) -> Table:
        return Table("teeth", title="teeth")

    def readme_table(self, results: Mapping[str, Any]) -> str:
        return f"{results['headline']['n']} teeth"

    def exports(self) -> Exports:
        return Exports(
            tables={"records": ("source", "records.parquet")},
            composed={"counts": lambda store: pa.table({"n": [32]})},
            own_formats={"stl": OwnFormat("records", lambda store, to, record_format: [to / f"{record_format}.stl"])},
        )

    def original_config(self, content: Mapping[str, Any]) -> ConfigFile | None:
        if "mouth" not in content:
            return None
        return ConfigFile({"teeth/source": {"mouths": content["mouth"]}}, {"MM_SEED": "7"})


@pytest.fixture
def two_wings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry holds mimic and teeth."""
    entries: dict[str, Wing] = {"mimic": MimicEntry(), "teeth": TeethEntry()}
    for module in ("ui.wings", "ui.config_file", "ui.demo"):
        monkeypatch.setattr(f"{module}.wings", lambda: entries)
    assert wings.wing_named("teeth") is entries["teeth"]
