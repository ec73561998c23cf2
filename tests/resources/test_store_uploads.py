"""Many objects up and down: what the manifest says, what travels, and what a fault may not do. On every store."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from resources import object_uploads, objects
from resources.object_uploads import ManifestUnreadable, SourceUnreadable, UploadManifest
from resources.objects import (
    AccessDenied,
    CredentialsRefused,
    DiskFull,
    ObjectAccessError,
    ObjectChanged,
    ObjectConflict,
    ObjectInfo,
    ObjectStore,
    sha256_of,
)
from tests.resources.conftest import REMOTE, Place
from tests.servers.faulty_proxy import Fault, FaultyProxy, first_calls
from tests.servers.gcs import FakeGcs
from tests.servers.processes import served_here
from tests.servers.stores import S3Server, gcs_config

OBJECTS = 1000


def files(folder: Path, count: int, size: int = 200) -> list[tuple[str, Path]]:
    """(path in the store, file) of files that all differ."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for number in range(count):
        file = folder / f"film-{number:04}.jpg"
        file.write_bytes(number.to_bytes(4, "big") * (size // 4))
        items.append((f"films/{file.name}", file))
    return items


def contents(store: ObjectStore) -> dict[str, str]:
    return {info.path: sha256_of(store.get(info.path)) for info in store.list()}


# What is told


def test_the_manifest_tells_what_is_stored(store: ObjectStore, tmp_path: Path) -> None:
    items: list[tuple[str, Path | bytes]] = [*files(tmp_path / "f", 5), ("t/table.parquet", b"PAR1"), ("x", b"")]
    manifest = store.put_many(items, progress="up")
    assert manifest.store == store.url
    assert [one.key for one in manifest.objects] == [key for key, _ in items]
    assert [one.sha256 for one in manifest.objects] == [sha256_of(data) for _, data in items]
    assert manifest.objects[0].content_type == "image/jpeg" and manifest.objects[-1].content_type.endswith("stream")
    assert manifest.uploaded == 7 and manifest.size == 1004
    listed = {info.path: info for info in store.list()}
    for one in manifest.objects:
        assert listed[one.key].size == one.size
        assert one.etag and one.etag.strip('"') == (listed[one.key].etag or "").strip('"')
    assert UploadManifest.from_json(manifest.to_json()) == manifest


def test_a_manifest_holds_no_secret(place: Place) -> None:
    text = place.store().put_many([("a", b"1")]).to_json()
    secrets = [
        str(place.config[name])
        for name in ("secret_access_key", "account_key", "access_key_id")
        if name in place.config
    ]
    assert not any(secret in text for secret in secrets)


@pytest.mark.parametrize("text", ["", "[]", '{"store": "x"}', '{"store": "x", "objects": [{"key": "a"}]}'])
def test_what_is_no_manifest_is_told_in_one_line(text: str) -> None:
    with pytest.raises(ManifestUnreadable) as caught:
        UploadManifest.from_json(text)
    assert "\n" not in str(caught.value)


def test_a_manifest_of_another_place_is_refused() -> None:
    manifest = ObjectStore.at("memory://one place").put_many([("a", b"1")])
    with pytest.raises(ManifestUnreadable, match="another place"):
        ObjectStore.at("memory://another place").put_many([("a", b"1")], known=manifest)


# What travels


def test_only_what_is_missing_or_different_travels(store: ObjectStore, tmp_path: Path) -> None:
    items = files(tmp_path, 20)
    first = store.put_many(items[:15])
    assert store.put_many(items).uploaded == 5
    assert store.put_many(items, known=first).uploaded == 0
    items[3][1].write_bytes(b"drawn again")  # of another size
    items[4][1].write_bytes(b"x" * 200)  # of the same size
    with pytest.raises(ObjectConflict, match=r"film-000[34].*goes on from there"):
        store.put_many(items)
    again = store.put_many(items, replace=True, known=first)
    assert [one.key for one in again.objects if one.uploaded] == [items[3][0], items[4][0]]
    assert contents(store) == {key: sha256_of(file) for key, file in items}


def test_a_manifest_spares_the_question_for_each_object(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [(f"n/{i}", bytes([i])) for i in range(10)]
    known = store.put_many(items)
    monkeypatch.setattr(object_uploads, "_look_up", lambda *_, **__: pytest.fail("asked for one object"))
    assert store.put_many(items, known=known).uploaded == 0


def test_large_files_stream_and_resume_too(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_uploads, "STREAM_BYTES", 1000)
    large = tmp_path / "large.bin"
    large.write_bytes(os.urandom(6 * 2**20))
    manifest = store.put_many([("large.bin", large)])
    assert store.put_many([("large.bin", large)]).uploaded == 0
    assert sha256_of(store.fetch_many(manifest, tmp_path / "down")[0]) == sha256_of(large)


def test_files_given_away_with_their_digests_are_not_even_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = files(tmp_path / "up", 5)
    digests = {key: sha256_of(file) for key, file in items}
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("read"))
    store = ObjectStore.at(tmp_path / "store")
    assert store.put_many(items, sha256=digests, hand_over=True).uploaded == 5


def test_known_digests_spare_the_hashing_not_the_bytes(store: ObjectStore, tmp_path: Path) -> None:
    items = files(tmp_path, 3)
    digests = {key: sha256_of(file) for key, file in items}
    assert store.put_many(items, sha256=digests).uploaded == 3
    assert contents(store) == digests


def test_a_path_given_twice_is_refused_before_anything_is_stored(store: ObjectStore) -> None:
    with pytest.raises(ObjectConflict, match="twice"):
        store.put_many([("a", b"1"), ("b", b"2"), ("a", b"3")])
    assert list(store.list()) == []


def test_inside_a_running_event_loop() -> None:
    async def caller() -> UploadManifest:
        return ObjectStore.at("memory://in a loop").put_many([("a", b"1")])

    assert asyncio.run(caller()).uploaded == 1


def test_nothing_to_upload(store: ObjectStore) -> None:
    assert store.put_many([]).objects == ()


# Down again


def test_download_keeps_what_is_complete(store: ObjectStore, tmp_path: Path) -> None:
    items = files(tmp_path / "up", 12)
    manifest = store.put_many(items)
    down = tmp_path / "down"
    fetched = store.fetch_many(manifest, down, progress="down")
    assert fetched == [down / key for key, _ in items]
    assert all(sha256_of(here) == sha256_of(file) for here, (_, file) in zip(fetched, items))
    before = fetched[0].stat().st_mtime_ns
    fetched[1].write_bytes(b"half")
    store.fetch_many(manifest, down)
    assert fetched[0].stat().st_mtime_ns == before and sha256_of(fetched[1]) == sha256_of(items[1][1])


@pytest.mark.parametrize("size", [200, 201], ids=["same size", "other size"])
def test_an_object_changed_under_the_manifest(store: ObjectStore, tmp_path: Path, size: int) -> None:
    manifest = store.put_many(files(tmp_path / "up", 3))
    store.put("films/film-0001.jpg", b"x" * size)
    with pytest.raises(ObjectChanged, match="film-0001"):
        store.fetch_many(manifest, tmp_path / "down", concurrency=1)
    assert sorted(file.name for file in (tmp_path / "down" / "films").iterdir()) == ["film-0000.jpg"]
    store.delete(["films/film-0001.jpg"])
    with pytest.raises(ObjectChanged, match="gone"):
        store.fetch_many(manifest, tmp_path / "down")


def test_an_object_changed_while_the_upload_runs(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen by the listing at the end."""
    listing, calls = store.list, []

    def meddling(prefix: str = "") -> Any:
        calls.append(prefix)
        if len(calls) == 2:
            store.put("d/1", b"somebody else's")
        return listing(prefix)

    monkeypatch.setattr(store, "list", meddling)
    with pytest.raises(ObjectChanged, match="d/1 was changed"):
        store.put_many([("d/1", b"mine"), ("d/2", b"mine")])
    assert calls == ["d", "d"]


def test_an_object_that_the_last_listing_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    store = ObjectStore.at("memory://forgetful")

    def nothing(prefix: str = "") -> list[ObjectInfo]:
        return []

    monkeypatch.setattr(store, "list", nothing)
    with pytest.raises(ObjectChanged, match="listing does not have it"):
        store.put_many([("a", b"1")])


# Faults


@pytest.mark.parametrize("scheme", REMOTE)
def test_a_thousand_objects_through_faults(
    scheme: str, remote_place: Callable[[str], Place], proxy_before: Any, tmp_path: Path
) -> None:
    """A fifth of the first writes fail, some after they were applied: all present once, none taken for another's."""
    place = remote_place(scheme)
    assert place.server is not None
    proxy: FaultyProxy = proxy_before(place.server)
    proxy.plan = first_calls(0.2, ("503", "429", "reset", "lost ack"))
    items = files(tmp_path, OBJECTS)
    through = place.store(**place.server.config_at(proxy.port))
    manifest = through.put_many(items)
    assert manifest.uploaded == OBJECTS
    assert sum(proxy.injected.values()) > 0.15 * OBJECTS and set(proxy.injected) == {"503", "429", "reset", "lost ack"}
    direct = place.store()
    assert sorted(info.path for info in direct.list()) == [key for key, _ in items]
    wanted = {key: sha256_of(file) for key, file in items}
    assert {one.key: one.sha256 for one in manifest.objects} == wanted
    fetched = direct.fetch_many(manifest, tmp_path / "down")
    assert all(sha256_of(file) == one.sha256 for file, one in zip(fetched, manifest.objects))
    proxy.forget()
    assert through.put_many(items, known=manifest).uploaded == 0
    assert proxy.count("PUT") == 0 and proxy.count("HEAD") == 0


@pytest.mark.parametrize("scheme", REMOTE)
@pytest.mark.parametrize("fault", ["503", "429", "reset", "lost ack", "cut body", "stalled body"])
def test_every_fault_on_the_way_down(
    scheme: str, fault: Fault, remote_place: Callable[[str], Place], proxy_before: Any, tmp_path: Path
) -> None:
    place = remote_place(scheme)
    assert place.server is not None
    manifest = place.store().put_many(files(tmp_path / "up", 6, size=40_000))
    proxy: FaultyProxy = proxy_before(place.server)
    proxy.plan = first_calls(1.0, (fault,), method="GET")
    config = place.server.config_at(proxy.port)
    options = {**config.get("client_options", {}), "timeout": timedelta(seconds=2)}
    through = place.store(**{**config, "client_options": options})
    fetched = through.fetch_many(manifest, tmp_path / "down")
    assert proxy.injected[fault] == 6
    assert [sha256_of(file) for file in fetched] == [one.sha256 for one in manifest.objects]


def test_a_lost_reply_to_a_replacement_counts_too(remote_place: Callable[[str], Place], proxy_before: Any) -> None:
    place = remote_place("s3")
    assert place.server is not None
    place.store().put_many([(f"k{i}", b"old") for i in range(8)])
    proxy: FaultyProxy = proxy_before(place.server)
    proxy.plan = first_calls(1.0, ("lost ack",))
    through = place.store(**place.server.config_at(proxy.port))
    manifest = through.put_many([(f"k{i}", b"new") for i in range(8)], replace=True)
    assert manifest.uploaded == 8 and proxy.injected["lost ack"] == 8
    assert {place.store().get(f"k{i}") for i in range(8)} == {b"new"}


UPLOAD = """
import sys
from pathlib import Path
from resources.objects import ObjectStore
url, folder = sys.argv[1], Path(sys.argv[2])
ObjectStore.at(url).put_many([(f"films/{file.name}", file) for file in sorted(folder.iterdir())], concurrency=8)
"""


@pytest.mark.server
def test_killed_in_the_middle_only_the_rest_travels(
    remote_place: Callable[[str], Place], proxy_before: Any, tmp_path: Path
) -> None:
    place = remote_place("s3")
    assert place.server is not None
    items = files(tmp_path / "up", OBJECTS)
    proxy: FaultyProxy = proxy_before(place.server)
    proxy.plan = first_calls(0.2, ("503", "429", "reset", "lost ack"))
    config = place.server.config_at(proxy.port)
    variables = {f"AWS_{name.upper()}": config[name] for name in ("access_key_id", "secret_access_key", "region")}
    process = subprocess.Popen(
        [sys.executable, "-c", UPLOAD, place.url, str(tmp_path / "up")],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **variables, "AWS_ENDPOINT_URL": proxy.address},
    )
    deadline = time.monotonic() + 60
    while proxy.count("PUT") < OBJECTS // 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    time.sleep(0.5)  # what the proxy had taken over reaches the store
    there = {info.path for info in place.store().list()}
    assert OBJECTS // 4 < len(there) < OBJECTS  # fewer than writes: a retry after a lost reply is one more of them
    proxy.forget()
    manifest = place.store(**config).put_many(items)
    assert manifest.uploaded == proxy.count("PUT") == OBJECTS - len(there)
    assert {one.key for one in manifest.objects if not one.uploaded} == there
    assert contents(place.store()) == {key: sha256_of(file) for key, file in items}


# What cannot work says so once, and loses nothing


@pytest.mark.server
def test_a_batch_that_stops_half_way_goes_on(remote_place: Callable[[str], Place], tmp_path: Path) -> None:
    store = remote_place("s3").store()
    items = files(tmp_path, 30)
    held = items[20][1].read_bytes()
    items[20][1].unlink()
    items[20][1].mkdir()  # has a size, and cannot be read
    with pytest.raises(SourceUnreadable, match=r"film-0020.*of 30 are done") as caught:
        store.put_many(items, concurrency=4)
    assert "\n" not in str(caught.value)
    there = len(list(store.list()))
    assert 17 <= there < 30
    items[20][1].rmdir()
    items[20][1].write_bytes(held)
    # A request that was on its way when the batch stopped may have arrived after the listing.
    assert 30 - there - 4 <= store.put_many(items).uploaded <= 30 - there
    assert len(list(store.list())) == 30


@pytest.mark.server
def test_credentials_and_rights_on_s3(s3_server: S3Server, remote_place: Callable[[str], Place]) -> None:
    place = remote_place("s3")
    place.store().put("mine/a", b"1")
    prefix = place.url.removeprefix("s3://contract/")
    own = {"Effect": "Allow", "Action": "s3:*", "Resource": f"arn:aws:s3:::contract/{prefix}/mine/*"}
    bucket = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::contract"}
    party = s3_server.user(f"party-{prefix}", own, bucket)
    store = ObjectStore.at(place.url, **party)
    assert store.put_many([("mine/a", b"1"), ("mine/b", b"2")]).uploaded == 1
    for act in (
        lambda: store.put_many([("theirs/a", b"1")]),
        lambda: store.get("theirs/a"),
        lambda: store.put("x", b""),
    ):
        with pytest.raises(AccessDenied, match="grant the right") as caught:
            act()
        assert party["access_key_id"] not in str(caught.value) and "\n" not in str(caught.value)
    for wrong in ({"secret_access_key": "hush"}, {"access_key_id": "AKIANOBODY"}):
        with pytest.raises(CredentialsRefused, match="check the keys") as refused:
            ObjectStore.at(place.url, **{**party, **wrong}).put_many([("mine/c", b"1")])
        assert "hush" not in str(refused.value) and "AKIANOBODY" not in str(refused.value)


@pytest.mark.server
def test_wrong_key_on_azure(remote_place: Callable[[str], Place]) -> None:
    place = remote_place("az")
    with pytest.raises(CredentialsRefused):
        place.store(account_key="aHVzaA==").put_many([("a", b"1")])


@pytest.mark.server
def test_a_closed_bucket_on_google(remote_place: Callable[[str], Place], gcs_fake: Any) -> None:
    place = remote_place("gs")
    gcs_fake.closed.add("closed-bucket")
    with pytest.raises(AccessDenied):
        ObjectStore.at("gs://closed-bucket/x", **place.config).put_many([("a", b"1")])


@pytest.mark.server
def test_no_token_on_google() -> None:
    fake = FakeGcs(token="hush")
    with served_here(fake.start), pytest.raises(CredentialsRefused):
        ObjectStore.at("gs://some-bucket/x", **gcs_config(fake.port)).put_many([("a", b"1")])


@pytest.mark.parametrize("scheme", REMOTE)
def test_a_missing_bucket(scheme: str, remote_place: Callable[[str], Place]) -> None:
    place = remote_place(scheme)
    with pytest.raises(objects.ObjectMissing, match="nowhere"):
        ObjectStore.at(f"{scheme}://nowhere-at-all/x", **place.config).put_many([("a", b"1")])


def test_a_store_that_is_not_there_is_given_up_at_the_deadline() -> None:
    retry = {"max_retries": 10, "retry_timeout": timedelta(seconds=1)}
    keys = {"access_key_id": "a", "secret_access_key": "b", "region": "us-east-1"}
    store = ObjectStore.at("s3://bucket/x", endpoint="http://127.0.0.1:9", retry_config=retry, **keys)
    start = time.monotonic()
    with pytest.raises(ObjectAccessError, match="network") as caught:
        store.put_many([("a", b"1")])
    assert time.monotonic() - start < 15 and "\n" not in str(caught.value)


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system of 64 KB, where this process may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("only root with the right to mount can make a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_on_the_way_down(small_disk: Path, tmp_path: Path) -> None:
    store = ObjectStore.at("memory://full disk")
    manifest = store.put_many(files(tmp_path / "up", 4, size=30_000))
    with pytest.raises(DiskFull, match=r"free some .*goes on") as caught:
        store.fetch_many(manifest, small_disk, concurrency=1)
    assert "\n" not in str(caught.value)
    assert not [file for file in small_disk.rglob("*") if file.name.endswith(".part")]
    assert all(sha256_of(small_disk / one.key) == one.sha256 for one in manifest.objects[:2])


def test_a_full_disk_that_is_the_store(small_disk: Path, tmp_path: Path) -> None:
    store = ObjectStore.at(small_disk / "store")
    with pytest.raises(ObjectAccessError, match="space") as caught:
        store.put_many(files(tmp_path / "up", 4, size=30_000), concurrency=1)
    assert "\n" not in str(caught.value)
    assert len([info for info in store.list() if info.size == 30_000]) == 2


def test_a_full_disk_wherever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same without a right to mount."""
    store = ObjectStore.at("memory://full disk too")
    manifest = store.put_many([("a", b"1")])
    opened = Path.open

    def full(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if mode == "wb":
            raise OSError(28, "No space left on device")
        return opened(self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DiskFull):
        store.fetch_many(manifest, tmp_path / "down")
    with pytest.raises(DiskFull):
        store.fetch("a", tmp_path / "down" / "a")
