"""What is S3's own: metadata that other clients see, the environment's variables, artifacts on a bucket."""

from pathlib import Path
from typing import Any

import boto3
import pytest

from resources.artifacts import ArtifactStore
from resources.control_plane import ensure_bucket
from resources.objects import AccessDenied, ObjectConflict, ObjectStore, sha256_of
from tests.servers.faulty_proxy import FaultyProxy, first_calls
from tests.servers.stores import S3Server

pytestmark = pytest.mark.server

BUCKET = "bucket-of-s3"


@pytest.fixture
def server(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """With the environment's variables set for it, and a bucket."""
    for name in ("access_key_id", "secret_access_key", "region"):
        monkeypatch.setenv(f"AWS_{name.upper()}", s3_server.config[name])
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.config["endpoint"])
    ensure_bucket(f"s3://{BUCKET}")
    return s3_server


def test_other_clients_see_type_and_checksum(server: S3Server) -> None:
    store = ObjectStore.at(f"s3://{BUCKET}/objects", **server.config)
    store.put("a/x.json", b"{}")
    store.put_many([("a/y.dcm", b"DICM")])
    client = boto3.client("s3")
    head = client.head_object(Bucket=BUCKET, Key="objects/a/x.json")
    assert (head["ContentType"], head["Metadata"]) == ("application/json", {"sha256": sha256_of(b"{}")})
    head = client.head_object(Bucket=BUCKET, Key="objects/a/y.dcm")
    assert (head["ContentType"], head["Metadata"]) == ("application/dicom", {"sha256": sha256_of(b"DICM")})


def test_the_endpoint_comes_from_the_environment(server: S3Server) -> None:
    ObjectStore.at(f"s3://{BUCKET}/env").put("k", b"v")
    assert ObjectStore.at(f"s3://{BUCKET}", **server.config).get("env/k") == b"v"


def test_a_lost_reply_to_a_single_write_counts_as_success(server: S3Server, proxy_before: Any) -> None:
    proxy: FaultyProxy = proxy_before(server)
    proxy.plan = first_calls(1.0, ("lost ack",))
    store = ObjectStore.at(f"s3://{BUCKET}/lossy", **server.config_at(proxy.port))
    assert store.put_if_absent("k", b"value") is False  # it cannot tell its own first try from somebody else's
    assert proxy.injected["lost ack"] == 1
    assert ObjectStore.at(f"s3://{BUCKET}/lossy").get("k") == b"value"
    with pytest.raises(ObjectConflict):
        store.put_if_absent("k", b"somebody else's")


def test_who_may_not_delete_is_told_so(server: S3Server) -> None:
    ObjectStore.at(f"s3://{BUCKET}/kept", **server.config).put("k", b"v")
    look = {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetObject"], "Resource": "*"}
    with pytest.raises(AccessDenied, match="grant the right"):
        ObjectStore.at(f"s3://{BUCKET}/kept", **server.user("looks-only", look)).delete(["k"])


def test_artifacts_on_s3(server: S3Server, tmp_path: Path) -> None:
    store = ArtifactStore(f"s3://{BUCKET}/home", tmp_path)
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
