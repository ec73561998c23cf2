"""One variant with one seed, from files to files: what a worker process does.

Belongs here: jobs from the asset's knobs, opening packed pixels, training, predicting every subset of modalities,
writing the weights. Does not belong here: the loop (learning/training.py), the network (model.py), artifacts.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mm_assets.learning.bundle import SPEC, WEIGHTS
from mm_assets.learning.checkpoints import Mirror
from mm_assets.learning.image_encoders import HUB, RANDOM, find_weights
from mm_assets.learning.runs import write_weights
from mm_assets.learning.training import TrainConfig
from mm_assets.pigmentation.datasets import (
    LesionData,
    PackedPixels,
    TrainingFiles,
    input_spec,
    open_lesion_data,
    pack_pixels,
    split_records,
)
from mm_assets.pigmentation.fusion import FusionConfig
from mm_assets.pigmentation.inputs import InputSpec
from mm_assets.pigmentation.model import LOG_SIGMA, SCORE, FusionModel, build_model, parameter_counts
from mm_assets.pigmentation.schema import PREDICTION_SCHEMA, subset_name
from mm_assets.pigmentation.severity import DEFAULT_THRESHOLDS, Thresholds
from mm_assets.pigmentation.training import TRAINING_VERSION, expected_score, predict_subsets, train_variant

# Everything a caller of jobs needs comes from here.
__all__ = [
    "SPEC", "WEIGHTS", "TrainJob", "TrainResult", "joined", "load_trained", "pack_pixels", "run_train_job",
    "train_jobs", "training_record",
]  # fmt: skip


@dataclass(frozen=True)
class TrainJob:
    """What one worker trains, and the folder it writes the weights to."""

    files: TrainingFiles
    packed: PackedPixels
    spec: InputSpec
    config: FusionConfig
    knobs: TrainConfig
    weights: Path | None  # pretrained, of the encoder; None: a random start
    thresholds: Thresholds  # of the severities, which a classification head learns
    scratch: Path  # checkpoints; a killed job goes on from the last one
    versions: Mapping[str, str]
    folder: Path
    mirror: Mirror | None = None  # of the checkpoints; None: they are in scratch alone

    @property
    def variant(self) -> str:
        return self.config.variant

    @property
    def seed(self) -> int:
        return self.knobs.seed


@dataclass(frozen=True)
class TrainResult:
    """Plain values that a worker hands back; the weights are in the job's folder."""

    variant: str
    seed: int
    best_epoch: int
    parameters: dict[str, int]  # per part, and total
    curves: list[dict[str, float]]
    predictions: pa.Table  # PREDICTION_SCHEMA
    work_dir: Path  # checkpoints and TensorBoard's curves


def train_jobs(
    files: TrainingFiles,
    packed: PackedPixels,
    knobs: Any,
    *,
    thresholds: Thresholds,
    variants: Sequence[str],
    versions: Mapping[str, str],
    folder: Path,
    scratch: Path,
    precision: str = "32-true",
    accelerator: str = "cpu",
    mirror: Mirror | None = None,
) -> list[TrainJob]:
    """A job per seed and variant, slowest variant first; ``knobs`` is the model asset's Config with its profile filled
    in. Raises UnlabelledRecords, FusionConfigError, EncoderUnknown, EncoderUnavailable."""
    spec = input_spec(split_records(files), packed)
    config = FusionConfig(
        modalities=spec.channels, encoder=knobs.encoder, stage=knobs.stage, image_size=spec.image_size,
        width=knobs.width, heads=knobs.attention_heads, dropout=knobs.dropout, modality_dropout=knobs.modality_dropout,
        head=knobs.head, loss=knobs.loss,
    )  # fmt: skip
    train = TrainConfig(
        epochs=knobs.epochs, batch_size=knobs.batch_size, learning_rate=knobs.learning_rate,
        weight_decay=knobs.weight_decay, warmup=knobs.warmup, patience=knobs.patience, clip_norm=knobs.clip_norm,
        tensorboard=knobs.tensorboard, precision=precision, accelerator=accelerator,
    )  # fmt: skip
    weights = find_weights(knobs.encoder, HUB if knobs.pretrained else RANDOM)
    return [
        TrainJob(
            files=files, packed=packed, spec=spec, config=replace(config, variant=variant),
            knobs=replace(train, seed=seed), weights=weights, scratch=scratch, versions=versions,
            thresholds=thresholds, folder=folder / f"{variant}-{seed}", mirror=mirror,
        )
        for seed in knobs.seeds
        for variant in variants
    ]  # fmt: skip


