"""The skin benchmarks run and do what they say; nothing is timed here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_skin
from benchmarks.skin_serving import publish
from mm_assets.pigmentation.predictor import SkinPredictor
from resources.artifacts import ArtifactStore


def test_the_published_bundle_of_the_serving_benchmark_answers(tmp_path: Path) -> None:
    version = publish(str(tmp_path / "home"), tmp_path / "scratch", seed=0)
    store = ArtifactStore(str(tmp_path / "home"), tmp_path / "scratch")
    folder = store.local_folder(store.current("pigmentation", "released_model"))
    predictor = SkinPredictor.load(folder, version=version, run_id=None)
    predictor.try_once()
    assert predictor.provenance.synthetic


def test_the_gpu_benchmark_runs_its_three_ways_without_a_gpu_and_without_dagster(tmp_path: Path) -> None:
    """In a process of its own: one that imports Dagster for other tests could not tell."""
    written = tmp_path / "result.json"
    code = (
        "import sys; sys.modules['dagster'] = None; import torch; torch.set_num_threads(1); "
        "from benchmarks.gpu_skin import main; "
        f"sys.exit(main(['--device', 'cpu', '--quick', '--json', {str(written)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no numbers to quote" in done.stdout and "ours is" in done.stdout
    result = json.loads(written.read_text())
    assert [row["way"] for row in result["rows"]] == list(gpu_skin.WAYS)
    assert all(row["images_per_s"] > 0 and row["model_tflops_per_s"] > 0 for row in result["rows"])
    assert {row["precision"] for row in result["rows"]} == {"32-true", "bf16-mixed"}


def test_the_gpu_benchmark_says_that_there_is_no_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_skin.main([]) == 3
    assert "needs a CUDA device" in capsys.readouterr().out


def test_the_clock_counts_the_steps_between_warm_up_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = gpu_skin.Clock(4, "cpu")
    monkeypatch.setattr(gpu_skin.time, "perf_counter", lambda: float(clock.ticks))
    for _ in range(clock.total):
        clock.tick()
    assert clock.seconds == 4
