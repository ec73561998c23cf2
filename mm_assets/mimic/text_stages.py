"""Phases 1b and 2 as tables: filtered text, then notes with retrieved passages and token ids.

Belongs here: running the text modules over rows and the column types of their tables. Does not belong here:
the rules (leakage.py), the wording (notes.py), the search (retrieval.py), the ids (tokens.py).
"""

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from mm_assets.mimic.knowledge_base import Passage
from mm_assets.mimic.leakage import redact
from mm_assets.mimic.notes import enhanced_note, pseudo_note
from mm_assets.mimic.retrieval import Embedder, query_text, retrieve
from mm_assets.mimic.schema import CLINICAL_FEATURES, FILTERED_COLUMNS, NOTE_COLUMNS
from mm_assets.mimic.tokens import tokenize
from resources.errors import MendableError

_FILTERED_TYPES: dict[str, pa.DataType] = {
    "study_id": pa.int64(),
    "chief_complaint": pa.string(),
    "history": pa.string(),
    "n_redactions": pa.int32(),
    "rules_hit": pa.list_(pa.string()),
}
FILTERED_SCHEMA = pa.schema([(name, _FILTERED_TYPES[name]) for name in FILTERED_COLUMNS])
_NOTE_TYPES: dict[str, pa.DataType] = {
    "study_id": pa.int64(),
    "pseudo_note": pa.string(),
    "enhanced_note": pa.string(),
    "passage_ids": pa.list_(pa.string()),
    "passage_scores": pa.list_(pa.float32()),
    "input_ids": pa.list_(pa.int32()),
    "n_tokens": pa.int32(),
    "truncated": pa.bool_(),
}
NOTE_SCHEMA = pa.schema([(name, _NOTE_TYPES[name]) for name in NOTE_COLUMNS])
# Rows held as Python objects at a time: token lists take many times their size in Arrow.
_ROWS_AT_A_TIME = 4096
# Phase 1 columns that notes are made from.
NOTE_INPUTS: tuple[str, ...] = ("study_id", "gender", *CLINICAL_FEATURES)


class StudyMismatch(MendableError):
    """Tables that should hold the same studies do not."""


def filtered_table(texts: pa.Table) -> pa.Table:
    """Phase 1b: columns study_id, chief_complaint, history -> FILTERED_SCHEMA, sorted by study_id; null
    becomes ''.
    """
    ordered = texts.select(["study_id", "chief_complaint", "history"]).sort_by("study_id")

    def rows_from(start: int) -> pa.RecordBatch:
        rows = []
        for row in ordered.slice(start, _ROWS_AT_A_TIME).to_pylist():
            complaint, history = redact(row["chief_complaint"] or ""), redact(row["history"] or "")
            rows.append(
                {
                    "study_id": row["study_id"],
                    "chief_complaint": complaint.text,
                    "history": history.text,
                    "n_redactions": complaint.n_redactions + history.n_redactions,
                    "rules_hit": sorted({*complaint.rules_hit, *history.rules_hit}),
                }
            )
        return pa.RecordBatch.from_pylist(rows, schema=FILTERED_SCHEMA)

    return _table_of(rows_from, ordered.num_rows, FILTERED_SCHEMA, "leakage filter")


def note_table(
    records: pa.Table, filtered: pa.Table, passages: Sequence[Passage], index: Any, embed: Embedder,
    tokenizer: Any, *, cap: int, k: int,
) -> pa.Table:  # fmt: skip
    """Phase 2: NOTE_SCHEMA, sorted by study_id.

    records: NOTE_INPUTS of phase 1; filtered: FILTERED_SCHEMA of the same studies; index: over `passages`
    in their order; tokenizer: that of the encoder which will read the note; cap: most tokens kept; k:
    passages per record. Raises StudyMismatch when a record has no filtered text.
    """
    records, filtered = records.select(NOTE_INPUTS).sort_by("study_id"), filtered.sort_by("study_id")
    at = pc.index_in(records["study_id"], filtered["study_id"])
    if at.null_count:
        raise StudyMismatch(
            f"{at.null_count} records have no filtered text: rerun mimic/filtered_text for these studies"
        )
    texts = filtered.take(at).select(["chief_complaint", "history"]).to_pylist()
    found = retrieve(index, embed, [query_text(text["chief_complaint"], text["history"]) for text in texts], k)

    def rows_from(start: int) -> pa.RecordBatch:
        rows: list[dict[str, Any]] = []
        for i, record in enumerate(records.slice(start, _ROWS_AT_A_TIME).to_pylist(), start=start):
            chosen = [passages[j] for j in found.ids[i] if j >= 0]
            note = pseudo_note(record | texts[i])
            rows.append(
                {
                    "study_id": record["study_id"],
                    "pseudo_note": note,
                    "enhanced_note": enhanced_note(note, [passage.text for passage in chosen]),
                    "passage_ids": [passage.passage_id for passage in chosen],
                    "passage_scores": found.scores[i][: len(chosen)].tolist(),
                }
            )
        for row, tokens in zip(rows, tokenize(tokenizer, [row["pseudo_note"] for row in rows], cap), strict=True):
            row |= {"input_ids": tokens.input_ids, "n_tokens": tokens.n_tokens, "truncated": tokens.truncated}
        return pa.RecordBatch.from_pylist(rows, schema=NOTE_SCHEMA)

    return _table_of(rows_from, records.num_rows, NOTE_SCHEMA, "notes")


def _table_of(rows_from: Callable[[int], pa.RecordBatch], n_rows: int, schema: pa.Schema, desc: str) -> pa.Table:
    """One table of the batches that begin at row 0, _ROWS_AT_A_TIME, ...; its layout does not show where they met."""
    starts = range(0, n_rows, _ROWS_AT_A_TIME)
    batches = [rows_from(start) for start in tqdm(starts, desc=desc, unit="batch", disable=None)]
    return pa.Table.from_batches(batches, schema=schema).combine_chunks()
