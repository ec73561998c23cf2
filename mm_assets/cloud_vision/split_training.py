"""Training across two organisations: embeddings one way, their gradients the other, and nothing else.

Belongs here: each party's side of the exchange. Does not belong here: networks (split_model.py), the wire (wire.py),
training in one place (central_training.py).

Each party steps its own optimiser; no norm is taken and no gradient clipped across parties. The order of records
comes from (seed, epoch), which both know. Training rows are positions in the sorted common ids: the parties compare a
digest of these ids first, because rows that are out of step train without an error and to a worse model.
"""

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from torch import nn  # noqa: TID253

from mm_assets.cloud_vision.defence import OPEN, Defence, GradientGuard
from mm_assets.cloud_vision.party_steps import (
    Org2Rows,
    Org3Rows,
    PartyOptimiser,
    SplitKnobs,
    batches,
    curve_row,
    in_parts,
)
from mm_assets.cloud_vision.schema import IMAGE_HOLDER, LABEL_HOLDER
from mm_assets.cloud_vision.split_model import TOP, Org2Bottom, Org3Bottom, Top, seed_step
from mm_assets.cloud_vision.wire import Wire, pack, unknown_kind, unpack
from mm_assets.learning.training import best_so_far
from resources.errors import MendableError

BEGIN, FORWARD, BACKWARD, KEEP, RESTORE, EMBED = (
    f"train/{step}" for step in ("begin", "forward", "backward", "keep", "restore", "embed")
)


class Misaligned(MendableError):
    """The parties do not hold the same records in the same order."""


class OutOfStep(MendableError):
    """A party was asked for a step that is not its next."""


@dataclass(frozen=True)
class SplitRun:
    """A finished run; both parties hold the weights of its best epoch (the least loss on validate)."""

    curves: list[dict[str, float]]  # epoch, train_loss, val_loss, val_accuracy, val_score
    best_epoch: int
    wire_bytes_per_epoch: int  # of training steps, both ways; validation comes on top
    validation_bytes_per_epoch: int


class GradientLog:
    """The gradients one party received: what it could learn from them, see label_leak.py. 4 * E bytes a row, epoch."""

    def __init__(self, rows: np.ndarray, width: int) -> None:
        self.rows = rows  # training rows [n], sorted
        self._width = width
        self._epochs: list[np.ndarray] = []

    @property
    def gradients(self) -> np.ndarray:
        """float32 [epochs, n, E]."""
        return np.stack(self._epochs) if self._epochs else np.zeros((0, len(self.rows), self._width), np.float32)

    def add(self, epoch: int, rows: np.ndarray, gradient: np.ndarray) -> None:
        while len(self._epochs) <= epoch:
            self._epochs.append(np.full((len(self.rows), self._width), np.nan, np.float32))
        self._epochs[epoch][np.searchsorted(self.rows, rows)] = gradient


