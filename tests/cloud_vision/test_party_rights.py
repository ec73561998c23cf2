"""A party's step, in a process with only its own credentials, is denied the other's home and database."""

import json
import os
import tempfile
import uuid
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mm_assets.cloud_vision.party_alignment import alignment_message
from mm_assets.cloud_vision.party_process import run_step, start_answering
from mm_assets.cloud_vision.party_steps import SplitKnobs
from mm_assets.cloud_vision.party_tables import DatabaseDenied, PasswordRefused, read_party_table
from mm_assets.cloud_vision.party_training import training_message
from mm_assets.cloud_vision.split_model import SplitConfig
from resources.control_plane import ensure_bucket
from resources.objects import AccessDenied, CredentialsRefused, ObjectStore
from tests.cloud_vision.party_house import PUBLISHED, PX, drive, records_job
from tests.servers.postgres import PASSWORDS, postgres_server
from tests.servers.stores import s3_server

__all__ = ["postgres_server", "s3_server"]

OTHER = {"org2": "org3", "org3": "org2"}
NOBODY = 65534


@pytest.fixture
def rights(house, s3_server, postgres_server, monkeypatch):
    """Each party's user may use its own bucket and nothing else; the settings are in the environment."""
    for party in OTHER:
        bucket = f"{party}-{uuid.uuid4().hex[:12]}"
        ensure_bucket(f"s3://{bucket}", **s3_server.config)
        own = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        user = s3_server.user(bucket, {"Effect": "Allow", "Action": ["s3:*"], "Resource": own})
        keys = {name: value for name, value in user.items() if isinstance(value, str)}
        monkeypatch.setenv(f"MM_{party.upper()}_HOME", f"s3://{bucket}/home")
        monkeypatch.setenv(f"MM_{party.upper()}_STORE", json.dumps(keys))
        monkeypatch.setenv(f"MM_{party.upper()}_DATABASE", postgres_server.url(party))
    return house


def secrets_of(rights):
    return [*PASSWORDS.values(), *(rights.access(party).store["secret_access_key"] for party in OTHER)]


@contextmanager
def denied(rights, kind, capfd):
    """The block raises ``kind`` in one line; no key and no password is told, there or in a log."""
    with pytest.raises(kind) as caught:
        yield
    assert type(caught.value) is kind
    told = f"{caught.value}{''.join(capfd.readouterr())}"
    assert "\n" not in str(caught.value)
    assert not [secret for secret in secrets_of(rights) if secret in told]


def own_steps(rights, party):
    """The party's jobs; versions need not be there, since what is denied is not looked at."""
    jobs = {
        "records": records_job(rights, party),
        "features": {
            "task": "features", "records": "0" * 16, "upload": "0" * 16, "common": ["img_1"], "image_px": PX,
            "workers": 1, "published": PUBLISHED,
        },
    }  # fmt: skip
    if party == "org3":
        folder = str(rights.folder / "org3")
        jobs["upload"] = {"task": "upload", "records": "0" * 16, "folder": folder, "published": PUBLISHED}
    return jobs


def exchanges(tmp_path):
    versions = {"org2": "0" * 16, "org3": "0" * 16}
    rows = {name: np.arange(3) for name in ("train", "validate", "test", "shifted")}
    config = SplitConfig(image_px=PX)
    return [
        alignment_message(versions),
        training_message(config, SplitKnobs(epochs=1), versions=versions, rows=rows, folder=tmp_path / "run"),
    ]


@pytest.mark.server
def test_with_its_own_credentials_every_step_of_both_works(rights):
    rights.publish_source()
    rights.materialize("org2_records", "org3_records", "upload", "alignment", "org2_features", "org3_features")
    for party in OTHER:
        access = rights.access(party)
        features = access.artifacts().current("cloud_vision", f"{party}_features")
        assert features.file("features.safetensors").bytes > 0
        assert read_party_table(access.database, party).num_rows > 0
    manifest = rights.access("org3").artifacts().current("cloud_vision", "upload")
    text = rights.access("org3").artifacts().local_file(manifest, "manifest.json").read_text()
    assert not [secret for secret in secrets_of(rights) if secret in text]


