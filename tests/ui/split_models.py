"""The wing `cloud_vision` served from a tiny untrained release.

Belongs here: what tests of its routes and its page need instead of a trained model and a store.
"""

from pathlib import Path

from mm_assets.cloud_vision.predictor import SplitPredictor
from tests.cloud_vision.tiny_split_release import write_tiny_release
from tests.ui.fakes import FakeStore, held_model
from ui.released import ReleasedModel


def split_store(folder: Path) -> FakeStore:
    """One release, in ``folder``; its artifact's version is the folder's path."""
    write_tiny_release(folder)
    return FakeStore(str(folder))


def split_model(store: FakeStore) -> ReleasedModel[SplitPredictor]:
    """Looked at once."""
    return held_model(store, "cloud_vision", SplitPredictor)