class Org3Party:
    """The image holder's side: a handler of ``train/...`` messages, for one run after another.

    ``keep_gradients`` keeps what was received, for the attack.
    """

    def __init__(self, bottom: Org3Bottom, data: Org3Rows, *, keep_gradients: bool = False) -> None:
        self.bottom, self._data, self._keep_gradients = bottom, data, keep_gradients
        self.log: GradientLog | None = None
        self._run: _Org3Run | None = None

    def handle(self, kind: str, payload: bytes) -> bytes:
        steps = {
            BEGIN: self._begin, FORWARD: self._forward, BACKWARD: self._backward, KEEP: self._keep,
            RESTORE: self._restore, EMBED: self._embed,
        }  # fmt: skip
        if kind not in steps:
            raise unknown_kind(kind)
        tensors, values = unpack(payload)
        return steps[kind](tensors, values)

    def _begin(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> bytes:
        if values["digest"] != self._data.digest:
            raise Misaligned("the parties hold different common ids: run the alignment again and read both tables anew")
        rows = _checked_rows(tensors["rows"], len(self._data.features))
        self._run = _Org3Run(self.bottom, rows, SplitKnobs(**values["knobs"]))
        self.log = GradientLog(np.sort(rows), self.bottom.config.embedding) if self._keep_gradients else None
        return b""

    def _forward(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> bytes:
        run = self._running()
        rows = run.rows_of(values["epoch"], values["step"])
        self.bottom.train()
        seed_step(self.bottom, IMAGE_HOLDER, run.knobs.seed, run.epoch, run.step)
        run.embedding = self.bottom(*self._data.batch(rows))
        return pack({"embedding": run.embedding})

    def _backward(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> bytes:
        run = self._running()
        rows = run.rows_of(values["epoch"], values["step"])
        gradient = tensors["gradient"]
        if run.embedding is None or gradient.shape != run.embedding.shape:
            raise OutOfStep("a gradient came that belongs to no embedding: begin the training again")
        if self.log is not None:
            self.log.add(run.epoch, rows, gradient.numpy())
        run.optimiser.zero_grad()
        run.embedding.backward(gradient)
        run.take_step()
        return b""

    def _keep(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> bytes:
        self._running().best = copy.deepcopy(self.bottom.state_dict())
        return b""

    def _restore(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> bytes:
        run = self._running()
        if run.best is not None:
            self.bottom.load_state_dict(run.best)
        self.bottom.eval()
        self._run = None
        return b""

    @torch.no_grad()
    def _embed(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> bytes:
        if values["digest"] != self._data.digest:
            raise Misaligned("the parties hold different common ids: run the alignment again and read both tables anew")
        rows = _checked_rows(tensors["rows"], len(self._data.features))
        self.bottom.eval()
        return pack({"embedding": self.bottom(*self._data.batch(rows))})

    def _running(self) -> "_Org3Run":
        if self._run is None:
            raise OutOfStep(f"no training has begun: send {BEGIN!r} first")
        return self._run


class Org2Party:
    """The label holder's side: its bottom, the top, its records; it drives."""

    def __init__(self, bottom: Org2Bottom, top: Top, data: Org2Rows) -> None:
        self.bottom, self.top, self.data = bottom, top, data

    def train(
        self,
        wire: Wire,
        train: np.ndarray,
        validate: np.ndarray,
        knobs: SplitKnobs,
        *,
        defence: Defence = OPEN,
        desc: str | None = None,
    ) -> SplitRun:
        """Train both parties' networks on the rows ``train``. ``desc`` titles a progress bar on stderr.

        Raises Misaligned, OutOfStep, WireError.
        """
        from tqdm import tqdm

        guard = GradientGuard(defence, self.bottom.config, self.data, len(train), knobs)
        values = {"knobs": asdict(knobs), "digest": self.data.digest}
        wire.call(BEGIN, pack({"rows": torch.from_numpy(train.astype(np.int64))}, **values))
        optimiser = PartyOptimiser([self.bottom, self.top], knobs.org2_learning_rate, len(train), knobs)
        curves: list[dict[str, float]] = []
        best: dict[str, Any] = {}
        trained, validated = (FORWARD, BACKWARD), (EMBED,)
        before = wire.bytes_carried(*trained), wire.bytes_carried(*validated)
        for epoch in tqdm(range(knobs.epochs), desc=desc, disable=None if desc else True):
            losses = []
            for step, rows in enumerate(batches(train, knobs, epoch)):
                losses.append(self._step(wire, rows, optimiser, guard, knobs, epoch, step))
            logits = self.predict(wire, validate)
            curves.append(curve_row(epoch, losses, logits, self.data.labels[validate]))
            if best_so_far(curves) == epoch:
                wire.call(KEEP, pack({}))
                best = {part: copy.deepcopy(net.state_dict()) for part, net in self._parts.items()}
        wire.call(RESTORE, pack({}))
        for part, net in self._parts.items():
            net.load_state_dict(best[part])
            net.eval()
        after = wire.bytes_carried(*trained), wire.bytes_carried(*validated)
        per_epoch = [(b - a) // knobs.epochs for a, b in zip(before, after, strict=True)]
        return SplitRun(curves, best_so_far(curves), per_epoch[0], per_epoch[1])

    @torch.no_grad()
    def predict(self, wire: Wire, rows: np.ndarray) -> np.ndarray:
        """Logits float32 [n, classes] of the rows given, in their order."""
        for net in self._parts.values():
            net.eval()
        found = []
        for part in in_parts(rows):
            asked = pack({"rows": torch.from_numpy(part.astype(np.int64))}, digest=self.data.digest)
            received = unpack(wire.call(EMBED, asked))[0]["embedding"]
            found.append(self.top(self.bottom(torch.from_numpy(self.data.features[part])), received).numpy())
        return np.concatenate(found)

    @property
    def _parts(self) -> dict[str, nn.Module]:
        return {LABEL_HOLDER: self.bottom, TOP: self.top}

    def _step(
        self, wire: Wire, rows: np.ndarray, optimiser: PartyOptimiser, guard: GradientGuard, knobs: SplitKnobs,
        epoch: int, step: int,
    ) -> float:  # fmt: skip
        at = {"epoch": epoch, "step": step}
        received = unpack(wire.call(FORWARD, pack({}, **at)))[0]["embedding"].requires_grad_()
        for part, net in self._parts.items():
            net.train()
            seed_step(net, part, knobs.seed, epoch, step)
        logits = self.top(self.bottom(torch.from_numpy(self.data.features[rows])), received)
        loss = F.cross_entropy(logits, torch.from_numpy(self.data.labels[rows]))
        sent = None if guard.is_open else guard.gradient(received, logits, rows, epoch, step)
        optimiser.zero_grad()
        loss.backward()
        if sent is None:
            sent = received.grad
            assert sent is not None
        wire.call(BACKWARD, pack({"gradient": sent}, **at))
        optimiser.step()
        return float(loss.detach())


class _Org3Run:
    """Where the image holder is in a run."""

    def __init__(self, bottom: Org3Bottom, rows: np.ndarray, knobs: SplitKnobs) -> None:
        self.knobs, self._rows = knobs, rows
        self.optimiser = PartyOptimiser([bottom], knobs.org3_learning_rate, len(rows), knobs)
        self.epoch, self.step = 0, 0
        self._order = batches(rows, knobs, 0)
        self.embedding: torch.Tensor | None = None
        self.best: dict[str, torch.Tensor] | None = None

    def rows_of(self, epoch: Any, step: Any) -> np.ndarray:
        if (epoch, step) != (self.epoch, self.step) or self.epoch >= self.knobs.epochs:
            raise OutOfStep(
                f"step {step} of epoch {epoch} was asked for, step {self.step} of epoch {self.epoch} is next: begin "
                "the training again"
            )
        return self._order[self.step]

    def take_step(self) -> None:
        self.optimiser.step()
        self.embedding = None
        self.step += 1
        if self.step == len(self._order):
            self.epoch, self.step = self.epoch + 1, 0
            self._order = batches(self._rows, self.knobs, self.epoch)


def _checked_rows(rows: torch.Tensor, known: int) -> np.ndarray:
    found = rows.numpy()
    if found.ndim != 1 or not len(found) or found.min() < 0 or found.max() >= known:
        raise Misaligned(f"rows were asked for that are not among the {known} common ones: run the alignment again")
    return found
