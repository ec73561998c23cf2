"""The wire between two processes: a message is one POST.

Belongs here: serving a party's answers over HTTP and calling them. Does not belong here: what the messages hold.

Both ends share a token, without which nothing is answered. A message is never sent twice, since a training step must
not be taken twice: a connection that breaks is an error. Beyond one machine put it behind TLS.
"""

import hmac
import http.client
import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from mm_assets.cloud_vision.wire import Handler, Tap, Wire, WireError
from resources.errors import MendableError

log = logging.getLogger(__name__)

PREFIX = "/wire/"
BINARY, ERROR = "application/octet-stream", "application/json"
MOST_BYTES = 1 << 30  # of one message: more is a mistake or an attack
TIMEOUT_SECONDS = 300.0
_POLL_SECONDS = 0.05
_DRAINED_BYTES = 8 << 20  # of a refused message: a sender that is cut off may never read why


class WireDown(WireError):
    """The other party cannot be reached, or went away."""


class WireServer(ThreadingHTTPServer):
    """Answers messages of the party that knows the token, one at a time. Port 0 takes a free one."""

    daemon_threads = True

    def __init__(self, handler: Handler, token: str, *, host: str = "127.0.0.1", port: int = 0) -> None:
        if not token:
            raise WireError("a wire over HTTP needs a token: give both parties the same secret")
        self.wire_handler, self.token = handler, token
        self.one_at_a_time = threading.Lock()
        super().__init__((host, port), _Request)

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"


class HttpWire(Wire):
    """The caller's end. ``url`` is the server's; one connection is kept open."""

    def __init__(
        self, url: str, token: str, here: str, there: str, *, tap: Tap | None = None, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        super().__init__(here, there, tap=tap)
        parts = urlsplit(url)
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        if parts.scheme not in kinds or not parts.hostname:
            raise WireError(f"the other party's address has to be http://host:port, not one of scheme {parts.scheme!r}")
        self._connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=timeout)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": BINARY}

    def close(self) -> None:
        self._connection.close()

    def _carry(self, kind: str, payload: bytes) -> bytes:
        try:
            if self._connection.sock is None:
                self._connection.connect()
                # Small messages would wait for an acknowledgement, 40 ms each.
                sock: socket.socket = self._connection.sock  # type: ignore[assignment]
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connection.request("POST", PREFIX + quote(kind), payload, self._headers)
            response = self._connection.getresponse()
            reply = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise WireDown(
                f"{self.there} did not answer {kind!r} ({type(error).__name__}): start its process and begin again"
            ) from error
        if response.status == 200:
            return reply
        raise WireError(_told(reply) or f"{self.there} answered {kind!r} with status {response.status}")


@contextmanager
def served(handler: Handler, token: str, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[WireServer]:
    """A server in a thread of this process, closed on leaving."""
    server = WireServer(handler, token, host=host, port=port)
    thread = threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), name="wire", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Request(BaseHTTPRequestHandler):
    server: WireServer
    protocol_version = "HTTP/1.1"  # keeps the connection
    timeout = TIMEOUT_SECONDS
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        text = self.headers.get("Content-Length", "")
        size = int(text) if text.isdecimal() and text.isascii() else -1
        if not hmac.compare_digest(self.headers.get("Authorization", "").encode(), self._expected):
            self.rfile.read(min(max(size, 0), _DRAINED_BYTES))
            return self._refuse(401, "the other party does not know this token: give both the same one")
        if not 0 <= size <= MOST_BYTES:
            return self._refuse(413, f"a message has to say its length, at most {MOST_BYTES} bytes")
        payload = self.rfile.read(size)
        if not self.path.startswith(PREFIX):
            return self._answer(404, ERROR, _tell(f"messages go to {PREFIX}"))
        try:
            with self.server.one_at_a_time:
                reply = self.server.wire_handler(unquote(self.path.removeprefix(PREFIX)), payload)
        except MendableError as error:
            return self._answer(422, ERROR, _tell(str(error)))
        except Exception as error:
            # Its text may hold this party's data: the log is the party's own, the reply is not.
            log.exception("a message could not be answered")
            return self._answer(500, ERROR, _tell(f"the other party failed with {type(error).__name__}: see its log"))
        self._answer(200, BINARY, reply)

    @property
    def _expected(self) -> bytes:
        return f"Bearer {self.server.token}".encode()

    def _refuse(self, status: int, reason: str) -> None:
        """Answer without having read the whole body, so that the connection cannot be used further."""
        self.close_connection = True
        self._answer(status, ERROR, _tell(reason))

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)


def _tell(reason: str) -> bytes:
    return json.dumps({"error": reason}).encode()


def _told(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return ""
