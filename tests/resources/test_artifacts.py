"""Versions and the current one: what publishing, finding and reading promise, on a folder and in memory."""

import threading
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from resources import artifacts
from resources.artifact_record import ArtifactFile, ArtifactNameError, from_json, to_json
from resources.artifacts import Artifact, ArtifactDamaged, ArtifactMissing, ArtifactStore
from resources.objects import ObjectStore


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    home = str(tmp_path / "home") if request.param == "file" else f"memory://{uuid.uuid4().hex}"
    return ArtifactStore(home, tmp_path / "scratch")


def publish(
    store: ArtifactStore, asset: str, content: Any = 0, partition: str | None = None, **record: Any
) -> Artifact:
    with store.draft("mimic", asset, partition) as draft:
        draft.write_table("t.parquet", pa.table({"a": [content] * 3, "b": ["x", "y", "z"]}))
        draft.write_json("d/report.json", {"content": content})
        given: dict[str, Any] = {"upstream": {}, "synthetic": True, "run_id": None} | record
        return draft.publish(**given)


def test_published_is_current_and_readable(store: ArtifactStore) -> None:
    published = publish(
        store,
        "links",
        7,
        run_id="run",
        upstream={"mimic/tables": "0" * 16},
        metrics={"auroc": np.float32(0.5)},
    )
    current = store.current("mimic", "links")
    assert current == published
    assert (current.key, current.partition, current.run_id, current.synthetic) == (
        ("mimic", "links"),
        None,
        "run",
        True,
    )
    assert [(file.path, file.rows) for file in current.files] == [("d/report.json", None), ("t.parquet", 3)]
    assert current.schema == {"t.parquet": {"a": "int64", "b": "string"}}
    assert current.metrics == {"auroc": 0.5} and current.rows == 3
    assert store.read_table(current, "t.parquet", ["b"]).to_pydict() == {"b": ["x", "y", "z"]}
    batches = list(store.iter_batches(current, "t.parquet", ["a"], batch_rows=2))
    assert [batch.num_rows for batch in batches] == [2, 1] and batches[0].column("a").to_pylist() == [7, 7]
    assert store.read_json(current, "d/report.json") == {"content": 7}
    folder = store.local_folder(current)
    assert (folder / "d" / "report.json").read_bytes() == store.local_file(current, "d/report.json").read_bytes()
    assert store.local_folder(current) == folder


def test_the_version_is_of_the_content_alone(store: ArtifactStore) -> None:
    first = publish(store, "links", 1, run_id="a", metrics={"seconds": 1.0})
    again = publish(store, "links", 1, run_id="b", metrics={"seconds": 2.0}, upstream={"mimic/tables": "1" * 16})
    assert again.version == first.version
    assert store.current("mimic", "links") == store.open_version("mimic", "links", first.version) == again
    assert publish(store, "links", 2).version != first.version
    assert publish(store, "links", 1, synthetic=False).version != first.version


def test_a_rerun_stores_no_file_again(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(store, "links", 1)
    stored: list[str] = []
    put_many = ObjectStore.put_many

    def noting(self: ObjectStore, items: Any, *args: Any, **kwargs: Any) -> Any:
        items = list(items)
        stored.extend(path for path, _ in items)
        return put_many(self, items, *args, **kwargs)

    monkeypatch.setattr(ObjectStore, "put_many", noting)
    again = publish(store, "links", 1)
    assert stored == []
    store.objects.put(f"{again.folder}/d/report.json", b"damaged")
    assert publish(store, "links", 1) == store.current("mimic", "links")
    assert stored == [f"{again.folder}/d/report.json"]
    assert store.read_json(again, "d/report.json") == {"content": 1}


def test_history_and_old_versions(store: ArtifactStore) -> None:
    old, new = publish(store, "links", 1), publish(store, "links", 2)
    assert store.history("mimic", "links") == [new.version, old.version]
    assert store.read_json(store.open_version("mimic", "links", old.version), "d/report.json") == {"content": 1}
    publish(store, "links", 1)
    assert store.history("mimic", "links") == [old.version, new.version]
    with pytest.raises(ArtifactMissing, match=new.version):
        store.open_version("mimic", "links", "f" * 16)


def test_partitions_have_versions_and_the_whole_a_digest(store: ArtifactStore) -> None:
    assert store.partitions("mimic", "phase1") == {}
    for name in ("p11", "p10"):
        publish(store, "phase1", name, name)
    whole = store.version("mimic", "phase1")
    found = store.partitions("mimic", "phase1")
    assert list(found) == ["p10", "p11"] and found["p10"] == store.current("mimic", "phase1", "p10")
    publish(store, "phase1", "p10", "p10")
    assert store.version("mimic", "phase1") == whole
    publish(store, "phase1", "other", "p10")
    assert store.version("mimic", "phase1") != whole
    single = publish(store, "links")
    assert store.version("mimic", "links") == single.version


def test_a_digest_of_partitions_is_resolved_when_published(
    store: ArtifactStore, caplog: pytest.LogCaptureFixture
) -> None:
    versions = {name: publish(store, "phase1", name, name).version for name in ("p10", "p11")}
    whole = store.version("mimic", "phase1")
    assert publish(store, "phase3", upstream={"mimic/phase1": whole}).upstream_partitions == {"mimic/phase1": versions}
    publish(store, "phase1", "newer", "p10")
    assert publish(store, "phase3", upstream={"mimic/phase1": whole}).upstream_partitions == {}
    assert f"mimic/phase1 has changed since its version {whole} was read" in caplog.text


def test_missing_says_what_to_run(store: ArtifactStore) -> None:
    with pytest.raises(ArtifactMissing, match="`mm materialize mimic/links`"):
        store.current("mimic", "links")
    with pytest.raises(ArtifactMissing, match="`mm materialize mimic/phase1 --partition p10`"):
        store.current("mimic", "phase1", "p10")
    with pytest.raises(ArtifactMissing, match="mm materialize"):
        store.version("mimic", "links")
    artifact = publish(store, "links")
    with pytest.raises(ArtifactMissing, match=r"t\.parquet"):
        store.local_file(artifact, "other.parquet")
    with pytest.raises(ArtifactMissing, match="no columns c"):
        store.read_table(artifact, "t.parquet", ["a", "c"])


def test_damage_is_noticed(store: ArtifactStore) -> None:
    artifact = publish(store, "links")
    store.objects.delete([f"{artifact.folder}/t.parquet"])
    with pytest.raises(ArtifactDamaged, match="is gone"):
        store.local_file(artifact, "t.parquet")
    store.objects.put("mimic/links/current.json", b'{"key": ')
    with pytest.raises(ArtifactDamaged, match=r"current\.json"):
        store.current("mimic", "links")


def test_a_remote_copy_is_verified(tmp_path: Path) -> None:
    store = ArtifactStore(f"memory://{uuid.uuid4().hex}", tmp_path)
    artifact = publish(store, "links")
    store.objects.put(f"{artifact.folder}/t.parquet", b"something else")
    with pytest.raises(ArtifactDamaged, match="other bytes"):
        store.local_file(artifact, "t.parquet")
    assert not any(path.suffix == ".unverified" for path in tmp_path.rglob("*"))


def test_a_local_home_is_read_and_filled_without_copies(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path / "home"), tmp_path / "scratch")
    with store.draft("w", "a") as draft:
        draft.write_bytes("big.bin", b"-" * 1000)
        inode = draft.path("big.bin").stat().st_ino
        artifact = draft.publish(upstream={}, synthetic=False, run_id=None)
    published = tmp_path / "home" / "w" / "a" / artifact.version / "big.bin"
    assert store.local_file(artifact, "big.bin") == published
    assert published.stat().st_ino == inode
    assert list((tmp_path / "scratch" / "drafts").iterdir()) == []


