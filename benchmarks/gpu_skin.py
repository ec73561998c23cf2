"""Training of the skin model's full configuration on one GPU: ours beside a plain loop and plain Lightning, in one run.

Three Swin-T at 224 px under the fusion and its head, on random weights and random pictures: what is measured is speed,
not accuracy. Ours: the shared training loop (clipping, schedule, a seed for every step) in bfloat16 autocast. Plain
loop: forward, backward and AdamW in float32, as PyTorch runs it line by line. Lightning defaults: float32 ("32-true")
and a bare Trainer, as a first Lightning script would. All three take the same batch, which lies on the device already:
no loader, no augmentation. Needs torch, timm, pytorch_lightning; no Dagster.

Model FLOP utilisation counts the matrix products of the model over the peak of the device in the number type used, as
in gpu_mimic.py.

    python -m benchmarks.gpu_skin [--steps 30] [--batch 16] [--device cuda] [--quick] [--json FILE]
"""

import argparse
import json
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu_mimic import PEAKS, WARM_UP, attention_kernels
from mm_assets.learning.training import TrainConfig, fit
from mm_assets.pigmentation.fusion import FusionConfig
from mm_assets.pigmentation.model import Batch, FusionModel, parameter_counts
from mm_assets.pigmentation.training import loss_of

LEARNING_RATE = 1e-4
OURS, PLAIN_LOOP, LIGHTNING = "ours", "plain float32 loop", "lightning defaults"
PRECISION = {OURS: "bf16-mixed", PLAIN_LOOP: "32-true", LIGHTNING: "32-true"}
# No picture is hidden: a hidden one is not encoded, and images a second would count work that was not done.
FULL = FusionConfig(modality_dropout=0.0)
# Proves that the three ways run, in seconds on a CPU.
QUICK = replace(FULL, encoder="test_resnet", stage=2, image_size=32, width=16)
QUICK_BATCH, QUICK_STEPS = 2, 2


class Clock:
    """Seconds of ``steps`` training steps after WARM_UP of them; ``tick`` is called before each step."""

    def __init__(self, steps: int, device: str) -> None:
        self.steps, self.device = steps, device
        self.ticks = 0
        self.started = self.seconds = 0.0

    def tick(self) -> None:
        if self.ticks in (WARM_UP, WARM_UP + self.steps):
            if self.device == "cuda":
                torch.cuda.synchronize()
            if self.ticks == WARM_UP:
                self.started = time.perf_counter()
            else:
                self.seconds = time.perf_counter() - self.started
        self.ticks += 1

    @property
    def total(self) -> int:
        """Steps to run: the last tick ends the measurement, so one more step follows it."""
        return WARM_UP + self.steps + 1


def random_batch(config: FusionConfig, n: int, device: str) -> Batch:
    """Pictures of every modality, all present, and labels, as the training loop reads them."""
    torch.manual_seed(0)
    side = config.image_size
    batch: Batch = {name: torch.randn(n, channels, side, side) for name, channels in config.modalities}
    batch["present"] = torch.ones(n, len(config.names), dtype=torch.bool)
    batch["targets"] = torch.rand(n, 1)
    batch["target_mask"] = torch.ones(n, 1, dtype=torch.bool)
    return {key: value.to(device) for key, value in batch.items()}


def flops_per_step(model: FusionModel, config: FusionConfig, batch: Batch) -> float:
    """Floating point operations of the matrix products of one forward and backward pass."""
    from torch.utils.flop_counter import FlopCounterMode

    with attention_kernels(fused=False), FlopCounterMode(display=False) as counter:
        loss_of(config)(model(batch), batch["targets"], batch["target_mask"]).backward()
    model.zero_grad(set_to_none=True)
    return float(counter.get_total_flops())


def run_ours(model: FusionModel, config: FusionConfig, batch: Batch, clock: Clock) -> None:
    """One epoch of the shared loop; validation and checkpoints come after the clock has stopped."""
    n = len(batch["targets"])

    def same_batch(_: np.ndarray) -> Batch:
        clock.tick()
        return batch

    knobs = TrainConfig(
        epochs=1, batch_size=n, learning_rate=LEARNING_RATE, precision=PRECISION[OURS], accelerator=accelerator(clock)
    )
    with tempfile.TemporaryDirectory() as scratch:
        fit(model, same_batch, np.arange(n * clock.total), np.arange(n), loss_of(config), knobs, Path(scratch))


