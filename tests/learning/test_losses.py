import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from mm_assets.learning.losses import combined_loss, focal_loss, masked_mean, positive_weights


@pytest.fixture
def example():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(32, 14, generator=generator) * 3
    targets = (torch.rand(32, 14, generator=generator) < 0.3).float()
    mask = torch.rand(32, 14, generator=generator) < 0.8
    return logits, targets, mask


@pytest.mark.parametrize(("alpha", "theirs"), [(None, -1), (0.25, 0.25)])
def test_focal_loss_equals_torchvision(example, alpha, theirs):
    logits, targets, _ = example
    expected = sigmoid_focal_loss(logits, targets, alpha=theirs, gamma=2)
    assert torch.allclose(focal_loss(logits, targets, 2.0, alpha), expected, atol=1e-6)


def test_weighted_cross_entropy_equals_torch_where_nothing_is_masked(example):
    logits, targets, _ = example
    weight = torch.linspace(1, 20, 14)
    ours = combined_loss(logits, targets, torch.ones_like(targets), weight, bce=1.0, focal=0.0)
    assert torch.allclose(ours, F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weight))


def test_the_mixture_is_seven_to_three(example):
    logits, targets, mask = example
    whole = combined_loss(logits, targets, mask)
    parts = [combined_loss(logits, targets, mask, bce=b, focal=f) for b, f in ((1, 0), (0, 1))]
    assert torch.allclose(whole, 0.7 * parts[0] + 0.3 * parts[1])


def test_masked_elements_have_neither_value_nor_gradient(example):
    logits, targets, mask = example
    spoiled = torch.where(mask, targets, torch.full_like(targets, float("nan")))
    free = logits.clone().requires_grad_()
    loss = combined_loss(free, spoiled, mask)
    loss.backward()
    assert torch.allclose(loss, combined_loss(logits, targets, mask))
    assert (free.grad[~mask] == 0).all() and (free.grad[mask] != 0).all()


def test_a_batch_without_a_known_label_trains_nothing(example):
    logits, targets, mask = example
    free = logits.clone().requires_grad_()
    combined_loss(free, targets, torch.zeros_like(mask)).backward()
    assert (free.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extreme_logits_stay_finite(dtype):
    logits = torch.tensor([[60000.0, -60000.0, 20.0, -20.0]], dtype=dtype, requires_grad=True)
    for target in (0.0, 1.0):
        loss = combined_loss(logits, torch.full((1, 4), target), torch.ones(1, 4), torch.full((4,), 20.0))
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()


def test_positive_weights_are_negatives_over_positives_of_known_labels():
    targets = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 1], [1, 1, 1], [0, 1, 1]])
    assert positive_weights(targets, mask).tolist() == [2.0, 1.0, 1.0]
    rare = torch.zeros(1000, 1)
    rare[0] = 1
    assert positive_weights(rare, torch.ones_like(rare), cap=20).item() == 20


def test_masked_mean_divides_by_what_is_known():
    assert masked_mean(torch.tensor([1.0, 3.0, 100.0]), torch.tensor([1, 1, 0])).item() == 2
