"""Two audits of the split training, from files to rows: what a misaligned join costs, and which labels leak.

Belongs here: one training of an audit as a worker does it, and the audit's summary. Does not belong here: the attack
and its verdict (label_leak.py), the defences (defence.py), what the released network is worth (evaluation.py).

Both need the rows of both parties and are made in one place, which trains the same network to the same bits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mm_assets.cloud_vision.central_training import predict_central, train_central
from mm_assets.cloud_vision.defence import Defence
from mm_assets.cloud_vision.ids import misaligned_order
from mm_assets.cloud_vision.label_leak import LeakRow, as_records, guess, judge, measure
from mm_assets.cloud_vision.party_steps import Org3Rows, SplitKnobs
from mm_assets.cloud_vision.party_training import one_thread
from mm_assets.cloud_vision.row_files import RowFiles, open_rows
from mm_assets.cloud_vision.split_model import SplitConfig


@dataclass(frozen=True)
class AuditJob:
    """One training, or for a defence two: of the rows of ``files``, with the seed of ``knobs``.

    At most one of ``share`` (of train rows that are misaligned) and ``defence`` is set; with neither, what the image
    holder could guess is measured.
    """

    files: RowFiles
    config: SplitConfig
    knobs: SplitKnobs
    share: float | None = None
    defence: Defence | None = None


def misalignment_jobs(
    files: RowFiles, config: SplitConfig, knobs: SplitKnobs, shares: Sequence[float], seeds: Sequence[int]
) -> list[AuditJob]:
    """A training per share and seed."""
    return [
        AuditJob(files, config, replace(knobs, seed=seed), share=share) for share in sorted(shares) for seed in seeds
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


def leak_jobs(
    files: RowFiles, config: SplitConfig, knobs: SplitKnobs, defences: Sequence[Defence], seeds: Sequence[int]
) -> list[AuditJob]:
    """Per seed every defence, which trains twice, and then the guess."""
    tried = [
        AuditJob(files, config, replace(knobs, seed=seed), defence=defence) for seed in seeds for defence in defences
    ]
    return tried + [AuditJob(files, config, replace(knobs, seed=seed)) for seed in seeds]


def run_leak(job: AuditJob) -> LeakRow | float:
    """The table's row of a defence, or, without one, the image holder's guess."""
    rows = open_rows(job.files)
    train, validate, test = (rows.places[name] for name in ("train", "validate", "test"))
    with one_thread():
        if job.defence is None:
            return guess(job.config, rows.org2, rows.org3, train, validate, test, job.knobs)
        return measure(job.defence, job.config, rows.org2, rows.org3, train, validate, test, job.knobs)


def leak_records(jobs: Sequence[AuditJob], found: Sequence[LeakRow | float]) -> list[dict[str, Any]]:
    """`leak.parquet`: a row per seed and defence, with that seed's guess."""
    measured = list(zip(jobs, found, strict=True))
    guesses = {job.knobs.seed: value for job, value in measured if isinstance(value, float)}
    return [
        {"seed": job.knobs.seed, **record}
        for job, value in measured
        if isinstance(value, LeakRow)
        for record in as_records([value], guesses[job.knobs.seed])
    ]


def leak_verdict(found: Sequence[LeakRow | float]) -> dict[str, Any]:
    """`leak.json`: the verdict on the means over seeds, with the guess and the defence that it is about."""
    guesses = [value for value in found if isinstance(value, float)]
    rows: dict[str, list[LeakRow]] = {}
    for value in found:
        if isinstance(value, LeakRow):
            rows.setdefault(value.defence.name, []).append(value)
    guessed = float(np.mean(guesses))
    verdict = judge([_mean_of(same) for same in rows.values()], guessed)
    return {
        "guess": guessed,
        "reached": verdict.reached,
        "defence": verdict.chosen.name,
        "text": verdict.text,
        "seeds": len(guesses),
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
