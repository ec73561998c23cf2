"""One network with one seed, from files to files: what a worker does.

Belongs here: the list of networks that are trained, training each, its weights and its answers. Does not belong here:
the loops (split_training.py, central_training.py), what crosses between the parties (party_training.py), artifacts.

The joint network is trained by the two parties, each in a process of its own. The others are trained here, by whoever
may read both parties' rows, and exist only to compare with.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mm_assets.cloud_vision.central_training import Parties, predict_central, train_central
from mm_assets.cloud_vision.parties import PartyAccess
from mm_assets.cloud_vision.party_process import WireKind, exchange
from mm_assets.cloud_vision.party_steps import SplitKnobs
from mm_assets.cloud_vision.party_training import LOGITS, PREDICTED, one_thread, trained_weights, training_message
from mm_assets.cloud_vision.row_files import CommonRows, RowFiles, open_rows
from mm_assets.cloud_vision.schema import CLASSES
from mm_assets.cloud_vision.split_model import SplitConfig
from mm_assets.learning.runs import WEIGHTS, write_weights

JOINT = "joint"
# The joint network in one place: what the two parties' result is held against, to the bit.
CENTRAL = "central"
# What each party, and the X-ray alone, would make of the labels; slowest first.
ALONE: Mapping[str, Parties] = {"org3": "org3", "image_only": "org3", "org2": "org2"}

LOGIT_COLUMNS = tuple(f"logit_{place}" for place in range(len(CLASSES)))
PREDICTION_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("split", pa.string()),  # validate, test or shifted
        ("model", pa.string()),
        ("seed", pa.int32()),
        *((name, pa.float32()) for name in LOGIT_COLUMNS),  # in the order of CLASSES
    ]
)


@dataclass(frozen=True)
class BothParties:
    """What training over the wire needs: versions are those of each party's features."""

    org2: PartyAccess
    org3: PartyAccess
    versions: Mapping[str, str]
    wire: WireKind


@dataclass(frozen=True)
class TrainJob:
    """What one worker trains, and the folder it writes the weights to; ``parties`` is of the joint network alone."""

    variant: str
    config: SplitConfig
    knobs: SplitKnobs
    files: RowFiles
    folder: Path
    parties: BothParties | None = None

    @property
    def seed(self) -> int:
        return self.knobs.seed


@dataclass(frozen=True)
class TrainResult:
    """Plain values that a worker hands back; the weights are in ``work_dir``. ``wire`` is of the joint network."""

    variant: str
    seed: int
    best_epoch: int
    parameters: int
    curves: list[dict[str, float]]
    predictions: pa.Table  # PREDICTION_SCHEMA
    work_dir: Path
    wire: dict[str, Any] | None = None


def train_jobs(
    files: RowFiles, parties: BothParties, config: SplitConfig, knobs: SplitKnobs, seeds: Sequence[int], folder: Path
) -> list[TrainJob]:
    """Slowest first: the joint network of every seed, the same in one place with the first seed, then the others."""
    jobs = [
        TrainJob(JOINT, config, replace(knobs, seed=seed), files, folder / f"{JOINT}-{seed}", parties) for seed in seeds
    ]
    first = replace(knobs, seed=seeds[0])
    jobs.append(TrainJob(CENTRAL, config, first, files, folder / f"{CENTRAL}-{seeds[0]}"))
    image_only = replace(config, org3_features=0)
    return jobs + [
        TrainJob(
            name, image_only if name == "image_only" else config, replace(knobs, seed=seed), files,
            folder / f"{name}-{seed}",
        )
        for name in ALONE
        for seed in seeds
    ]  # fmt: skip


