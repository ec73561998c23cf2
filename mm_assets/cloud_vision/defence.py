"""What the label holder does to the gradients it sends, so that they tell less about the labels.

Belongs here: the defences. Does not belong here: the attack (label_leak.py) and training (split_training.py). Only
what crosses is changed: the label holder's own networks learn from true labels all the same.

A row's gradient points where its label pulls it, so whoever receives gradients can sort rows by label, even labels
that have nothing to do with the data. Two kinds of defence:

Disturbed gradients of the label holder's own networks:

- ``noise``: Gaussian, ``strength`` times as strong as the gradients of the batch (root mean square). Fresh each time,
  so that it averages out over epochs, for the attacker too.
- ``equal_norm``: the same on gradients brought to one length, which tells nothing by its size.
- ``distance_correlation``: the loss that shapes the received embedding has ``strength`` times its distance correlation
  with the labels added.

Gradients of a public network, which sees the received embedding alone and instead of the true label one that stands in
for it. That is drawn once a row, so that no number of epochs tells more, and ``epsilon`` bounds what any attack can
learn. (It may not see the label holder's table either, which tells a part of the answer and shapes the gradients:
with it, merged classes were told apart in 85 of 100 rows, without it in 69.)

- ``randomised_labels``: the true class with a probability of ``strength``, else any class (randomised response).
- ``merged_labels``: the same after the classes ``merged`` have become one. The image holder is taught only what its own
  data can tell, and the gradients cannot tell the merged classes apart, however long they are looked at.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253

from mm_assets.cloud_vision.party_steps import Org2Rows, PartyOptimiser, SplitKnobs
from mm_assets.cloud_vision.split_model import TOP, SplitConfig, build_top, seed_of, seed_step
from resources.errors import MendableError

Kind = Literal["none", "noise", "equal_norm", "distance_correlation", "randomised_labels", "merged_labels"]
KINDS: tuple[str, ...] = get_args(Kind)
PUBLIC = ("randomised_labels", "merged_labels")
_PUBLIC_SEED, _NOISE_SEED = 71, 5


class DefenceUnknown(MendableError):
    """A defence of no known name, or with settings that make no sense."""


@dataclass(frozen=True)
class Defence:
    """One defence; what ``strength`` means is said at each kind, ``merged`` is of ``merged_labels`` alone."""

    kind: Kind = "none"
    strength: float = 0.0
    merged: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DefenceUnknown(f"no defence {self.kind!r}: choose one of {', '.join(KINDS)}")
        most = 1.0 if self.kind in PUBLIC else math.inf
        if not 0 <= self.strength <= most or not math.isfinite(self.strength):
            raise DefenceUnknown(f"a strength of {self.strength} of {self.kind}: choose one from 0 to {most:g}")
        if (self.kind == "merged_labels") != (len(set(self.merged)) >= 2):
            raise DefenceUnknown("merged_labels needs two classes or more to merge, and nothing else takes any")

    @property
    def name(self) -> str:
        if self.kind == "none":
            return self.kind
        classes = f" of {'+'.join(map(str, self.merged))}" if self.merged else ""
        return f"{self.kind}{classes} {self.strength:g}"

    def shown_classes(self, classes: int) -> int:
        """How many classes the public network knows."""
        if self.merged and not set(self.merged) < set(range(classes)):
            raise DefenceUnknown(f"classes {self.merged} cannot be merged: leave one of the {classes} classes apart")
        return classes - max(0, len(set(self.merged)) - 1)

    def epsilon(self, classes: int) -> float:
        """Label differential privacy of all gradients that one row ever gives; infinite where nothing bounds it.

        Merged classes have 0 between them; this is the figure between others.
        """
        if self.kind not in PUBLIC or self.strength == 1:
            return math.inf
        other = (1 - self.strength) / self.shown_classes(classes)
        return math.log((self.strength + other) / other)


OPEN = Defence()


def shown_labels(defence: Defence, labels: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """What stands in for the labels int64 [N] in the public network: fixed for a run, one draw a row."""
    shown = defence.shown_classes(classes)
    first = min(defence.merged, default=0)
    kept = [name for name in range(classes) if name == first or name not in defence.merged]
    place = np.array([kept.index(first if name in defence.merged else name) for name in range(classes)])
    rng = np.random.default_rng([seed, _PUBLIC_SEED])
    keep = rng.random(len(labels)) < defence.strength
    return np.where(keep, place[labels], rng.integers(shown, size=len(labels)))


class GradientGuard:
    """Makes the gradients that are sent under a defence; one for each run."""

    def __init__(
        self, defence: Defence, config: SplitConfig, data: Org2Rows, train_rows: int, knobs: SplitKnobs
    ) -> None:
        self.defence, self._data, self._knobs = defence, data, knobs
        self._public = defence.kind in PUBLIC
        if not self._public:
            return
        self._shown = shown_labels(defence, data.labels, config.classes, knobs.seed)
        known = replace(config, classes=defence.shown_classes(config.classes))
        self._top = build_top(known, seed_of(knobs.seed, _PUBLIC_SEED), parties=1)
        self._optimiser = PartyOptimiser([self._top], knobs.org2_learning_rate, train_rows, knobs)

    @property
    def is_open(self) -> bool:
        return self.defence.kind == OPEN.kind

    def gradient(
        self, embedding: torch.Tensor, logits: torch.Tensor, rows: np.ndarray, epoch: int, step: int
    ) -> torch.Tensor:
        """The gradient [B, E] to send for a received ``embedding``, from which ``logits`` were made.

        A public network takes its training step here. The graph of ``logits`` is kept.
        """
        if self._public:
            return self._of_public_network(embedding, rows, epoch, step)
        labels = torch.from_numpy(self._data.labels[rows])
        noise = torch.Generator().manual_seed(seed_of(self._knobs.seed, _NOISE_SEED, epoch, step))
        return disturbed_gradient(self.defence, embedding, logits, labels, noise)

    def _of_public_network(self, embedding: torch.Tensor, rows: np.ndarray, epoch: int, step: int) -> torch.Tensor:
        seed_step(self._top, TOP, seed_of(self._knobs.seed, _PUBLIC_SEED), epoch, step)
        received = embedding.detach().requires_grad_()
        self._optimiser.zero_grad()
        F.cross_entropy(self._top(received), torch.from_numpy(self._shown[rows])).backward()
        self._optimiser.step()
        assert received.grad is not None
        return received.grad


def disturbed_gradient(
    defence: Defence, embedding: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """The gradient [B, E] of the label holder's own loss with noise or another loss added; keeps the graph."""
    loss = F.cross_entropy(logits, labels)
    if defence.kind == "distance_correlation":
        loss = loss + defence.strength * distance_correlation(embedding, F.one_hot(labels, logits.shape[1]).float())
    (gradient,) = torch.autograd.grad(loss, embedding, retain_graph=True)
    if defence.kind not in ("noise", "equal_norm"):
        return gradient
    norms = gradient.norm(dim=1, keepdim=True)
    size = norms.square().mean().sqrt()
    if defence.kind == "equal_norm":
        gradient = gradient / norms.clamp_min(1e-12) * size
    noise = torch.randn(gradient.shape, generator=generator).to(gradient.device)
    return gradient + noise * (defence.strength * size / math.sqrt(gradient.shape[1]))


def distance_correlation(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Sample distance correlation of [B, D1] and [B, D2], 0 to 1; differentiable."""
    a, b = _centred(first), _centred(second)
    covariance = (a * b).mean()
    variances = (a * a).mean() * (b * b).mean()
    return (covariance.clamp_min(0) / variances.clamp_min(1e-12).sqrt() + 1e-12).sqrt()


def _centred(values: torch.Tensor) -> torch.Tensor:
    # The root of a zero distance has no gradient.
    distances = ((values[:, None] - values[None]).square().sum(2) + 1e-9).sqrt()
    return distances - distances.mean(0, keepdim=True) - distances.mean(1, keepdim=True) + distances.mean()
