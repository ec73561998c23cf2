"""Multi-label losses on logits, with a mask for labels that are uncertain or blank.

Belongs here: weighted binary cross-entropy, focal loss, their mixture, and the weights from training labels.
Does not belong here: the policy that decides which labels are masked.

Everything is computed from logits in float32: in half precision a probability of 1 - 1e-6 is 1.0 and its
logarithm infinite.
"""

import torch
import torch.nn.functional as F


def positive_weights(targets: torch.Tensor, mask: torch.Tensor, cap: float = 20.0) -> torch.Tensor:
    """neg / pos per label over the unmasked training targets [n, L], capped; 1 where there is no positive."""
    known = mask.to(torch.float32)
    positives = (targets * known).sum(0)
    negatives = ((1 - targets) * known).sum(0)
    weights = (negatives / positives.clamp(min=1)).clamp(max=cap)
    return torch.where((positives > 0) & (negatives > 0), weights, torch.ones_like(weights))


def focal_loss(
    logits: torch.Tensor, targets: torch.Tensor, gamma: float = 2.0, alpha: float | None = None
) -> torch.Tensor:
    """Focal loss per element [B, L] (Lin et al. 2017, https://arxiv.org/abs/1708.02002).

    ``alpha`` None leaves positives and negatives unweighted, which is right beside ``pos_weight``.
    """
    logits, targets = logits.float(), targets.float()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    # 1 - p_t as a sigmoid: exact where p_t rounds to 1.
    miss = torch.sigmoid(torch.where(targets > 0.5, -logits, logits))
    loss = miss.pow(gamma) * cross_entropy
    if alpha is not None:
        loss = loss * torch.where(targets > 0.5, alpha, 1 - alpha)
    return loss


def masked_mean(loss: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over elements whose mask is 1; zero (with a gradient) where none is."""
    known = mask.to(loss.dtype)
    # where() and not a product: a masked NaN target must not reach the sum.
    return torch.where(known > 0, loss, torch.zeros_like(loss)).sum() / known.sum().clamp(min=1)


def combined_loss(
    logits: torch.Tensor,
    targets: torch.Tensor,
    mask: torch.Tensor,
    pos_weight: torch.Tensor | None = None,
    *,
    bce: float = 0.7,
    focal: float = 0.3,
    gamma: float = 2.0,
) -> torch.Tensor:
    """``bce`` x weighted cross-entropy + ``focal`` x focal loss over [B, L]: a masked mean, float32."""
    logits = logits.float()
    targets = torch.where(mask > 0, targets.float(), torch.zeros_like(logits))
    weighted = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=pos_weight, reduction="none")
    return masked_mean(bce * weighted + focal * focal_loss(logits, targets, gamma), mask)
