"""SIGKILL in the middle, then the same command again: the versions of an undisturbed run come out."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e.conftest import REPOSITORY, House

BEFORE_PHASE1 = ["mimic/source", "mimic/tables", "mimic/links"]
BEFORE_MODEL = {
    "mimic/model": [
        *BEFORE_PHASE1, "mimic/phase1", "mimic/filtered_text", "mimic/leakage_audit", "mimic/knowledge_base",
        "mimic/phase2", "mimic/phase3", "mimic/image_features", "mimic/text_features",
    ],
    "pigmentation/model": ["pigmentation/source", "pigmentation/lesions", "pigmentation/split"],
}  # fmt: skip


def kill_when(house: House, arguments: list[str], reached: Callable[[], object]) -> None:
    """Start `mm`, SIGKILL its whole process group once `reached()`; fails if it ends before."""
    process = subprocess.Popen(
        house.command(*arguments), cwd=REPOSITORY, env=house.environment(), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 240
    while not reached():
        assert process.poll() is None, "ended before the moment to kill it"
        assert time.monotonic() < deadline, "the moment to kill it never came"
        time.sleep(0.01)

    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_killed_in_phase1(house: House, tmp_path: Path) -> None:
    copy = house.copy_of(tmp_path, BEFORE_PHASE1)
    published = copy.home / "mimic" / "phase1"
    kill_when(copy, ["materialize", "mimic/phase1", "--only"], lambda: len(list(published.glob("*/current.json"))) >= 3)
    left = copy.versions("mimic/phase1")
    assert 3 <= len(left) < 10
    copy.mm("materialize", "mimic/phase1", "--only")
    assert copy.versions("mimic/phase1") == house.versions("mimic/phase1")


def test_killed_in_training(house: House, tmp_path: Path) -> None:
    copy = house.copy_of(tmp_path, [asset for before in BEFORE_MODEL.values() for asset in before])
    checkpoints = tmp_path / "scratch" / "training"
    for model in BEFORE_MODEL:
        earlier = set(checkpoints.glob("*/last.ckpt"))
        kill_when(
            copy, ["materialize", model, "--only"], lambda seen=earlier: set(checkpoints.glob("*/last.ckpt")) - seen
        )
        assert copy.versions(model) == {}
    copy.mm("materialize", " or ".join(f'key:"{model}"' for model in BEFORE_MODEL), "--only")
    for model in BEFORE_MODEL:
        assert copy.versions(model) == house.versions(model)
