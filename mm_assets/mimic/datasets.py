"""The wing's records as batches of tensors: stored tokens beside measurements and labels.

Belongs here: lining up features with records, and the keys and shapes of a batch. Does not belong here: the
policy that turns raw labels into targets, and the network.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch  # noqa: TID253

from mm_assets.mimic.schema import SINGLE_MODALITIES
from mm_assets.records.token_shards import ShardedRows, map_shard, sharded_rows


@dataclass(frozen=True)
class Records:
    """One row per study, in plain arrays. NaN in ``clinical`` means missing."""

    study_id: np.ndarray  # int64 [n]
    subject_id: np.ndarray  # int64 [n]
    split: np.ndarray  # str [n]: train, validate, test
    clinical: np.ndarray  # float32 [n, F], columns as CLINICAL_FEATURES
    targets: np.ndarray  # float32 [n, 14], columns as LABELS, 0 or 1
    target_mask: np.ndarray  # bool [n, 14], False where a label is not to be judged
    passages: np.ndarray  # int32 [n, k], rows of the passage table by rank; -1 pads

    def __len__(self) -> int:
        return len(self.study_id)


@dataclass(frozen=True)
class FeatureFiles:
    """Stored features: index columns study_id, shard, row, and the file of each shard name."""

    index: Mapping[str, np.ndarray]
    shards: Mapping[str, Path]


@dataclass(frozen=True)
class MultimodalData:
    """Records with their stored tokens. ``batch(positions)`` builds a whole batch at once."""

    records: Records
    image: ShardedRows  # float16 [., Ti, Di]
    text: ShardedRows  # float16 [., Tt, Dt]
    text_mask: ShardedRows  # uint8 [., Tt]
    passages: np.ndarray  # float16 [P, Dt]

    def positions(self, split: str) -> np.ndarray:
        """Positions of a split's records, in file order."""
        return np.flatnonzero(self.records.split == split)

    @property
    def image_tokens(self) -> tuple[int, int]:
        """(Ti, Di) of the stored films."""
        return self.image.arrays[0].shape[1], self.image.arrays[0].shape[2]

    @property
    def text_dim(self) -> int:
        return self.text.arrays[0].shape[2]

    def batch(self, positions: np.ndarray, modalities: Collection[str] = SINGLE_MODALITIES) -> dict[str, torch.Tensor]:
        """The batch of these records, padded only to its own longest note.

        Always: targets and target_mask [B, 14], study_id and subject_id [B]. With the modality ``image``:
        image_tokens [B, Ti, Di]; with ``text``: text_tokens [B, Tt, Dt], text_mask [B, Tt], passage_tokens
        [B, k, Dt], passage_mask [B, k]; with ``tabular``: clinical and clinical_missing [B, F]; and for each
        of them ``<modality>_present`` [B]. A model that reads one modality does not pay for the others.
        """
        r = self.records
        batch = {
            "targets": torch.from_numpy(r.targets[positions].astype(np.float32)),
            "target_mask": torch.from_numpy(r.target_mask[positions].astype(bool)),
            "study_id": torch.from_numpy(r.study_id[positions].astype(np.int64)),
            "subject_id": torch.from_numpy(r.subject_id[positions].astype(np.int64)),
        }
        if "image" in modalities:
            batch["image_tokens"] = torch.from_numpy(self.image.take(positions)).float()
            batch["image_present"] = torch.from_numpy(self.image.present[positions])
        if "text" in modalities:
            batch |= self._text(positions)
        if "tabular" in modalities:
            clinical = r.clinical[positions]
            missing = ~np.isfinite(clinical)
            batch["clinical"] = torch.from_numpy(np.where(missing, 0.0, clinical).astype(np.float32))
            batch["clinical_missing"] = torch.from_numpy(missing)
            batch["tabular_present"] = torch.from_numpy(~missing.all(1))
        return batch

    def _text(self, positions: np.ndarray) -> dict[str, torch.Tensor]:
        text, mask = self.text.take(positions), self.text_mask.take(positions)
        longest = max(1, int(mask.sum(1).max(initial=0)))
        passages = self.records.passages[positions]
        return {
            "text_tokens": torch.from_numpy(text[:, :longest]).float(),
            "text_mask": torch.from_numpy(mask[:, :longest] > 0),
            "text_present": torch.from_numpy(mask.any(1)),
            "passage_tokens": torch.from_numpy(np.array(self.passages[np.maximum(passages, 0)])).float(),
            "passage_mask": torch.from_numpy(passages >= 0),
        }


def open_multimodal(records: Records, image: FeatureFiles, text: FeatureFiles, passages_file: Path) -> MultimodalData:
    """Line up records with stored features; a record without a film or note is kept and marked absent.

    Raises ShardUnreadable. ``passages_file`` holds the tensor ``tokens`` [P, Dt].
    """
    return MultimodalData(
        records=records,
        image=sharded_rows(records.study_id, image.index, image.shards, "tokens"),
        text=sharded_rows(records.study_id, text.index, text.shards, "tokens"),
        text_mask=sharded_rows(records.study_id, text.index, text.shards, "mask"),
        passages=map_shard(passages_file)["tokens"],
    )