def run_train_job(job: TrainJob) -> TrainResult:
    """Train, write the weights, answer validate, test and, where there is one, shifted.

    Raises what the parties raise, RowsOutOfStep.
    """
    rows = open_rows(job.files)
    if job.parties is not None:
        return _trained_by_parties(job, job.parties, rows)
    with one_thread():
        places = rows.places
        org3 = rows.org3 if job.config.org3_features else replace(rows.org3, features=rows.org3.features[:, :0])
        run = train_central(
            job.config, rows.org2, org3, places["train"], places["validate"], job.knobs,
            parties=ALONE.get(job.variant, "joint"), desc=f"{job.variant}, seed {job.seed}",
        )  # fmt: skip
        logits = {
            name: predict_central(run.model, rows.org2, org3, places[name]) for name in PREDICTED if len(places[name])
        }
    weights = run.model.state_dict()
    write_weights(weights, job.folder)
    return TrainResult(
        variant=job.variant, seed=job.seed, best_epoch=run.best_epoch, parameters=_count(weights), curves=run.curves,
        predictions=_answers(job, rows, logits), work_dir=job.folder,
    )  # fmt: skip


def joined(results: Sequence[TrainResult]) -> pa.Table:
    """All predictions but those of the joint network in one place, which are the parties' own, in the jobs' order."""
    return pa.concat_tables([result.predictions for result in results if result.variant != CENTRAL])


def split_minus_central(results: Sequence[TrainResult]) -> float:
    """The largest difference of a weight between the parties' network and the same trained in one place."""
    from safetensors.numpy import load_file

    central = next(result for result in results if result.variant == CENTRAL)
    joint = next(result for result in results if (result.variant, result.seed) == (JOINT, central.seed))
    one, other = (load_file(result.work_dir / WEIGHTS) for result in (joint, central))
    assert one.keys() == other.keys()
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


def wire_bytes_per_epoch(results: Sequence[TrainResult]) -> int:
    """Bytes of a training epoch, both ways: the same for every seed."""
    return next(int(result.wire["bytes_per_epoch"]) for result in results if result.wire is not None)


def training_record(jobs: Sequence[TrainJob], results: Sequence[TrainResult]) -> dict[str, Any]:
    """`training.json`: what all jobs share, what crossed, best epoch and parameters of each network."""
    first = jobs[0]
    assert first.parties is not None
    return {
        "architecture": first.config.to_json(),
        "knobs": {key: value for key, value in asdict(first.knobs).items() if key != "seed"},
        "seeds": list(dict.fromkeys(job.seed for job in jobs)),  # as configured
        "wire": first.parties.wire,
        "carried": {str(result.seed): result.wire for result in results if result.wire is not None},
        "split_minus_central": split_minus_central(results),
        "parameters": {result.variant: result.parameters for result in results},
        "best_epoch": {f"{result.variant}-{result.seed}": result.best_epoch for result in results},
    }


def _trained_by_parties(job: TrainJob, parties: BothParties, rows: CommonRows) -> TrainResult:
    from safetensors.numpy import load_file

    message = training_message(job.config, job.knobs, versions=parties.versions, rows=rows.places, folder=job.folder)
    done = exchange(parties.org2, parties.org3, message, wire=parties.wire)
    weights, logits = trained_weights(job.folder), load_file(job.folder / LOGITS)
    shutil.rmtree(job.folder)  # the parts, now in one file as the other networks' are
    write_weights(weights, job.folder)
    return TrainResult(
        variant=job.variant, seed=job.seed, best_epoch=done["best_epoch"], parameters=_count(weights),
        curves=done["curves"], predictions=_answers(job, rows, logits), work_dir=job.folder,
        wire={
            "bytes_per_epoch": done["wire_bytes_per_epoch"],
            "validation_bytes_per_epoch": done["validation_bytes_per_epoch"],
            "counts": done["counts"],
        },
    )  # fmt: skip


def _answers(job: TrainJob, rows: CommonRows, logits: Mapping[str, np.ndarray]) -> pa.Table:
    parts = []
    for split, found in logits.items():
        columns = [
            pa.array(rows.image_ids[rows.places[split]].tolist(), pa.string()),
            *(pa.array([value] * len(found)) for value in (split, job.variant, job.seed)),
            *(pa.array(column) for column in found.T),
        ]
        parts.append(pa.table(columns, names=PREDICTION_SCHEMA.names).cast(PREDICTION_SCHEMA))
    return pa.concat_tables(parts)


def _count(weights: Mapping[str, Any]) -> int:
    return sum(int(np.prod(value.shape)) for value in weights.values())
