"""Training several variants on a CPU: two processes of one thread, or one process of two threads?

Both train the same two seeds of the fused variant on stored features of the demo's shapes. Two processes take one
each, one process takes them in turn. Both ways start when everything is imported, opened and warm, and are timed by
the wall clock until the last is done, taking turns; the load average of the machine is shown beside. No gate: on an
idle machine of many cores the answer may differ.

    python -m benchmarks.threads [--quick] [--json FILE]
"""

import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.reporting import finish, parse_options

STUDIES = {"train": 1000, "validate": 200, "test": 400}
IMAGE_TOKENS, IMAGE_DIM, TEXT_TOKENS, TEXT_DIM, PASSAGES, WIDTH = 16, 1280, 32, 384, 112, 64
SEEDS = (0, 1)


@dataclass(frozen=True)
class Sizes:
    """How often, and on how many times fewer studies."""

    rounds: int
    epochs: int
    fewer: int


FULL, QUICK = Sizes(rounds=5, epochs=3, fewer=1), Sizes(rounds=1, epochs=1, fewer=5)


def train(folder: Path, sizes: Sizes, seeds: tuple[int, ...], epochs: int) -> None:
    """Train the fused variant on shards of noise, once a seed."""
    from mm_assets.learning.training import TrainConfig
    from mm_assets.mimic.datasets import FeatureFiles, Records, open_multimodal
    from mm_assets.mimic.schema import CLINICAL_FEATURES, LABELS
    from mm_assets.mimic.training import train_variant

    rng = np.random.default_rng(0)
    counts = [count // sizes.fewer for count in STUDIES.values()]
    total = sum(counts)
    records = Records(
        study_id=np.arange(total),
        subject_id=np.arange(total),
        split=np.repeat(list(STUDIES), counts),
        clinical=rng.normal(size=(total, len(CLINICAL_FEATURES))).astype(np.float32),
        targets=(rng.random((total, len(LABELS))) < 0.2).astype(np.float32),
        target_mask=np.ones((total, len(LABELS)), bool),
        passages=rng.integers(0, PASSAGES, (total, 3)).astype(np.int32),
    )
    index = {"study_id": records.study_id, "shard": np.repeat("a", total), "row": np.arange(total)}
    image, text = (FeatureFiles(index, {"a": folder / kind}) for kind in ("image", "text"))
    data = open_multimodal(records, image, text, folder / "passages")
    knobs = TrainConfig(epochs=epochs, patience=epochs)
    for seed in seeds:
        with tempfile.TemporaryDirectory() as scratch:
            train_variant(data, "fused", seed, knobs, width=WIDTH, scratch=Path(scratch), versions={})


def write_shards(folder: Path, sizes: Sizes) -> None:
    from mm_assets.records.token_shards import write_shard

    rng = np.random.default_rng(1)
    n = sum(count // sizes.fewer for count in STUDIES.values())

    def tokens(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32).astype(np.float16)

    write_shard(folder / "image", {"tokens": tokens(n, IMAGE_TOKENS, IMAGE_DIM)})
    mask = np.ones((n, TEXT_TOKENS), np.uint8)
    write_shard(folder / "text", {"tokens": tokens(n, TEXT_TOKENS, TEXT_DIM), "mask": mask})
    write_shard(folder / "passages", {"tokens": tokens(PASSAGES, TEXT_DIM)})


def worker(line: Connection, folder: Path, sizes: Sizes, seeds: tuple[int, ...], threads: int) -> None:
    """Warm up, then train whenever told to; `False` ends it."""
    import torch

    torch.set_num_threads(threads)
    train(folder, sizes, seeds[:1], 1)
    line.send("warm")
    while line.recv():
        train(folder, sizes, seeds, sizes.epochs)
        line.send("done")


def measure(sizes: Sizes) -> dict[str, list[float]]:
    """Way -> wall seconds of each round."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.pop(name, None)  # torch is told how many; a limit from outside must not hamper two threads
    context = multiprocessing.get_context("spawn")
    ways = {
        "two processes of one thread": [((seed,), 1) for seed in SEEDS],
        "one process of two threads": [(SEEDS, 2)],
    }
    with tempfile.TemporaryDirectory() as name:
        write_shards(Path(name), sizes)
        lines: dict[str, list[Connection]] = {}
        processes = []
        for way, parts in ways.items():
            for seeds, threads in parts:
                ours, theirs = context.Pipe()
                process = context.Process(target=worker, args=(theirs, Path(name), sizes, seeds, threads))
                process.start()
                theirs.close()
                ours.recv()
                lines.setdefault(way, []).append(ours)
                processes.append(process)
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for turn in tqdm(range(sizes.rounds), desc="rounds", disable=None):
            for way in list(ways) if turn % 2 else reversed(list(ways)):
                started = time.monotonic()
                for line in lines[way]:
                    line.send(True)
                for line in lines[way]:
                    line.recv()
                seconds[way].append(time.monotonic() - started)
        for line in (line for way in lines.values() for line in way):
            line.send(False)
        for process in processes:
            process.join()
    return seconds


def main() -> int:
    options = parse_options(__doc__)
    sizes = QUICK if options.quick else FULL
    before = os.getloadavg()[0]
    seconds = measure(sizes)
    load = (before, os.getloadavg()[0])
    medians = {way: statistics.median(values) for way, values in seconds.items()}
    two_processes, two_threads = medians.values()
    return finish(
        options,
        numbers={
            "wall_s": seconds,
            "two_threads_over_two_processes": two_threads / two_processes,
            "load_average_before_and_after": load,
            "cores": os.cpu_count(),
        },
        columns=("way", "wall s", "times two processes", f"load on {os.cpu_count()} cores, before to after"),
        rows=[(way, value, value / two_processes, f"{load[0]:.1f} to {load[1]:.1f}") for way, value in medians.items()],
    )


if __name__ == "__main__":
    sys.exit(main())
