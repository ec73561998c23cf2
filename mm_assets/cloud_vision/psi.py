"""Private set intersection: which ids both parties have, while neither shows the others.

Belongs here: the exchange, as two parties with messages between them. Does not belong here: spelling of ids and rows
(ids.py).

The party that calls learns the intersection and tells it to the other, which owns every id in it. What leaks by
design: the size of each set. Ids from a small domain (running numbers) can be tried one by one by a party that asks
for ids it does not have, so the answering party answers one request per alignment, with a key of its own.
"""

from collections.abc import Callable, Sequence
from typing import Any

from mm_assets.cloud_vision.ids import ids_digest
from mm_assets.cloud_vision.wire import Wire, pack_values, unknown_kind, unpack_values, unreadable
from resources.errors import MendableError

SETUP, REQUEST, RESULT = "psi/setup", "psi/request", "psi/result"
# No false positives: exact points instead of a filter (GCS, Bloom), which would join rows of two persons.
_FALSE_POSITIVES = 0.0


class EmptyIntersection(MendableError):
    """No id is held by both parties."""


class PsiFailed(MendableError):
    """The exchange broke its own rules."""


class PsiAnswer:
    """The answering party's side: a handler of ``psi/...`` messages, for one alignment after another."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = _checked(ids)
        self._server: Any = None
        self.intersection: tuple[str, ...] | None = None  # sorted, known when the exchange is over

    def handle(self, kind: str, payload: bytes) -> bytes:
        steps: dict[str, Callable[[bytes], bytes]] = {SETUP: self._setup, REQUEST: self._request, RESULT: self._result}
        if kind not in steps:
            raise unknown_kind(kind)
        return steps[kind](payload)

    def _setup(self, payload: bytes) -> bytes:
        psi = _library()
        count = unpack_values(payload).get("count")
        if not isinstance(count, int) or count < 1:
            raise PsiFailed("the other party has no ids to compare: check its table")
        self.intersection = None
        self._server = psi.server.CreateWithNewKey(True)
        setup = self._server.CreateSetupMessage(_FALSE_POSITIVES, count, list(self._ids), psi.DataStructure.RAW)
        return bytes(setup.SerializeToString())

    def _request(self, payload: bytes) -> bytes:
        if self._server is None:
            raise PsiFailed("one alignment answers one request: begin a new alignment")
        # The key is gone after one request: a second one could try further ids under it.
        server, self._server = self._server, None
        return bytes(server.ProcessRequest(_parsed(_library().Request, payload)).SerializeToString())

    def _result(self, payload: bytes) -> bytes:
        common = unpack_values(payload).get("ids")
        if not isinstance(common, list) or not set(map(str, common)) <= set(self._ids) or common != sorted(set(common)):
            raise PsiFailed("the common ids are not sorted ids of this party: begin a new alignment")
        self.intersection = tuple(common)
        return pack_values({"digest": ids_digest(self.intersection)})


def find_intersection(ids: Sequence[str], wire: Wire) -> tuple[str, ...]:
    """The ids both parties have, sorted; the other party (``PsiAnswer``) knows them too when this returns.

    ``ids`` are normalised and distinct. Raises EmptyIntersection, PsiFailed, WireError.
    """
    psi = _library()
    own = _checked(ids)
    client = psi.client.CreateWithNewKey(True)  # a new key each time: an old one would link two alignments
    setup = _parsed(psi.ServerSetup, wire.call(SETUP, pack_values({"count": len(own)})))
    response = _parsed(psi.Response, wire.call(REQUEST, bytes(client.CreateRequest(list(own)).SerializeToString())))
    # Positions come in arbitrary order.
    common = tuple(own[i] for i in sorted(client.GetIntersection(setup, response)))
    if not common:
        raise EmptyIntersection(
            f"{wire.here} and {wire.there} have no id in common: check that both write ids in the same way and hold "
            "the same period"
        )
    reply = unpack_values(wire.call(RESULT, pack_values({"ids": common})))
    if reply.get("digest") != ids_digest(common):
        raise PsiFailed("the parties do not hold the same common ids: begin a new alignment")
    return common


def _checked(ids: Sequence[str]) -> tuple[str, ...]:
    """Sorted ids. The library takes the first of doubled ids without a word and fails on numbers."""
    if not all(isinstance(name, str) for name in ids):
        raise PsiFailed("ids have to be text: read them with read_ids first")
    if len(set(ids)) != len(ids):
        raise PsiFailed("ids are doubled: read them with read_ids and pass the unique ones")
    if not ids:
        raise PsiFailed("this party has no ids to compare: check its table")
    return tuple(sorted(ids))


def _parsed(kind: Any, payload: bytes) -> Any:
    message = kind()
    try:
        message.ParseFromString(payload)
    except Exception as error:  # the binding's own types
        raise unreadable(error) from error
    return message


def _library() -> Any:
    import private_set_intersection.python as psi

    return psi
