"""The checkpoints of a training run: which there are, where copies of them outlive a machine, and reading them back.

Belongs here: the two files of a run's folder and the rules that hold between them. Does not belong here: when they are
written (`training.py`) and the store behind a mirror (`resources.mirror`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from resources.errors import MendableError

BEST, LAST = "best.ckpt", "last.ckpt"
# The order in which they travel: the last one names the best one, and a run is resumable where the last one is.
IN_ORDER = (BEST, LAST)


class Mirror(Protocol):
    """Copies of files elsewhere. Pickles, for a worker process takes it along."""

    def put(self, file: Path) -> None: ...

    def fetch(self, file: Path) -> bool:
        """Writes the copy of ``file`` in its place, complete or not at all; False when there is none."""
        ...

    def clear(self, folder: Path) -> None:
        """Removes the copies of the folder's files."""
        ...


class CheckpointsDisagree(MendableError):
    """The best checkpoint is not of the epoch that the last one names."""


def mirror_run(folder: Path, mirror: Mirror | None) -> None:
    """Copy the folder's checkpoints to the mirror, where there is one. Raises what the mirror raises."""
    if mirror is not None:
        for name in IN_ORDER:
            mirror.put(folder / name)


def fetch_run(folder: Path, mirror: Mirror | None) -> None:
    """Bring the checkpoints of a run that was begun elsewhere; those already in ``folder`` are kept."""
    if mirror is None or (folder / LAST).exists():
        return
    for name in IN_ORDER:
        if not mirror.fetch(folder / name):
            return


def best_weights(folder: Path, epoch: int) -> dict[str, torch.Tensor]:
    """The state of the best checkpoint (CPU), which must be of ``epoch``. Raises CheckpointsDisagree."""
    kept = torch.load(folder / BEST, map_location="cpu", weights_only=True)
    if kept["epoch"] != epoch:
        raise CheckpointsDisagree(
            f"{folder / BEST} is of epoch {kept['epoch']} and not of the best, {epoch}, as after two trainings of the "
            "same run at once: remove its folder and the mirror's, and run again"
        )
    return kept["state_dict"]


def as_written_in(folder: Path, state: Mapping[str, Any]) -> dict[str, Any]:
    """A ModelCheckpoint's state as if saved in ``folder``.

    Read back in a folder of another path, Lightning would forget the best score and overwrite the best checkpoint with
    the next epoch, however bad.
    """
    here = folder.resolve()

    def moved(path: str) -> str:
        return str(here / Path(path).name) if path else path

    paths = {key: moved(state[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")}
    models = {moved(path): score for path, score in state["best_k_models"].items()}
    return {**state, **paths, "best_k_models": models, "dirpath": str(here)}
