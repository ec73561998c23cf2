"""A party's process: what it is given, how it ends, and how its errors come back."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mm_assets.cloud_vision import party_process
from mm_assets.cloud_vision.central_training import build_central, train_central
from mm_assets.cloud_vision.party_alignment import alignment_message
from mm_assets.cloud_vision.party_process import (
    PartyProcessFailed,
    _environment,
    exchange,
    run_step,
    start_answering,
)
from mm_assets.cloud_vision.party_steps import Org2Rows, Org3Rows, SplitKnobs
from mm_assets.cloud_vision.party_tables import DatabaseDenied, PartyDatabaseError
from mm_assets.cloud_vision.party_training import _own_features, one_thread, trained_weights, training_message
from mm_assets.cloud_vision.party_work import STEPS
from mm_assets.cloud_vision.split_model import SplitConfig
from mm_assets.cloud_vision.wire_http import WireDown
from resources.objects import DiskFull
from tests.cloud_vision.party_house import PUBLISHED, PX, drive, records_job

CONFIG = SplitConfig(image_px=PX, channels=8, embedding=8, hidden=16, top_hidden=(16,))
KNOBS = SplitKnobs(epochs=2, batch_size=8)


@pytest.fixture
def aligned(house):
    """Versions of both parties' records."""
    return {party: step(house, party, records_job(house, party))["version"] for party in ("org2", "org3")}


@pytest.fixture
def training(house, aligned, tmp_path):
    """Makes training jobs of both parties' features."""
    org2, org3 = house.access("org2"), house.access("org3")
    upload = step(
        house, "org3",
        {"task": "upload", "records": aligned["org3"], "folder": str(house.folder / "org3"), "published": PUBLISHED},
    )  # fmt: skip
    found = exchange(org2, org3, alignment_message(aligned), wire="in_process")
    features = {"task": "features", "common": found["common"], "image_px": PX, "workers": 1, "published": PUBLISHED}
    versions = {
        party: step(house, party, {**features, "records": aligned[party], "upload": upload["version"]})["version"]
        for party in aligned
    }
    splits = np.array(found["splits"])
    rows = {name: np.flatnonzero(splits == name) for name in ("train", "validate", "test", "shifted")}

    def message(name, knobs=KNOBS):
        return training_message(CONFIG, knobs, versions=versions, rows=rows, folder=tmp_path / name)

    return message


def step(house, party, job):
    return STEPS[job["task"]](house.access(party), job)


