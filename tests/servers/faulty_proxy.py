"""A proxy that spoils requests on their way to a store, and counts what reached it.

Belongs here: 503, 429, connection reset, lost acknowledgement, a body cut off and a body that stalls, by plan.
Does not belong here: what the store does. Requests pass byte for byte (signatures stay valid); their bodies must have
a Content-Length, as an object store's client sends them.
"""

import asyncio
import hashlib
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from tests.servers.processes import served_here

Fault = Literal["503", "429", "reset", "lost ack", "cut body", "stalled body"]
# (method, path without its query, number of this call to that path from 0) -> what goes wrong
Plan = Callable[[str, str, int], Fault | None]

_REPLIES = {
    "503": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "429": b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
}
_STALL_SECONDS = 60


def no_fault(method: str, path: str, call: int) -> Fault | None:
    return None


def first_calls(share: float, faults: tuple[Fault, ...], method: str = "PUT") -> Plan:
    """Spoils the first call to a ``share`` of the paths, each of the faults equally often; always the same ones."""

    def plan(called: str, path: str, call: int) -> Fault | None:
        if called != method or call > 0:
            return None
        digest = hashlib.sha256(path.encode()).digest()
        if int.from_bytes(digest[:4], "big") / 2**32 >= share:
            return None
        return faults[digest[4] % len(faults)]

    return plan


class FaultyProxy:
    """Set ``plan`` between requests. ``called`` counts what came by (method, path), ``reached`` what the store got."""

    def __init__(self, backend_port: int) -> None:
        self.plan: Plan = no_fault
        self.called: Counter[tuple[str, str]] = Counter()
        self.reached: Counter[tuple[str, str]] = Counter()
        self.injected: Counter[str] = Counter()
        self.port = 0
        self._backend_port = backend_port
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def forget(self) -> None:
        """Back to no faults and no counts."""
        with self._lock:
            self.plan = no_fault
            for counts in (self.called, self.reached, self.injected):
                counts.clear()

    def count(self, method: str) -> int:
        """Requests of a method that the store got."""
        with self._lock:
            return sum(count for (called, _), count in self.reached.items() if called == method)

    async def start(self) -> Callable[[], Awaitable[Any]]:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]

        async def stop() -> None:
            server.close()
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task():
                    task.cancel()

        return stop

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._request(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of a connection, which then ends: pooled connections would only hide a reset."""
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ")
        fields = [line for line in lines if not line.lower().startswith(("connection:", "expect:"))]
        lengths = [line.partition(":")[2] for line in fields if line.lower().startswith("content-length:")]
        if any(line.lower().startswith("expect:") for line in lines):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(int(lengths[0]) if lengths else 0)
        what = (method, target.partition("?")[0])
        with self._lock:
            fault = self.plan(*what, self.called[what])
            self.called[what] += 1
            if fault:
                self.injected[fault] += 1
        if fault in _REPLIES:
            writer.write(_REPLIES[fault])
            await writer.drain()
            return
        if fault == "reset":
            writer.transport.abort()
            return
        passed = "\r\n".join([first, *fields, "Connection: close", "", ""]).encode("latin-1") + body
        backend_reader, backend_writer = await asyncio.open_connection("127.0.0.1", self._backend_port)
        try:
            backend_writer.write(passed)
            reply = await _whole_reply(backend_reader, method)
        finally:
            backend_writer.close()
        with self._lock:
            self.reached[what] += 1
        if fault == "lost ack":
            writer.transport.abort()
            return
        if fault in ("cut body", "stalled body"):
            start, _, content = reply.partition(b"\r\n\r\n")
            writer.write(start + b"\r\n\r\n" + content[: len(content) // 2])
            await writer.drain()
            if fault == "stalled body":
                await asyncio.sleep(_STALL_SECONDS)
            writer.transport.abort()
            return
        writer.write(reply)
        await writer.drain()


async def _whole_reply(reader: asyncio.StreamReader, method: str) -> bytes:
    """Up to its Content-Length: some servers keep a connection open that should be closed."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    if method == "HEAD" or status in (204, 304):
        return _closing(head)
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return _closing(head) + await reader.readexactly(int(line.partition(b":")[2]))
    return _closing(head) + await reader.read()


def _closing(head: bytes) -> bytes:
    kept = [
        line for line in head.split(b"\r\n") if line and not line.lower().startswith((b"connection:", b"keep-alive:"))
    ]
    return b"\r\n".join([*kept, b"Connection: close", b"", b""])


@contextmanager
def faulty_proxy(backend_port: int) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(backend_port)
    with served_here(proxy.start):
        yield proxy
