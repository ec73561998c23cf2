"""Encoding in worker processes, from files to files: one directory of films, or one part of the notes.

Belongs here: what a worker opens, encodes and writes. Does not belong here: encoding itself (features.py), which
encoder (resources/hub.py), artifacts.

A worker has one thread: two such processes beat one of two threads on a busy machine, and the stored bytes do not
depend on how many workers there are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch  # noqa: TID253

from mm_assets.learning.encoders import TextEncoder, VisionEncoder, load_text, load_vision, weights_digest
from mm_assets.mimic.features import (
    DtypeTrial,
    FilmRow,
    IndexRow,
    NoteRow,
    choose_cpu_dtype,
    encode_films,
    encode_notes,
    encode_passages,
)
from mm_assets.records.images import decode_image
from mm_assets.records.token_shards import write_shard
from resources.hub import ENCODERS, local_folder

# Rows per row group of phase 3, which is a part of the notes: small enough to share among workers, and never a
# function of their number.
PART_ROWS = 512


@dataclass(frozen=True)
class FilmJob:
    """One directory's films: phase 1 records in, shards into `folder`."""

    records: Path
    folder: Path
    encoder: str  # a name of resources.hub
    grid: int
    device: str
    dtype: str = "float32"


@dataclass(frozen=True)
class NoteJob:
    """One part of the notes: a row group of the integrated records."""

    records: Path
    part: int
    folder: Path
    encoder: str
    cap: int
    device: str
    dtype: str = "float32"


@dataclass(frozen=True)
class EncodedFilms:
    """Index of a directory's shards, and the digest of the weights that made them."""

    index: list[IndexRow]
    weights_digest: str


@lru_cache(maxsize=1)
def vision_encoder(name: str, device: str) -> VisionEncoder:
    """Loaded once per process."""
    card = ENCODERS[name]
    return load_vision(card, local_folder(card)).to(device)


@lru_cache(maxsize=1)
def text_encoder(name: str, device: str) -> TextEncoder:
    """Loaded once per process."""
    card = ENCODERS[name]
    return load_text(card, local_folder(card)).to(device)


def film_dtype(encoder: str) -> DtypeTrial:
    """The number type that encodes a batch of films fastest on this CPU, and what it was chosen by."""
    films = torch.zeros((8, 1, 224, 224), dtype=torch.uint8)
    return choose_cpu_dtype(partial(vision_encoder(encoder, "cpu").encode, films))


def note_dtype(encoder: str) -> DtypeTrial:
    """The same for a batch of notes."""
    ids = torch.ones((8, 128), dtype=torch.long)
    return choose_cpu_dtype(partial(text_encoder(encoder, "cpu").encode, ids, ids))


def run_film_job(job: FilmJob) -> EncodedFilms:
    """Write the shards of one directory."""
    encoder = vision_encoder(job.encoder, job.device)
    index = encode_films(film_rows(job.records), encoder, job.folder, grid=job.grid, dtype=getattr(torch, job.dtype))
    return EncodedFilms(index, weights_digest(encoder))


def run_note_job(job: NoteJob) -> list[IndexRow]:
    """Write the shards of one part of the notes; returns their index."""
    columns = ["study_id", "split", "input_ids"]
    with pq.ParquetFile(job.records) as file:
        rows = file.read_row_group(job.part, columns=columns).to_pylist()
    notes = (NoteRow(row["study_id"], row["split"], row["input_ids"] or []) for row in rows)
    encoder = text_encoder(job.encoder, job.device)
    return encode_notes(notes, encoder, job.folder, cap=job.cap, dtype=getattr(torch, job.dtype))


def write_passages(passages: list[str], encoder: str, device: str, path: Path) -> None:
    """One vector per passage, in the order of the passage table."""
    write_shard(path, {"tokens": encode_passages(passages, text_encoder(encoder, device))})


def film_rows(records: Path) -> Iterator[FilmRow]:
    """The stored films of a phase 1 file, decoded, in file order."""
    with pq.ParquetFile(records) as file:
        for batch in file.iter_batches(batch_size=64, columns=["study_id", "split", "image"]):
            for row in batch.to_pylist():
                yield FilmRow(row["study_id"], row["split"], decode_image(row["image"]).pixels)


def encoder_record(name: str, weights_digest: str, **knobs: Any) -> dict[str, Any]:
    """`encoder.json` of what an encoder made: tokens of films, of notes, or vectors of passages."""
    card = ENCODERS[name]
    return {
        "encoder": name,
        "revision": card.revision,
        "revision_pinned": card.revision_pinned,
        "weights_digest": weights_digest,
        **knobs,
    }