@pytest.mark.server
@pytest.mark.parametrize("party", OTHER)
def test_no_step_reaches_the_others_home(rights, party, capfd, tmp_path):
    other = rights.access(OTHER[party])
    access = replace(rights.access(party), home=other.home)
    for job in own_steps(rights, party).values():
        with denied(rights, AccessDenied, capfd):
            run_step(access, job)
    for job in exchanges(tmp_path):
        with denied(rights, AccessDenied, capfd):
            if party == "org2":
                drive(access, job, "http://127.0.0.1:1", "token")
            else:
                with start_answering(access, job):
                    raise AssertionError("it answers with the other's records")
    everything = ObjectStore.at(other.home, **other.store)
    assert list(everything.list()) == []


@pytest.mark.server
@pytest.mark.parametrize("party", OTHER)
def test_no_step_reaches_the_others_database(rights, party, capfd, postgres_server):
    access = rights.access(party)
    foreign = replace(access, database=postgres_server.url(party, database=OTHER[party]))
    with denied(rights, DatabaseDenied, capfd):
        run_step(foreign, records_job(rights, party))
    guessed = replace(access, database=postgres_server.url(OTHER[party], password=PASSWORDS[party]))
    with denied(rights, PasswordRefused, capfd):
        run_step(guessed, records_job(rights, party))


@pytest.mark.server
def test_x_rays_are_not_uploaded_to_a_bucket_without_the_right(rights, capfd):
    run_records = run_step(rights.access("org3"), records_job(rights, "org3"))
    bucket = rights.access("org2").home.removesuffix("/home")
    job = {**own_steps(rights, "org3")["upload"], "records": run_records["version"]}
    with denied(rights, AccessDenied, capfd):
        run_step(replace(rights.access("org3"), xrays_url=f"{bucket}/xrays"), job)
    with denied(rights, AccessDenied, capfd):  # nor may it make one
        run_step(replace(rights.access("org3"), xrays_url=f"s3://new-{uuid.uuid4().hex[:12]}/xrays"), job)


@pytest.mark.server
@pytest.mark.parametrize(
    ("asset", "variable", "change", "kind"),
    [
        ("org2_records", "MM_ORG2_STORE", {"secret_access_key": "wr0ng"}, CredentialsRefused),
        ("org3_records", "MM_ORG3_STORE", {"access_key_id": "AKIANOBODY"}, CredentialsRefused),
        ("org2_records", "MM_ORG2_DATABASE", "org3", PasswordRefused),
    ],
)
def test_wrong_credentials_have_one_clear_error_at_the_asset(
    rights, monkeypatch, asset, variable, change, kind, postgres_server, capfd
):
    rights.publish_source()
    if isinstance(change, dict):
        monkeypatch.setenv(variable, json.dumps({**json.loads(os.environ[variable]), **change}))
    else:
        monkeypatch.setenv(variable, postgres_server.url("org2", password=PASSWORDS[change]))
    with pytest.raises(kind) as caught:
        rights.materialize(asset)
    assert "\n" not in str(caught.value)
    told = f"{caught.value}{''.join(capfd.readouterr())}"
    assert not [secret for secret in [*secrets_of(rights), "wr0ng"] if secret in told]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_denied_the_default_database(house):
    # Not below pytest's folders, which are closed to others anyway.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        access = replace(house.access("org2"), scratch=Path(folder) / "scratch" / "parties" / "org2")
        access = replace(access, database=str(access.scratch / "records.duckdb"))
        run_step(access, records_job(house, "org2"))
        with somebody_else(), pytest.raises(DatabaseDenied, match="ask their owner"):
            read_party_table(access.database, "org2")
        access.scratch.chmod(0o755)
        with somebody_else():
            assert read_party_table(access.database, "org2").num_rows > 0


@contextmanager
def somebody_else():
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
