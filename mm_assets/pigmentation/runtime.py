"""What runs the image encoders of a released model on a CPU, and which of the ways is the fastest that agrees.

Belongs here: the runtimes, their files in a released folder, and the choice between them by measurement. The fusion and
the head are always torch in float32: they are a few percent of the work and all of the number.
Does not belong here: preparing images, and what is made of a score (`predictor.py`).
"""

import copy
import importlib.util
import logging
import shutil
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
import torch  # noqa: TID253
from torch import nn  # noqa: TID253

from mm_assets.pigmentation.fusion import Tokens
from mm_assets.pigmentation.model import FusionModel

log = logging.getLogger(__name__)

RuntimeName = Literal["torch-float32", "openvino-f32", "torch-bfloat16", "openvino-bf16"]
PLAIN: RuntimeName = "torch-float32"
# Largest difference of a score: what is shown has three digits.
TOLERANCE = 0.003
# Each candidate must be this much faster than the one kept so far: less is noise, and another file to carry.
WORTH_IT = 1.15
ROUNDS, WARM_UPS = 9, 2
# Agreement on fewer says little about the next case; and a run so small is made to be looked at and repeated, so its
# release must not depend on a clock.
LEAST_RECORDS = 32


class Encode(Protocol):
    """Runs the encoders of some modalities: float32 [B, C, S, S] of each -> float32 tokens [B, T, D] of each.

    B may differ between modalities. Safe from several threads.
    """

    def __call__(self, images: Mapping[str, torch.Tensor]) -> Tokens: ...


@dataclass(frozen=True)
class Trial:
    """One candidate: its largest difference in score from plain torch, its time for one case, or why it is out."""

    runtime: str
    largest_difference: float | None
    median_ms: float | None
    verdict: str


@dataclass(frozen=True)
class RuntimeChoice:
    """The runtime of a release. ``trials`` hold timings: they are for people, and no part of a bundle."""

    name: RuntimeName
    reason: str
    records: int
    largest_difference: float
    trials: tuple[Trial, ...]

    def as_spec(self) -> dict[str, Any]:
        """What the bundle records: nothing that differs between two runs of the same choice."""
        return {
            "name": self.name,
            "largest_difference": round(self.largest_difference, 5),
            "tolerance": TOLERANCE,
            "records": self.records,
        }

    def as_json(self) -> dict[str, Any]:
        return {"chosen": self.name, "reason": self.reason, "trials": [asdict(trial) for trial in self.trials]}


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 itself; where it does not, bf16 is several times slower than float32."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def openvino_installed() -> bool:
    return importlib.util.find_spec("openvino") is not None


def usable(name: str) -> str | None:
    """None where this machine can run it, else why not and how to mend it."""
    if name not in get_args(RuntimeName):
        return f"the runtime {name} is unknown to this version"
    if name.startswith("openvino") and not openvino_installed():
        return "OpenVINO is not installed: pip install 'mm-assets[cpu]'"
    if name in ("torch-bfloat16", "openvino-bf16") and not cpu_has_bf16():
        return "this CPU has no bfloat16 instructions"
    return None


def torch_encode(model: FusionModel, dtype: torch.dtype = torch.float32) -> Encode:
    """The model's own encoders, or a copy of them in another precision."""
    if dtype is torch.float32:
        encoders: nn.ModuleDict = model.encoders
    else:
        encoders = copy.deepcopy(model.encoders).to(dtype)

    def encode(images: Mapping[str, torch.Tensor]) -> Tokens:
        with torch.inference_mode():
            return {name: encoders[name](batch.to(dtype)).float() for name, batch in images.items()}

    return encode


