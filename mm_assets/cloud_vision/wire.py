"""What crosses between two organisations: named messages of bytes, every one of them counted.

Belongs here: the wire, its counters, messages of tensors as bytes. Does not belong here: HTTP (wire_http.py) and what
the messages mean (psi.py, split_training.py).

The party that drives calls, the other one answers: a message has a ``kind`` such as ``train/forward`` and a payload,
and so has its reply. Nothing else of a party is reachable from the other.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resources.errors import MendableError

if TYPE_CHECKING:
    import torch

Handler = Callable[[str, bytes], bytes]  # kind, payload -> reply
DATA = "data"  # key of a message's header that holds its plain values


class WireError(MendableError):
    """A message could not be carried, read or answered."""


@dataclass(frozen=True)
class Carried:
    """One message or reply on its way."""

    sender: str
    receiver: str
    kind: str
    payload: bytes


Tap = Callable[[Carried], None]


@dataclass(frozen=True)
class Count:
    """Messages in one direction of one kind, and the bytes of their payloads."""

    sender: str
    receiver: str
    kind: str
    messages: int
    bytes: int


class Wire(ABC):
    """The caller's end. ``tap`` sees everything that is carried, for audits; it must not change anything."""

    def __init__(self, here: str, there: str, *, tap: Tap | None = None) -> None:
        self.here, self.there = here, there
        self._tap = tap
        self._counts: dict[tuple[str, str, str], tuple[int, int]] = {}

    def call(self, kind: str, payload: bytes = b"") -> bytes:
        """Send a message and return its reply. Raises WireError, and the other party's own mendable errors."""
        self._note(self.here, self.there, kind, payload)
        reply = self._carry(kind, payload)
        self._note(self.there, self.here, kind, reply)
        return reply

    @property
    def counts(self) -> tuple[Count, ...]:
        """What was carried so far, per direction and kind."""
        return tuple(Count(*key, *count) for key, count in sorted(self._counts.items()))

    def bytes_carried(self, *kinds: str) -> int:
        """Bytes in both directions; of the kinds named, or of all."""
        return sum(size for (_, _, kind), (_, size) in self._counts.items() if not kinds or kind in kinds)

    @abstractmethod
    def _carry(self, kind: str, payload: bytes) -> bytes: ...

    def _note(self, sender: str, receiver: str, kind: str, payload: bytes) -> None:
        messages, size = self._counts.get((sender, receiver, kind), (0, 0))
        self._counts[sender, receiver, kind] = (messages + 1, size + len(payload))
        if self._tap is not None:
            self._tap(Carried(sender, receiver, kind, payload))


class InProcessWire(Wire):
    """Both parties in one process; what crosses is bytes all the same."""

    def __init__(self, handler: Handler, here: str, there: str, *, tap: Tap | None = None) -> None:
        super().__init__(here, there, tap=tap)
        self._handler = handler

    def _carry(self, kind: str, payload: bytes) -> bytes:
        return self._handler(kind, payload)


def routed(handlers: Mapping[str, Handler]) -> Handler:
    """One handler for several subjects, chosen by what stands before the slash of a message's kind."""

    def handle(kind: str, payload: bytes) -> bytes:
        subject = kind.partition("/")[0]
        if subject not in handlers:
            raise unknown_kind(kind)
        return handlers[subject](kind, payload)

    return handle


def unknown_kind(kind: str) -> WireError:
    """The answer to a message that a party does not know."""
    return WireError(f"this party does not answer {kind!r}: run the same version of the software on both sides")


def unreadable(error: Exception | None = None) -> WireError:
    """What to raise for a message of another form; its content is not told."""
    kind = f" ({type(error).__name__})" if error else ""
    return WireError(f"a message cannot be read{kind}: run the same version of the software on both sides")


def pack(tensors: "Mapping[str, torch.Tensor]", **values: Any) -> bytes:
    """Tensors and plain values as safetensors bytes: numbers and shapes, never code."""
    from safetensors.torch import save

    return save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, _header(values))


def unpack(payload: bytes) -> "tuple[dict[str, torch.Tensor], dict[str, Any]]":
    """Tensors and values of ``pack``. Raises WireError for anything else."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(payload), _values(payload)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise unreadable(error) from error


def pack_values(values: Mapping[str, Any]) -> bytes:
    """Plain values as JSON bytes."""
    return json.dumps(dict(values), sort_keys=True).encode()


def unpack_values(payload: bytes) -> dict[str, Any]:
    """Values of ``pack_values``. Raises WireError for anything else."""
    try:
        values = json.loads(payload)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise unreadable()
    return values


def _header(values: Mapping[str, Any]) -> dict[str, str]:
    return {DATA: json.dumps(dict(values), sort_keys=True)}


def _values(payload: bytes) -> dict[str, Any]:
    # The format is public and stable: eight bytes of length, then a JSON header; the library shows it of files only.
    size = int.from_bytes(payload[:8], "little")
    return dict(json.loads(json.loads(payload[8 : 8 + size])["__metadata__"][DATA]))