def run_plain_loop(model: FusionModel, config: FusionConfig, batch: Batch, clock: Clock) -> None:
    loss, optimiser = loss_of(config), torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    for _ in range(clock.total):
        clock.tick()
        optimiser.zero_grad()
        loss(model(batch), batch["targets"], batch["target_mask"]).backward()
        optimiser.step()


def run_lightning(model: FusionModel, config: FusionConfig, batch: Batch, clock: Clock) -> None:
    import pytorch_lightning as pl

    class Task(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def training_step(self, data: Batch, step: int) -> torch.Tensor:
            clock.tick()
            return loss_of(config)(self.model(data), data["targets"], data["target_mask"])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=LEARNING_RATE)

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(
            max_steps=clock.total, accelerator=accelerator(clock), devices=1, precision=PRECISION[LIGHTNING],  # type: ignore[arg-type]
            logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        batches: list[Any] = [batch] * clock.total
        same_batch: torch.utils.data.DataLoader[Any] = torch.utils.data.DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
        trainer.fit(Task(), same_batch)


def accelerator(clock: Clock) -> str:
    """The device as Lightning names it."""
    return "gpu" if clock.device == "cuda" else "cpu"


WAYS: dict[str, Callable[[FusionModel, FusionConfig, Batch, Clock], None]] = {
    PLAIN_LOOP: run_plain_loop, LIGHTNING: run_lightning, OURS: run_ours,
}  # fmt: skip


def measure(way: str, config: FusionConfig, n: int, steps: int, device: str) -> dict[str, Any]:
    """Images a second, peak memory and utilisation of one way; the last two are None on a CPU."""
    torch.manual_seed(0)
    model = FusionModel(config).to(device).train()
    batch, clock = random_batch(config, n, device), Clock(steps, device)
    flops = flops_per_step(model, config, batch)
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    WAYS[way](model, config, batch, clock)
    on_gpu = device == "cuda"
    name = torch.cuda.get_device_name() if on_gpu else ""
    peak = next((found[PRECISION[way]] for known, found in PEAKS.items() if known in name), None)
    achieved = flops * steps / clock.seconds / 1e12
    return {
        "way": way,
        "precision": PRECISION[way],
        "images_per_s": n * len(config.names) * steps / clock.seconds,
        "ms_per_step": 1000 * clock.seconds / steps,
        "peak_memory_gib": torch.cuda.max_memory_allocated() / 2**30 if on_gpu else None,
        "model_tflops_per_s": achieved,
        "mfu": None if peak is None else achieved / peak,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny encoders: proves that it runs, not how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here as well")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("This benchmark needs a CUDA device and found none; --device cpu --quick shows that it runs.")
        return 3
    config, n, steps = FULL, options.batch, options.steps
    if options.quick:
        config, n, steps = QUICK, QUICK_BATCH, QUICK_STEPS
    parameters = parameter_counts(FusionModel(config))
    rows = [measure(way, config, n, steps, options.device) for way in WAYS]
    device = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    if options.quick:
        print("quick run: tiny encoders, no numbers to quote")
    print(f"{device}, {config.encoder} x {len(config.names)} at {config.image_size} px, batch {n}")
    for part, count in parameters.items():
        print(f"  {part:>22} {count / 1e6:8.1f} M parameters")
    for row in rows:
        memory = "" if row["peak_memory_gib"] is None else f", {row['peak_memory_gib']:5.1f} GiB"
        mfu = "unknown" if row["mfu"] is None else f"{row['mfu']:.1%}"
        print(
            f"  {row['way']:>18} ({row['precision']}): {row['images_per_s']:9.1f} images/s, "
            f"{row['ms_per_step']:8.1f} ms a step{memory}, MFU {mfu}"
        )
    speed = {row["way"]: row["images_per_s"] for row in rows}
    for way in (PLAIN_LOOP, LIGHTNING):
        print(f"  ours is {speed[OURS] / speed[way]:.1f}x the {way}")
    if options.json:
        result = {
            "quick": options.quick, "device": device, "torch": torch.__version__, "encoder": config.encoder,
            "image_size": config.image_size, "batch": n, "steps": steps, "parameters": parameters, "rows": rows,
        }  # fmt: skip
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
