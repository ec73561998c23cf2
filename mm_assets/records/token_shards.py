"""Token features on disk: shards of safetensors, read by row through the page cache.

Belongs here: writing a shard, mapping one into memory, gathering rows that lie in several shards.
Does not belong here: which encoder made the tokens and what a model does with them.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resources.errors import MendableError

# Types a shard may hold, by their name in the safetensors header.
_DTYPES = {"F16": np.float16, "F32": np.float32, "U8": np.uint8, "I32": np.int32, "I64": np.int64}


class ShardUnreadable(MendableError):
    """A shard file is truncated or is not safetensors."""


def write_shard(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as one safetensors file; equal arrays give equal bytes."""
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}, str(path))


def map_shard(path: Path) -> dict[str, np.ndarray]:
    """Map every tensor of a safetensors file into memory, read-only.

    Nothing is read until rows are taken, so a data set larger than memory costs only the pages that a batch
    touches, and a small one stays in the page cache. Raises ShardUnreadable.
    """
    try:
        with path.open("rb") as file:
            (header_bytes,) = struct.unpack("<Q", file.read(8))
            if header_bytes > path.stat().st_size:
                raise ValueError("header is longer than the file")
            header = json.loads(file.read(header_bytes))
        start = 8 + header_bytes
        return {
            name: np.memmap(
                path, dtype=_DTYPES[entry["dtype"]], mode="r",
                offset=start + entry["data_offsets"][0], shape=tuple(entry["shape"]),
            )
            for name, entry in header.items()
            if name != "__metadata__"
        }  # fmt: skip
    except (struct.error, ValueError, KeyError, OSError) as error:
        raise ShardUnreadable(
            f"cannot read the feature shard {path.name} ({error}): materialize its features again"
        ) from error


@dataclass(frozen=True)
class ShardedRows:
    """Rows of one tensor spread over shards: record i is row ``row[i]`` of ``arrays[shard[i]]``.

    ``shard[i] == -1`` says that record i has no features. Arrays are [n, T, ...]; T may differ between
    shards.
    """

    arrays: tuple[np.ndarray, ...]
    shard: np.ndarray  # int32 [n]
    row: np.ndarray  # int32 [n]

    @property
    def present(self) -> np.ndarray:
        """Bool [n]: the record has features."""
        return self.shard >= 0

    def take(self, records: np.ndarray) -> np.ndarray:
        """Rows at positions ``records``, zero-padded to the longest T among them; absent ones are zeros."""
        shard, row = self.shard[records], self.row[records]
        used = [int(s) for s in np.unique(shard) if s >= 0]
        tail = self.arrays[0].shape[2:]
        length = max((self.arrays[s].shape[1] for s in used), default=1)
        out = np.zeros((len(records), length, *tail), dtype=self.arrays[0].dtype)
        for s in used:
            here = np.flatnonzero(shard == s)
            out[here, : self.arrays[s].shape[1]] = self.arrays[s][row[here]]
        return out


def sharded_rows(
    study_ids: np.ndarray,
    index: Mapping[str, Sequence | np.ndarray],
    shards: Mapping[str, Path],
    tensor: str,
) -> ShardedRows:
    """Line up an index (columns study_id, shard, row) with the wanted ``study_ids``.

    ``shards`` maps the index's shard names to files. Studies without a row are marked absent, not dropped.
    """
    names = sorted(shards)
    arrays = tuple(map_shard(shards[name])[tensor] for name in names)
    if not arrays:
        raise ShardUnreadable("there is no feature shard to read: materialize the features first")
    number = {name: i for i, name in enumerate(names)}
    place = {
        int(study): (number[name], int(row))
        for study, name, row in zip(index["study_id"], index["shard"], index["row"], strict=True)
    }
    found = np.array([place.get(int(study), (-1, 0)) for study in study_ids], dtype=np.int32).reshape(-1, 2)
    return ShardedRows(arrays, found[:, 0], found[:, 1])
