"""Chromium and a server of our own, for the tests that look at the page.

Belongs here: starting both, and what a visit records. Does not belong here: what the page must show.
"""

import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
REPOSITORY = Path(__file__).resolve().parents[2]
WAIT_MS = 30_000
START_S = 120


@dataclass
class Visit:
    """A page and every request it made."""

    page: Page
    base: str
    shots: Path
    requests: list[str] = field(default_factory=list)
    console_errors: list[str] = field(default_factory=list)

    def shot(self, name: str) -> None:
        self.page.screenshot(path=self.shots / f"{name}.png", full_page=True)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Headless Chromium. Without it the test is skipped; in CI, which installs it, the test fails."""
    if not CHROMIUM.exists():
        mend = "needs Chromium: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(mend)
        pytest.skip(mend)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=str(CHROMIUM),
            args=[
                "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update", "--disable-sync",
                # Any other name is unknown here, so the page must do without the network on every machine.
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ],
        )  # fmt: skip
        yield started
        started.close()


@contextmanager
def visiting(browser: Browser, base: str, shots: Path) -> Iterator[Visit]:
    """The page in a fresh context, ready to be used; screenshots go to `shots`, or to MM_TEST_SHOTS."""
    context = browser.new_context(viewport={"width": 1360, "height": 900})
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    expect.set_options(timeout=WAIT_MS)
    seen = Visit(page, base, Path(os.environ.get("MM_TEST_SHOTS", str(shots))))
    page.on("request", lambda request: seen.requests.append(request.url))
    page.on(
        "console",
        lambda message: seen.console_errors.append(message.text) if message.type == "error" else None,
    )
    page.goto(f"{base}/")
    expect(page.get_by_role("button", name="Read", exact=True)).to_be_visible()
    yield seen
    context.close()


def outside(visit: Visit) -> list[str]:
    """Requests that left the machine."""
    return [url for url in visit.requests if urlsplit(url).scheme in ("http", "https", "ws", "wss")
            and urlsplit(url).hostname != "127.0.0.1"]  # fmt: skip


@contextmanager
def serving(command: Sequence[str], port: int, environment: dict[str, str], log: Path) -> Iterator[str]:
    """The server that `command` starts on `port`, from the moment it serves a model; its address."""
    with log.open("w") as out:
        server = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=out, stderr=out)
    base = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_S
        while True:
            try:
                with urllib.request.urlopen(f"{base}/readyz", timeout=2):
                    break
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"the server did not start: {log.read_text()[-2000:]}")
                time.sleep(0.2)
        yield base
    finally:
        server.terminate()
        server.wait(timeout=20)
