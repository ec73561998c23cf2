import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mm_assets.cloud_vision.defence import (
    OPEN,
    Defence,
    DefenceUnknown,
    GradientGuard,
    distance_correlation,
    disturbed_gradient,
    shown_labels,
)
from mm_assets.cloud_vision.party_steps import SplitKnobs
from mm_assets.cloud_vision.split_model import SplitConfigError
from tests.cloud_vision.split_data import CONFIG, two_parties

LABELS = np.random.default_rng(0).integers(3, size=6000)


def step(width=16, rows=64):
    """(embedding, logits that come from it, labels)."""
    generator = torch.Generator().manual_seed(0)
    embedding = torch.randn(rows, width, generator=generator).requires_grad_()
    weights = torch.randn(width, 3, generator=generator)
    return embedding, embedding @ weights, torch.randint(3, (rows,), generator=generator)


@pytest.mark.parametrize(
    "settings",
    [("nonsense", 1.0), ("noise", -1.0), ("noise", math.nan), ("randomised_labels", 1.1), ("merged_labels", 0.5),
     ("merged_labels", 0.5, (1, 1)), ("noise", 1.0, (0, 1))],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(DefenceUnknown):
        Defence(*settings)


def test_merging_all_classes_is_refused():
    with pytest.raises(DefenceUnknown, match="leave one"):
        Defence("merged_labels", 1.0, (0, 1, 2)).shown_classes(3)


def test_randomised_labels_are_true_as_often_as_said_and_fixed_for_a_run():
    defence = Defence("randomised_labels", 0.4)
    shown = shown_labels(defence, LABELS, 3, seed=1)
    assert np.array_equal(shown, shown_labels(defence, LABELS, 3, seed=1))
    assert not np.array_equal(shown, shown_labels(defence, LABELS, 3, seed=2))
    assert (shown == LABELS).mean() == pytest.approx(0.4 + 0.6 / 3, abs=0.02)
    # The bound: no class is told more than e^epsilon times as often by one label as by another.
    shares = [np.bincount(shown[label == LABELS], minlength=3) / (label == LABELS).sum() for label in range(3)]
    largest = max(a[i] / b[i] for a in shares for b in shares for i in range(3))
    assert math.log(largest) == pytest.approx(defence.epsilon(3), abs=0.15)


def test_merged_classes_are_one():
    shown = shown_labels(Defence("merged_labels", 1.0, (0, 2)), LABELS, 3, seed=1)
    assert np.array_equal(shown, np.array([0, 1, 0])[LABELS])
    shown = shown_labels(Defence("merged_labels", 1.0, (2, 1)), LABELS, 3, seed=1)
    assert np.array_equal(shown, np.array([0, 1, 1])[LABELS])


def test_epsilon_is_finite_for_randomised_labels_alone():
    assert Defence("randomised_labels", 0.0).epsilon(3) == 0
    assert Defence("randomised_labels", 0.5).epsilon(3) == pytest.approx(math.log(4))
    assert Defence("merged_labels", 0.5, (0, 2)).epsilon(3) == pytest.approx(math.log(3))
    for defence in (OPEN, Defence("noise", 5.0), Defence("randomised_labels", 1.0)):
        assert math.isinf(defence.epsilon(3))


def test_names():
    assert [d.name for d in (OPEN, Defence("noise", 2.0), Defence("merged_labels", 0.85, (0, 2)))] == [
        "none", "noise 2", "merged_labels of 0+2 0.85",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["noise", "equal_norm", "distance_correlation"])
def test_without_strength_directions_are_the_true_ones(kind):
    embedding, logits, labels = step()
    (true,) = torch.autograd.grad(F.cross_entropy(logits, labels), embedding, retain_graph=True)
    sent = disturbed_gradient(Defence(kind, 0.0), embedding, logits, labels, torch.Generator())
    assert torch.allclose(F.normalize(sent), F.normalize(true), atol=1e-5)
    assert torch.allclose(sent, true, atol=1e-8) == (kind != "equal_norm")


def test_noise_is_as_strong_as_said_and_norms_are_equal():
    embedding, logits, labels = step(width=64, rows=512)
    generator = torch.Generator().manual_seed(1)
    plain = disturbed_gradient(Defence("noise", 0.0), embedding, logits, labels, generator)
    noisy = disturbed_gradient(Defence("noise", 3.0), embedding, logits, labels, generator)
    assert float((noisy - plain).square().sum() / plain.square().sum()) == pytest.approx(9, rel=0.1)
    logits = logits / 20  # no row is so sure that its gradient is nothing
    equal = disturbed_gradient(Defence("equal_norm", 0.0), embedding, logits, labels, generator).norm(dim=1)
    assert float(equal.max() / equal.min()) == pytest.approx(1, abs=1e-5)


def test_distance_correlation_knows_dependence():
    values = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    other = torch.randn(400, 3, generator=torch.Generator().manual_seed(1))
    assert float(distance_correlation(values, 3 * values)) == pytest.approx(1, abs=1e-3)
    assert float(distance_correlation(values, other)) < 0.2
    assert float(distance_correlation(values, values.square())) > 0.3
    values.requires_grad_()
    distance_correlation(values, torch.ones(400, 1)).backward()
    assert torch.isfinite(values.grad).all()


def test_the_public_network_never_sees_the_true_labels_or_the_label_holders_table():
    org2, _ = two_parties(120)
    knobs, rows = SplitKnobs(epochs=2, batch_size=32), np.arange(40)
    # No label is kept, so that what stands in for it is a draw that true labels have no part in.
    sent = []
    for labels in (org2.labels, (org2.labels + 1) % 3):
        guard = GradientGuard(
            Defence("randomised_labels", 0.0),
            CONFIG,
            replace(org2, labels=labels, features=org2.features + labels[:, None].astype(np.float32)),
            120,
            knobs,
        )
        embedding = torch.ones(40, CONFIG.embedding, requires_grad=True)
        # These logits hold the labels, and the table does: they must not be looked at.
        logits = F.one_hot(torch.from_numpy(labels[rows]), 3) * 9.0 + embedding.sum(1, keepdim=True)
        sent.append([guard.gradient(embedding, logits, rows, 0, number) for number in range(3)])
        assert embedding.grad is None
    for one, other in zip(*sent, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(sent[0][0], sent[0][2])  # the public network learns


def test_a_network_that_cannot_be_built_is_refused():
    with pytest.raises(SplitConfigError, match="dropout"):
        replace(CONFIG, dropout=1.0)
    with pytest.raises(SplitConfigError, match="classes"):
        replace(CONFIG, classes=1)
