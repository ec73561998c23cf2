"""Training a network that maps a batch to logits, through Lightning, resumable to the bit.

Belongs here: optimiser, schedule, early stopping, checkpoints, resume, curves. Does not belong here: what a
batch holds, the loss itself, and where a trained model is kept.

Everything random is drawn from torch's generator, seeded anew at every step from (seed, epoch, step); the
order of records comes from (seed, epoch). A run that was killed therefore goes on from its last epoch's
checkpoint and ends with the same weights as one that was not (on a CPU with the same thread count; CUDA
kernels may differ in the last bit).
"""

import hashlib
import json
import logging
import math
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mm_assets.learning.batching import BatchMaker, EpochBatches, FixedBatches
from mm_assets.learning.checkpoints import BEST, LAST, Mirror, as_written_in, best_weights, fetch_run, mirror_run

TENSORBOARD = "tensorboard"  # folder of the curves in a run's work folder
Batch = dict[str, torch.Tensor]
Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]  # logits, targets, mask -> scalar
Score = Callable[[np.ndarray, np.ndarray, np.ndarray], float]  # logits, targets, mask -> higher is better
Groups = Callable[[nn.Module], list[dict[str, Any]]]  # optimiser groups, each with its own peak "lr"


@dataclass(frozen=True)
class TrainConfig:
    """Knobs of one training run. Learning rates are peaks, reached after the warm-up."""

    epochs: int = 30
    batch_size: int = 64  # records a step and device, before accumulation
    accumulate: int = 1  # steps per optimiser step
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.1  # share of all optimiser steps
    patience: int = 8  # epochs without a better validation result
    clip_norm: float = 1.0
    seed: int = 0
    precision: str = "32-true"  # as Lightning names it: 32-true or bf16-mixed
    accelerator: str = "cpu"
    devices: int = 1
    strategy: str = "auto"
    tensorboard: bool = False  # curves in <work_dir>/tensorboard, one write an epoch


@dataclass(frozen=True)
class FitResult:
    """The best epoch's weights are in the network; ``curves`` has a row per epoch (no times in it)."""

    curves: list[dict[str, float]]  # epoch, lr, train_loss, val_loss, val_score
    best_epoch: int


def run_key(config: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    """Digest of settings and data versions: names a run's folder, so that only its own run resumes it."""
    text = json.dumps({"config": dict(config), "versions": dict(versions)}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def clear_run(work_dir: Path) -> None:
    """Remove what a finished run needed to be resumed (checkpoints, caches); TensorBoard's curves, a few kB, stay."""
    for path in work_dir.glob("*"):
        if path.is_dir() and path.name != TENSORBOARD:
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()
    if not (work_dir / TENSORBOARD).exists() and work_dir.exists():
        work_dir.rmdir()


def schedule_factor(step: int, total: int, warmup: float) -> float:
    """Share of the peak learning rate at ``step`` of ``total``: linear warm-up, then half a cosine to 1 %."""
    rising = max(1, round(total * warmup))
    if step < rising:
        return (step + 1) / rising
    progress = min(1.0, (step - rising) / max(1, total - rising))
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))


def best_so_far(curves: Sequence[Mapping[str, float]]) -> int:
    """Row with the highest ``val_score``; the first of equals. NaN never wins over a number.

    Compared in float32, as Lightning does when it keeps the best checkpoint.
    """
    scores = [np.float32(row["val_score"] if math.isfinite(row["val_score"]) else -math.inf) for row in curves]
    return scores.index(max(scores))


def is_finished(curves: Sequence[Mapping[str, float]], config: TrainConfig) -> bool:
    """True when all epochs are done or the best one lies ``patience`` epochs back."""
    if not curves:
        return False
    return len(curves) >= config.epochs or len(curves) - 1 - best_so_far(curves) >= config.patience


