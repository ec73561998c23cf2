"""One party in a process of its own, which holds that party's credentials and nothing of the other.

Belongs here: starting, ending and talking to such processes. Does not belong here: what a party does in one
(party_work.py, party_alignment.py, party_training.py).

``python -m mm_assets.cloud_vision.party_process org2|org3`` reads its credentials from the environment and one line of
JSON from standard input: ``{"role": "step"|"answer"|"drive", "job": {...}, "token": ...}``. It writes lines of JSON to
standard output: one that answers writes its address, then waits for the line ``end``; one that drives waits for the
line ``{"url": ..., "token": ...}``; every role's last line is ``{"result": {...}}`` or ``{"error": {...}}``. When
standard input ends, whoever started it is gone, and it ends at once. Its log, on standard error, tells of errors their
kind and place, not their text, which may hold a row.
"""

import importlib
import json
import logging
import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NoReturn, TextIO

from mm_assets.cloud_vision.parties import PartyAccess, party_access
from mm_assets.cloud_vision.schema import IMAGE_HOLDER, LABEL_HOLDER, ORGANISATIONS
from resources.errors import MendableError
from resources.objects import space_for
from resources.settings import load_settings

log = logging.getLogger(__name__)

WireKind = Literal["http", "in_process"]
Job = Mapping[str, Any]  # plain values of JSON; "task" names it
Lines = queue.SimpleQueue[str]

# What a program needs to run at all; nothing of these is a credential.
_NEEDED = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)  # fmt: skip
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_ROOT = Path(__file__).parents[2]
_END = "end"
_ORPHANED = 3
_END_SECONDS = 10
_OWN_MODULES = ("mm_assets.", "resources.")


class PartyProcessFailed(MendableError):
    """A party's process ended without a result."""


def run_step(access: PartyAccess, job: Job) -> dict[str, Any]:
    """A step of one party alone (``party_work.STEPS``). Raises the step's own MendableError, PartyProcessFailed."""
    with _started(access, {"role": "step", "job": dict(job)}) as process:
        return dict(_received(process, access)["result"])


@contextmanager
def start_answering(access: PartyAccess, job: Job) -> Iterator[tuple[str, str]]:
    """The image holder's process answers messages of ``job`` while the block runs: (url, token) to reach it.

    Leaving the block in peace lets it finish (after a training it then writes its part of the network); an exception
    ends it and nothing is written. ``job`` is ``alignment_message``'s or ``training_message``'s, the
    same that the other is given. Raises what the party raises, PartyProcessFailed.
    """
    token = secrets.token_urlsafe(32)
    with _started(access, {"role": "answer", "job": dict(job), "token": token}) as process:
        yield str(_received(process, access)["url"]), token
        _send(process, _END)
        _received(process, access)


def exchange(org2: PartyAccess, org3: PartyAccess, job: Job, *, wire: WireKind = "http") -> dict[str, Any]:
    """Both parties do ``job`` with each other: over HTTP between two processes, or ``in_process``, where this one
    holds the credentials of both. Raises what they raise, PartyProcessFailed."""
    if wire == "http":
        # Both start at once: their imports take seconds.
        with _started(org2, {"role": "drive", "job": dict(job)}) as driving, start_answering(org3, job) as address:
            return _driven_to(driving, org2, *address)
    from mm_assets.cloud_vision.party_exchange import answering, driven
    from mm_assets.cloud_vision.wire import InProcessWire

    answer = answering(org3, job)
    result = driven(org2, job, InProcessWire(answer.handle, LABEL_HOLDER, IMAGE_HOLDER))
    answer.finish()
    return result


@contextmanager
def _started(access: PartyAccess, message: Mapping[str, Any]) -> "Iterator[subprocess.Popen[str]]":
    """The party's process with ``message`` on its standard input; ended on leaving, whatever it does."""
    access.make_scratch()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "mm_assets.cloud_vision.party_process", access.party],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=access.scratch, env=_environment(access),
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    try:
        _send(process, json.dumps(message))
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        with suppress(BrokenPipeError):  # what it did not read any more
            process.stdin.close()


def _environment(access: PartyAccess) -> dict[str, str]:
    """What runs a program, the party's own places and credentials; where it was given none of its own, the variables
    of the vendors whose stores it uses, which are then those of whoever runs this."""
    kept = {name: os.environ[name] for name in _NEEDED if name in os.environ}
    kept |= {name: value for name, value in os.environ.items() if name.startswith(access.borrowed)}
    paths = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**kept, **_ONE_THREAD, "PYTHONPATH": paths, **access.environment()}


