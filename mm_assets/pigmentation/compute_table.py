"""What answering one case costs on this machine: parameters, weights, memory and milliseconds.

Belongs here: measuring, and the table of it. Does not belong here: the choice between runtimes (`runtime.py`), whose
timings are shown here as well. Nothing of this is part of a bundle: equal weights must give equal bundles.
"""

import copy
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch  # noqa: TID253
from torch import nn  # noqa: TID253

from mm_assets.learning.cards import markdown_table
from mm_assets.pigmentation.model import FusionModel, parameter_counts
from mm_assets.pigmentation.runtime import PLAIN, ROUNDS, WARM_UPS, Encode, RuntimeChoice, torch_encode

log = logging.getLogger(__name__)

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_MB = 1_000_000

Case = Mapping[str, torch.Tensor]
Score = Callable[[Encode, Sequence[Case]], torch.Tensor]


@dataclass(frozen=True)
class Part:
    """Of the network; ``weight_bytes`` as released, buffers included."""

    name: str
    parameters: int
    weight_bytes: int


@dataclass(frozen=True)
class Answering:
    """One case with all its images, from tensors to the score: the median, and what memory it took.

    ``peak_mb`` on a CPU: the most that the whole process held meanwhile; ``rise_mb``: of it, beyond what it held
    before. On a GPU: the most that was allocated there, and of it what is not weights. None where the system does not
    tell.
    """

    device: str
    runtime: str
    milliseconds: float
    peak_mb: float | None = None
    rise_mb: float | None = None


@dataclass(frozen=True)
class ComputeTable:
    """Everything measured at a release; ``images`` of the case that was answered."""

    parts: tuple[Part, ...]
    answers: tuple[Answering, ...]
    images: int

    def markdown(self) -> str:
        parts = [(part.name, f"{part.parameters:,}", f"{part.weight_bytes / _MB:.2f}") for part in self.parts]
        answers = [
            (one.device, one.runtime, f"{one.milliseconds:.2f}", _told(one.peak_mb), _told(one.rise_mb))
            for one in self.answers
        ]
        columns = ("device", "runtime", f"ms for one case with {self.images} images", "peak memory, MB", "rise, MB")
        return f"{markdown_table(('part', 'parameters', 'weights, MB'), parts)}\n\n{markdown_table(columns, answers)}"


def measure_compute(model: FusionModel, case: Case, choice: RuntimeChoice, score: Score) -> ComputeTable:
    """case: modality -> float32 [C, S, S], the fullest there is. Runtimes that the choice timed are not timed again."""
    plain = torch_encode(model)
    milliseconds, peak, rise = _on_cpu(lambda: score(plain, [case]))
    device = f"CPU, {torch.get_num_threads()} threads of {os.cpu_count()} cores"
    tried = {trial.runtime: trial.median_ms for trial in choice.trials if trial.median_ms is not None}
    answers = [
        Answering(device, PLAIN, tried.pop(PLAIN, milliseconds), peak, rise),
        *(Answering(device, name, median) for name, median in tried.items()),
        *_on_gpu(model, case),
    ]
    return ComputeTable(_parts(model), tuple(answers), len(case))


def _parts(model: FusionModel) -> tuple[Part, ...]:
    modules: dict[str, nn.Module] = {f"encoder {name}": model.encoder(name) for name in model.config.names}
    modules |= {"fusion": model.fusion, "head": model.head, "total": model}
    return tuple(
        Part(name, count, sum(value.numel() * value.element_size() for value in modules[name].state_dict().values()))
        for name, count in parameter_counts(model).items()
    )


def _on_cpu(answer: Callable[[], torch.Tensor]) -> tuple[float, float | None, float | None]:
    before = _resident("VmRSS") if _peak_forgotten() else None
    milliseconds = _median_ms(answer)
    peak = _resident("VmHWM") if before is not None else None
    return milliseconds, peak, None if peak is None or before is None else max(0.0, peak - before)


def _on_gpu(model: FusionModel, case: Case) -> list[Answering]:
    """The whole network in float32, the case carried over and the score back; nothing where there is no GPU."""
    if not torch.cuda.is_available():
        return []
    try:
        there = copy.deepcopy(model).to("cuda").eval()
        batch = {name: image[None] for name, image in case.items()}
        present = torch.tensor([[name in case for name in model.config.names]], device="cuda")
        torch.cuda.reset_peak_memory_stats()

        def answer() -> torch.Tensor:
            with torch.inference_mode():
                carried = {name: images.to("cuda") for name, images in batch.items()}
                return there.fuse(there.encode({**carried, "present": present}), present).output.cpu()

        milliseconds = _median_ms(answer)
        peak = torch.cuda.max_memory_allocated() / _MB
        held = sum(value.numel() * value.element_size() for value in there.state_dict().values()) / _MB
        name = torch.cuda.get_device_name()
    except RuntimeError:
        # One that is full or broken: a table is no reason to refuse a release.
        log.warning("the GPU is not measured", exc_info=True)
        return []
    return [Answering(name, PLAIN, milliseconds, peak, peak - held)]


def _median_ms(answer: Callable[[], torch.Tensor]) -> float:
    times = []
    for round_ in range(WARM_UPS + ROUNDS):
        start = time.perf_counter()
        answer()
        if round_ >= WARM_UPS:
            times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times))


def _peak_forgotten() -> bool:
    """Whether the kernel's high-water mark of this process starts anew from here; only Linux can."""
    with suppress(OSError):
        _CLEAR.write_text("5")
        return True
    return False


def _resident(name: str) -> float | None:
    """A line of the process's status, in MB."""
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024 / _MB
    return None


def _told(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f}"
