"""How well labels can be read from the gradients that the image holder receives, with and without a defence.

Belongs here: the attack, the table of accuracy against leak, and the verdict. Does not belong here: the defences
(defence.py) and training (split_training.py).

The attack has no labels: it sorts the directions of the received gradients into as many clusters as there are classes.
It looks at every epoch alone and at all epochs together (fresh noise averages out there), and the best of these counts,
which an attacker could not know: what is told is therefore an upper figure of this kind of attack. Which cluster is
which class is settled in the attacker's favour too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mm_assets.cloud_vision.defence import Defence
from mm_assets.cloud_vision.party_steps import Org2Rows, Org3Rows, SplitKnobs
from mm_assets.cloud_vision.schema import IMAGE_HOLDER, LABEL_HOLDER
from mm_assets.cloud_vision.split_model import SplitConfig, build_org2, build_org3, build_top
from mm_assets.cloud_vision.split_training import Org2Party, Org3Party
from mm_assets.cloud_vision.wire import InProcessWire

LEAK_MARGIN, ACCURACY_COST = 0.05, 0.02  # a defence counts within both


@dataclass(frozen=True)
class Leak:
    """Shares of training rows whose label the attack names: of its best view, and of each."""

    accuracy: float
    per_epoch: tuple[float, ...]
    all_epochs: float


@dataclass(frozen=True)
class LeakRow:
    """One row of the table: a defence, what it costs and what it hides."""

    defence: Defence
    accuracy: float  # of the joint model on test: told, never chosen by
    validated: float  # the same on validate: what a defence is chosen by
    leak: float
    leak_random_labels: float  # the same attack where labels have nothing to do with the data
    epsilon: float  # a bound that holds against every attack; infinite where there is none


@dataclass(frozen=True)
class Verdict:
    """Whether a defence counts, and which; ``chosen`` is the nearest otherwise."""

    reached: bool
    chosen: Defence
    text: str


def attack(gradients: np.ndarray, labels: np.ndarray, classes: int, *, seed: int = 0) -> Leak:
    """The leak of received gradients float32 [epochs, n, E] about labels int64 [n]."""
    directions = gradients / np.maximum(np.linalg.norm(gradients, axis=2, keepdims=True), 1e-30)
    per_epoch = tuple(_cluster_accuracy(epoch, labels, classes, seed) for epoch in directions)
    together = _cluster_accuracy(directions.mean(0), labels, classes, seed)
    return Leak(max(*per_epoch, together), per_epoch, together)


def measure(
    defence: Defence, config: SplitConfig, org2: Org2Rows, org3: Org3Rows, train: np.ndarray, validate: np.ndarray,
    test: np.ndarray, knobs: SplitKnobs,
) -> LeakRow:  # fmt: skip
    """Train under a defence, with true and with random labels, and attack both."""
    accuracy, validated, leak = _trained_and_attacked(defence, config, org2, org3, train, validate, test, knobs)
    shuffled = np.random.default_rng([knobs.seed, 91]).integers(config.classes, size=len(org2.labels))
    of_random = replace(org2, labels=shuffled)
    _, _, random_leak = _trained_and_attacked(defence, config, of_random, org3, train, validate, test, knobs)
    bound = defence.epsilon(config.classes)
    return LeakRow(defence, accuracy, validated, leak.accuracy, random_leak.accuracy, bound)


def judge(rows: Sequence[LeakRow], guessed: float) -> Verdict:
    """Whether a defence counts. The one with the least leak of those within both bounds on validate is chosen, or the
    nearest to them; it counts when it is within both on test too.

    ``rows`` hold the undefended run, of kind ``none``, that accuracy is compared with.
    """
    undefended = next(row for row in rows if row.defence.kind == "none")
    defended = [row for row in rows if row.defence.kind != "none"]
    if not defended:
        return Verdict(False, undefended.defence, "not reached: no defence was tried")
    cost = {row.defence: undefended.validated - row.validated for row in defended}
    within = [row for row in defended if _misses(row.leak - guessed, cost[row.defence]) <= 1 + 1e-9]
    if within:
        chosen = min(within, key=lambda row: (row.leak, -row.validated))
    else:
        chosen = min(defended, key=lambda row: _misses(row.leak - guessed, cost[row.defence]))
    told = _told(chosen, undefended, guessed)
    if within and _misses(chosen.leak - guessed, undefended.accuracy - chosen.accuracy) <= 1 + 1e-9:
        return Verdict(True, chosen.defence, told)
    return Verdict(False, chosen.defence, f"not reached; nearest is {told}")


def as_records(rows: Sequence[LeakRow], guessed: float) -> list[dict[str, Any]]:
    """The table as plain rows, with the guess beside each; an unbounded epsilon is None."""
    return [
        {
            "defence": row.defence.name, "accuracy": row.accuracy, "validated": row.validated, "leak": row.leak,
            "guess": guessed, "leak_random_labels": row.leak_random_labels,
            "epsilon": row.epsilon if np.isfinite(row.epsilon) else None,
        }
        for row in rows
    ]  # fmt: skip


def _trained_and_attacked(
    defence: Defence, config: SplitConfig, org2: Org2Rows, org3: Org3Rows, train: np.ndarray, validate: np.ndarray,
    test: np.ndarray, knobs: SplitKnobs,
) -> tuple[float, float, Leak]:  # fmt: skip
    """Accuracies on test and on validate, and what the attack names."""
    org3_party = Org3Party(build_org3(config, knobs.seed), org3, keep_gradients=True)
    org2_party = Org2Party(build_org2(config, knobs.seed), build_top(config, knobs.seed), org2)
    wire = InProcessWire(org3_party.handle, LABEL_HOLDER, IMAGE_HOLDER)
    org2_party.train(wire, train, validate, knobs, defence=defence)
    accuracy, validated = (
        float((org2_party.predict(wire, rows).argmax(1) == org2.labels[rows]).mean()) for rows in (test, validate)
    )
    assert org3_party.log is not None
    seen = org2.labels[org3_party.log.rows]
    return accuracy, validated, attack(org3_party.log.gradients, seen, config.classes, seed=knobs.seed)


def _cluster_accuracy(directions: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> float:
    from scipy.optimize import linear_sum_assignment
    from sklearn.cluster import KMeans

    if len(np.unique(directions.round(6), axis=0)) < classes:
        return float(np.bincount(labels, minlength=classes).max() / len(labels))
    clusters = KMeans(classes, n_init=4, random_state=seed).fit_predict(directions)
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (clusters, labels), 1)
    matched = linear_sum_assignment(table, maximize=True)
    return float(table[matched].sum() / len(labels))


def _misses(leak_above_guess: float, cost: float) -> float:
    """The larger of both distances, each in its own bound: 1 and below is within."""
    return max(leak_above_guess / LEAK_MARGIN, cost / ACCURACY_COST)


def _told(row: LeakRow, undefended: LeakRow, guessed: float) -> str:
    return (
        f"{row.defence.name}: leak {row.leak:.3f} beside a guess of {guessed:.3f} (undefended {undefended.leak:.3f}), "
        f"accuracy on validate {row.validated:.3f} (undefended {undefended.validated:.3f}), "
        f"on test {row.accuracy:.3f} (undefended {undefended.accuracy:.3f})"
    )