def test_a_draft_that_is_not_published_leaves_nothing(store: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), store.draft("mimic", "links") as draft:
        draft.write_text("a", "b")
        raise RuntimeError
    assert list((tmp_path / "scratch" / "drafts").iterdir()) == []
    assert list(store.objects.list()) == []
    with pytest.raises(ArtifactMissing, match="no files"), store.draft("mimic", "links") as draft:
        draft.publish(upstream={}, synthetic=False, run_id=None)


def test_what_cannot_be_published_is_refused(store: ArtifactStore) -> None:
    for name in ("artifact.json", "../x", "/x", "a//b", ""):
        with store.draft("mimic", "links") as draft, pytest.raises(ArtifactNameError):
            draft.path(name)
    for names in (("a/b", "c"), ("a", ".."), ("a", "b", "current.json"), ("a", "b", "0123456789abcdef")):
        with pytest.raises(ArtifactNameError), store.draft(*names):
            pass
    with store.draft("mimic", "links") as draft:
        draft.write_bytes("t.parquet", b"PAR1 cut off")
        with pytest.raises(ArtifactDamaged, match=r"t\.parquet"):
            draft.publish(upstream={}, synthetic=False, run_id=None)
        with pytest.raises(ValueError, match="not JSON compliant"):
            draft.write_json("x.json", float("nan"))
    with pytest.raises(TypeError, match="metric 'm'"):
        publish(store, "links", metrics={"m": [1]})


def test_the_record_survives_json() -> None:
    artifact = Artifact(
        key=("w", "a"),
        partition="p",
        version="0" * 16,
        files=(ArtifactFile("t", 1, "ab", 2),),
        schema={"t": {"a": "int64"}},
        upstream={},
        run_id=None,
        created_at="",
        synthetic=False,
        metrics={"m": None},
        upstream_partitions={"w/b": {"p": "v"}},
    )
    assert from_json(to_json(artifact), "here") == artifact


def test_readers_beside_publications_see_whole_versions_only(store: ArtifactStore) -> None:
    publish(store, "links", 0)
    done = threading.Event()
    torn: list[str] = []
    reads = 0

    def read() -> None:
        nonlocal reads
        while not done.is_set():
            found = store.current("mimic", "links")
            content = store.read_json(found, "d/report.json")["content"]
            table = store.read_table(found, "t.parquet")
            if table.column("a").to_pylist() != [content] * 3:
                torn.append(found.version)
            reads += 1

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(200):
        publish(store, "links", number)
    done.set()
    reader.join()
    assert torn == [] and reads > 20
    assert store.read_json(store.current("mimic", "links"), "d/report.json") == {"content": 199}


def test_many_files_are_published_quickly_with_a_progress_bar(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str | None] = []
    put_many = ObjectStore.put_many

    def noting(self: ObjectStore, *args: Any, **kwargs: Any) -> Any:
        titles.append(kwargs["progress"])
        return put_many(self, *args, **kwargs)

    monkeypatch.setattr(ObjectStore, "put_many", noting)
    monkeypatch.setattr(artifacts, "QUIET_FILES", 100)
    with store.draft("mimic", "source") as draft:
        for number in range(300):
            draft.write_bytes(f"tree/{number % 7}/{number}.jpg", str(number).encode())
        artifact = draft.publish(upstream={}, synthetic=True, run_id=None)
    assert titles == ["publish mimic/source"]
    assert len(list(store.local_folder(artifact).glob("tree/*/*.jpg"))) == 300
