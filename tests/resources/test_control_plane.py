"""Buckets and containers: made once, and each way to fail has its own words. Against real servers."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from resources.control_plane import BucketNameIllegal, BucketNameTaken, check_bucket_name, ensure_bucket
from resources.locations import ObjectUrlError
from resources.objects import AccessDenied, CredentialsRefused, ObjectAccessError, ObjectStore
from tests.resources.conftest import REMOTE, SERVERS
from tests.servers.gcs import FakeGcs
from tests.servers.processes import free_port, served_here
from tests.servers.stores import S3Server, StoreServer, azure_config, gcs_config


@pytest.fixture
def name() -> str:
    return f"bucket-{uuid.uuid4().hex}"


@pytest.mark.parametrize("scheme", REMOTE)
def test_made_once_and_then_it_takes_objects(scheme: str, name: str, request: pytest.FixtureRequest) -> None:
    server: StoreServer = request.getfixturevalue(SERVERS[scheme])
    url = f"{scheme}://{name}/some/prefix"
    assert ensure_bucket(url, **server.config) is True
    assert ensure_bucket(url, **server.config) is False
    store = ObjectStore.at(url, **server.config)
    assert store.put_many([("a", b"1")]).uploaded == 1 and store.get("a") == b"1"


def test_a_folder_and_memory_need_none(tmp_path: Path) -> None:
    assert ensure_bucket(tmp_path / "x") is False and not (tmp_path / "x").exists()
    assert ensure_bucket("memory://any Name") is False


@pytest.mark.server
def test_google_against_an_emulator_of_others(gcs_emulator: StoreServer, name: str) -> None:
    assert ensure_bucket(f"gs://{name}", **gcs_emulator.config) is True
    assert ensure_bucket(f"gs://{name}", **gcs_emulator.config) is False


@pytest.mark.server
def test_s3_in_another_region(s3_server: S3Server, name: str) -> None:
    assert ensure_bucket(f"s3://{name}", **{**s3_server.config, "region": "eu-central-1"}) is True


@pytest.mark.server
def test_the_environment_says_where_and_who(
    s3_server: S3Server, azure_server: StoreServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("access_key_id", "secret_access_key", "region"):
        monkeypatch.setenv(f"AWS_{key.upper()}", s3_server.config[key])
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.config["endpoint"])
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", azure_server.config["account_name"])
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", azure_server.config["account_key"])
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", azure_server.config["endpoint"])
    for scheme in ("s3", "az"):
        assert ensure_bucket(f"{scheme}://{name}") is True
        ObjectStore.at(f"{scheme}://{name}").put("a", b"1")


@pytest.mark.parametrize(
    ("scheme", "bucket"),
    [
        ("s3", "Capital"), ("s3", "ab"), ("s3", "under_score"), ("s3", "dots..dots"), ("s3", "127.0.0.1"),
        ("s3", "-a-b"), ("gs", "goog-mine"), ("gs", "x" * 64), ("az", "under_score"), ("az", "two--hyphens"),
        ("az", "dot.dot"), ("az", "Org2"), ("az", "ends-"),
    ],
)  # fmt: skip
def test_an_illegal_name_is_told_before_anything_is_asked(scheme: str, bucket: str) -> None:
    config = {"s3": {"endpoint": "http://127.0.0.1:9"}, "gs": gcs_config(9), "az": azure_config(9)}[scheme]
    with pytest.raises(BucketNameIllegal, match="3 to 63") as caught:
        ensure_bucket(f"{scheme}://{bucket}/x", **config)
    assert bucket in str(caught.value)


@pytest.mark.parametrize(("scheme", "bucket"), [("s3", "org2.films-1"), ("gs", "org_2"), ("az", "org-2")])
def test_legal_names(scheme: str, bucket: str) -> None:
    check_bucket_name(scheme, bucket)


def refused(kind: type[Exception], url: str, **config: Any) -> str:
    """The one line that is told."""
    with pytest.raises(kind) as caught:
        ensure_bucket(url, **config)
    text = str(caught.value)
    assert "\n" not in text and url in text and caught.value.__cause__ is None
    assert not any(secret in text for secret in ("hush", "aHVzaA==", "AKIANOBODY"))
    return text


@pytest.mark.server
def test_wrong_credentials(s3_server: S3Server, azure_server: StoreServer, name: str) -> None:
    for wrong in ({"secret_access_key": "hush"}, {"access_key_id": "AKIANOBODY"}):
        refused(CredentialsRefused, f"s3://{name}", **{**s3_server.config, **wrong})
    refused(CredentialsRefused, f"az://{name}", **{**azure_server.config, "account_key": "aHVzaA=="})
    fake = FakeGcs(token="hush")
    with served_here(fake.start):
        refused(CredentialsRefused, f"gs://{name}", **gcs_config(fake.port))


def test_a_key_that_is_none_is_told_when_the_location_is_opened(name: str) -> None:
    broken = json.dumps({"client_email": "a@b", "private_key": "hush", "private_key_id": "x"})
    for url, config in (
        (f"az://{name}", {**azure_config(9), "account_key": "hush!"}),
        (f"gs://{name}", {"service_account_key": broken}),
    ):
        with pytest.raises(ObjectUrlError) as caught:
            ensure_bucket(url, **config)
        assert "hush" not in str(caught.value)


@pytest.mark.server
def test_missing_rights(s3_server: S3Server, gcs_fake: FakeGcs, gcs_server: StoreServer, name: str) -> None:
    ensure_bucket(f"s3://{name}", **s3_server.config)
    nobody = s3_server.user(f"nobody-{name}")
    assert "grant" in refused(AccessDenied, f"s3://{name}", **nobody)
    # AWS asks for the right to list; moto for one of its own.
    reads = {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:HeadBucket"], "Resource": "*"}
    looker = s3_server.user(f"looker-{name}", reads)
    assert ensure_bucket(f"s3://{name}", **looker) is False
    refused(AccessDenied, f"s3://{name}-2", **looker)
    gcs_fake.closed.add(name)
    refused(AccessDenied, f"gs://{name}", **gcs_server.config)


@pytest.mark.server
def test_a_name_that_is_somebody_elses(gcs_fake: FakeGcs, gcs_server: StoreServer, name: str) -> None:
    gcs_fake.hidden.add(name)
    refused(BucketNameTaken, f"gs://{name}", **gcs_server.config)


def test_a_server_that_is_not_there(name: str) -> None:
    port = free_port()
    keys = {"access_key_id": "a", "secret_access_key": "hush", "region": "us-east-1"}
    refused(ObjectAccessError, f"s3://{name}", endpoint=f"http://127.0.0.1:{port}", **keys)
    refused(ObjectAccessError, f"az://{name}", **azure_config(port))
    refused(ObjectAccessError, f"gs://{name}", **gcs_config(port))
