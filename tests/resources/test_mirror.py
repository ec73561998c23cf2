"""Scratch files copied to a home, and back on another machine."""

import pickle
import uuid
from pathlib import Path

from resources.mirror import ScratchMirror, mirror_of
from resources.objects import ObjectStore
from resources.settings import Settings


def test_a_copy_comes_back_below_another_scratch(tmp_path: Path) -> None:
    home = f"memory://{uuid.uuid4().hex}"
    here, there = tmp_path / "here", tmp_path / "there"
    file = here / "training" / "run" / "last.ckpt"
    file.parent.mkdir(parents=True)
    mirror = ScratchMirror(home, here)
    for content in (b"first epoch", b"second epoch"):
        file.write_bytes(content)
        mirror.put(file)
    assert [info.path for info in ObjectStore.at(home).list()] == ["scratch-mirror/training/run/last.ckpt"]

    elsewhere = ScratchMirror(home, there)
    assert elsewhere.fetch(there / "training" / "run" / "last.ckpt")
    assert (there / "training" / "run" / "last.ckpt").read_bytes() == b"second epoch"
    assert not elsewhere.fetch(there / "training" / "other" / "last.ckpt")
    assert not (there / "training" / "other" / "last.ckpt").exists()


def test_only_the_folder_itself_is_cleared(tmp_path: Path) -> None:
    home = f"memory://{uuid.uuid4().hex}"
    mirror = ScratchMirror(home, tmp_path)
    for run in ("run", "run-2"):
        (tmp_path / run).mkdir()
        (tmp_path / run / "last.ckpt").write_bytes(b"x")
        mirror.put(tmp_path / run / "last.ckpt")
    mirror.clear(tmp_path / "run")
    assert [info.path for info in ObjectStore.at(home).list()] == ["scratch-mirror/run-2/last.ckpt"]


def test_only_a_remote_home_has_a_mirror_and_a_worker_can_take_it_along(tmp_path: Path) -> None:
    assert mirror_of(Settings(home=str(tmp_path / "home"), scratch=tmp_path)) is None
    assert mirror_of(Settings(home=(tmp_path / "home").as_uri(), scratch=tmp_path)) is None
    mirror = mirror_of(Settings(home="s3://bucket/home", scratch=tmp_path))
    assert mirror == pickle.loads(pickle.dumps(mirror)) == ScratchMirror("s3://bucket/home", tmp_path)
