"""Attention between token sequences, with masks.

Belongs here: the residual pre-norm cross-attention, masked pooling and modality dropout that several models
share. Does not belong here: which modality attends to which (the model modules).
"""

import torch
import torch.nn.functional as F
from torch import nn


class CrossAttention(nn.Module):
    """``queries + Attention(LN(queries), LN(context))``, multi-head, fused kernels where the device has them.

    ``forward(queries [B, Q, D], context [B, K, D], context_mask bool [B, K]) -> [B, Q, D]``; every row of the
    mask must keep at least one token.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_queries = nn.LayerNorm(dim)
        self.norm_context = nn.LayerNorm(dim)
        self.to_query = nn.Linear(dim, dim)
        self.to_key_value = nn.Linear(dim, 2 * dim)
        self.to_out = nn.Linear(dim, dim)

    def forward(self, queries: torch.Tensor, context: torch.Tensor, context_mask: torch.Tensor) -> torch.Tensor:
        batch, n_queries, dim = queries.shape
        q = self.to_query(self.norm_queries(queries)).view(batch, n_queries, self.heads, -1).transpose(1, 2)
        k, v = self.to_key_value(self.norm_context(context)).chunk(2, dim=-1)
        k = k.view(batch, -1, self.heads, dim // self.heads).transpose(1, 2)
        v = v.view(batch, -1, self.heads, dim // self.heads).transpose(1, 2)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=context_mask[:, None, None, :])
        return queries + self.to_out(out.transpose(1, 2).reshape(batch, n_queries, dim))


def masked_mean_pool(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of tokens [B, T, D] where mask [B, T] is true -> [B, D]."""
    weights = mask.to(tokens.dtype).unsqueeze(-1)
    return (tokens * weights).sum(1) / weights.sum(1).clamp(min=1)


def masked_max_pool(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Maximum of tokens [B, T, D] where mask [B, T] is true -> [B, D]; each row needs one true entry."""
    return tokens.masked_fill(~mask.unsqueeze(-1), torch.finfo(tokens.dtype).min).amax(1)


def drop_modalities(present: torch.Tensor, probability: float) -> torch.Tensor:
    """Hide modalities of a training batch at random: bool [B, M] -> bool [B, M].

    Each is hidden with ``probability``; a record that would lose everything keeps what it had. Draws from
    torch's generator, which the training loop seeds from (seed, epoch, step).
    """
    kept = present & (torch.rand(present.shape, device=present.device) >= probability)
    return torch.where(kept.any(1, keepdim=True), kept, present)
