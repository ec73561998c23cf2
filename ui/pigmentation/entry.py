"""The entry of the wing `pigmentation` (see `ui.wings`).

Belongs here: which of the wing's modules stands behind which part of the front. Does not belong here: what they do.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ui.pigmentation import commands
from ui.wings import CommandGroups, RunConfig, Wing

if TYPE_CHECKING:
    import gradio as gr
    from fastapi import APIRouter
    from rich.table import Table

    from mm_assets.pigmentation.predictor import SkinPredictor
    from resources.artifacts import Artifact, ArtifactStore
    from ui.config_file import ConfigFile
    from ui.exports import Exports
    from ui.released import ReleasedModel

# Lesion visits that the renderer makes of one patient, on average.
RECORDS_PER_PATIENT = 2.2


class PigmentationEntry(Wing):
    """Images of skin lesions and the severity of their pigmentation."""

    name = "pigmentation"
    title = "Skin pigmentation"
    study_tables = (
        "subsets", "tones", "baselines", "severity", "coverage", "bland_altman", "label_sources", "deletion",
    )  # fmt: skip

    def load(self, folder: Path, artifact: "Artifact") -> "SkinPredictor":
        from mm_assets.pigmentation.predictor import SkinPredictor

        return SkinPredictor.load(folder, version=artifact.version, run_id=artifact.run_id)

    def router(self, released: "ReleasedModel[Any]") -> "APIRouter":
        from ui.routes.pigmentation import router

        return router(released)

    def page(self, blocks: "gr.Blocks", released: "ReleasedModel[Any]") -> None:
        from ui.pages.pigmentation import page

        page(blocks, released)

    def add_commands(self, groups: CommandGroups) -> None:
        groups.synth.command(self.name)(commands.synth)
        groups.predict.command(self.name)(commands.predict)

    def demo_config(self, limit: int) -> RunConfig:
        return {"pigmentation/source": {"patients": max(20, round(limit / RECORDS_PER_PATIENT))}}

    def closing_table(self, store: "ArtifactStore", evaluation: "Artifact") -> "Table":
        from ui.pigmentation.results import subset_table

        subsets, baselines = (
            store.read_table(evaluation, f"{name}.parquet").to_pylist() for name in ("subsets", "baselines")
        )
        kind = "SYNTHETIC data" if evaluation.synthetic else "real data"
        derived = int(evaluation.metrics.get("derived_labels") or 0)
        title = f"pigmentation, held-out test split, {kind}"
        return subset_table(subsets, baselines, title, derived_labels=derived)

    def readme_table(self, results: Mapping[str, Any]) -> str:
        from ui.pigmentation.results import readme_table

        return readme_table(results)

    def exports(self) -> "Exports":
        from ui.pigmentation.exports import EXPORTS

        return EXPORTS

    def original_config(self, content: Mapping[str, Any]) -> "ConfigFile | None":
        from mm_assets.pigmentation.original_config import is_original, run_config
        from ui.config_file import ConfigFile

        if not is_original(content):
            return None
        asked_for = run_config(content)
        for note in asked_for["notes"]:
            typer.echo(note, err=True)
        return ConfigFile(asked_for["config"], asked_for["env"])
