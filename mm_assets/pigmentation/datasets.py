"""The wing's records as batches of tensors: pictures packed once at the network's size, beside labels.

Belongs here: packing of pixels into memory-mapped files, lining them up with the split, and the keys and shapes of a
batch. Does not belong here: how pixels become an encoder's input (inputs.py), random changes, and the network.

A packed file holds what ``inputs.prepared`` gives, so an epoch costs neither decoding nor resizing, and memory stays
flat: a batch reads its own rows of the file.
"""

import json
import logging
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch  # noqa: TID253

from mm_assets.learning.training import run_key
from mm_assets.pigmentation.inputs import (
    InputSpec,
    Kind,
    ModalitySpec,
    Photographs,
    fit_statistics,
    normalised,
    photograph_spec,
    prepared,
)
from mm_assets.pigmentation.schema import DERIVED_LABEL_SOURCES, MODALITIES, REQUIRED_MODALITY
from mm_assets.records.color_images import decode_color
from resources.compute import map_items
from resources.errors import MendableError

log = logging.getLogger(__name__)

PACK_VERSION = 2  # raise on any change of the packed bytes
PACKED = "packed.json"  # written last: a folder without it was not finished


class UnlabelledRecords(MendableError):
    """Records of the split have no severity label, so nothing can be learned or measured from them."""


@dataclass(frozen=True)
class TrainingFiles:
    """Local files of everything a model is trained on."""

    lesions: Path  # LESION_SCHEMA
    split: Path  # SPLIT_SCHEMA
    captures: Path  # JSON: what the stored pictures are


@dataclass(frozen=True)
class StoredModality:
    """How one modality lies in the lesions' table: a JPEG, or raw float16 of ``shape`` [H, W, C]."""

    name: str
    kind: Kind
    channels: int
    shape: tuple[int, int, int] | None = None
    wavelengths_nm: tuple[float, ...] | None = None

    def pixels(self, stored: bytes) -> np.ndarray:
        """uint8 [H, W, 3] or float16 [H, W, C]."""
        if self.shape is None:
            return decode_color(stored).pixels
        return np.frombuffer(stored, np.float16).reshape(self.shape)

    def unscaled(self, photographs: Photographs) -> ModalitySpec:
        """Its specification before there are statistics of a training split."""
        if self.kind == "rgb":
            return photograph_spec(self.name, photographs)
        zeros, ones = (0.0,) * self.channels, (1.0,) * self.channels
        return ModalitySpec(
            name=self.name, kind=self.kind, channels=self.channels, mean=zeros, std=ones,
            wavelengths_nm=self.wavelengths_nm,
        )  # fmt: skip


@dataclass(frozen=True)
class PackedPixels:
    """A folder with ``<modality>.npy`` [N, S, S, C], rows as in the lesions' table, and ``present.npy`` [N, M].

    ``modalities``: those that some record has.
    """

    folder: Path
    image_size: int
    modalities: tuple[StoredModality, ...]
    photographs: Photographs

    def pixels(self, name: str) -> np.ndarray:
        return np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)

    def present(self) -> np.ndarray:
        """bool [N, M] in the order of ``modalities``."""
        return np.load(self.folder / "present.npy", allow_pickle=False)


@dataclass(frozen=True)
class LesionRecords:
    """One row per labelled record of the split, in plain arrays."""

    record_id: np.ndarray  # str [n]
    patient_id: np.ndarray  # str [n]
    split: np.ndarray  # str [n]: train, validate, test
    score: np.ndarray  # float32 [n], the label in [0, 1]
    label_source: np.ndarray  # str [n]
    row: np.ndarray  # int64 [n], of the lesions' table

    def __len__(self) -> int:
        return len(self.record_id)

    def label_sources(self) -> dict[str, Any]:
        """Records per source of the label, and whether any was computed from pixels."""
        names, counts = np.unique(self.label_source, return_counts=True)
        return {
            "label_sources": dict(zip(names.tolist(), counts.tolist(), strict=True)),
            "derived_labels": bool(set(names.tolist()) & set(DERIVED_LABEL_SOURCES)),
        }


