"""One lesion with three images through three Swin-T encoders on a CPU: the runtime a release would choose beside eager
float32 PyTorch.

The model is the original configuration at full size (224 px, 12 spectral bands): random encoders under a fusion and a
head that were taught to follow the pictures. Every runtime of this machine is timed in turn in every round, from
tensors to the answer of the head, with one thread and with all (which is judged); the ratio is that of the fastest that
agrees with plain torch within the tolerance of a release.

    python -m benchmarks.skin_inference [--quick] [--json FILE]
"""

import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.reporting import Gate, finish, parse_options
from mm_assets.pigmentation.fusion import FusionConfig
from mm_assets.pigmentation.model import SCORE, FusionModel
from mm_assets.pigmentation.predictor import encoded
from mm_assets.pigmentation.runtime import (
    PLAIN,
    TOLERANCE,
    Encode,
    RuntimeName,
    convert,
    cpu_has_bf16,
    openvino_encode,
    openvino_installed,
    torch_encode,
    usable,
    write_openvino,
)

# Of the time of eager float32: where the CPU multiplies bfloat16 and OpenVINO is there, and elsewhere.
FAST_GATE, PLAIN_GATE = 0.35, 0.6
ROUNDS, WARM_UPS, CASES = 15, 3, 8
QUICK_ROUNDS, QUICK_CASES = 2, 2
TAUGHT_CASES, STEPS = 24, 60
# To agree on scores that are all alike would be easy.
LEAST_DEVIATION = 0.05
QUICK_TAUGHT_CASES, QUICK_STEPS = 8, 5
Case = Mapping[str, torch.Tensor]


def full_size_model(quick: bool) -> FusionModel:
    """Three Swin-T at 224 px; a quick run takes the smallest encoder of timm that has the same kind of output."""
    torch.manual_seed(0)
    return FusionModel(FusionConfig(encoder="test_vit", image_size=160) if quick else FusionConfig()).eval()


