"""Phase 3 as the earlier pipeline's files: `{train,val,test}_final.pt`, `metadata.json`, `phase3_metadata.json`.

Belongs here: writing these files without holding the films in memory. Does not belong here: making records
(integration.read_record) and their two formats (formats.py, which also says what the earlier pipeline is).
"""

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from tqdm import tqdm

from mm_assets.mimic.formats import FormatError, image_key
from mm_assets.mimic.schema import SPLITS

if TYPE_CHECKING:
    import torch

# Our split names -> the earlier pipeline's file names.
SPLIT_FILES: dict[str, str] = {"train": "train", "validate": "val", "test": "test"}
# Image bytes never pass through memory; what grows with a file is its other fields, about 10 kB a record.
RECORDS_PER_FILE = 20_000


def export_phase3_pt(
    records_by_split: Mapping[str, Iterable[Mapping[str, Any]]], to: Path, *, config: Mapping[str, Any],
    quality: Mapping[str, Any], stratified: bool, small_sample_size: int | None = None,
    records_per_file: int = RECORDS_PER_FILE,
) -> list[Path]:  # fmt: skip
    """Write `{train,val,test}_final.pt`, `metadata.json` and `phase3_metadata.json` below `to`; returns the
    files.

    records_by_split: 'train', 'validate', 'test' -> records of one format (`integration.read_record` makes standard
    ones, `formats.enhanced_from_standard` Enhanced RAG ones of them), read once and in order. Each file is
    a list of records, loadable with `torch.load(file, weights_only=True, mmap=True)`. A split with more
    than `records_per_file` records becomes `train_final_00000.pt`, `train_final_00001.pt`, ... instead.

    Images are collected in a file beside the target and mapped, so that memory does not grow with their
    number; the disk must hold one file's images twice. An image whose three channels are equal is stored
    once and read back as an expanded view of shape [3, S, S]: clone it before writing into it.
    metadata.json has the earlier pipeline's keys. stratified: whether the splits were drawn by label (the official ones
    were not). small_sample_size: records per split of phase 1's small sample, None where there is none.
    """
    to.mkdir(parents=True, exist_ok=True)
    for old in [path for name in SPLIT_FILES.values() for path in to.glob(f"{name}_final*.pt")]:
        old.unlink()
    written: list[Path] = []
    counts: dict[str, int] = {}
    for split in SPLITS:
        name = SPLIT_FILES[split]
        records = iter(tqdm(records_by_split.get(split, ()), desc=f"{name}_final.pt", unit="record", disable=None))
        files: list[Path] = []
        counts[name] = 0
        while n := _write_file(islice(records, records_per_file), to / f"{name}_final_{len(files):05d}.pt", not files):
            files.append(to / f"{name}_final_{len(files):05d}.pt")
            counts[name] += n
        if not files:
            files.append(to / f"{name}_final_00000.pt")
        if len(files) == 1:
            files = [files[0].rename(to / f"{name}_final.pt")]
        written += files
    metadata = {
        "config": dict(config),
        **{f"n_{name}": n for name, n in counts.items()},
        "total_records": sum(counts.values()),
        "stratified": stratified,
        "small_samples_created": small_sample_size is not None,
        "small_sample_size": small_sample_size,
    }
    phase3 = {"config": dict(config), "quality": dict(quality), "files": [path.name for path in written]}
    for file_name, content in (("metadata.json", metadata), ("phase3_metadata.json", phase3)):
        path = to / file_name
        part = path.with_name(f"{file_name}.part")
        part.write_text(json.dumps(content, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")
        part.replace(path)
        written.append(path)
    return written


def _write_file(records: Iterator[Mapping[str, Any]], path: Path, write_empty: bool) -> int:
    """Write up to one file of records; returns how many. An empty split still gets its (empty) first file."""
    import torch

    kept: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        raw = Path(folder) / "images"
        with raw.open("wb") as images:
            for record in records:
                key = image_key(record)
                shape = _append_image(record[key], images)
                if kept and shape != kept[0].get(key):
                    raise FormatError(
                        f"study {record.get('study_id')} has an image unlike the others: "
                        "export one format, size and transform"
                    )
                kept.append(dict(record) | {key: shape})
        if not kept and not write_empty:
            return 0
        if kept:
            channels, side, full = kept[0][key]
            size = len(kept) * channels * side * side
            mapped = torch.from_file(str(raw), shared=False, size=size, dtype=torch.float32)
            for record, image in zip(kept, mapped.view(len(kept), channels, side, side), strict=True):
                record[key] = image.expand(full, side, side)
        part = path.with_name(f"{path.name}.part")
        torch.save(kept, part)
        part.replace(path)
    return len(kept)


def _append_image(image: "torch.Tensor", to: BinaryIO) -> tuple[int, int, int]:
    """Append [C, S, S] float32; returns (channels written, S, C)."""
    distinct = image[:1] if bool((image == image[:1]).all()) else image
    to.write(distinct.float().contiguous().numpy().tobytes())
    return distinct.shape[0], image.shape[-1], image.shape[0]
