"""`dagster dev` and `dg dev` start clean from the repository and materialise a partition as the page does."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import REPOSITORY, House, free_port

BIN = Path(sys.executable).parent
LOCATION_ERROR = """
{ workspaceLocationEntryOrError(name: "mm") { ... on WorkspaceLocationEntry { locationOrLoadError { __typename } } } }
"""
LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
RUN = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


def ask(url: str, query: str, **variables: Any) -> dict[str, Any]:
    answer = httpx.post(f"{url}/graphql", json={"query": query, "variables": variables}, timeout=60).json()
    assert "errors" not in answer, answer
    return answer["data"]


@contextmanager
def page(house: House, log: Path, *command: str) -> Iterator[str]:
    """The Dagster page on a free port; stopped with SIGINT, as a person would."""
    port = free_port()
    with log.open("w") as out:
        process = subprocess.Popen(
            [str(BIN / command[0]), *command[1:], "-p", str(port)], cwd=REPOSITORY, env=house.environment(),
            stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            # A process started from a non-interactive shell inherits an ignored SIGINT and would never stop.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 180
        while True:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
            try:
                if ask(url, LOCATION_ERROR)["workspaceLocationEntryOrError"].get("locationOrLoadError"):
                    break
            except (httpx.TransportError, ValueError):
                pass
            time.sleep(0.5)
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.mark.server
@pytest.mark.parametrize("command", [("dagster", "dev", "-w", "workspace.yaml"), ("dg", "dev")])
def test_starts_clean(house: House, tmp_path: Path, command: tuple[str, ...]) -> None:
    log = tmp_path / "log"
    with page(house, log, *command) as url:
        loaded = ask(url, LOCATION_ERROR)["workspaceLocationEntryOrError"]["locationOrLoadError"]
        assert loaded["__typename"] == "RepositoryLocation"
        if command[0] == "dagster":
            materialise_a_partition(url, house)
    assert "Traceback" not in log.read_text()


def materialise_a_partition(url: str, house: House) -> None:
    """What the page sends for one partition of phase 1; the run ends and the partition is published anew."""
    pointer = house.home / "mimic" / "phase1" / "p12" / "current.json"
    before = pointer.read_bytes()
    launched = ask(
        url,
        LAUNCH,
        params={
            "selector": {
                "repositoryLocationName": "mm", "repositoryName": "__repository__", "pipelineName": "__ASSET_JOB",
                "assetSelection": [{"path": ["mimic", "phase1"]}], "assetCheckSelection": None,
            },
            "mode": "default",
            "runConfigData": {},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": "p12"}]},
        },
    )["launchPipelineExecution"]  # fmt: skip
    assert launched["__typename"] == "LaunchRunSuccess", launched
    deadline = time.monotonic() + 240
    while (status := ask(url, RUN, id=launched["run"]["runId"])["runOrError"]["status"]) not in ("SUCCESS", "FAILURE"):
        assert time.monotonic() < deadline, status
        time.sleep(1)
    assert status == "SUCCESS"
    assert pointer.read_bytes() != before
