"""Stage 1 and stage 2 of the full configuration on one GPU: ours beside plain Lightning defaults, in one run.

The full configuration is ViT-B/16 at 224 px, ModernBERT-base and fusion at width 768, on random weights: what
is measured is speed, not accuracy. Ours: bfloat16 autocast and fused attention kernels, and stage 1 on stored
features. Defaults: float32 ("32-true") and attention written out as matrix products, with the encoders run in
both stages, as a first Lightning script would. Needs torch, timm, transformers, pytorch_lightning; no
Dagster.

Model FLOP utilisation counts the matrix products of the model (as torch's FlopCounterMode sees them in one
forward and backward pass with the attention written out) over the peak of the device in the number type used.

    python benchmarks/gpu_mimic.py [--steps 30] [--batch 32] [--words 160] [--json FILE]
"""

import argparse
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mm_assets.learning.encoders import random_text, random_vision
from mm_assets.learning.losses import combined_loss
from mm_assets.mimic.full_model import FullMDFNet, StageRates, full_config, set_stage, stage_groups
from mm_assets.mimic.model import Batch, EnhancedMDFNet, parameter_table
from mm_assets.mimic.schema import CLINICAL_FEATURES, LABELS, SINGLE_MODALITIES
from resources.hub import ENCODERS

WARM_UP = 5  # steps before the clock starts
PASSAGES = 3
# Dense peak TFLOP/s of tensor cores without sparsity, from the makers' data sheets; float32 without TF32.
PEAKS = {
    "H100": {"bf16-mixed": 989.0, "32-true": 67.0},
    "H200": {"bf16-mixed": 989.0, "32-true": 67.0},
    "A100": {"bf16-mixed": 312.0, "32-true": 19.5},
    "L4": {"bf16-mixed": 121.0, "32-true": 30.3},
    "T4": {"bf16-mixed": 65.0, "32-true": 8.1},
}


def pixels_batch(n: int, words: int) -> Batch:
    """A random batch as the full model reads it: films, ids, passages, measurements, targets."""
    return {
        "images": torch.randn(n, 3, 224, 224),
        "input_ids": torch.randint(10, 50_000, (n, words)),
        "attention_mask": torch.ones(n, words, dtype=torch.long),
        **_rest(n),
    }


def features_batch(n: int, words: int) -> Batch:
    """The same from stored features: all 196 patches and every word, so that both stages see equal tokens."""
    return {
        "image_tokens": torch.randn(n, 196, 768),
        "text_tokens": torch.randn(n, words, 768),
        "text_mask": torch.ones(n, words, dtype=torch.bool),
        **_rest(n),
    }


def _rest(n: int) -> Batch:
    return {
        "passage_tokens": torch.randn(n, PASSAGES, 768),
        "passage_mask": torch.ones(n, PASSAGES, dtype=torch.bool),
        "clinical": torch.randn(n, len(CLINICAL_FEATURES)),
        "clinical_missing": torch.zeros(n, len(CLINICAL_FEATURES), dtype=torch.bool),
        **{f"{name}_present": torch.ones(n, dtype=torch.bool) for name in SINGLE_MODALITIES},
        "targets": (torch.rand(n, len(LABELS)) < 0.2).float(),
        "target_mask": torch.ones(n, len(LABELS), dtype=torch.bool),
    }


def build(stage: int, *, on_features: bool) -> nn.Module:
    """The full model in its stage, or the fusion network alone where the features are stored."""
    torch.manual_seed(0)
    fusion = EnhancedMDFNet(full_config())
    if on_features:
        return fusion.train()
    model = FullMDFNet(random_vision(ENCODERS["biomedclip"]), random_text(ENCODERS["modernbert"]), fusion)
    set_stage(model, 1 if stage == 1 else 2)
    return model.train()


