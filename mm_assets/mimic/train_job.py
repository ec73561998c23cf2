"""One variant with one seed, from files to files: what a worker process does.

Belongs here: opening the stored features, training, predicting, writing the weights. Does not belong here: the loop
(learning/training.py), the network (model.py), which variants there are (schema.py), artifacts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch  # noqa: TID253

from mm_assets.learning.checkpoints import Mirror
from mm_assets.learning.runs import CONFIG, write_weights
from mm_assets.learning.training import TrainConfig, predict_logits
from mm_assets.mimic.datasets import FeatureFiles, MultimodalData, Records, open_multimodal
from mm_assets.mimic.labels import LabelPolicy, raw_labels, targets_and_mask
from mm_assets.mimic.model import EnhancedMDFNet, parameter_table
from mm_assets.mimic.schema import CLINICAL_FEATURES, LABELS, SINGLE_MODALITIES
from mm_assets.mimic.training import TRAINING_VERSION, train_variant

PREDICTIONS_SCHEMA = pa.schema(
    [
        ("study_id", pa.int64()),
        ("split", pa.string()),
        ("variant", pa.string()),
        ("seed", pa.int32()),
        ("dropped", pa.string()),  # the modality hidden at test time; null: none
        ("logits", pa.list_(pa.float32(), len(LABELS))),
    ]
)


@dataclass(frozen=True)
class TrainingFiles:
    """Local files of everything a model is trained on. Index files and shards share a prefix per partition."""

    records: Path  # phase 3
    image: Mapping[str, Path]  # "p10/index.parquet", "p10/features-00000.safetensors", ...
    text: Mapping[str, Path]
    passages: Path  # the passage table, for the order of its ids
    passage_vectors: Path


@dataclass(frozen=True)
class TrainJob:
    """What one worker trains, and the folder it writes the weights to."""

    files: TrainingFiles
    policy: LabelPolicy
    variant: str
    seed: int
    knobs: TrainConfig
    width: int
    scratch: Path  # checkpoints; a killed job goes on from the last one
    versions: Mapping[str, str]
    folder: Path
    mirror: Mirror | None = None  # of the checkpoints; None: they are in scratch alone


@dataclass(frozen=True)
class TrainResult:
    """Plain values that a worker hands back; the weights are in the job's folder."""

    variant: str
    seed: int
    best_epoch: int
    parameters: int
    curves: list[dict[str, float]]
    predictions: pa.Table  # PREDICTIONS_SCHEMA
    work_dir: Path  # checkpoints and TensorBoard's curves


def open_training_data(files: TrainingFiles, policy: LabelPolicy) -> MultimodalData:
    """Stored features lined up with the integrated records, sorted by study_id."""
    columns = ["study_id", "subject_id", "split", "passage_ids", "phase3_integrated", *CLINICAL_FEATURES, *LABELS]
    table = pq.read_table(files.records, columns=columns)
    table = table.filter(table["phase3_integrated"]).sort_by("study_id")
    number = {name: i for i, name in enumerate(pq.read_table(files.passages)["passage_id"].to_pylist())}
    return open_multimodal(
        records_of(table, number, policy), feature_files(files.image), feature_files(files.text), files.passage_vectors
    )


def records_of(table: pa.Table, passage_number: Mapping[str, int], policy: LabelPolicy) -> Records:
    """Rows of phase 3 as plain arrays; labels become targets and a mask under the policy."""
    targets, mask = targets_and_mask(raw_labels(table), policy)
    found = [[passage_number[name] for name in names] for names in table["passage_ids"].to_pylist()]
    passages = np.full((table.num_rows, max([1, *map(len, found)])), -1, np.int32)
    for row, ranks in enumerate(found):
        passages[row, : len(ranks)] = ranks
    clinical = np.stack(
        [table[name].to_numpy(zero_copy_only=False).astype(np.float32) for name in CLINICAL_FEATURES], axis=1
    )
    return Records(
        study_id=table["study_id"].to_numpy(),
        subject_id=table["subject_id"].to_numpy(),
        split=np.array(table["split"].to_pylist()),
        clinical=clinical,
        targets=targets,
        target_mask=mask,
        passages=passages,
    )


