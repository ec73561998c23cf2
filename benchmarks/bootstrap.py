"""Patient-cluster bootstrap of AUROC and average precision: ours beside a loop over scikit-learn.

Both get the same patients drawn. The loop resamples rows and calls ``roc_auc_score`` and
``average_precision_score`` per replicate, label and variant; it is timed on a few replicates and
extrapolated. CPU seconds of one thread; read the ratio: absolute times belong to the machine.

    OMP_NUM_THREADS=1 python benchmarks/bootstrap.py [--replicates 1000] [--json FILE]
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score
from tqdm import tqdm

from mm_assets.learning.bootstrap import Resamples, draw_patients, replicate_metrics

LABELS, VARIANTS = 14, 6
SIZES = (400, 1000, 3000)
LOOP_REPLICATES = 4
ROUNDS = 3
GATE_CPU_SECONDS = 2.0


def main() -> int:
    """Print one row per number of studies; exit 1 when ours misses the gate or differs from the loop."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = [measure(n, arguments.replicates) for n in tqdm(SIZES, desc="studies", disable=None)]
    print(f"{LABELS} labels x {VARIANTS} variants x {arguments.replicates} replicates, CPU seconds")
    print(f"{'studies':>8} {'ours':>8} {'loop':>9} {'ratio':>8} {'largest difference':>20}")
    for row in rows:
        print(
            f"{row['studies']:>8} {row['ours_cpu_s']:>8.2f} {row['loop_cpu_s']:>9.1f} {row['ratio']:>7.0f}x "
            f"{row['largest_difference']:>20.1e}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    missed = [row for row in rows if row["ours_cpu_s"] > GATE_CPU_SECONDS or row["largest_difference"] > 1e-9]
    if missed:
        print(f"missed: at most {GATE_CPU_SECONDS} CPU-seconds, difference at most 1e-9", file=sys.stderr)
    return 1 if missed else 0


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
