"""The entry of the wing `mimic` (see `ui.wings`).

Belongs here: which of the wing's modules stands behind which part of the front. Does not belong here: what they do.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ui.mimic import commands
from ui.wings import CommandGroups, RunConfig, Wing

if TYPE_CHECKING:
    import gradio as gr
    from fastapi import APIRouter
    from rich.table import Table

    from mm_assets.mimic.predictor import MimicPredictor
    from resources.artifacts import Artifact, ArtifactStore
    from ui.exports import Exports
    from ui.released import ReleasedModel

# `mm demo --limit N` is N linked studies in all, in the demo's proportions of train, validate and test.
DEMO_SHARES = {"train_studies": 0.625, "validate_studies": 0.125, "test_studies": 0.25}


class MimicEntry(Wing):
    """Chest films with the visit they belong to."""

    name = "mimic"
    title = "Chest X-ray"
    study_tables = ("ablation", "per_label", "subgroups", "missing_modality", "calibration_methods")

    def load(self, folder: Path, artifact: "Artifact") -> "MimicPredictor":
        from mm_assets.mimic.predictor import MimicPredictor

        return MimicPredictor.load(folder, version=artifact.version, run_id=artifact.run_id)

    def router(self, released: "ReleasedModel[Any]") -> "APIRouter":
        from ui.routes.mimic import router

        return router(released)

    def page(self, blocks: "gr.Blocks", released: "ReleasedModel[Any]") -> None:
        from ui.pages.mimic import page

        page(blocks, released)

    def add_commands(self, groups: CommandGroups) -> None:
        groups.verify.command(self.name)(commands.verify)
        groups.synth.command(self.name)(commands.synth)
        groups.predict.command(self.name)(commands.predict)

    def demo_config(self, limit: int) -> RunConfig:
        return {"mimic/source": {name: round(limit * share) for name, share in DEMO_SHARES.items()}}

    def closing_table(self, store: "ArtifactStore", evaluation: "Artifact") -> "Table":
        from ui.mimic.results import ablation_table

        rows = store.read_table(evaluation, "ablation.parquet").to_pylist()
        kind = "SYNTHETIC data" if evaluation.synthetic else "real data"
        return ablation_table(rows, title=f"mimic, held-out test split, {kind}")

    def readme_table(self, results: Mapping[str, Any]) -> str:
        from ui.mimic.results import readme_table

        return readme_table(results)

    def exports(self) -> "Exports":
        from ui.mimic.exports import EXPORTS

        return EXPORTS
