"""The wing `pigmentation` served from a tiny untrained release.

Belongs here: what tests of its routes and its page need instead of a trained model and a store.
"""

from pathlib import Path

from mm_assets.pigmentation.predictor import SkinPredictor
from tests.pigmentation.tiny_skin_release import write_tiny_release
from tests.ui.fakes import FakeStore, held_model
from ui.released import ReleasedModel


def skin_store(folder: Path) -> FakeStore:
    """One release, in ``folder``; its artifact's version is the folder's path."""
    write_tiny_release(folder)
    return FakeStore(str(folder))


def skin_model(store: FakeStore) -> ReleasedModel[SkinPredictor]:
    """Looked at once."""
    return held_model(store, "pigmentation", SkinPredictor)
