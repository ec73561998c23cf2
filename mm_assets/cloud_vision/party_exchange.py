"""What the parties do with each other, whichever it is: its two sides, and what is told of the wire.

Belongs here: what alignment and training have in common. Does not belong here: either (party_alignment.py,
party_training.py), processes (party_process.py).

Both sides are given the same job, made by that module's ``alignment_message`` or ``training_message``.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mm_assets.cloud_vision.parties import PartyAccess
from mm_assets.cloud_vision.wire import Handler, Wire

ALIGN, TRAIN = "align", "train"
# Imported when they are asked for: alignment needs no torch, which takes seconds.
_MODULES = {ALIGN: "party_alignment", TRAIN: "party_training"}


@dataclass(frozen=True)
class Answering:
    """The image holder's side: ``handle`` answers messages, ``finish`` writes what it keeps when all went well."""

    handle: Handler
    finish: Callable[[], None]


def prepare(job: Mapping[str, Any]) -> None:
    """Imports what ``job`` needs, while there is nothing else to do yet."""
    _module(job)


def answering(access: PartyAccess, job: Mapping[str, Any]) -> Answering:
    """The image holder's side of ``job``."""
    answer: Answering = _module(job).answering(access, job)
    return answer


def driven(access: PartyAccess, job: Mapping[str, Any], wire: Wire) -> dict[str, Any]:
    """The label holder's side of ``job``, to its end."""
    result: dict[str, Any] = _module(job).driven(access, job, wire)
    return result


def wire_counts(wire: Wire) -> list[dict[str, Any]]:
    """Messages and bytes per direction and kind: sender, receiver, kind, messages, bytes."""
    return [asdict(count) for count in wire.counts]


def _module(job: Mapping[str, Any]) -> Any:
    return importlib.import_module(f"mm_assets.cloud_vision.{_MODULES[job['task']]}")