def rounds_of(modalities: Sequence[str], threads: int) -> list[tuple[tuple[str, ...], int]]:
    """How one picture of each modality is encoded: which encoders run side by side, and the threads of each of them.

    A picture's layers are too small to be shared well: a second core makes one encoder 1.3 times faster, not twice. Who
    is left over in the last round has more threads.
    """
    rounds = []
    for start in range(0, len(modalities), threads):
        beside = tuple(modalities[start : start + threads])
        rounds.append((beside, threads // len(beside)))
    return rounds


def openvino_encode(folder: Path, modalities: Sequence[str], *, bf16: bool) -> Encode:
    """The encoders written by `write_openvino`, compiled for this CPU with as many threads as torch uses."""
    import openvino

    core = openvino.Core()
    threads = torch.get_num_threads()
    models = {name: core.read_model(folder / f"encoder-{name}.xml") for name in modalities}
    requests: dict[tuple[str, bool, int], Any] = {}
    lock = threading.Lock()  # a request runs one inference at a time

    def request_for(modality: str, single: bool, threads: int) -> Any:
        # A known batch size lets the compiler fold shapes: a tenth faster for one case.
        key = (modality, single, threads)
        if key not in requests:
            model = models[modality]
            if single:
                model = model.clone()
                model.reshape([1, *model.inputs[0].partial_shape[1:]])
            options = {
                "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
                "INFERENCE_NUM_THREADS": threads,
                "PERFORMANCE_HINT": "LATENCY",
                # Each model counts its cores from the first: two side by side would be tied to the same one.
                "ENABLE_CPU_PINNING": False,
            }
            requests[key] = core.compile_model(model, "CPU", options).create_infer_request()
        return requests[key]

    def encode(images: Mapping[str, torch.Tensor]) -> Tokens:
        single = all(len(batch) == 1 for batch in images.values())
        # Several pictures keep all threads busy by themselves, and modalities may have unequal numbers of them.
        rounds = rounds_of(list(images), threads) if single else [((name,), threads) for name in images]
        tokens = {}
        with lock:
            for beside, each in rounds:
                running = {name: request_for(name, single, each) for name in beside}
                for name, request in running.items():
                    request.start_async({0: images[name].contiguous().numpy()}, share_inputs=True)
                for name, request in running.items():
                    request.wait()
                    # Copied: the request's own memory is written again.
                    tokens[name] = torch.from_numpy(np.array(request.get_output_tensor(0).data, np.float32))
        return tokens

    # What a case with every picture needs, so that what cannot run fails here.
    for beside, each in rounds_of(modalities, threads):
        for name in beside:
            request_for(name, True, each)
    return encode


def convert(model: FusionModel, image_size: int) -> dict[str, Any]:
    """Every modality's encoder as an OpenVINO model that takes any batch size.

    Through the frontend and not `openvino.convert_model`: that one reports its use to its maker over the network.
    """
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    frontend = FrontEndManager().load_by_framework("pytorch")
    found = {}
    for name, channels in model.config.modalities:
        example = torch.zeros(2, channels, image_size, image_size)
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # the tracer's, about every shape it reads
            # The copy: a decoder may change what it is given.
            traced = torch.jit.trace(copy.deepcopy(model.encoder(name)).eval(), example, check_trace=False)
            decoder = TorchScriptPythonDecoder(traced)  # named: the frontend holds no reference of its own
            converted = frontend.convert(frontend.load(decoder))
        images = converted.inputs[0].get_node()
        images.set_element_type(openvino.Type.f32)
        images.set_partial_shape(openvino.PartialShape([-1, channels, image_size, image_size]))
        converted.validate_nodes_and_infer_types()
        # Names are numbered over the whole process: equal weights must give equal files.
        converted.set_friendly_name(f"encoder-{name}")
        for number, operation in enumerate(converted.get_ordered_ops()):
            operation.friendly_name = f"op{number}"
        found[name] = converted
    return found


def write_openvino(converted: Mapping[str, Any], folder: Path, *, half: bool) -> None:
    """``encoder-<modality>.xml`` and ``.bin``; ``half`` stores the weights in 16 bits."""
    import openvino

    folder.mkdir(parents=True, exist_ok=True)
    for name, model in converted.items():
        openvino.save_model(model, folder / f"encoder-{name}.xml", compress_to_fp16=half)


def load_runtime(name: str, model: FusionModel, folder: Path) -> tuple[Encode, str | None]:
    """The runtime a bundle names, or plain torch and a sentence on why it is not that one."""
    problem = usable(name)
    if problem is None and name.startswith("openvino"):
        try:
            return openvino_encode(folder, model.config.names, bf16=name.endswith("bf16")), None
        except (RuntimeError, OSError) as error:
            log.warning("the OpenVINO form of the encoders cannot be used", exc_info=True)
            problem = f"its files cannot be used ({type(error).__name__}); release the model again"
    if problem is not None:
        sentence = f"This model was released to run as {name}, and runs as {PLAIN}, which is slower: {problem}."
        log.warning(sentence)
        return torch_encode(model), sentence
    return torch_encode(model, torch.bfloat16 if name == "torch-bfloat16" else torch.float32), None


def choose_runtime(
    model: FusionModel,
    cases: Sequence[Mapping[str, torch.Tensor]],
    folder: Path,
    *,
    score: Callable[[Encode, Sequence[Mapping[str, torch.Tensor]]], torch.Tensor],
    tolerance: float = TOLERANCE,
    rounds: int = ROUNDS,
    before: str | None = None,
) -> RuntimeChoice:
    """Try every runtime that this machine has on validation cases, and put the files of the best one into ``folder``.

    cases: modality -> float32 [C, S, S], of records the model was not trained on. score: cases and encoders to scores
    [N, K]. A candidate is taken when all scores agree within ``tolerance`` and one case with all its images takes 1.15
    times less than with the one kept before (medians of interleaved rounds); else plain torch stays. It also stays,
    untried, below `LEAST_RECORDS` cases. ``before``: the runtime of an earlier release of this model; where it still
    agrees it is the first to be kept.
    """
    if len(cases) < LEAST_RECORDS:
        return RuntimeChoice(PLAIN, "too few validation records to compare runtimes", len(cases), 0.0, ())
    plain = torch_encode(model)
    reference = score(plain, cases)
    fullest = max(cases, key=len)
    size = next(iter(fullest.values())).shape[-1]
    with tempfile.TemporaryDirectory() as scratch:
        found: dict[RuntimeName, tuple[Encode, float]] = {PLAIN: (plain, 0.0)}
        refused: list[Trial] = []
        converted: dict[str, Any] = {}
        for name in get_args(RuntimeName)[1:]:
            if problem := usable(name):
                refused.append(Trial(name, None, None, problem))
                continue
            try:
                if name == "torch-bfloat16":
                    encode = torch_encode(model, torch.bfloat16)
                else:
                    bf16 = name.endswith("bf16")
                    converted = converted or convert(model, size)
                    write_openvino(converted, Path(scratch) / name, half=bf16)
                    encode = openvino_encode(Path(scratch) / name, model.config.names, bf16=bf16)
                difference = float((score(encode, cases) - reference).abs().max())
            except Exception as error:  # whatever a converter or compiler raises: the model works without it
                log.warning("runtime %s is not used", name, exc_info=True)
                refused.append(Trial(name, None, None, f"does not run this model ({type(error).__name__})"))
                continue
            if not difference <= tolerance:  # NaN as well
                refused.append(Trial(name, difference, None, f"differs by more than {tolerance}"))
                continue
            found[name] = (encode, difference)
        medians = _medians({name: encode for name, (encode, _) in found.items()}, score, fullest, rounds)
        kept: RuntimeName = next((name for name in found if name == before), PLAIN)
        for name in found:
            if medians[kept] >= WORTH_IT * medians[name]:
                kept = name
        if kept.startswith("openvino"):
            for file in sorted((Path(scratch) / kept).iterdir()):
                shutil.copyfile(file, folder / file.name)
    tried = [
        Trial(name, difference, round(medians[name], 3), "chosen" if name == kept else "agrees")
        for name, (_, difference) in found.items()
    ]
    gain = medians[PLAIN] / medians[kept]
    if kept == PLAIN:
        reason = "nothing else agrees and is clearly faster"
    elif gain >= WORTH_IT:
        reason = f"{gain:.1f} times faster than {PLAIN}"
    else:
        reason = "kept from the release before: it agrees, and nothing else is clearly faster"
    return RuntimeChoice(kept, reason, len(cases), found[kept][1], (*tried, *refused))


def _medians(
    encoders: Mapping[RuntimeName, Encode],
    score: Callable[[Encode, Sequence[Mapping[str, torch.Tensor]]], torch.Tensor],
    case: Mapping[str, torch.Tensor],
    rounds: int,
) -> dict[RuntimeName, float]:
    """Milliseconds for one case; all in turn in every round, so that a busy moment meets all of them."""
    times: dict[RuntimeName, list[float]] = {name: [] for name in encoders}
    for round_ in range(WARM_UPS + rounds):
        for name, encode in encoders.items():
            start = time.perf_counter()
            score(encode, [case])
            if round_ >= WARM_UPS:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: float(np.median(measured)) for name, measured in times.items()}