@dataclass(frozen=True)
class LesionData:
    """Records with their packed pictures. ``batch(positions)`` builds a whole batch at once."""

    records: LesionRecords
    spec: InputSpec
    pixels: Mapping[str, np.ndarray]  # memory-mapped, one row per row of the lesions' table
    present: np.ndarray  # bool [n, M], columns as the specification's modalities

    def positions(self, split: str) -> np.ndarray:
        """Positions of a split's records, in file order."""
        return np.flatnonzero(self.records.split == split)

    def having(self, modalities: Sequence[str], positions: np.ndarray) -> np.ndarray:
        """Those of ``positions`` that have every one of ``modalities``."""
        columns = [self.spec.names.index(name) for name in modalities]
        return positions[self.present[positions][:, columns].all(1)]

    def batch(self, positions: np.ndarray) -> dict[str, torch.Tensor]:
        """Per modality float32 [B, C, S, S]; present bool [B, M]; targets [B, 1] and target_mask bool [B, 1]."""
        rows = self.records.row[positions]
        scores = torch.from_numpy(self.records.score[positions].astype(np.float32))[:, None]
        batch = {name: normalised(self.spec.modality(name), self.pixels[name][rows]) for name in self.spec.names}
        return {
            **batch,
            "present": torch.from_numpy(self.present[positions]),
            "targets": scores,
            "target_mask": torch.ones_like(scores, dtype=torch.bool),
        }


def stored_modalities(captures: Mapping[str, Any]) -> tuple[StoredModality, ...]:
    """What the lesions' table has a column for and how its pictures lie there, from `captures.json`."""
    side, bands = int(captures["cube_px"]), captures.get("wavelengths_nm") or []
    pseudo = captures["multispectral"] == "pseudo_hsl"
    channels = 4 if pseudo else len(bands)
    stored = [StoredModality(name, "rgb", 3) for name in MODALITIES if name != "multispectral"]
    if channels:
        stored.append(
            StoredModality(
                "multispectral", "hsl" if pseudo else "cube", channels, (side, side, channels),
                None if pseudo else tuple(float(nm) for nm in bands),
            )
        )  # fmt: skip
    return tuple(stored)


def pack_pixels(
    files: TrainingFiles,
    image_size: int,
    scratch: Path,
    *,
    photographs: Photographs,
    versions: Mapping[str, str],
    workers: int = 1,
) -> PackedPixels:
    """Every picture of the lesions' table at ``image_size``, packed below ``scratch``; done once per version and size.

    A run that is killed leaves an unfinished folder, which the next one replaces. Of two at the same time the first to
    finish wins, and both go on with its files.
    """
    captures = json.loads(files.captures.read_text(encoding="utf-8"))
    taken = {REQUIRED_MODALITY, *_taken(files.lesions)}
    stored = tuple(modality for modality in stored_modalities(captures) if modality.name in taken)
    key = run_key(
        {"pack": PACK_VERSION, "size": image_size, "captures": captures, "photographs": photographs},
        {name: version for name, version in versions.items() if name.endswith("/lesions")},
    )
    folder = scratch / f"{image_size}px-{key}"
    packed = PackedPixels(folder, image_size, stored, photographs)
    if not (folder / PACKED).exists():
        draft = scratch / f".{folder.name}-{uuid.uuid4().hex[:8]}"
        try:
            _pack(files.lesions, PackedPixels(draft, image_size, stored, photographs), workers)
            if not (folder / PACKED).exists():
                shutil.rmtree(folder, ignore_errors=True)  # what a run that was killed left there
                draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return packed


def _taken(lesions: Path) -> set[str]:
    """The modalities that some record has a picture of. Groups are read up to the first picture of each."""
    table = pq.ParquetFile(lesions)

    def has(name: str, group: int) -> bool:
        column = table.read_row_group(group, columns=[name])[name]
        return bool(column.null_count < len(column))

    return {name for name in MODALITIES if any(has(name, group) for group in range(table.num_row_groups))}


def _pack(lesions: Path, packed: PackedPixels, workers: int) -> None:
    table = pq.ParquetFile(lesions)
    n, size = table.metadata.num_rows, packed.image_size
    packed.folder.mkdir(parents=True, exist_ok=True)
    for stored in packed.modalities:
        dtype = np.uint8 if stored.unscaled(packed.photographs).kind == "rgb" else np.float16
        # Zeros that are never written take no room on the disk.
        np.lib.format.open_memmap(packed.folder / f"{stored.name}.npy", "w+", dtype, (n, size, size, stored.channels))
    groups = range(table.num_row_groups)
    starts = np.cumsum([0, *(table.metadata.row_group(group).num_rows for group in groups)])
    work = partial(_pack_group, lesions, packed)
    tasks = [(group, int(starts[group])) for group in groups]
    kind = "process" if workers > 1 and len(tasks) > 1 else "inline"
    parts = list(map_items(work, tasks, workers=workers, kind=kind, desc="pack pixels"))  # type: ignore[arg-type]
    np.save(packed.folder / "present.npy", np.concatenate([np.zeros((0, len(packed.modalities)), bool), *parts]))
    (packed.folder / PACKED).write_text(json.dumps({"records": n, "image_size": size}) + "\n")