def fit_readout(model: FusionModel, cases: Sequence[Case], steps: int) -> float:
    """Teach fusion and head, over the fixed random encoders, how bright a case is; the deviation of its scores.

    An untrained head answers .5 to everything, and to agree on that is easy: differences only mean something between
    scores that follow the pictures.
    """
    with torch.inference_mode():
        parts = [encoded(torch_encode(model), model, cases[i : i + 4])[0] for i in range(0, len(cases), 4)]
    tokens = {name: torch.cat([part[name] for part in parts]).clone() for name in model.config.names}
    present = torch.ones(len(cases), len(model.config.names), dtype=torch.bool)
    brightness = torch.tensor([float(sum(picture[0].mean() for picture in case.values())) for case in cases])
    targets = 0.5 + 0.2 * (brightness - brightness.mean()) / brightness.std()
    taught = [*model.fusion.parameters(), *model.head.parameters()]
    optimiser = torch.optim.AdamW(taught, lr=1e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        torch.nn.functional.mse_loss(model.fuse(tokens, present).output[:, SCORE], targets).backward()
        optimiser.step()
    with torch.inference_mode():
        return float(model.fuse(tokens, present).output[:, SCORE].std())


def lesions(model: FusionModel, count: int) -> list[Case]:
    """Normalised pictures: smooth blobs with noise, as photographs have more low than high frequencies."""
    rng = np.random.default_rng(0)
    size = model.config.image_size
    found: list[Case] = []
    for _ in range(count):
        case = {}
        for name, channels in model.config.modalities:
            coarse = torch.from_numpy(rng.normal(0, 1, (1, channels, 7, 7)).astype(np.float32))
            smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")[0]
            case[name] = smooth + torch.from_numpy(rng.normal(0, 0.2, smooth.shape).astype(np.float32))
        found.append(case)
    return found


def scored(model: FusionModel, encode: Encode, cases: Sequence[Case]) -> torch.Tensor:
    """One case at a time, as requests come: scores [N]."""
    with torch.inference_mode():
        return torch.cat([model.fuse(*encoded(encode, model, [case])).output[:, SCORE] for case in cases])


def runtimes(model: FusionModel, folder: Path) -> dict[RuntimeName, Encode]:
    """All that this machine has, with as many threads as torch uses now."""
    found: dict[RuntimeName, Encode] = {PLAIN: torch_encode(model)}
    if usable("torch-bfloat16") is None:
        found["torch-bfloat16"] = torch_encode(model, torch.bfloat16)
    if openvino_installed():
        converted = convert(model, model.config.image_size)
        names: list[RuntimeName] = ["openvino-f32", "openvino-bf16"]
        for name in names:
            if usable(name) is None:
                bf16 = name.endswith("bf16")
                write_openvino(converted, folder / name, half=bf16)
                found[name] = openvino_encode(folder / name, model.config.names, bf16=bf16)
    return found


def measure(model: FusionModel, cases: Sequence[Case], threads: int, rounds: int) -> list[dict[str, Any]]:
    """A row per runtime, medians: milliseconds, those of all cores together, ratio to eager float32 of the same round;
    and the largest difference."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        ways = runtimes(model, Path(folder))
        reference = scored(model, ways[PLAIN], cases)
        differences = {
            name: float((scored(model, encode, cases) - reference).abs().max()) for name, encode in ways.items()
        }
        times: dict[RuntimeName, list[float]] = {name: [] for name in ways}
        busy: dict[RuntimeName, list[float]] = {name: [] for name in ways}
        for round_ in range(WARM_UPS + rounds):
            for name, encode in ways.items():
                case = cases[round_ % len(cases)]
                start, cpu = time.perf_counter(), time.process_time()
                scored(model, encode, [case])
                if round_ >= WARM_UPS:
                    times[name].append(1000 * (time.perf_counter() - start))
                    busy[name].append(1000 * (time.process_time() - cpu))
    plain = np.array(times[PLAIN])
    return [
        {
            "threads": threads,
            "runtime": name,
            "median_ms": round(float(np.median(taken)), 1),
            "cpu_ms": round(float(np.median(busy[name])), 1),
            "ratio": round(float(np.median(np.array(taken) / plain)), 3),
            "largest_difference": round(differences[name], 5),
        }
        for name, taken in times.items()
    ]  # fmt: skip


def table_row(row: dict[str, Any]) -> tuple[str | float, ...]:
    verdict = "may take it" if row["largest_difference"] <= TOLERANCE else "refuses it"
    return (
        f"{row['runtime']}, {row['threads']}",
        row["median_ms"],
        row["cpu_ms"],
        row["ratio"],
        row["largest_difference"],
        verdict,
    )


def main() -> int:
    options = parse_options(__doc__)
    model = full_size_model(options.quick)
    # One thread until the threads are what is measured: two that wait for each other on a busy machine take minutes.
    torch.set_num_threads(1)
    taught, steps = (QUICK_TAUGHT_CASES, QUICK_STEPS) if options.quick else (TAUGHT_CASES, STEPS)
    count = QUICK_CASES if options.quick else CASES
    pictures = lesions(model, taught + count)
    deviation = fit_readout(model, pictures[:taught], steps)
    cases = pictures[taught:]
    rows: list[dict[str, Any]] = []
    for threads in sorted({1, os.cpu_count() or 1}):
        rows += measure(model, cases, threads, QUICK_ROUNDS if options.quick else ROUNDS)
    agreeing = [row for row in rows if row["largest_difference"] <= TOLERANCE]
    fast = cpu_has_bf16() and openvino_installed()
    limit = FAST_GATE if fast else PLAIN_GATE
    threads = max(row["threads"] for row in rows)
    best = min((row for row in agreeing if row["threads"] == threads), key=lambda row: row["ratio"])
    largest = max(row["largest_difference"] for row in rows)
    gates = []
    # Tiny encoders are all overhead: a quick run has nothing to judge.
    if not options.quick:
        gates = [
            Gate(f"time of {best['runtime']} over eager float32, {threads} threads", best["ratio"], "at most", limit),
            # Of all that ran, not of the chosen one, which is chosen for it.
            Gate("largest difference in score of any runtime", largest, "at most", TOLERANCE),
            Gate("deviation of the scores", deviation, "at least", LEAST_DEVIATION),
        ]
    return finish(
        options,
        numbers={
            "rows": rows,
            "deviation_of_scores": round(deviation, 3),
            "parameters": sum(p.numel() for p in model.parameters()),
            "bf16": cpu_has_bf16(),
            "openvino": openvino_installed(),
            "cpu_count": os.cpu_count(),
            "torch": torch.__version__,
        },
        columns=("runtime, threads", "ms", "CPU ms", "of eager float32", "score differs by", "a release"),
        rows=[table_row(row) for row in rows],
        gates=gates,
    )


if __name__ == "__main__":
    sys.exit(main())
