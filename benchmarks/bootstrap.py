"""Patient-cluster bootstrap of AUROC and average precision: ours beside a loop over scikit-learn.

Both get the same patients drawn. The loop resamples rows and calls ``roc_auc_score`` and
``average_precision_score`` per replicate, label and variant; it is timed on a few replicates and
extrapolated. CPU seconds of one thread; read the ratio: absolute times belong to the machine.

    OMP_NUM_THREADS=1 python -m benchmarks.bootstrap [--quick] [--json FILE]
"""

import statistics
import sys
import time

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score
from tqdm import tqdm

from benchmarks.reporting import Gate, finish, parse_options
from mm_assets.learning.bootstrap import Resamples, draw_patients, replicate_metrics

LABELS, VARIANTS = 14, 6
SIZES = (400, 1000, 3000)
REPLICATES = 1000
QUICK_SIZES, QUICK_REPLICATES = (400,), 100
LOOP_REPLICATES = 4
ROUNDS = 3
GATE_CPU_SECONDS = 2.0


def main() -> int:
    options = parse_options(__doc__)
    sizes, replicates = (QUICK_SIZES, QUICK_REPLICATES) if options.quick else (SIZES, REPLICATES)
    rows = [measure(n, replicates) for n in tqdm(sizes, desc="studies", disable=None)]
    slowest, furthest = (max(row[key] for row in rows) for key in ("ours_cpu_s", "largest_difference"))
    return finish(
        options,
        numbers={"labels": LABELS, "variants": VARIANTS, "replicates": replicates, "sizes": rows},
        columns=("studies", "ours CPU s", "loop CPU s", "ratio", "largest difference"),
        rows=[tuple(row.values()) for row in rows],
        gates=[
            Gate("CPU seconds, largest of the sizes", slowest, "at most", GATE_CPU_SECONDS),
            Gate("largest difference to the loop", furthest, "at most", 1e-9),
        ],
    )


def measure(n: int, replicates: int) -> dict[str, float]:
    """One size: the median of ours over rounds, the loop's time extrapolated, and how far the two differ."""
    rng = np.random.default_rng(n)
    patients = rng.integers(0, n * 2 // 3, n)
    targets = (rng.random((n, LABELS)) < np.linspace(0.05, 0.45, LABELS)).astype(float)
    mask = rng.random(targets.shape) < 0.95
    variants = [rng.normal(size=targets.shape) + 0.3 * k * targets for k in range(VARIANTS)]
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        resamples = draw_patients(patients, replicates, seed=0)
        ours = [replicate_metrics(scores, targets, mask, resamples) for scores in variants]
        times.append(time.process_time() - start)
    start = time.process_time()
    theirs = [loop(scores, targets, mask, resamples) for scores in variants]
    loop_seconds = (time.process_time() - start) / LOOP_REPLICATES * replicates
    difference = max(
        float(np.max(np.abs(np.stack([a.auroc, a.average_precision])[:, :LOOP_REPLICATES] - b)))
        for a, b in zip(ours, theirs, strict=True)
    )
    return {
        "studies": n,
        "ours_cpu_s": statistics.median(times),
        "loop_cpu_s": loop_seconds,
        "ratio": loop_seconds / statistics.median(times),
        "largest_difference": difference,
    }


def loop(scores: np.ndarray, targets: np.ndarray, mask: np.ndarray, resamples: Resamples) -> np.ndarray:
    """The obvious way: AUROC and average precision of resampled rows, [2, replicates, labels]."""
    found = np.empty((2, LOOP_REPLICATES, LABELS))
    for r in range(LOOP_REPLICATES):
        drawn = resamples.draws[resamples.row_patient, r].astype(int)
        rows = np.repeat(np.arange(len(drawn)), drawn)
        for k in range(LABELS):
            chosen = rows[mask[rows, k]]
            found[0, r, k] = roc_auc_score(targets[chosen, k], scores[chosen, k])
            found[1, r, k] = average_precision_score(targets[chosen, k], scores[chosen, k])
    return found


if __name__ == "__main__":
    sys.exit(main())
