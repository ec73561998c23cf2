"""The S3 protocol over a real socket, with a proxy that loses replies."""

import http.client
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from resources.artifacts import ArtifactStore
from resources.objects import ObjectConflict, ObjectMissing, ObjectStore, sha256_of

boto3 = pytest.importorskip("boto3")
moto_server = pytest.importorskip("moto.server")

pytestmark = pytest.mark.server

KEYS = {"access_key_id": "test", "secret_access_key": "test"}
AWS_KEYS = {f"aws_{name}": value for name, value in KEYS.items()}
CREDENTIALS = {**KEYS, "region": "us-east-1"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    urllib.request.urlopen(urllib.request.Request(f"{url}/bucket", method="PUT")).close()
    yield url
    server.stop()


@pytest.fixture
def lossy(endpoint: str) -> Iterator[str]:
    """Passes requests on; the reply to the first PUT of each path is lost after the server has acted."""
    lost: set[str] = set()
    backend = endpoint.removeprefix("http://")

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            connection = http.client.HTTPConnection(backend)
            connection.request(self.command, self.path, body, dict(self.headers))
            reply = connection.getresponse()
            content = reply.read()
            connection.close()
            if self.command == "PUT" and self.path not in lost:
                lost.add(self.path)
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.getheaders():
                if name.lower() not in (
                    "content-length",
                    "connection",
                    "transfer-encoding",
                    "date",
                    "server",
                ):
                    self.send_header(name, value)
            length = reply.getheader("Content-Length") if self.command == "HEAD" else len(content)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass_on

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_objects_on_s3(endpoint: str, tmp_path: Path) -> None:
    store = ObjectStore.at("s3://bucket/objects", endpoint=endpoint, **CREDENTIALS)
    store.put("a/x.json", b"{}")
    assert store.put_if_absent("a/y", b"one") is True
    assert store.put_if_absent("a/y", b"one") is False
    with pytest.raises(ObjectConflict):
        store.put_if_absent("a/y", b"two")
    assert store.get_range("a/y", 1, 2) == b"ne"
    assert sorted((info.path, info.size) for info in store.list("a")) == [("a/x.json", 2), ("a/y", 3)]
    assert store.folders() == ["a"]
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **AWS_KEYS)
    head = client.head_object(Bucket="bucket", Key="objects/a/x.json")
    assert head["ContentType"] == "application/json"
    assert head["Metadata"] == {"sha256": sha256_of(b"{}")}
    assert store.fetch("a/y", tmp_path / "y").read_bytes() == b"one"
    store.delete(["a/x.json", "a/none"])
    assert store.head("a/x.json") is None
    with pytest.raises(ObjectMissing):
        store.get("a/x.json")


def test_the_endpoint_comes_from_the_environment(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(f"AWS_{name.upper()}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    ObjectStore.at("s3://bucket/env").put("k", b"v")
    assert ObjectStore.at("s3://bucket", endpoint=endpoint, **CREDENTIALS).get("env/k") == b"v"


def test_a_lost_reply_counts_as_success(endpoint: str, lossy: str) -> None:
    store = ObjectStore.at("s3://bucket/lossy", endpoint=lossy, **CREDENTIALS)
    items = [(f"k{i}", f"value {i}".encode()) for i in range(8)]
    stored = store.put_many(items, concurrency=4)
    assert [(one.path, one.size) for one in stored] == [(path, len(data)) for path, data in items]
    assert not any(one.created for one in stored)  # it cannot tell its own first try from somebody else's
    direct = ObjectStore.at("s3://bucket/lossy", endpoint=endpoint, **CREDENTIALS)
    assert {info.path: direct.get(info.path) for info in direct.list()} == dict(items)
    with pytest.raises(ObjectConflict):
        store.put_if_absent("k1", b"somebody else's")


def test_artifacts_on_s3(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(f"AWS_{name.upper()}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    store = ArtifactStore("s3://bucket/home", tmp_path)
    versions = []
    for content in ("one", "two", "three"):
        with store.draft("wing", "asset") as draft:
            draft.write_text("a/b.txt", content)
            draft.write_json("c.json", {"content": content})
            versions.append(draft.publish(upstream={}, synthetic=True, run_id=None).version)
    current = store.current("wing", "asset")
    assert current.version == versions[-1]
    assert store.read_json(current, "c.json") == {"content": "three"}
    assert (store.local_folder(current) / "a" / "b.txt").read_text() == "three"
    assert set(store.history("wing", "asset")) == set(versions)
    assert len(store.sweep(keep=1)) == 2
    assert store.history("wing", "asset") == versions[-1:]
