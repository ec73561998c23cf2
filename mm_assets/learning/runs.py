"""What every wing keeps of its training runs: weights in a folder, curves of all of them, the least of their scores.

Belongs here: plain values and files made from finished runs. Does not belong here: the loop (`training.py`) and what a
wing predicts with a trained model (its `train_job.py`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import torch

from mm_assets.learning.checkpoints import Mirror
from mm_assets.learning.training import clear_run

# Files of a run's folder: its weights, and what its network was built from.
WEIGHTS, CONFIG = "model.safetensors", "model.json"


class FinishedRun(Protocol):
    """A trained variant with its seed: what a worker hands back has at least this."""

    @property
    def variant(self) -> str: ...

    @property
    def seed(self) -> int: ...

    @property
    def curves(self) -> Sequence[Mapping[str, float]]:
        """A row per epoch, as `training.FitResult.curves`."""
        ...

    @property
    def work_dir(self) -> Path:
        """Checkpoints and TensorBoard's curves."""
        ...


def write_weights(state_dict: Mapping[str, torch.Tensor], folder: Path) -> None:
    """`model.safetensors` in ``folder``, in the order of names."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: state_dict[name].cpu().contiguous() for name in sorted(state_dict)}, str(folder / WEIGHTS))


def least_val_score(results: Sequence[FinishedRun]) -> float:
    """The lowest best score on validate of all variants and seeds; NaN when one never had a finite score."""
    best = [
        max((row["val_score"] for row in r.curves if np.isfinite(row["val_score"])), default=np.nan) for r in results
    ]
    return float(np.min(best))


def curves_table(results: Sequence[FinishedRun]) -> pa.Table:
    """One row per variant, seed and epoch."""
    return pa.Table.from_pylist(
        [{"variant": result.variant, "seed": result.seed, **row} for result in results for row in result.curves]
    )


def curve_panels(
    results: Sequence[FinishedRun], *, score: str, losses_of: str
) -> dict[str, dict[str, tuple[list[float], list[float]]]]:
    """Panels of `plots.training_curves`: validation score, named ``score``, of every variant; both losses of one."""
    scores = {f"{r.variant} {r.seed}": _curve(r, "val_score") for r in results}
    shown = [result for result in results if result.variant == losses_of]
    kinds = (("train", "train_loss"), ("validate", "val_loss"))
    losses = {f"{name} {r.seed}": _curve(r, key) for r in shown for name, key in kinds}
    return {f"{score} on validate": scores, f"loss of the {losses_of} variant": losses}


def clear_runs(results: Sequence[FinishedRun], mirror: Mirror | None = None) -> None:
    """Remove the checkpoints of runs whose weights are published, and their copies; TensorBoard's curves stay."""
    for result in results:
        clear_run(result.work_dir)
        if mirror is not None:
            mirror.clear(result.work_dir)


def _curve(result: FinishedRun, key: str) -> tuple[list[float], list[float]]:
    return [row["epoch"] for row in result.curves], [row[key] for row in result.curves]