def _pack_group(lesions: Path, packed: PackedPixels, task: tuple[int, int]) -> np.ndarray:
    """Write one row group's pictures in place; which of them there are, bool [rows, M]."""
    torch.set_num_threads(1)
    group, start = task
    names = [stored.name for stored in packed.modalities]
    table = pq.ParquetFile(lesions).read_row_group(group, columns=names)
    present = np.stack([table[name].is_valid().to_numpy() for name in names], axis=1)
    for column, stored in enumerate(packed.modalities):
        out = np.load(packed.folder / f"{stored.name}.npy", mmap_mode="r+", allow_pickle=False)
        spec = stored.unscaled(packed.photographs)
        for i in np.flatnonzero(present[:, column]):
            picture = stored.pixels(table[stored.name][int(i)].as_py())
            out[start + i] = prepared(spec, picture, packed.image_size)
        out.flush()
    return present


def split_records(files: TrainingFiles) -> LesionRecords:
    """The records of the split in the order of the lesions' table. Raises UnlabelledRecords."""
    columns = ["record_id", "patient_id", "score", "label_source"]
    lesions = pq.read_table(files.lesions, columns=columns)
    split = pq.read_table(files.split, columns=["record_id", "split"])
    part = dict(zip(split["record_id"].to_pylist(), split["split"].to_pylist(), strict=True))
    names = lesions["record_id"].to_pylist()
    row = np.array([i for i, name in enumerate(names) if part.get(name) is not None], np.int64)
    chosen = lesions.take(pa.array(row))
    unlabelled = chosen["score"].null_count
    if unlabelled:
        raise UnlabelledRecords(
            f"{unlabelled} of {len(row)} records in the split have no severity label: give label and label_source in "
            "the manifest, or keep those records out of the split"
        )
    return LesionRecords(
        record_id=np.array(chosen["record_id"].to_pylist(), dtype=str),
        patient_id=np.array(chosen["patient_id"].to_pylist(), dtype=str),
        split=np.array([part[name] for name in chosen["record_id"].to_pylist()], dtype=str),
        score=chosen["score"].to_numpy(zero_copy_only=False).astype(np.float32),
        label_source=np.array([source or "unknown" for source in chosen["label_source"].to_pylist()], dtype=str),
        row=row,
    )


def input_spec(records: LesionRecords, packed: PackedPixels) -> InputSpec:
    """The model's input: every modality that can be learned and measured, with statistics of the training split.

    One is left out, with a warning, unless every split has a record with it and with those before it: what is evaluated
    are records that have every modality.
    """
    train = records.row[records.split == "train"]
    present = packed.present()
    complete = np.ones(len(records), bool)
    specs = []
    for column, stored in enumerate(packed.modalities):
        together = complete & present[records.row, column]
        if stored.name != REQUIRED_MODALITY and set(records.split) - set(records.split[together]):
            log.warning("%s is not read: not every split has a record with it and all else", stored.name)
            continue
        complete = together
        rows = train[present[train, column]]
        spec = stored.unscaled(packed.photographs)
        if spec.kind != "rgb":
            mean, std = fit_statistics(packed.pixels(stored.name), rows)
            spec = ModalitySpec.model_validate({**spec.model_dump(), "mean": mean, "std": std})
        specs.append(spec)
    return InputSpec(image_size=packed.image_size, modalities=tuple(specs))


def open_lesion_data(records: LesionRecords, packed: PackedPixels, spec: InputSpec) -> LesionData:
    """Records lined up with packed pictures of the modalities in ``spec``."""
    order = [[stored.name for stored in packed.modalities].index(name) for name in spec.names]
    pixels = {name: packed.pixels(name) for name in spec.names}
    return LesionData(records, spec, pixels, packed.present()[records.row][:, order])
