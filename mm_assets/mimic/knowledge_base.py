"""The passages that notes are enriched with: short facts about the 14 findings in the project's own words.

Belongs here: reading and checking the packaged passages. Does not belong here: searching them (retrieval.py).
The texts state common knowledge of chest imaging; no source is quoted, `citation` says where to read more.
"""

import json
from collections import Counter
from dataclasses import dataclass
from importlib.resources import files

import pyarrow as pa

from mm_assets.mimic.schema import LABELS, PASSAGE_COLUMNS
from resources.errors import MendableError

PASSAGES_FILE = "knowledge/passages.json"
TOPICS: tuple[str, ...] = (
    "definition", "signs", "mimics", "vitals", "complaints", "negatives", "views", "context",
)  # fmt: skip


class PassageError(MendableError):
    """The packaged passages break their own rules."""


@dataclass(frozen=True)
class Passage:
    """One retrievable text of one to three sentences; `labels` are the findings it speaks about."""

    passage_id: str
    topic: str
    labels: tuple[str, ...]
    text: str
    citation: str
    licence: str


def load_passages() -> tuple[Passage, ...]:
    """All packaged passages, sorted by id. Raises PassageError naming the passage and the rule it breaks."""
    content = json.loads(files("mm_assets.mimic").joinpath(PASSAGES_FILE).read_text(encoding="utf-8"))
    citations, licence = content["citations"], content["licence"]
    passages = tuple(
        Passage(p["id"], p["topic"], tuple(p["labels"]), p["text"], citations[p["cite"]], licence)
        for p in sorted(content["passages"], key=lambda p: p["id"])
    )
    _check(passages)
    return passages


def passages_table(passages: tuple[Passage, ...]) -> pa.Table:
    """Columns `schema.PASSAGE_COLUMNS`; row number = row of the index."""
    schema = pa.schema([(name, pa.list_(pa.string()) if name == "labels" else pa.string()) for name in PASSAGE_COLUMNS])
    rows = [{name: getattr(p, name) for name in PASSAGE_COLUMNS} | {"labels": list(p.labels)} for p in passages]
    return pa.Table.from_pylist(rows, schema=schema)


def passages_of(table: pa.Table) -> tuple[Passage, ...]:
    """The passages of a published table, in its order."""
    return tuple(Passage(**{**row, "labels": tuple(row["labels"])}) for row in table.to_pylist())


def _check(passages: tuple[Passage, ...]) -> None:
    repeated = [i for i, n in Counter(p.passage_id for p in passages).items() if n > 1]
    if repeated:
        raise PassageError(f"passage ids {repeated} are used twice in {PASSAGES_FILE}: give each its own")
    for passage in passages:
        unknown = set(passage.labels) - set(LABELS)
        if unknown or not passage.labels:
            raise PassageError(
                f"passage {passage.passage_id} has labels {sorted(unknown) or 'none'}: use schema.LABELS"
            )
        if passage.topic not in TOPICS:
            raise PassageError(f"passage {passage.passage_id} has topic {passage.topic!r}: use one of {TOPICS}")
        # Notes list one passage a line.
        if not passage.text.strip() or "\n" in passage.text:
            raise PassageError(f"passage {passage.passage_id} is empty or has line breaks: write it as one line")
