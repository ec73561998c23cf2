"""Two audits of the split training, from files to rows: what a misaligned join costs, and which labels leak.

Belongs here: one training of an audit as a worker does it, and the audit's summary. Does not belong here: the attack
and its verdict (label_leak.py), the defences (defence.py), what the released network is worth (evaluation.py).

Both need the rows of both parties and are made in one place, which trains the same network to the same bits. What the
model's own trainings have answered already (aligned rows; organisation 3 alone) is read, not trained again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mm_assets.cloud_vision.central_training import predict_central, train_central
from mm_assets.cloud_vision.defence import Defence
from mm_assets.cloud_vision.ids import misaligned_order
from mm_assets.cloud_vision.label_leak import LeakRow, as_records, judge, measure
from mm_assets.cloud_vision.party_steps import Org3Rows, SplitKnobs
from mm_assets.cloud_vision.party_training import one_thread
from mm_assets.cloud_vision.predictions import SplitAnswers
from mm_assets.cloud_vision.row_files import RowFiles, open_rows
from mm_assets.cloud_vision.schema import IMAGE_HOLDER
from mm_assets.cloud_vision.split_model import SplitConfig
from mm_assets.cloud_vision.train_job import JOINT


@dataclass(frozen=True, eq=False)
class AuditedNetwork:
    """What is audited: the network of the asset `model`, its training, and what it answered to ``test``."""

    files: RowFiles
    config: SplitConfig
    knobs: SplitKnobs  # without a seed of its own
    seeds: tuple[int, ...]
    test: SplitAnswers


@dataclass(frozen=True)
class AuditJob:
    """One training, or for a defence two: of the rows of ``files``, with the seed of ``knobs``.

    One of ``share`` (of train rows that are misaligned) and ``defence`` is set.
    """

    files: RowFiles
    config: SplitConfig
    knobs: SplitKnobs
    share: float | None = None
    defence: Defence | None = None


def misalignment_jobs(network: AuditedNetwork, shares: Sequence[float]) -> list[AuditJob]:
    """A training per share and seed; none of a share of 0, which is the model's own (`aligned_rows`)."""
    return [
        AuditJob(network.files, network.config, replace(network.knobs, seed=seed), share=share)
        for share in sorted(set(shares) - {0.0})
        for seed in network.seeds
    ]


def aligned_rows(network: AuditedNetwork) -> list[dict[str, Any]]:
    """``run_misalignment``'s rows of a share of 0: the joint network as it was trained."""
    return [
        {"share": 0.0, "seed": seed, "accuracy": float(right.mean()), "n": len(right)}
        for seed in network.seeds
        for right in [network.test.right((JOINT, seed))]
    ]


def run_misalignment(job: AuditJob) -> dict[str, Any]:
    """``share, seed, accuracy, n``: the joint network trained on partly misaligned rows, tested on aligned ones."""
    rows = open_rows(job.files)
    assert job.share is not None
    places = rows.places
    with one_thread():
        org3 = misaligned(rows.org3, places["train"], job.share, job.knobs.seed)
        run = train_central(job.config, rows.org2, org3, places["train"], places["validate"], job.knobs)
        answered = predict_central(run.model, rows.org2, rows.org3, places["test"]).argmax(1)
    right = answered == rows.org2.labels[places["test"]]
    return {"share": job.share, "seed": job.knobs.seed, "accuracy": float(right.mean()), "n": len(right)}


def misaligned(org3: Org3Rows, train: np.ndarray, share: float, seed: int) -> Org3Rows:
    """The image holder's rows with ``share`` of those at ``train`` in another record's place; others stay."""
    order = np.arange(len(org3.features))
    order[train] = train[misaligned_order(len(train), share, seed)]
    return replace(org3, pixels=org3.pixels[order], features=org3.features[order])


def leak_jobs(network: AuditedNetwork, defences: Sequence[Defence]) -> list[AuditJob]:
    """Per seed every defence, each of which trains twice."""
    return [
        AuditJob(network.files, network.config, replace(network.knobs, seed=seed), defence=defence)
        for seed in network.seeds
        for defence in defences
    ]


def run_leak(job: AuditJob) -> LeakRow:
    """The table's row of a defence with one seed."""
    rows = open_rows(job.files)
    assert job.defence is not None
    train, validate, test = (rows.places[name] for name in ("train", "validate", "test"))
    with one_thread():
        return measure(job.defence, job.config, rows.org2, rows.org3, train, validate, test, job.knobs)


def guesses(network: AuditedNetwork) -> dict[int, float]:
    """Seed -> share of labels that the image holder could name from its own data: the accuracy, on records not seen,
    of its own network trained with the true labels. More than it can have, since it has no labels: an upper figure as
    the attack's is."""
    return {seed: float(network.test.right((IMAGE_HOLDER, seed)).mean()) for seed in network.seeds}


def leak_records(
    jobs: Sequence[AuditJob], found: Sequence[LeakRow], guessed: Mapping[int, float]
) -> list[dict[str, Any]]:
    """`leak.parquet`: a row per seed and defence, with that seed's guess."""
    return [
        {"seed": job.knobs.seed, **record}
        for job, row in zip(jobs, found, strict=True)
        for record in as_records([row], guessed[job.knobs.seed])
    ]


def leak_verdict(found: Sequence[LeakRow], guessed: Mapping[int, float]) -> dict[str, Any]:
    """`leak.json`: the verdict on the means over seeds, with the guess and the defence that it is about."""
    rows: dict[str, list[LeakRow]] = {}
    for row in found:
        rows.setdefault(row.defence.name, []).append(row)
    guess = float(np.mean(list(guessed.values())))
    verdict = judge([_mean_of(same) for same in rows.values()], guess)
    return {
        "guess": guess,
        "reached": verdict.reached,
        "defence": verdict.chosen.name,
        "text": verdict.text,
        "seeds": len(guessed),
    }


def _mean_of(rows: Sequence[LeakRow]) -> LeakRow:
    def mean(of: Callable[[LeakRow], float]) -> float:
        return float(np.mean([of(row) for row in rows]))

    return replace(
        rows[0],
        accuracy=mean(lambda row: row.accuracy),
        validated=mean(lambda row: row.validated),
        leak=mean(lambda row: row.leak),
        leak_random_labels=mean(lambda row: row.leak_random_labels),
    )
