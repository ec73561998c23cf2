"""How the two parties find their common records: each side, from the party's own records to the common ids.

Belongs here: private set intersection of the records' ids, and whether both put a record into the same split. Does not
belong here: the intersection's messages (psi.py), processes (party_process.py).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mm_assets.cloud_vision.ids import PartyIds, aligned_rows, ids_digest, read_ids
from mm_assets.cloud_vision.parties import PartyAccess
from mm_assets.cloud_vision.party_exchange import ALIGN, Answering, wire_counts
from mm_assets.cloud_vision.party_work import RECORDS, WING
from mm_assets.cloud_vision.psi import PsiAnswer, find_intersection
from mm_assets.cloud_vision.schema import ID_COLUMN, SPLIT_COLUMN
from mm_assets.cloud_vision.wire import Wire, pack_values, routed, unknown_kind, unpack_values
from resources.errors import MendableError

# Files of the artifact: the common ids with their splits; digest, sizes and what crossed.
COMMON, ALIGNMENT_JSON = "common.parquet", "alignment.json"
COMPARE = f"{ALIGN}/splits"


class SplitsDiffer(MendableError):
    """The parties put a record into different splits."""


def alignment_message(versions: Mapping[str, str]) -> dict[str, Any]:
    """What both parties are asked; ``versions``: "org2" and "org3" -> version of that party's records artifact."""
    return {"task": ALIGN, "versions": dict(versions)}


def answering(access: PartyAccess, job: Mapping[str, Any]) -> Answering:
    """The image holder's side. Raises ArtifactMissing, PsiFailed for records without any id."""
    ids, splits = _ids_and_splits(access, job)
    psi = PsiAnswer(ids.unique)

    def compare(kind: str, payload: bytes) -> bytes:
        if kind != COMPARE or psi.intersection is None:
            raise unknown_kind(kind)
        own = _splits_of(psi.intersection, ids, splits)
        told = unpack_values(payload).get("splits")
        other = told if isinstance(told, list) else []
        differing = sum(one != two for one, two in zip(own, other)) + abs(len(own) - len(other))
        return pack_values({"differing": differing, "ids": len(ids.unique)})

    return Answering(routed({"psi": psi.handle, ALIGN: compare}), lambda: None)


def driven(access: PartyAccess, job: Mapping[str, Any], wire: Wire) -> dict[str, Any]:
    """The label holder's side: ``common`` (normalised ids, sorted) and ``splits``, one each; ``digest`` of the ids;
    ``sizes`` of org2, org3 and common; ``counts``: see ``wire_counts``.

    Raises EmptyIntersection, PsiFailed, SplitsDiffer, WireError, ArtifactMissing.
    """
    ids, splits = _ids_and_splits(access, job)
    common = find_intersection(ids.unique, wire)
    own = _splits_of(common, ids, splits)
    reply = unpack_values(wire.call(COMPARE, pack_values({"splits": own})))
    if reply["differing"]:
        raise SplitsDiffer(
            f"{reply['differing']} of {len(common)} common records are in another split at {wire.there} than at "
            f"{wire.here}: agree on the splits, or a model is tested on what it was trained on"
        )
    return {
        "common": list(common),
        "splits": own,
        "digest": ids_digest(common),
        "sizes": {wire.here: len(ids.unique), wire.there: reply["ids"], "common": len(common)},
        "counts": wire_counts(wire),
    }


def _ids_and_splits(access: PartyAccess, job: Mapping[str, Any]) -> tuple[PartyIds, list[str | None]]:
    store = access.artifacts()
    artifact = store.open_version(WING, f"{access.party}_records", job["versions"][access.party])
    table = store.read_table(artifact, RECORDS, [ID_COLUMN, SPLIT_COLUMN])
    return read_ids(table[ID_COLUMN].to_pylist(), party=access.party), table[SPLIT_COLUMN].to_pylist()


def _splits_of(common: Sequence[str], ids: PartyIds, splits: Sequence[str | None]) -> list[str | None]:
    return [splits[row] for row in aligned_rows(ids, common)]
