"""`dagster dev` and `dg dev` start clean from the repository; on the page a partition is materialised by its button."""

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
from playwright.sync_api import Browser

from tests.e2e.conftest import REPOSITORY, House, free_port

BIN = Path(sys.executable).parent
LOCATION_ERROR = """
{ workspaceLocationEntryOrError(name: "mm") { ... on WorkspaceLocationEntry { locationOrLoadError { __typename } } } }
"""
ENDED = ("SUCCESS", "FAILURE", "CANCELED")
RUNS = "{ runsOrError { ... on Runs { results { runId status tags { key value } } } } }"


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
@pytest.mark.browser
@pytest.mark.parametrize("command", [("dagster", "dev", "-w", "workspace.yaml"), ("dg", "dev")])
def test_starts_clean(house: House, browser: Browser, tmp_path: Path, command: tuple[str, ...]) -> None:
    log = tmp_path / "log"
    with page(house, log, *command) as url:
        loaded = ask(url, LOCATION_ERROR)["workspaceLocationEntryOrError"]["locationOrLoadError"]
        assert loaded["__typename"] == "RepositoryLocation"
        if command[0] == "dagster":
            materialise_a_partition(url, browser, house)
    assert "Traceback" not in log.read_text()


def materialise_a_partition(url: str, browser: Browser, house: House) -> None:
    """Choose one directory of phase 1 in the page's dialog and press Launch: the run ends, the partition is new."""
    pointer = house.home / "mimic" / "phase1" / "p12" / "current.json"
    before, earlier = pointer.read_bytes(), {run["runId"] for run in runs(url)}
    visit = browser.new_page(viewport={"width": 1400, "height": 1000})
    visit.goto(f"{url}/assets/mimic/phase1?view=overview")
    materialize = visit.get_by_role("button", name="Materialize…")
    materialize.wait_for(timeout=60_000)
    # A first visit is greeted with a dialog that lies over the page.
    visit.add_locator_handler(visit.get_by_role("button", name="Skip"), lambda skip: skip.first.click())
    materialize.click()
    visit.get_by_text("Select a partition or create one").click()
    visit.get_by_text("p12", exact=True).filter(visible=True).last.click()  # the first may be on the page below
    visit.keyboard.press("Escape")
    visit.get_by_role("button", name="Launch 1 run").click()
    deadline = time.monotonic() + 240
    while not (ended := [run for run in runs(url) if run["runId"] not in earlier and run["status"] in ENDED]):
        assert time.monotonic() < deadline, runs(url)
        time.sleep(1)
    visit.close()
    assert [run["status"] for run in ended] == ["SUCCESS"]
    assert {"key": "dagster/partition", "value": "p12"} in ended[0]["tags"]
    assert pointer.read_bytes() != before


def runs(url: str) -> list[dict[str, Any]]:
    """Every run of the instance."""
    return ask(url, RUNS)["runsOrError"]["results"]
