import torch
from torch import nn

from mm_assets.learning.attention import CrossAttention, drop_modalities, masked_max_pool, masked_mean_pool


def test_cross_attention_equals_torch_multihead_attention():
    torch.manual_seed(0)
    ours = CrossAttention(16, 4).eval()
    theirs = nn.MultiheadAttention(16, 4, batch_first=True).eval()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.to_query.weight, ours.to_key_value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.to_query.bias, ours.to_key_value.bias]))
        theirs.out_proj.load_state_dict(ours.to_out.state_dict())
    queries, context = torch.randn(3, 5, 16), torch.randn(3, 7, 16)
    mask = torch.rand(3, 7) < 0.6
    mask[:, 0] = True
    q, c = ours.norm_queries(queries), ours.norm_context(context)
    expected = queries + theirs(q, c, c, key_padding_mask=~mask)[0]
    assert torch.allclose(ours(queries, context, mask), expected, atol=1e-5)


def test_masked_context_has_no_influence():
    torch.manual_seed(0)
    block = CrossAttention(8, 2).eval()
    queries, context = torch.randn(2, 3, 8), torch.randn(2, 4, 8)
    mask = torch.tensor([[True, True, False, False]] * 2)
    changed = context.clone()
    changed[:, 2:] = 1e4
    assert torch.equal(block(queries, context, mask), block(queries, changed, mask))


def test_pools_see_only_what_the_mask_keeps():
    tokens = torch.tensor([[[1.0], [3.0], [100.0]]])
    mask = torch.tensor([[True, True, False]])
    assert masked_mean_pool(tokens, mask).item() == 2
    assert masked_max_pool(tokens, mask).item() == 3


def test_modality_dropout_hides_its_share_and_never_everything():
    torch.manual_seed(0)
    present = torch.ones(20_000, 3, dtype=torch.bool)
    kept = drop_modalities(present, 0.3)
    assert kept.any(1).all()
    assert abs((~kept).float().mean() - (0.3 - 0.3**3)) < 0.01
    only_text = torch.tensor([[False, True, False]]).expand(1000, 3)
    assert torch.equal(drop_modalities(only_text, 0.9), only_text), "what was absent stays so, what is alone stays"
