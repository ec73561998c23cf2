"""The entry of the wing `cloud_vision` (see `ui.wings`).

Belongs here: which of the wing's modules stands behind which part of the front. Does not belong here: what they do.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ui.cloud_vision import commands
from ui.wings import CommandGroups, RunConfig, Wing

if TYPE_CHECKING:
    import gradio as gr
    from fastapi import APIRouter
    from rich.table import Table

    from mm_assets.cloud_vision.predictor import SplitPredictor
    from resources.artifacts import Artifact, ArtifactStore
    from ui.exports import Exports
    from ui.released import ReleasedModel

LEAST_RECORDS = 12  # that a split can have


class CloudVisionEntry(Wing):
    """X-rays and tables of two organisations that never show each other a row."""

    name = "cloud_vision"
    title = "Split learning"
    study_tables = ("models", "gains", "confusion", "leak", "misalignment")

    def load(self, folder: Path, artifact: "Artifact") -> "SplitPredictor":
        from mm_assets.cloud_vision.predictor import SplitPredictor

        return SplitPredictor.load(folder, version=artifact.version, run_id=artifact.run_id)

    def router(self, released: "ReleasedModel[Any]") -> "APIRouter":
        from ui.routes.cloud_vision import router

        return router(released)

    def page(self, blocks: "gr.Blocks", released: "ReleasedModel[Any]") -> None:
        from ui.pages.cloud_vision import page

        page(blocks, released)

    def add_commands(self, groups: CommandGroups) -> None:
        groups.synth.command(self.name)(commands.synth)
        groups.predict.command(self.name)(commands.predict)

    def demo_config(self, limit: int) -> RunConfig:
        from mm_assets.cloud_vision.profiles import PROFILES

        whole = {name: size for name, size in PROFILES["demo"]["XraySourceConfig"].items() if name != "px"}
        share = limit / sum(whole.values())
        return {"cloud_vision/source": {name: max(LEAST_RECORDS, round(share * size)) for name, size in whole.items()}}

    def closing_table(self, store: "ArtifactStore", evaluation: "Artifact") -> "Table":
        from ui.cloud_vision.results import models_table

        kind = "SYNTHETIC data" if evaluation.synthetic else "real X-rays, made-up tables"
        models = store.read_table(evaluation, "models.parquet").to_pylist()
        return models_table(models, evaluation.metrics, f"cloud_vision, held-out test split, {kind}")

    def readme_table(self, results: Mapping[str, Any]) -> str:
        from ui.cloud_vision.results import readme_table

        return readme_table(results)

    def exports(self) -> "Exports":
        from ui.cloud_vision.exports import EXPORTS

        return EXPORTS