def feature_files(files: Mapping[str, Path]) -> FeatureFiles:
    """The parts of all partitions as one: shard names carry their partition's prefix."""
    parts: dict[str, list[Any]] = {"study_id": [], "shard": [], "row": []}
    for name in sorted(name for name in files if name.endswith("index.parquet")):
        prefix = name.removesuffix("index.parquet")
        index = pq.read_table(files[name])
        parts["study_id"] += index["study_id"].to_pylist()
        parts["shard"] += [f"{prefix}{shard}" for shard in index["shard"].to_pylist()]
        parts["row"] += index["row"].to_pylist()
    shards = {name: path for name, path in files.items() if name.endswith(".safetensors")}
    return FeatureFiles({key: np.array(values) for key, values in parts.items()}, shards)


def run_train_job(job: TrainJob) -> TrainResult:
    """Train (or resume), write weights and configuration, predict validate and test.

    The fused variant also predicts test with each modality hidden, for the missing-modality table.
    """
    data = open_training_data(job.files, job.policy)
    trained = train_variant(
        data,
        job.variant,
        job.seed,
        job.knobs,
        width=job.width,
        scratch=job.scratch,
        versions=job.versions,
        policy=job.policy,
        mirror=job.mirror,
    )
    write_weights(trained.state_dict, job.folder)
    (job.folder / CONFIG).write_text(trained.config.to_json() + "\n")
    named = partial(predictions, data, variant=job.variant, seed=job.seed)
    parts = [named(split=split, logits=trained.logits[split]) for split in ("validate", "test")]
    model = EnhancedMDFNet(trained.config)
    model.load_state_dict(trained.state_dict)
    if job.variant == "fused":
        positions = data.positions("test")
        for modality in SINGLE_MODALITIES:
            logits = predict_logits(model, partial(hidden_batch, data, modality), positions)
            parts.append(named(split="test", logits=logits, dropped=modality))
    return TrainResult(
        variant=job.variant,
        seed=job.seed,
        best_epoch=trained.fit.best_epoch,
        parameters=parameter_table(model)[-1]["parameters"],
        curves=trained.fit.curves,
        predictions=pa.concat_tables(parts),
        work_dir=trained.work_dir,
    )


def hidden_batch(data: MultimodalData, modality: str, rows: np.ndarray) -> dict[str, torch.Tensor]:
    """A batch as if one modality had not been recorded."""
    batch = data.batch(rows)
    return {**batch, f"{modality}_present": torch.zeros_like(batch[f"{modality}_present"])}


def predictions(
    data: MultimodalData, *, split: str, variant: str, seed: int, logits: np.ndarray, dropped: str | None = None
) -> pa.Table:
    """PREDICTIONS_SCHEMA rows of one split."""
    studies = data.records.study_id[data.positions(split)]
    n = len(studies)
    return pa.Table.from_arrays(
        [
            pa.array(studies, pa.int64()),
            pa.array([split] * n, pa.string()),
            pa.array([variant] * n, pa.string()),
            pa.array([seed] * n, pa.int32()),
            pa.array([dropped] * n, pa.string()),
            pa.FixedSizeListArray.from_arrays(pa.array(logits.astype(np.float32).ravel()), len(LABELS)),
        ],
        schema=PREDICTIONS_SCHEMA,
    )


def joined(results: Sequence[TrainResult]) -> pa.Table:
    """All predictions, in the order of the jobs."""
    return pa.concat_tables([result.predictions for result in results])


def training_record(jobs: Sequence[TrainJob], results: Sequence[TrainResult]) -> dict[str, Any]:
    """`training.json`: the knobs all jobs share, the label policy, parameters per variant, best epoch per run."""
    return {
        "knobs": {**asdict(jobs[0].knobs), "seed": sorted({job.seed for job in jobs}), "width": jobs[0].width},
        "training_version": TRAINING_VERSION,
        "policy": asdict(jobs[0].policy),
        "parameters": {result.variant: result.parameters for result in results},
        "best_epoch": {f"{result.variant}-{result.seed}": result.best_epoch for result in results},
    }
