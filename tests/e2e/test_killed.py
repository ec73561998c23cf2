"""SIGKILL in the middle, then the same command again: the versions of an undisturbed run come out."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e.conftest import REPOSITORY, House

BEFORE_PHASE1 = ["source", "tables", "links"]
BEFORE_MODEL = [*BEFORE_PHASE1, "phase1", "filtered_text", "leakage_audit", "knowledge_base", "phase2", "phase3",
                "image_features", "text_features"]  # fmt: skip


def kill_when(house: House, arguments: list[str], reached: Callable[[], bool]) -> None:
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


def versions(house: House, asset: str) -> dict[str, str]:
    found = house.home / "mimic" / asset

    return {
        str(path.relative_to(found)): json.loads(path.read_text())["version"]
        for path in sorted(found.rglob("current.json"))
    }


def test_killed_in_phase1(house: House, tmp_path: Path) -> None:
    copy = house.copy_of(tmp_path, BEFORE_PHASE1)
    published = copy.home / "mimic" / "phase1"
    kill_when(copy, ["materialize", "mimic/phase1", "--only"], lambda: len(list(published.glob("*/current.json"))) >= 3)
    left = versions(copy, "phase1")
    assert 3 <= len(left) < 10
    copy.mm("materialize", "mimic/phase1", "--only")
    assert versions(copy, "phase1") == versions(house, "phase1")


def test_killed_in_training(house: House, tmp_path: Path) -> None:
    copy = house.copy_of(tmp_path, BEFORE_MODEL)
    checkpoints = tmp_path / "scratch" / "training"
    kill_when(copy, ["materialize", "mimic/model", "--only"], lambda: any(checkpoints.glob("*/last.ckpt")))
    assert versions(copy, "model") == {}
    copy.mm("materialize", "mimic/model", "--only")
    assert versions(copy, "model") == versions(house, "model")