def test_a_process_is_given_its_own_access_and_nothing_else(house, monkeypatch):
    for party, store in (("ORG2", '{"access_key_id": "two"}'), ("ORG3", '{"access_key_id": "three"}')):
        monkeypatch.setenv(f"MM_{party}_HOME", f"s3://{party.lower()}/home")
        monkeypatch.setenv(f"MM_{party}_STORE", store)
    for name in ("AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "PGPASSWORD", "HTTPS_PROXY", "SOMETHING"):
        monkeypatch.setenv(name, "canary")
    given = _environment(house.access("org2"))
    assert given["MM_ORG2_STORE"] == '{"access_key_id": "two"}'
    assert not [name for name, value in given.items() if "ORG3" in name or "canary" in value or "three" in value]
    assert {name for name in given if name.startswith("MM_")} == {
        "MM_SCRATCH", "MM_ORG2_HOME", "MM_ORG2_DATABASE", "MM_ORG2_STORE"
    }  # fmt: skip


def test_without_keys_of_its_own_it_gets_the_vendors_variables_of_its_own_store(house, monkeypatch):
    monkeypatch.setenv("MM_ORG3_HOME", "s3://org3/home")
    for name in ("AWS_ACCESS_KEY_ID", "AZURE_STORAGE_ACCOUNT_KEY", "GOOGLE_SERVICE_ACCOUNT_KEY"):
        monkeypatch.setenv(name, "given")
    given = _environment(house.access("org3"))
    assert given["AWS_ACCESS_KEY_ID"] == "given"
    assert not [name for name in given if name.startswith(("AZURE", "GOOGLE"))]
    assert not [name for name in _environment(house.access("org2")) if name.startswith(("AWS", "AZURE", "GOOGLE"))]


def test_a_step_in_a_process_of_its_own_is_the_step(house):
    made = run_step(house.access("org2"), records_job(house, "org2"))
    assert made == step(house, "org2", records_job(house, "org2"))


def test_an_expected_error_comes_back_as_itself(house):
    (house.access("org2").scratch).mkdir(parents=True)
    (house.access("org2").scratch / "records.duckdb").write_bytes(b"no database" * 500)
    with pytest.raises(PartyDatabaseError, match="check that it is one") as caught:
        run_step(house.access("org2"), records_job(house, "org2"))
    assert type(caught.value) is PartyDatabaseError and not isinstance(caught.value, DatabaseDenied)


def test_another_error_is_told_by_kind_and_place_without_its_text(house, capfd):
    (house.folder / "org2" / "table.parquet").write_bytes(b"a row of org2")
    with pytest.raises(PartyProcessFailed, match="org2: failed with ArrowInvalid: see the log"):
        run_step(house.access("org2"), records_job(house, "org2"))
    log = capfd.readouterr().err
    assert "party_work.py" in log and "ArrowInvalid" in log
    assert "magic bytes" not in log


FULL_DISK = """#!{python}
import errno, sys
from mm_assets.cloud_vision import party_process
from mm_assets.cloud_vision.party_work import STEPS

def full(access, job):
    raise OSError(errno.ENOSPC, "No space left on device", "a row of org2")

STEPS["records"] = full
sys.argv = sys.argv[-2:]
party_process.main()
"""


def test_a_full_disk_is_told_with_its_mend(house, monkeypatch, tmp_path):
    program = tmp_path / "full_disk"
    program.write_text(FULL_DISK.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setattr(party_process.sys, "executable", str(program))
    with pytest.raises(DiskFull, match=r"no space left .*parties/org2: free some and run again") as caught:
        run_step(house.access("org2"), records_job(house, "org2"))
    assert "a row" not in str(caught.value)


def test_a_killed_process_is_told(house, monkeypatch):
    monkeypatch.setattr(party_process.sys, "executable", "/bin/false")
    with pytest.raises(PartyProcessFailed, match="org2's process ended with status"):
        run_step(house.access("org2"), {"task": "records"})


def test_alignment_and_training_over_http_are_those_in_process_to_the_bit(house, aligned, training, tmp_path):
    org2, org3 = house.access("org2"), house.access("org3")
    found = [exchange(org2, org3, alignment_message(aligned), wire=wire) for wire in ("http", "in_process")]
    assert found[0] == found[1]
    runs = [exchange(org2, org3, training(wire), wire=wire) for wire in ("http", "in_process")]
    assert runs[0] == runs[1]
    http, in_process = (
        {path.name: path.read_bytes() for path in (tmp_path / wire).iterdir()} for wire in ("http", "in_process")
    )
    assert sorted(http) == ["logits.safetensors", "org2.safetensors", "org3.safetensors", "top.safetensors"]
    assert http == in_process


def test_the_parts_make_one_network_equal_to_central_training(house, training, tmp_path):
    job = training("parts")
    exchange(house.access("org2"), house.access("org3"), job, wire="in_process")
    weights = trained_weights(tmp_path / "parts")
    (org2, digest), (org3, _) = (_own_features(house.access(party), job) for party in ("org2", "org3"))
    rows = {name: np.array(found) for name, found in job["rows"].items()}
    with one_thread():
        central = train_central(
            CONFIG, Org2Rows(org2["features"], org2["labels"], digest),
            Org3Rows(org3["pixels"], org3["features"], digest), rows["train"], rows["validate"], KNOBS,
        ).model  # fmt: skip
    build_central(CONFIG, 0).load_state_dict(weights)
    assert all(torch.equal(weights[name], tensor) for name, tensor in central.state_dict().items())


def test_after_an_error_the_answering_party_is_ended_and_has_written_nothing(house, training, tmp_path):
    job = training("broken")
    with pytest.raises(ZeroDivisionError), start_answering(house.access("org3"), job) as (url, token):
        raise ZeroDivisionError
    with pytest.raises(WireDown):
        drive(house.access("org2"), job, url, token)
    assert not (tmp_path / "broken").exists()


def test_a_killed_training_leaves_no_process_and_starts_anew(house, training, tmp_path):
    job = training("killed", SplitKnobs(epochs=100_000, batch_size=8))
    starter = (
        "import json, sys\n"
        "from mm_assets.cloud_vision.parties import party_access\n"
        "from mm_assets.cloud_vision.party_process import exchange\n"
        "from resources.settings import load_settings\n"
        "org2, org3 = (party_access(load_settings(), party) for party in ('org2', 'org3'))\n"
        "exchange(org2, org3, json.load(sys.stdin))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", starter], stdin=subprocess.PIPE, text=True)
    try:
        parent.stdin.write(json.dumps(job))
        parent.stdin.close()
        children = wait_for(lambda: len(children_of(parent.pid)) == 2 and children_of(parent.pid), 60)
        wait_for(lambda: all(map(connected, children)), 60)  # imports are over: the wire is in use
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_for(lambda: not any(alive(pid) for pid in children), 20)
    assert not (tmp_path / "killed").exists()
    done = exchange(house.access("org2"), house.access("org3"), training("killed"), wire="in_process")
    assert len(done["curves"]) == KNOBS.epochs


def wait_for(found, seconds):
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return value


def children_of(pid):
    """Processes of a party below ``pid``; Linux."""
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def connected(pid):
    """Whether a process has an open connection over IPv4; Linux."""
    own = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            own.add(str(file.readlink()))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[3] == "01" and f"socket:[{row[9]}]" in own for row in rows)  # 01: established


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
