"""The records of one split with what every variant and baseline said about them: what is evaluated.

Belongs here: the shape of an evaluation's inputs, their checks, and building them from the published tables.
Does not belong here: tables and choices (evaluation.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.learning.metrics import Array, BoolArray, MetricInputError
from mm_assets.pigmentation.baselines import DELTA_MELANIN, PREDICT_MEAN
from mm_assets.pigmentation.schema import MODALITIES, REQUIRED_MODALITY, subset_name, subsets

HEADLINE_VARIANT = "fused"
Key = tuple[str, int, str]  # variant, seed, subset
Names = npt.NDArray[np.str_]


@dataclass(frozen=True)
class SplitScores:
    """One split, N labelled records. NaN stands where a record lacks a modality of the subset."""

    record_ids: Sequence[str]  # [N]
    patients: Names  # [N]
    targets: Array  # [N] labels in [0, 1]
    tones: Names  # [N] one of TONES or "unknown"
    label_sources: Names  # [N]
    scores: Mapping[Key, Array]  # [N]
    sigmas: Mapping[Key, Array]  # [N], only of models that predict a spread
    baselines: Mapping[str, Array] = field(default_factory=dict)  # name -> [N]; read on test only

    @property
    def lesions(self) -> Names:
        """The lesion of each record, [N]: a record is ``lesion@visit``."""
        return np.array([record.rpartition("@")[0] or record for record in self.record_ids])

    def available(self, subset: str) -> BoolArray:
        """Records that have every modality of ``subset``: those the headline variant answered. [N]."""
        return np.isfinite(
            next(s for (v, _, name), s in sorted(self.scores.items()) if (v, name) == (HEADLINE_VARIANT, subset))
        )


@dataclass(frozen=True)
class EvaluationInputs:
    """Everything an evaluation reads. ``modalities``: the model's, in configured order."""

    validate: SplitScores
    test: SplitScores
    modalities: tuple[str, ...] = MODALITIES

    @property
    def subsets(self) -> list[str]:
        """Names of all subsets, smallest first; the last has every modality."""
        return [subset_name(chosen) for chosen in subsets(self.modalities)]

    @property
    def every(self) -> str:
        """The subset of all modalities."""
        return self.subsets[-1]

    def seeds(self, variant: str = HEADLINE_VARIANT) -> list[int]:
        """Seeds that a variant was trained with; empty where it was not trained."""
        return sorted({seed for name, seed, _ in self.test.scores if name == variant})


def split_scores(
    records: pa.Table, predictions: pa.Table, split: str, baselines: Mapping[str, Mapping[str, float]] | None = None
) -> SplitScores:
    """The labelled records of ``split``.

    ``records``: columns record_id, patient_id, score, tone, label_source, split. ``predictions``: PREDICTION_SCHEMA.
    ``baselines``: name -> record_id -> score. Raises MetricInputError where the split has no labelled record, or where
    a variant, seed and subset answered a record twice.
    """
    rows = [
        row for row in records.select(["record_id", "patient_id", "score", "tone", "label_source", "split"]).to_pylist()
        if row["split"] == split and row["score"] is not None
    ]  # fmt: skip
    if not rows:
        raise MetricInputError(f"the {split} split has no labelled record; add labels or more patients")
    ids = [row["record_id"] for row in rows]
    position = {record: k for k, record in enumerate(ids)}
    scores: dict[Key, Array] = {}
    sigmas: dict[Key, Array] = {}
    of_split = predictions.filter(pc.equal(predictions["split"], split))
    for row in of_split.to_pylist():
        k = position.get(row["record_id"])
        if k is None:
            continue
        key = (row["variant"], row["seed"], row["subset"])
        values = scores.setdefault(key, np.full(len(ids), np.nan))
        if np.isfinite(values[k]):
            raise MetricInputError(f"{'/'.join(map(str, key))} answered a record twice; train and predict again")
        values[k] = row["score"]
        if row["log_sigma"] is not None and np.isfinite(row["log_sigma"]):
            sigmas.setdefault(key, np.full(len(ids), np.nan))[k] = np.exp(row["log_sigma"])
    return SplitScores(
        record_ids=ids,
        patients=np.array([row["patient_id"] for row in rows]),
        targets=np.array([row["score"] for row in rows], dtype=np.float64),
        tones=np.array([row["tone"] for row in rows]),
        label_sources=np.array([row["label_source"] for row in rows]),
        scores=scores,
        sigmas=sigmas,
        baselines={
            name: np.array([of_record.get(record, np.nan) for record in ids])
            for name, of_record in (baselines or {}).items()
        },
    )


def check_inputs(inputs: EvaluationInputs) -> None:
    """Raise MetricInputError unless both splits hold the same models, share no patient and fit in shape."""
    validate, test = inputs.validate, inputs.test
    if set(validate.scores) != set(test.scores):
        raise MetricInputError("validate and test hold predictions of different variants or seeds; predict both again")
    for baseline in (PREDICT_MEAN, DELTA_MELANIN):
        if baseline not in test.baselines:
            raise MetricInputError(f"the baseline {baseline} is missing on test; measure it before evaluating")
    for subset in inputs.subsets:
        for seed in inputs.seeds() or [0]:
            if (HEADLINE_VARIANT, seed, subset) not in test.scores:
                raise MetricInputError(f"no predictions of '{HEADLINE_VARIANT}' for {subset}; train and predict again")
    shared = np.intersect1d(validate.patients, test.patients)
    if shared.size:
        raise MetricInputError(f"{shared.size} patients are in validate and in test; split by patient")
    for name, split in (("validate", validate), ("test", test)):
        _check_split(name, split)
        if not split.available(inputs.every).any():
            raise MetricInputError(
                f"no labelled record of the {name} split has all of {inputs.every}, which is what is compared; "
                "add records that have every image, and materialize the wing again"
            )


def _check_split(name: str, split: SplitScores) -> None:
    n = len(split.record_ids)
    arrays = {
        "patients": split.patients, "targets": split.targets, "tones": split.tones, "sources": split.label_sources,
        **{"/".join(map(str, key)): values for key, values in (*split.scores.items(), *split.sigmas.items())},
        **split.baselines,
    }  # fmt: skip
    for what, values in arrays.items():
        if np.shape(values) != (n,):
            raise MetricInputError(
                f"{what} of the {name} split has shape {np.shape(values)}, not ({n},); predict again"
            )
    if not ((split.targets >= 0) & (split.targets <= 1)).all():
        raise MetricInputError(f"labels of the {name} split lie outside 0 to 1; mend the manifest")
    for baseline, values in split.baselines.items():
        if not np.isfinite(values).all():
            raise MetricInputError(f"the baseline {baseline} lacks some {name} records; measure it for every record")
    for (variant, seed, subset), values in split.scores.items():
        # Every variant sees the same files: a gap of its own is a model that diverged, not a missing picture.
        if (np.isfinite(values) != split.available(subset)).any():
            raise MetricInputError(
                f"{variant} with seed {seed} left out some {name} records of {subset}; it diverged: train it again"
            )
    required = split.available(REQUIRED_MODALITY)
    if not required.all():
        raise MetricInputError(f"{int((~required).sum())} {name} records were not predicted; predict again")
