"""Servers beside the tests: started on a free port of this machine, waited for, ended; and what a missing one means.

Belongs here: processes, threads with an event loop, ports. Does not belong here: what the servers speak.
"""

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

START_SECONDS = 60


def missing(reason: str) -> NoReturn:
    """What a test needs is not on this machine: elsewhere that skips it, in CI it is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (a server may not be missing in CI)")
    pytest.skip(reason)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server_process(
    command: Sequence[str], port: int, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server that listens on ``port`` of the loopback address while the block runs; it writes to ``log``."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(command), stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}
        )
        try:
            _wait_for(port, process, log)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"the server did not start: {log.read_text(errors='replace')[-2000:]}")


@contextmanager
def served_here(start: Callable[[], Awaitable[Callable[[], Awaitable[Any]]]]) -> Iterator[None]:
    """Runs an asyncio server in a thread: ``start`` begins to listen and returns what ends it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    stop = asyncio.run_coroutine_threadsafe(_awaited(start()), loop).result(START_SECONDS)
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(_awaited(stop()), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def python_command(module: str, *arguments: str) -> list[str]:
    """``python -m module arguments`` with the tests' own interpreter."""
    return [sys.executable, "-m", module, *arguments]
