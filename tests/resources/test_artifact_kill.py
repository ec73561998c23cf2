"""SIGKILL at every step of a publication: readers keep the old version, a rerun makes the same new one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from resources.artifact_record import VERSION_PATTERN
from resources.artifacts import ArtifactStore

FILES = 12
PUBLISH = """
import os, signal, sys
from pathlib import Path
from resources.artifacts import ArtifactStore
from resources.objects import ObjectStore

home, scratch, content, steps = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])

def dying(step):
    # Serial, so that "after n writes" means one thing; the kill comes before write number `steps`.
    def counted(*args, **kwargs):
        global steps
        if steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        steps -= 1
        return step(*args, **kwargs)
    return counted

put_many = ObjectStore.put_many
ObjectStore.put_many = lambda self, items, **options: put_many(self, items, concurrency=1, **options)
ObjectStore._link = dying(ObjectStore._link)
ObjectStore.put = dying(ObjectStore.put)
with ArtifactStore(home, scratch).draft("wing", "asset") as draft:
    for number in range(12):
        draft.write_text(f"d/{number}.txt", f"{content} {number}")
    print(draft.publish(upstream={}, synthetic=True, run_id=None).version)
"""


def _publish(tmp_path: Path, content: str, steps: int = 10_000) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-c",
            PUBLISH,
            str(tmp_path / "home"),
            str(tmp_path / "scratch"),
            content,
            str(steps),
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("steps", [0, 5, FILES, FILES + 1], ids=["no file", "five files", "no record", "not current"])
def test_killed_then_rerun(tmp_path: Path, steps: int) -> None:
    old = _publish(tmp_path, "old").stdout.strip()
    store = ArtifactStore(str(tmp_path / "home"), tmp_path / "scratch")

    killed = _publish(tmp_path, "new", steps)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert store.current("wing", "asset").version == old
    assert store.local_file(store.current("wing", "asset"), "d/3.txt").read_text() == "old 3"
    assert len(list((tmp_path / "scratch" / "drafts").iterdir())) == 1

    rerun = _publish(tmp_path, "new")
    assert rerun.returncode == 0, rerun.stderr
    new = store.current("wing", "asset")
    assert new.version == rerun.stdout.strip() != old
    folder = store.local_folder(new)
    assert [(folder / file.path).read_text() for file in new.files] == [
        f"new {Path(file.path).stem}" for file in new.files
    ]
    assert sorted(store.history("wing", "asset")) == sorted([old, new.version])
    assert list((tmp_path / "scratch" / "drafts").iterdir()) == []


def test_what_a_killed_run_leaves_is_swept_when_old(tmp_path: Path) -> None:
    assert _publish(tmp_path, "never finished", 5).returncode == -signal.SIGKILL
    store = ArtifactStore(str(tmp_path / "home"), tmp_path / "scratch")
    (half,) = (tmp_path / "home" / "wing" / "asset").iterdir()
    assert VERSION_PATTERN.match(half.name) and store.history("wing", "asset") == []
    removed = store.sweep()
    assert len(removed) == 1 and removed[0].startswith("draft wing.asset")
    assert half.is_dir()  # it may be a publication under way
    for file in half.rglob("*"):
        os.utime(file, (1, 1))
    assert store.sweep() == [f"wing/asset/{half.name}"]
    assert not half.exists()
