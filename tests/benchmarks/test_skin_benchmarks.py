"""The bundle that the serving benchmark publishes is one that the service can load and answer with."""

from pathlib import Path

import torch

from benchmarks.skin_serving import publish
from mm_assets.pigmentation.predictor import SkinPredictor
from resources.artifacts import ArtifactStore


def test_the_published_bundle_of_the_serving_benchmark_answers(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    version = publish(str(tmp_path / "home"), tmp_path / "scratch", seed=0)
    store = ArtifactStore(str(tmp_path / "home"), tmp_path / "scratch")
    folder = store.local_folder(store.current("pigmentation", "released_model"))
    predictor = SkinPredictor.load(folder, version=version, run_id=None)
    predictor.try_once()
    assert predictor.provenance.synthetic
