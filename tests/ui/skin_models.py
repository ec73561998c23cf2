"""The wing `pigmentation` served from a tiny untrained release.

Belongs here: what tests of its routes and its page need instead of a trained model and a store.
"""

from pathlib import Path
from typing import Any

from mm_assets.pigmentation.predictor import SkinPredictor
from tests.pigmentation.tiny_skin_release import write_tiny_release
from tests.ui.fakes import FakeStore
from ui.released import ReleasedModel


def skin_store(folder: Path) -> FakeStore:
    """One release, in ``folder``; its artifact's version is the folder's path."""
    write_tiny_release(folder)
    return FakeStore(str(folder))


def load_skin(folder: Path, artifact: Any) -> SkinPredictor:
    return SkinPredictor.load(folder, version=Path(artifact.version).name, run_id="run-1")


def skin_model(store: FakeStore) -> ReleasedModel[SkinPredictor]:
    """Looked at once."""
    held: ReleasedModel[SkinPredictor] = ReleasedModel(store, "pigmentation", load_skin)  # type: ignore[arg-type]
    held.refresh()
    return held
