"""Frozen encoders run once: films and notes become stored tokens.

Belongs here: encoding in batches, pooling to the storage budget, writing shards and their index. Does not
belong here: loading encoders (learning/encoders.py), reading the tokens back (datasets.py), artifacts.

Tokens are float16. A film keeps at most 8 x 8 patches; a note at most ``cap`` tokens, where a longer note is
averaged over equal runs of neighbouring tokens instead of being cut, so that its end is not lost.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253

from mm_assets.learning.encoders import TextEncoder, VisionEncoder
from mm_assets.records.token_shards import write_shard
from resources.errors import MendableError

BUDGET_BYTES = 150_000  # per record, image and text tokens together
MAX_GRID = 8
SHARD_ROWS = 2048
_Row = TypeVar("_Row")


class FeatureBudgetExceeded(MendableError):
    """The chosen grid and token cap would store too many bytes a record."""


class FeaturesNotFinite(MendableError):
    """An encoder returned NaN, or a value that float16 cannot hold."""


@dataclass(frozen=True)
class FilmRow:
    """One stored film: uint8 pixels [H, W]."""

    study_id: int
    split: str
    pixels: np.ndarray


@dataclass(frozen=True)
class NoteRow:
    """One note as ids of the encoder's own tokenizer, unpadded; empty where there is no note."""

    study_id: int
    split: str
    input_ids: Sequence[int]


@dataclass(frozen=True)
class IndexRow:
    """Where a study's tokens are: shard file name and row in it."""

    study_id: int
    split: str
    shard: str
    row: int


@dataclass(frozen=True)
class DtypeTrial:
    """The chosen number type and the CPU milliseconds it was chosen by (None: not tried)."""

    dtype: torch.dtype
    ms_float32: float | None
    ms_bfloat16: float | None


def bytes_per_record(grid: int, image_dim: int, text_tokens: int, text_dim: int) -> int:
    """Stored bytes of one record: float16 tokens of film and note, and one mask byte a note token."""
    return 2 * grid * grid * image_dim + text_tokens * (2 * text_dim + 1)


def check_budget(grid: int, image_dim: int, text_tokens: int, text_dim: int) -> int:
    """Bytes a record. Raises FeatureBudgetExceeded, naming the knobs, above 150 kB or 8 x 8 patches."""
    size = bytes_per_record(grid, image_dim, text_tokens, text_dim)
    if not 1 <= grid <= MAX_GRID:
        raise FeatureBudgetExceeded(f"grid={grid} is not between 1 and {MAX_GRID}: set a grid of at most {MAX_GRID}")
    if size > BUDGET_BYTES:
        raise FeatureBudgetExceeded(
            f"{size / 1000:.0f} kB of tokens a record exceed the budget of {BUDGET_BYTES / 1000:.0f} kB "
            f"(grid={grid}, {text_tokens} text tokens): lower grid or max_tokens"
        )
    return size


def pool_grid(tokens: torch.Tensor, grid: int) -> torch.Tensor:
    """Patch tokens [B, T, D] of a square map -> [B, min(grid², T), D] by adaptive averaging, row by row."""
    side = int(tokens.shape[1] ** 0.5)
    if side <= grid:
        return tokens
    square = tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)
    return F.adaptive_avg_pool2d(square, grid).flatten(2).transpose(1, 2)


def pool_runs(tokens: torch.Tensor, cap: int) -> torch.Tensor:
    """Tokens of one note [T, D] -> [min(T, cap), D], averaging equal runs of neighbours where T > cap."""
    if len(tokens) <= cap:
        return tokens
    return F.adaptive_avg_pool1d(tokens.T.unsqueeze(0), cap)[0].T


