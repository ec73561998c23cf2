from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from mm_assets.learning.runs import WEIGHTS, clear_runs, curve_panels, curves_table, least_val_score, write_weights


@dataclass(frozen=True)
class Run:
    variant: str
    seed: int
    scores: tuple[float, ...]
    work_dir: Path = field(default=Path("nowhere"))

    @property
    def curves(self):
        return [
            {"epoch": i, "train_loss": 2.0 - i, "val_loss": 3.0 - i, "val_score": score}
            for i, score in enumerate(self.scores)
        ]


RUNS = [Run("fused", 0, (0.1, 0.9)), Run("plain", 0, (0.5, float("nan")))]


def test_weights_are_the_same_bytes_in_any_order(tmp_path):
    weights = {"b": torch.ones(2), "a": torch.arange(6.0).reshape(2, 3).T}
    write_weights(weights, tmp_path / "x")
    write_weights(dict(reversed(weights.items())), tmp_path / "y")
    assert (tmp_path / "x" / WEIGHTS).read_bytes() == (tmp_path / "y" / WEIGHTS).read_bytes()
    assert torch.equal(load_file(tmp_path / "x" / WEIGHTS)["a"], weights["a"])


def test_the_least_score_is_that_of_the_worst_run_and_nan_when_one_never_had_any():
    assert least_val_score(RUNS) == 0.5
    assert np.isnan(least_val_score([*RUNS, Run("broken", 0, (float("nan"),))]))


def test_curves_are_a_row_per_epoch_and_panels_show_the_losses_of_one_variant():
    table = curves_table(RUNS)
    assert table.num_rows == 4 and table["variant"].to_pylist() == ["fused", "fused", "plain", "plain"]
    panels = curve_panels(RUNS, score="-MAE", losses_of="fused")
    assert list(panels) == ["-MAE on validate", "loss of the fused variant"]
    assert set(panels["-MAE on validate"]) == {"fused 0", "plain 0"}
    assert panels["loss of the fused variant"]["validate 0"] == ([0, 1], [3.0, 2.0])


def test_checkpoints_go_and_tensorboard_stays(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "tensorboard").mkdir()
    clear_runs([Run("fused", 0, (0.1,), tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["tensorboard"]
