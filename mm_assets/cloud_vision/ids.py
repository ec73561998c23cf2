"""Record ids as two organisations write them, brought into one form.

Belongs here: one spelling per id, ids that are missing, doubled or of mixed types, and finding rows by id. Does not
belong here: which ids both parties have (psi.py), and what the rows hold.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from resources.errors import MendableError

_SEPARATORS = re.compile(r"[\s_\-.]+")


class MixedIds(MendableError):
    """A column of ids holds values of several types, or of one that names nothing exactly."""


class UnknownIds(MendableError):
    """Ids were asked for that the table does not have."""


@dataclass(frozen=True)
class PartyIds:
    """The ids of one party's table. Rows without an id, and all but the first row of a doubled id, stay out of joins.

    ``rows`` has the normalised id of every row, in the table's order; None where there is none.
    """

    rows: tuple[str | None, ...]
    respelled: int  # rows whose id was written in another way than the normalised one

    @cached_property
    def first_row(self) -> Mapping[str, int]:
        """Normalised id -> its first row."""
        found: dict[str, int] = {}
        for row, name in enumerate(self.rows):
            if name is not None:
                found.setdefault(name, row)
        return found

    @cached_property
    def unique(self) -> tuple[str, ...]:
        """Every id once, sorted."""
        return tuple(sorted(self.first_row))

    @cached_property
    def missing(self) -> tuple[int, ...]:
        """Rows without an id."""
        return tuple(row for row, name in enumerate(self.rows) if name is None)

    @cached_property
    def duplicates(self) -> Mapping[str, tuple[int, ...]]:
        """Doubled ids -> all their rows; variants of one spelling count as doubled."""
        found: dict[str, list[int]] = {}
        for row, name in enumerate(self.rows):
            if name is not None:
                found.setdefault(name, []).append(row)
        return {name: tuple(rows) for name, rows in sorted(found.items()) if len(rows) > 1}

    def describe(self) -> str:
        """Counts alone: an id may be a secret of its party."""
        doubled = sum(len(rows) - 1 for rows in self.duplicates.values())
        return (
            f"{len(self.rows)} rows, {len(self.unique)} ids; {doubled} doubled, {len(self.missing)} without an id, "
            f"{self.respelled} spelled another way"
        )


def normalise_id(raw: str) -> str:
    """One spelling for ``"IMG_001 "``, ``"img_001"``, ``"IMG-001"`` and ``"ＩＭＧ 001"``: ``"img_001"``.

    Leading zeros stay: ``IMG_1`` and ``IMG_001`` may be two records, and merging them could not be undone.
    """
    text = unicodedata.normalize("NFKC", raw).strip().casefold()
    return _SEPARATORS.sub("_", text).strip("_")


def read_ids(column: Sequence[object], *, party: str) -> PartyIds:
    """The ids of a table's column: texts, or whole numbers, and nulls.

    Raises MixedIds where a column holds both, or anything else (a float has lost its zeros and may have lost digits).
    """
    values = [None if _is_null(value) else value for value in column]
    kinds = {_kind(value) for value in values if value is not None}
    if len(kinds) > 1 or not kinds <= {"text", "whole number"}:
        raise MixedIds(
            f"{party}'s ids are of type {' and '.join(sorted(kinds))}: store the column as text throughout, written "
            "as the other party writes it"
        )
    names = [None if value is None else normalise_id(str(value)) or None for value in values]
    respelled = sum(name is not None and str(value) != name for name, value in zip(names, values, strict=True))
    return PartyIds(tuple(names), respelled)


def aligned_rows(ids: PartyIds, intersection: Sequence[str]) -> np.ndarray:
    """int64 [n]: the row of each id of ``intersection``, in its order, found by id and never by place.

    Raises UnknownIds (with a count, never the ids) where the table lacks one.
    """
    lacking = sum(name not in ids.first_row for name in intersection)
    if lacking:
        raise UnknownIds(
            f"{lacking} of {len(intersection)} common ids are not in this table: it changed since the alignment; align "
            "again"
        )
    return np.array([ids.first_row[name] for name in intersection], np.int64)


def misaligned_order(rows: int, share: float, seed: int) -> np.ndarray:
    """int64 [rows]: an order in which ``share`` of the rows, drawn at random, stand in another's place; for measuring
    what joining by place costs."""
    rng = np.random.default_rng([seed, 29])
    order = np.arange(rows)
    moved = rng.permutation(rows)[: round(share * rows)]
    order[moved] = np.roll(moved, 1)  # one round, in which nobody stays
    return order


def ids_digest(ids: Iterable[str]) -> str:
    """sha256 of ids in their order: two parties that show the same one hold the same rows in the same order."""
    digest = hashlib.sha256()
    for name in ids:
        encoded = name.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()


def _is_null(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _kind(value: object) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_)):
        return "whole number"
    return type(value).__name__
