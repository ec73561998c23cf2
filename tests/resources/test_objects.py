"""What every object store promises, on a folder, in memory, on S3, Azure and GCS; and what only a folder does."""

import os
import pickle
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources import objects
from resources.objects import ObjectConflict, ObjectMissing, ObjectPathError, ObjectStore, sha256_of


def test_an_empty_store_reads_as_empty_and_is_not_created(store: ObjectStore) -> None:
    assert list(store.list()) == []
    assert store.folders() == []
    assert store.head("a") is None
    with pytest.raises(ObjectMissing, match="does not exist"):
        store.get("a")
    local = store.local_path("a")
    assert local is None or not local.parent.exists()


def test_put_replaces_and_get_returns_the_bytes(store: ObjectStore) -> None:
    store.put("a/b.json", b"old", content_type="application/json")
    store.put("a/b.json", b"newer")
    assert store.get("a/b.json") == b"newer"
    info = store.head("a/b.json")
    assert info is not None
    assert (info.path, info.size) == ("a/b.json", 5)
    assert datetime.now(UTC) - info.last_modified < timedelta(minutes=1)


def test_ranges(store: ObjectStore) -> None:
    store.put("x", b"0123456789")
    assert store.get_range("x", 3, 4) == b"3456"
    assert store.get_range("x", 3, 0) == b""


def test_list_is_recursive_by_folder_and_folders_are_direct(store: ObjectStore) -> None:
    for path in ("a/1", "a/b/2", "ab/3", "z"):
        store.put(path, b"-")
    assert sorted(info.path for info in store.list("a")) == ["a/1", "a/b/2"]
    assert sorted(info.path for info in store.list()) == ["a/1", "a/b/2", "ab/3", "z"]
    assert store.folders() == ["a", "ab"]
    assert store.folders("a") == ["b"]


def test_put_if_absent_tells_new_from_same_from_other(store: ObjectStore) -> None:
    assert store.put_if_absent("k", b"one") is True
    assert store.put_if_absent("k", b"one") is False
    with pytest.raises(ObjectConflict, match="other content"):
        store.put_if_absent("k", b"two")
    with pytest.raises(ObjectConflict):
        store.put_if_absent("k", b"longer")
    assert store.get("k") == b"one"


def test_a_large_file_is_streamed_with_the_same_answers(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "STREAM_BYTES", 1000)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("read wholly into memory"))
    source = tmp_path / "large"
    source.write_bytes(os.urandom(7 * 2**20))
    assert store.put_if_absent("large", source) is True
    assert store.put_if_absent("large", source) is False
    copy = store.fetch("large", tmp_path / "deep" / "copy")
    assert sha256_of(copy) == sha256_of(source)
    source.write_bytes(b"x" * 2000)
    with pytest.raises(ObjectConflict):
        store.put_if_absent("large", source)


def test_put_many_keeps_order_and_says_what_was_there(store: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_bytes(b"from a file")
    store.put("n/3", b"3")
    items = [(f"n/{i}", str(i).encode()) for i in range(40)] + [("n/file", source)]
    stored = store.put_many(items, concurrency=4).objects
    assert [one.key for one in stored] == [path for path, _ in items]
    assert [one.key for one in stored if not one.uploaded] == ["n/3"]
    assert stored[-1].size == 11 and stored[-1].sha256 == sha256_of(b"from a file")
    assert store.get("n/file") == b"from a file"
    with pytest.raises(ObjectConflict, match="n/5"):
        store.put_many([("n/4", b"4"), ("n/5", b"other")])


def test_delete_ignores_what_is_not_there(store: ObjectStore) -> None:
    for path in ("a/1", "a/2", "b"):
        store.put(path, b"-")
    store.delete(["nothing", "a/1", "nothing/either", "b"])
    assert [info.path for info in store.list()] == ["a/2"]
    store.delete_folder("a")
    assert list(store.list()) == []
    assert store.folders() == []


def test_fetch_of_a_missing_object_leaves_no_file(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(ObjectMissing):
        store.fetch("no", tmp_path / "to" / "file")
    assert list((tmp_path / "to").iterdir()) == []


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "a//b", "./a", "", "a/", "a\\b", "a\nb", "a#1"])
def test_paths_that_leave_the_store_are_refused(store: ObjectStore, path: str) -> None:
    for act in (
        store.get,
        store.head,
        store.local_path,
        lambda p: store.put(p, b""),
        lambda p: store.delete([p]),
    ):
        with pytest.raises(ObjectPathError):
            act(path)


