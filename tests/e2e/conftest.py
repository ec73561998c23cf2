"""One small demo, run once through the real command line; the tests of this folder look at what it left."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from tests.e2e.browsing import START_S, chromium, serving

REPOSITORY = Path(__file__).resolve().parents[2]
# So few that the release is not judged: a warning says so.
LIMIT = 60


def free_port() -> int:
    """A port of the loopback address that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class House:
    """A folder with its own artifacts, scratch and Dagster history, and `mm` inside it."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "mm"

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MM_", "DAGSTER_"))}
        return {
            **kept,
            "MM_HOME": str(self.home),
            "MM_SCRATCH": str(self.root / "scratch"),
            "DAGSTER_HOME": str(self.root / "dagster"),
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "ui.cli", *arguments]

    def mm(self, *arguments: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*arguments), cwd=REPOSITORY, env={**self.environment(), **environment},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"mm {' '.join(arguments)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def status(self, wing: str) -> dict[str, Any]:
        return json.loads(self.mm("status", "--json").stdout)["wings"][wing]["assets"]

    def versions(self, asset: str) -> dict[str, str]:
        """Current versions of `wing/asset`: of every partition, or of the one there is; empty when nothing is."""
        found = self.home / asset
        return {
            str(path.relative_to(found)): json.loads(path.read_text())["version"]
            for path in sorted(found.rglob("current.json"))
        }

    def folder(self, asset: str) -> Path:
        """Files of the current version of `wing/asset`."""
        return self.home / asset / self.versions(asset)["current.json"]

    def copy_of(self, to: Path, assets: Iterable[str]) -> "House":
        """A house that holds these assets (`wing/asset`) of this one and nothing else."""
        copy = House(to)
        for asset in assets:
            shutil.copytree(self.home / asset, copy.home / asset)
        return copy


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    made = House(tmp_path_factory.mktemp("house"))
    made.mm("demo", "--limit", str(LIMIT))
    return made


@pytest.fixture(scope="session")
def served(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of `mm serve` on the small demo."""
    port = free_port()
    command = house.command("serve", "--port", str(port))
    with serving(command, port, house.environment(), tmp_path_factory.mktemp("serve") / "server.log") as base:
        wait_for_every_wing(base)
        yield base


def wait_for_every_wing(base: str) -> None:
    """The server is ready with its first model; a test may ask any wing."""
    deadline = time.monotonic() + START_S
    while any(wing["loading"] for wing in httpx.get(f"{base}/readyz", timeout=10).json()["wings"].values()):
        assert time.monotonic() < deadline, "a wing is still loading"
        time.sleep(0.2)


@contextmanager
def serving_module(module: str, folder: Path) -> Iterator[str]:
    """`python -m module PORT FOLDER` while it serves a model; uploads and the log lie in ``folder``."""
    port = free_port()
    environment = {**os.environ, "GRADIO_TEMP_DIR": str(folder / "uploads"), "GRADIO_ANALYTICS_ENABLED": "False"}
    with serving(
        [sys.executable, "-m", module, str(port), str(folder)], port, environment, folder / "server.log"
    ) as at:
        yield at


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started