@contextmanager
def attention_kernels(*, fused: bool) -> Iterator[None]:
    """Let scaled_dot_product_attention choose a fused kernel, or hold it to written-out matrix products."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    fast = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]
    with sdpa_kernel([*fast, SDPBackend.MATH] if fused else [SDPBackend.MATH]):
        yield


def flops_per_step(model: nn.Module, batch: Batch) -> float:
    """Floating point operations of one forward and backward pass."""
    from torch.utils.flop_counter import FlopCounterMode

    with attention_kernels(fused=False), FlopCounterMode(display=False) as counter:
        combined_loss(model(batch), batch["targets"], batch["target_mask"]).backward()
    model.zero_grad(set_to_none=True)
    return float(counter.get_total_flops())


def run_lightning(
    model: nn.Module, batch: Batch, steps: int, precision: str, groups: Callable[[nn.Module], Any]
) -> float:
    """Seconds of ``steps`` training steps of a Lightning Trainer after WARM_UP steps, on the GPU."""
    import pytorch_lightning as pl

    class Task(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.started = self.seconds = 0.0

        def training_step(self, data: Batch, step: int) -> torch.Tensor:
            if step == WARM_UP:
                torch.cuda.synchronize()
                self.started = time.perf_counter()
            return combined_loss(self.model(data), data["targets"], data["target_mask"])

        def on_train_end(self) -> None:
            torch.cuda.synchronize()
            self.seconds = time.perf_counter() - self.started

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(groups(self.model), lr=1e-4)

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # The batch lies on the device already: what is measured is the model, not the loader.
        on_device = {key: value.cuda() for key, value in batch.items()}
        trainer = pl.Trainer(
            max_steps=steps + WARM_UP, accelerator="gpu", devices=1, precision=precision,  # type: ignore[arg-type]
            logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        task = Task()
        batches: list[Any] = [on_device] * (steps + WARM_UP)
        same_batch: torch.utils.data.DataLoader[Any] = torch.utils.data.DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
        trainer.fit(task, same_batch)
    return task.seconds


def measure(stage: int, *, ours: bool, n: int, words: int, steps: int) -> dict[str, Any]:
    """Records a second, peak memory and utilisation of one stage, ours or Lightning's defaults."""
    on_features = ours and stage == 1
    precision = "bf16-mixed" if ours else "32-true"
    batch = features_batch(n, words) if on_features else pixels_batch(n, words)
    model = build(stage, on_features=on_features).cuda()
    flops = flops_per_step(model, {key: value.cuda() for key, value in batch.items()})

    def groups(net: nn.Module) -> Any:
        if ours and isinstance(net, FullMDFNet):
            return stage_groups(net, StageRates())
        return [p for p in net.parameters() if p.requires_grad]

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    with attention_kernels(fused=ours):
        seconds = run_lightning(model, batch, steps, precision, groups)
    peak = next((p[precision] for name, p in PEAKS.items() if name in torch.cuda.get_device_name()), None)
    achieved = flops * steps / seconds / 1e12
    row = {
        "stage": stage,
        "way": "ours" if ours else "lightning defaults",
        "input": "stored features" if on_features else "pixels and ids",
        "precision": precision,
        "records_per_s": n * steps / seconds,
        "ms_per_step": 1000 * seconds / steps,
        "peak_memory_gib": torch.cuda.max_memory_allocated() / 2**30,
        "model_tflops_per_s": achieved,
        "mfu": None if peak is None else achieved / peak,
    }
    del model
    torch.cuda.empty_cache()
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--words", type=int, default=160)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here as well")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("This benchmark needs a CUDA device and found none; benchmarks/fusion_training.py runs on a CPU.")
        return 3
    parameters = parameter_table(build(2, on_features=False))
    rows = [
        measure(stage, ours=ours, n=options.batch, words=options.words, steps=options.steps)
        for stage in (1, 2)
        for ours in (False, True)
    ]
    print(f"{torch.cuda.get_device_name()}, batch {options.batch}, {options.words} words")
    for part in parameters:
        print(f"  {part['part']:>8} {part['parameters'] / 1e6:8.1f} M parameters")
    for row in rows:
        mfu = "unknown" if row["mfu"] is None else f"{row['mfu']:.1%}"
        print(
            f"  stage {row['stage']} {row['way']:>18} ({row['precision']}, {row['input']}): "
            f"{row['records_per_s']:9.1f} records/s, {row['peak_memory_gib']:5.1f} GiB, MFU {mfu}"
        )
    for stage in (1, 2):
        theirs, ours_row = (row["records_per_s"] for row in rows if row["stage"] == stage)
        print(f"  stage {stage}: ours is {ours_row / theirs:.1f}x the defaults")
    if options.json:
        result = {
            "device": torch.cuda.get_device_name(), "torch": torch.__version__, "batch": options.batch,
            "words": options.words, "steps": options.steps, "parameters": parameters, "rows": rows,
        }  # fmt: skip
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