@settings(max_examples=40, deadline=None)
@given(
    name=st.text(
        st.characters(categories=["L", "N", "P", "S", "Zs"], exclude_characters="/\\#"),
        min_size=1,
        max_size=40,
    ),
    data=st.binary(max_size=200),
)
def test_any_printable_name_comes_back(tmp_path_factory: pytest.TempPathFactory, name: str, data: bytes) -> None:
    for store in (
        ObjectStore.at(tmp_path_factory.mktemp("s")),
        ObjectStore.at(f"memory://{uuid.uuid4().hex}"),
    ):
        try:
            store.put(f"d/{name}", data)
        except ObjectPathError:
            assert name in (".", "..") or not name.isprintable()
            continue
        assert [info.path for info in store.list()] == [f"d/{name}"]
        assert store.get(f"d/{name}") == data


def test_handing_over_links_instead_of_copying(tmp_path: Path) -> None:
    store = ObjectStore.at(tmp_path / "home")
    source = tmp_path / "given"
    source.write_bytes(b"mine no more")
    os.utime(source, (1, 1))
    assert store.put_many([("a/b", source)], hand_over=True).uploaded
    target = store.local_path("a/b")
    assert target is not None and target.samefile(source)
    info = store.head("a/b")
    assert info is not None and info.last_modified > datetime.now(UTC) - timedelta(minutes=1)
    assert not store.put_many([("a/b", source)], hand_over=True).uploaded
    link = tmp_path / "link"
    link.symlink_to(source)
    store.put_many([("a/c", link)], hand_over=True)
    copied = store.local_path("a/c")
    assert copied is not None and not copied.is_symlink() and copied.read_bytes() == b"mine no more"


def test_without_handing_over_the_source_stays_independent(tmp_path: Path) -> None:
    store = ObjectStore.at(tmp_path / "home")
    source = tmp_path / "source"
    source.write_bytes(b"before")
    store.put_many([("k", source)])
    source.write_bytes(b"after!")
    assert store.get("k") == b"before"


def test_leftovers_of_killed_writes_are_invisible_and_swept_when_old(tmp_path: Path) -> None:
    store = ObjectStore.at(tmp_path)
    store.put("a/k", b"whole")
    old, young = tmp_path / "a" / "k#1", tmp_path / "a" / "k#2"
    for part in (old, young):
        part.write_bytes(b"ha")
    os.utime(old, (1, 1))
    assert [info.path for info in store.list()] == ["a/k"]
    assert store.delete_leftovers(datetime.now(UTC) - timedelta(hours=1)) == ["a/k#1"]
    assert not old.exists() and young.exists() and store.get("a/k") == b"whole"


def test_a_reader_beside_a_writer_sees_whole_objects_only(store: ObjectStore) -> None:
    values = [bytes([i]) * 50_000 for i in range(60)]
    store.put("k", values[0])
    done = threading.Event()
    seen: list[bytes] = []

    def read() -> None:
        while not done.is_set():
            seen.append(store.get("k"))

    reader = threading.Thread(target=read)
    reader.start()
    for value in values:
        store.put("k", value)
        time.sleep(0.001)
    done.set()
    reader.join()
    assert len(seen) > 5 and all(value in values for value in seen)


def test_a_folder_store_crosses_process_borders(tmp_path: Path) -> None:
    store = ObjectStore.at(tmp_path)
    store.put("k", b"v")
    assert pickle.loads(pickle.dumps(store)).get("k") == b"v"