def run_train_job(job: TrainJob) -> TrainResult:
    """Train (or resume), write weights, configuration and input specification, predict validate and test."""
    data = open_lesion_data(split_records(job.files), job.packed, job.spec)
    trained = train_variant(
        data, job.config, job.knobs, scratch=job.scratch, versions=job.versions,
        weights=dict.fromkeys(job.config.names, job.weights) if job.weights else None, thresholds=job.thresholds,
        mirror=job.mirror,
    )  # fmt: skip
    write_weights(trained.model.state_dict(), job.folder)
    written = {"architecture": asdict(job.config), "preprocessing": job.spec.as_json()}
    (job.folder / SPEC).write_text(json.dumps(written, sort_keys=True, indent=2) + "\n", encoding="utf-8")
    return TrainResult(
        variant=job.variant,
        seed=job.seed,
        best_epoch=trained.fit.best_epoch,
        parameters=parameter_counts(trained.model),
        curves=trained.fit.curves,
        predictions=pa.concat_tables(
            [predictions(trained.model, data, split, job.seed, job.thresholds) for split in ("validate", "test")]
        ),
        work_dir=trained.work_dir,
    )


def load_trained(folder: Path) -> tuple[FusionModel, InputSpec]:
    """The model in a job's folder, in evaluation mode, and how its input is made."""
    from safetensors.torch import load_file

    written = json.loads((folder / SPEC).read_text(encoding="utf-8"))
    model = build_model(written["architecture"], load_file(str(folder / WEIGHTS)))
    return model, InputSpec.from_json(written["preprocessing"])


def predictions(
    model: FusionModel, data: LesionData, split: str, seed: int, thresholds: Thresholds = DEFAULT_THRESHOLDS
) -> pa.Table:
    """PREDICTION_SCHEMA rows of one split: every subset of modalities, and every record that has it."""
    positions = data.positions(split)
    names = data.records.record_id[positions]
    parts = []
    for subset, outputs in predict_subsets(model, data, positions).items():
        there = np.flatnonzero(~np.isnan(outputs[:, SCORE]))
        n, found = len(there), outputs[there]
        regression = model.config.head == "regression"
        score = found[:, SCORE] if regression else expected_score(found, thresholds)
        spread = found[:, LOG_SIGMA] if model.config.predicts_spread else np.full(n, np.nan)
        parts.append(
            pa.Table.from_arrays(
                [
                    pa.array(names[there].tolist(), pa.string()),
                    pa.array([split] * n, pa.string()),
                    pa.array([model.config.variant] * n, pa.string()),
                    pa.array([seed] * n, pa.int32()),
                    pa.array([subset_name(subset)] * n, pa.string()),
                    pa.array(score.astype(np.float32)),
                    pa.array(spread.astype(np.float32), mask=np.isnan(spread)),
                ],
                schema=PREDICTION_SCHEMA,
            )
        )
    return pa.concat_tables(parts)


def joined(results: Sequence[TrainResult]) -> pa.Table:
    """All predictions, in the order of the jobs."""
    return pa.concat_tables([result.predictions for result in results])


def training_record(jobs: Sequence[TrainJob], results: Sequence[TrainResult]) -> dict[str, Any]:
    """`training.json`: what all jobs share, where the labels come from, parameters per variant, best epoch per run."""
    first = jobs[0]
    return {
        "knobs": {**asdict(first.knobs), "seed": sorted({job.seed for job in jobs})},
        "model": {key: value for key, value in asdict(first.config).items() if key != "variant"},
        "pretrained": first.weights is not None,
        "training_version": TRAINING_VERSION,
        **split_records(first.files).label_sources(),
        "parameters": {result.variant: result.parameters for result in results},
        "best_epoch": {f"{result.variant}-{result.seed}": result.best_epoch for result in results},
    }
