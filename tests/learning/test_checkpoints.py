"""Checkpoints that travel: a run goes on in another folder, and two files that do not belong together are refused."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from mm_assets.learning.checkpoints import BEST, LAST, CheckpointsDisagree
from mm_assets.learning.runs import clear_runs
from tests.learning.test_training import CONFIG, make_batch, run, same_weights


class Stop(Exception):
    pass


@dataclass
class FolderMirror:
    """Copies by the names of a run's folder and its file; stops the run, or the machine, after some of them."""

    root: Path
    puts_left: int = 1000

    def _copy(self, file: Path) -> Path:
        return self.root / file.parent.name / file.name

    def put(self, file: Path) -> None:
        if self.puts_left == 0:
            raise Stop
        self.puts_left -= 1
        self._copy(file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, self._copy(file))

    def fetch(self, file: Path) -> bool:
        if not self._copy(file).exists():
            return False
        shutil.copyfile(self._copy(file), file)
        return True

    def clear(self, folder: Path) -> None:
        shutil.rmtree(self.root / folder.name)


def smallness(logits, targets, mask) -> float:
    """A score that falls as the network learns: its first epoch stays the best."""
    return -float(abs(logits).mean())


# Two copies an epoch, the best checkpoint before the last one: the odd number stops between the two.
@pytest.mark.parametrize("puts", [2, 5, 6])
@pytest.mark.parametrize("score", [None, smallness])
def test_a_run_goes_on_in_an_empty_folder_of_another_path(tmp_path: Path, puts: int, score) -> None:
    whole, expected = run(tmp_path / "whole", score=score)
    assert score is None or expected.best_epoch == 0
    mirror = FolderMirror(tmp_path / "mirror", puts)
    with pytest.raises(Stop):
        run(tmp_path / "here" / "run", mirror=mirror, score=score)
    mirror.puts_left = 1000
    asked = []

    def watched(rows):
        asked.append(rows)
        return make_batch(rows)

    resumed, result = run(tmp_path / "elsewhere" / "run", make=watched, mirror=mirror, score=score)
    assert result == expected and same_weights(whole, resumed)
    # 4 training batches and 1 of validation an epoch: the mirrored epochs are not trained again.
    assert len(asked) == 5 * (CONFIG.epochs - puts // 2)


def test_a_finished_run_comes_back_without_training(tmp_path: Path) -> None:
    mirror = FolderMirror(tmp_path / "mirror")
    whole, expected = run(tmp_path / "here" / "run", mirror=mirror)

    def never(rows):
        raise AssertionError("a finished run must not ask for batches")

    again, result = run(tmp_path / "elsewhere" / "run", make=never, mirror=mirror)
    assert result == expected and same_weights(whole, again)


def test_own_checkpoints_win_over_the_mirror(tmp_path: Path) -> None:
    mirror = FolderMirror(tmp_path / "mirror", puts_left=2)
    with pytest.raises(Stop):
        run(tmp_path / "run", mirror=mirror)
    mine = len(torch.load(tmp_path / "run" / LAST, weights_only=True)["curves"])
    mirror.puts_left = 0
    with pytest.raises(Stop):  # at the end of the first epoch that it trains
        run(tmp_path / "run", mirror=mirror)
    assert len(torch.load(tmp_path / "run" / LAST, weights_only=True)["curves"]) == mine + 1 == 3


def test_checkpoints_of_two_runs_are_refused(tmp_path: Path) -> None:
    run(tmp_path / "a", score=smallness)
    run(tmp_path / "b")
    shutil.copyfile(tmp_path / "b" / BEST, tmp_path / "a" / BEST)
    with pytest.raises(CheckpointsDisagree, match=r"best\.ckpt is of epoch [1-9] and not of the best, 0"):
        run(tmp_path / "a", score=smallness)


def test_a_published_run_leaves_no_copies(tmp_path: Path) -> None:
    mirror = FolderMirror(tmp_path / "mirror")

    @dataclass(frozen=True)
    class Finished:
        variant: str
        seed: int
        curves: list[dict[str, float]]
        work_dir: Path

    _, result = run(tmp_path / "run", mirror=mirror)
    assert (tmp_path / "mirror" / "run" / LAST).is_file()
    clear_runs([Finished("fused", 0, result.curves, tmp_path / "run")], mirror)
    assert list((tmp_path / "mirror").iterdir()) == []