def _send(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it has ended: what it told before is read next
        process.stdin.write(f"{line}\n")
        process.stdin.flush()


def _driven_to(process: "subprocess.Popen[str]", access: PartyAccess, url: str, token: str) -> dict[str, Any]:
    _send(process, json.dumps({"url": url, "token": token}))
    return dict(_received(process, access)["result"])


def _received(process: "subprocess.Popen[str]", access: PartyAccess) -> dict[str, Any]:
    """Its next line. Raises the MendableError that it tells."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise _ended(process, access)
    message: dict[str, Any] = json.loads(line)
    if "error" in message:
        raise _rebuilt(message["error"], access)
    return message


def _ended(process: "subprocess.Popen[str]", access: PartyAccess) -> PartyProcessFailed:
    status = process.wait(_END_SECONDS)
    return PartyProcessFailed(f"{access.party}'s process ended with status {status}: see its log and run this again")


def _rebuilt(error: Mapping[str, str], access: PartyAccess) -> MendableError:
    """The party's own error; in its words alone where it is of no kind that is known here."""
    module, _, name = error["kind"].rpartition(".")
    if module.startswith(_OWN_MODULES):
        kind = getattr(importlib.import_module(module), name, None)
        if isinstance(kind, type) and issubclass(kind, MendableError):
            try:
                return kind(error["message"])
            except TypeError:  # it is made of something else than its message
                pass
    return PartyProcessFailed(f"{access.party}: {error['message']}")


# In the party's process


def main() -> None:
    """See the module's docstring."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal: the first one ends us
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else prints does not spoil the answers
    handler = logging.StreamHandler()
    handler.setFormatter(_WithoutValues(f"{sys.argv[1]}: %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    try:
        party = next(name for name in ORGANISATIONS if name == sys.argv[1])
        access = party_access(load_settings(), party)
        access.make_scratch()
        lines = _lines_of_starter()
        message = json.loads(lines.get())
        with space_for(access.scratch):
            result = _ROLES[message["role"]](access, message, told, lines)
    except MendableError as error:
        kind = type(error)
        _tell(told, {"error": {"kind": f"{kind.__module__}.{kind.__qualname__}", "message": str(error)}})
    except Exception as error:
        log.exception("the step failed")
        words = f"failed with {type(error).__name__}: see the log of its process"
        _tell(told, {"error": {"kind": "", "message": words}})
    else:
        _tell(told, {"result": result})


def _step(access: PartyAccess, message: Mapping[str, Any], told: TextIO, lines: Lines) -> dict[str, Any]:
    from mm_assets.cloud_vision.party_work import STEPS

    return STEPS[message["job"]["task"]](access, message["job"])


def _answer(access: PartyAccess, message: Mapping[str, Any], told: TextIO, lines: Lines) -> dict[str, Any]:
    from mm_assets.cloud_vision.party_exchange import answering
    from mm_assets.cloud_vision.wire_http import served

    answer = answering(access, message["job"])
    with served(answer.handle, message["token"]) as server:
        _tell(told, {"url": server.url})
        lines.get()  # the end
    answer.finish()
    return {}


def _drive(access: PartyAccess, message: Mapping[str, Any], told: TextIO, lines: Lines) -> dict[str, Any]:
    from mm_assets.cloud_vision.party_exchange import driven, prepare
    from mm_assets.cloud_vision.wire_http import HttpWire

    prepare(message["job"])
    other = json.loads(lines.get())
    wire = HttpWire(other["url"], other["token"], LABEL_HOLDER, IMAGE_HOLDER)
    try:
        return driven(access, message["job"], wire)
    finally:
        wire.close()


_ROLES = {"step": _step, "answer": _answer, "drive": _drive}


def _lines_of_starter() -> Lines:
    lines: Lines = queue.SimpleQueue()

    def listen() -> NoReturn:
        for line in sys.stdin:
            lines.put(line)
        os._exit(_ORPHANED)

    threading.Thread(target=listen, name="starter", daemon=True).start()
    return lines


def _tell(told: TextIO, message: Mapping[str, Any]) -> None:
    told.write(json.dumps(message) + "\n")
    told.flush()


class _WithoutValues(logging.Formatter):
    """An error's text may repeat a value of a row: its kind and place are enough to find the fault."""

    def formatException(self, ei: Any) -> str:
        kind, _, trace = ei
        assert isinstance(trace, TracebackType)
        return "".join([*traceback.format_tb(trace), kind.__name__])


if __name__ == "__main__":
    main()