def fit(
    model: nn.Module,
    make_batch: BatchMaker,
    train: np.ndarray,
    validate: np.ndarray,
    loss: Loss,
    config: TrainConfig,
    work_dir: Path,
    *,
    score: Score | None = None,
    groups: Groups | None = None,
    name: str = "model",
    mirror: Mirror | None = None,
) -> FitResult:
    """Train ``model`` on positions ``train`` and leave the weights of its best epoch in it.

    The best epoch has the highest ``score`` on ``validate``, or the lowest validation loss without one.
    ``work_dir`` belongs to this run alone (name it with ``run_key``): a checkpoint found there is resumed, a
    finished run is read back without training. Batches need the keys ``targets`` and ``target_mask``.
    With a ``mirror`` the checkpoints are copied there after each epoch, and fetched where ``work_dir`` has none: a run
    killed on one machine goes on on another. Raises ``CheckpointsDisagree``, and what the mirror raises.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    fetch_run(work_dir, mirror)
    last = work_dir / LAST
    curves = torch.load(last, map_location="cpu", weights_only=True)["curves"] if last.exists() else []
    if not is_finished(curves, config):
        curves = _train(
            model,
            make_batch,
            train,
            validate,
            loss,
            config,
            work_dir,
            score,
            groups,
            name,
            mirror,
            resume=bool(curves),
        )
    best_epoch = int(curves[best_so_far(curves)]["epoch"])
    state = best_weights(work_dir, best_epoch)
    model.load_state_dict({key.removeprefix("model."): value for key, value in state.items()})
    model.to("cpu").eval()
    return FitResult(curves, best_epoch)


@torch.inference_mode()
def predict_logits(
    model: nn.Module, make_batch: BatchMaker, positions: np.ndarray, batch_size: int = 256
) -> np.ndarray:
    """Logits float32 [n, labels] of records in the given order, on the device the model is on."""
    model.eval()
    device = next(model.parameters()).device
    parts = [
        model({key: value.to(device) for key, value in batch.items()}).float().cpu().numpy()
        for batch in FixedBatches(make_batch, positions, batch_size)
        if len(batch["targets"])
    ]
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)


def _train(
    model: nn.Module,
    make_batch: BatchMaker,
    train: np.ndarray,
    validate: np.ndarray,
    loss: Loss,
    config: TrainConfig,
    work_dir: Path,
    score: Score | None,
    groups: Groups | None,
    name: str,
    mirror: Mirror | None,
    *,
    resume: bool,
) -> list[dict[str, float]]:
    import pytorch_lightning as pl

    with _quiet_lightning():

        class Training(pl.LightningModule):
            """Binds network, loss and schedule; keeps the curves inside the checkpoint."""

            def __init__(self) -> None:
                super().__init__()
                self.model = model
                self.curves: list[dict[str, float]] = []
                self.train_losses: list[torch.Tensor] = []
                self.val_logits: list[torch.Tensor] = []
                self.val_batches: list[Batch] = []

            def train_dataloader(self) -> EpochBatches:
                return EpochBatches(
                    make_batch, train, config.batch_size, seed=config.seed, epoch=lambda: self.current_epoch,
                    rank=self.trainer.global_rank, world=self.trainer.world_size,
                )  # fmt: skip

            def val_dataloader(self) -> FixedBatches:
                return FixedBatches(make_batch, validate, 4 * config.batch_size)

            def training_step(self, batch: Batch, step: int) -> torch.Tensor:
                # One 63-bit number from the four, so that neighbouring steps do not get neighbouring seeds.
                state = np.random.SeedSequence([config.seed, self.current_epoch, step, self.global_rank])
                _seed_step(int(state.generate_state(1, np.uint64)[0] >> 1), self.device)
                value = loss(self.model(batch), batch["targets"], batch["target_mask"])
                self.train_losses.append(value.detach())
                return value

            def validation_step(self, batch: Batch, step: int) -> None:
                self.val_logits.append(self.model(batch).float())
                self.val_batches.append({key: batch[key] for key in ("targets", "target_mask")})

            def on_validation_epoch_end(self) -> None:
                logits = torch.cat(self.val_logits)
                targets, mask = (torch.cat([b[key] for b in self.val_batches]) for key in ("targets", "target_mask"))
                value = float(loss(logits, targets, mask))
                better = -value if score is None else score(*(t.cpu().numpy() for t in (logits, targets, mask)))
                self.curves.append(
                    {
                        "epoch": float(self.current_epoch),
                        "lr": float(self.optimizers().param_groups[0]["lr"]),  # type: ignore[union-attr]
                        "train_loss": float(torch.stack(self.train_losses).mean()),
                        "val_loss": value,
                        "val_score": float(better),
                    }
                )
                for kept in (self.train_losses, self.val_logits, self.val_batches):
                    kept.clear()
                self.log_dict(self.curves[-1], logger=config.tensorboard)

            def configure_optimizers(self) -> Any:
                parameters = groups(self.model) if groups else default_groups(self.model, config.weight_decay)
                optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
                total = max(1, config.epochs * math.ceil(len(self.train_dataloader()) / config.accumulate))
                schedule = torch.optim.lr_scheduler.LambdaLR(
                    optimizer, lambda step: schedule_factor(step, total, config.warmup)
                )
                return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

            def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
                checkpoint["curves"] = [dict(row) for row in self.curves]

            def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
                self.curves = [dict(row) for row in checkpoint["curves"]]
                checkpoint["callbacks"] = {
                    name: as_written_in(work_dir, state) if "best_k_models" in state else state
                    for name, state in checkpoint["callbacks"].items()
                }

        class StopWhenFinished(pl.Callback):
            """Early stopping by the rule a resumed run applies as well."""

            def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
                trainer.should_stop = is_finished(task.curves, config)

        class EpochBar(pl.Callback):
            """One progress line per model."""

            def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
                from tqdm import tqdm

                self.bar = tqdm(
                    desc=f"train {name}",
                    total=config.epochs,
                    initial=len(task.curves),
                    unit="epoch",
                    disable=None,
                )

            def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
                row = task.curves[-1]
                self.bar.set_postfix(val_loss=f"{row['val_loss']:.3f}", score=f"{row['val_score']:.3f}", refresh=False)
                self.bar.update()

            def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
                self.bar.close()

        class MirrorCheckpoints(pl.callbacks.Checkpoint):
            """As the last of its kind it comes after those that have written the epoch's files."""

            def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
                if trainer.is_global_zero:
                    mirror_run(work_dir, mirror)

        def checkpoint(filename: str, **settings: Any) -> pl.Callback:
            return pl.callbacks.ModelCheckpoint(
                work_dir,
                filename=filename,
                enable_version_counter=False,
                save_on_train_epoch_end=True,
                **settings,
            )

        logger: Any = False
        if config.tensorboard:
            if not resume:  # a new run does not draw its curves over those of an old one
                shutil.rmtree(work_dir / TENSORBOARD, ignore_errors=True)
            logger = pl.loggers.TensorBoardLogger(str(work_dir), name="", version=TENSORBOARD)
        task = Training()
        trainer = pl.Trainer(
            max_epochs=config.epochs,
            accelerator=config.accelerator,
            devices=config.devices,
            strategy=config.strategy,
            precision=config.precision,  # type: ignore[arg-type]
            accumulate_grad_batches=config.accumulate,
            gradient_clip_val=config.clip_norm,
            # Best before last: the last checkpoint then knows of the best one.
            callbacks=[
                EpochBar(),
                StopWhenFinished(),
                checkpoint(Path(BEST).stem, monitor="val_score", mode="max", save_weights_only=True),
                checkpoint(Path(LAST).stem),
                MirrorCheckpoints(),
            ],
            logger=logger,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1_000_000,
        )
        trainer.fit(task, ckpt_path=str(work_dir / LAST) if resume else None, weights_only=True)
    return task.curves


def default_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two optimiser groups: matrices decay; biases, norms and single vectors do not."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _seed_step(seed: int, device: torch.device) -> None:
    """Seed the generators a step draws from; torch.manual_seed would queue a traceback per absent backend."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silence what Lightning says about itself (devices, loader workers, tips); errors still pass."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|lightning_utilities)\b.*")
        warnings.filterwarnings("ignore", message=r".*LeafSpec.*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