def pool_notes(tokens: torch.Tensor, mask: torch.Tensor, cap: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of notes [B, T, D], mask [B, T] -> [B, T', D], bool [B, T'], each note as `pool_runs` leaves it."""
    notes = [pool_runs(values[known], cap) for values, known in zip(tokens, mask.bool(), strict=True)]
    lengths = torch.tensor([len(note) for note in notes], device=tokens.device)
    padded = torch.nn.utils.rnn.pad_sequence(notes, batch_first=True)
    return padded, torch.arange(padded.shape[1], device=tokens.device) < lengths.unsqueeze(1)


def choose_cpu_dtype(run: Callable[[], object], rounds: int = 3, least_gain: float = 1.25) -> DtypeTrial:
    """bfloat16 on the CPU only where ``run`` shows it faster, by CPU time, interleaved, best of ``rounds``.

    Processors without native bfloat16 are about four times slower with it, so they are not even tried. The
    margin keeps the choice, and with it the stored bytes, the same from run to run on one kind of machine.
    """
    native = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    if not native:
        return DtypeTrial(torch.float32, None, None)
    best = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    for round_number in range(rounds + 1):  # the first round only warms up
        for dtype in best:
            start = time.process_time()
            with _autocast(dtype, "cpu"):
                run()
            if round_number:
                best[dtype] = min(best[dtype], 1000 * (time.process_time() - start))
    slow, fast = best[torch.float32], best[torch.bfloat16]
    return DtypeTrial(torch.bfloat16 if slow / fast >= least_gain else torch.float32, slow, fast)


def encode_films(
    rows: Iterable[FilmRow],
    encoder: VisionEncoder,
    folder: Path,
    *,
    grid: int,
    batch: int = 16,
    dtype: torch.dtype = torch.float32,
) -> list[IndexRow]:
    """Write ``features-*.safetensors`` (``tokens`` float16 [n, T, D]) into ``folder``; rows of the index.

    Row order follows ``rows``, so sorted rows give equal bytes. Raises FeaturesNotFinite.
    """
    device = next(encoder.parameters()).device

    def tokens() -> Iterator[tuple[FilmRow, np.ndarray, None]]:
        for part in _parts(rows, batch):
            pixels = torch.from_numpy(np.stack([row.pixels for row in part])).unsqueeze(1).to(device)
            with _autocast(dtype, device.type):
                encoded = pool_grid(encoder.encode(pixels), grid)
            for row, values in zip(part, _as_float16(encoded, encoder.name), strict=True):
                yield row, values, None

    return _write_shards(_progress(tokens(), "encode films"), folder)


def encode_notes(
    rows: Iterable[NoteRow],
    encoder: TextEncoder,
    folder: Path,
    *,
    cap: int,
    batch: int = 32,
    dtype: torch.dtype = torch.float32,
) -> list[IndexRow]:
    """Write ``features-*.safetensors`` (``tokens`` float16 [n, T, D], ``mask`` uint8 [n, T]); rows of the
    index.

    Notes of similar length are encoded together within a window of 16 batches, which saves most of the
    padding and keeps memory flat. A note without ids gets one masked zero token. Raises FeaturesNotFinite.
    """

    def tokens() -> Iterator[tuple[NoteRow, np.ndarray, np.ndarray]]:
        for window in _parts(rows, 16 * batch):
            encoded = encode_id_lists([row.input_ids for row in window], encoder, batch=batch, dtype=dtype)
            for row, values in zip(window, encoded, strict=True):
                kept = _as_float16(pool_runs(values, cap), encoder.name)
                empty = len(kept) == 0
                yield (
                    row,
                    np.zeros((1, encoder.token_dim), np.float16) if empty else kept,
                    np.zeros(1, np.uint8) if empty else np.ones(len(kept), np.uint8),
                )

    return _write_shards(_progress(tokens(), "encode notes"), folder)


def encode_passages(
    texts: Sequence[str], encoder: TextEncoder, *, batch: int = 32, dtype: torch.dtype = torch.float32
) -> np.ndarray:
    """One mean-pooled vector per passage, float16 [P, D], in the given order."""
    ids = [encoder.tokenize([text])["input_ids"][0].tolist() for text in texts]
    encoded = encode_id_lists(ids, encoder, batch=batch, dtype=dtype)
    pooled = [values.mean(0) if len(values) else torch.zeros(encoder.token_dim) for values in encoded]
    return _as_float16(torch.stack(pooled), encoder.name)


def encode_id_lists(
    id_lists: Sequence[Sequence[int]], encoder: TextEncoder, *, batch: int, dtype: torch.dtype
) -> list[torch.Tensor]:
    """Token vectors [T, D] per list of ids, in the given order; equal lists are encoded once."""
    device = next(encoder.parameters()).device
    distinct = sorted({tuple(int(i) for i in ids) for ids in id_lists if len(ids)}, key=lambda ids: (len(ids), ids))
    encoded: dict[tuple[int, ...], torch.Tensor] = {(): torch.zeros((0, encoder.token_dim))}
    for part in _parts(distinct, batch):
        longest = max(len(ids) for ids in part)
        ids = torch.zeros((len(part), longest), dtype=torch.long)
        mask = torch.zeros((len(part), longest), dtype=torch.long)
        for i, one in enumerate(part):
            ids[i, : len(one)] = torch.tensor(one)
            mask[i, : len(one)] = 1
        with _autocast(dtype, device.type):
            values = encoder.encode(ids.to(device), mask.to(device)).cpu()
        encoded |= {one: values[i, : len(one)] for i, one in enumerate(part)}
    return [encoded[tuple(int(i) for i in ids)] for ids in id_lists]


def index_table(index: Sequence[IndexRow]) -> pa.Table:
    """`index.parquet`: study_id, split, shard, row; empty where nothing was encoded."""
    schema = pa.schema([("study_id", pa.int64()), ("split", pa.string()), ("shard", pa.string()), ("row", pa.int32())])
    return pa.Table.from_pylist([asdict(row) for row in index], schema=schema)


def _autocast(dtype: torch.dtype, device: str) -> torch.autocast:
    return torch.autocast(device, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def _as_float16(values: torch.Tensor, name: str) -> np.ndarray:
    half = values.detach().to("cpu", torch.float16).numpy()
    if not np.isfinite(half).all():
        raise FeaturesNotFinite(
            f"{name} returned values that float16 cannot hold: encode in float32, or choose another encoder"
        )
    return half


def _parts(rows: Iterable[_Row], size: int) -> Iterator[list[_Row]]:
    part: list[_Row] = []
    for row in rows:
        part.append(row)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def _progress(rows: Iterable[_Row], desc: str) -> Iterable[_Row]:
    from tqdm import tqdm

    return tqdm(rows, desc=desc, unit="record", disable=None)


def _write_shards(
    rows: Iterable[tuple[FilmRow | NoteRow, np.ndarray, np.ndarray | None]], folder: Path
) -> list[IndexRow]:
    """Shards of at most SHARD_ROWS rows; each is padded to its own longest row."""
    folder.mkdir(parents=True, exist_ok=True)
    index: list[IndexRow] = []
    for number, part in enumerate(_parts(rows, SHARD_ROWS)):
        name = f"features-{number:05d}.safetensors"
        longest = max(len(tokens) for _, tokens, _ in part)
        stacked = np.zeros((len(part), longest, part[0][1].shape[1]), np.float16)
        masks = np.zeros((len(part), longest), np.uint8)
        for i, (row, tokens, mask) in enumerate(part):
            stacked[i, : len(tokens)] = tokens
            if mask is not None:
                masks[i, : len(mask)] = mask
            index.append(IndexRow(row.study_id, row.split, name, i))
        tensors: dict[str, np.ndarray] = {"tokens": stacked}
        if part[0][2] is not None:
            tensors["mask"] = masks
        write_shard(folder / name, tensors)
    return index
