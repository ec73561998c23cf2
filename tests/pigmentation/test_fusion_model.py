import json
from dataclasses import asdict, replace

import pytest
import torch

from mm_assets.pigmentation.fusion import (
    FusionConfig,
    FusionConfigError,
    attention_mass,
    attention_shares,
    brought,
    hide,
)
from mm_assets.pigmentation.model import FusionModel, build_model, parameter_counts
from mm_assets.pigmentation.schema import VARIANTS

THREE = (("clinical", 3), ("dermoscopy", 3), ("multispectral", 5))
CONFIG = FusionConfig(THREE, encoder="test_convnext", stage=1, image_size=24, width=16, heads=4)
GRID = (3, 3)


def build(variant="fused", **changes):
    torch.manual_seed(0)
    return FusionModel(replace(CONFIG, variant=variant, **changes))


def batch_of(n=6, modalities=THREE, size=24, seed=0):
    rng = torch.Generator().manual_seed(seed)
    pixels = {name: torch.randn(n, channels, size, size, generator=rng) for name, channels in modalities}
    return {**pixels, "present": torch.ones(n, len(modalities), dtype=torch.bool)}


def without(batch, *names, modalities=THREE):
    order = [name for name, _ in modalities]
    present = batch["present"].clone()
    present[:, [order.index(name) for name in names]] = False
    return {**batch, "present": present}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_gives_a_score_and_trains_every_weight(variant):
    model, batch = build(variant, modality_dropout=0.5), batch_of(32)
    batch["present"][:8, 1:] = False
    out = model(batch)
    assert out.shape == (32, 2) and ((out[:, 0] > 0) & (out[:, 0] < 1)).all()
    assert torch.isnan(out[:, 1]).all() == (variant == "pooled") and torch.isnan(out[:, 1]).any() == (
        variant == "pooled"
    )
    out.nansum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("absent", [("dermoscopy",), ("multispectral",), ("dermoscopy", "multispectral")])
def test_an_absent_picture_has_no_influence_even_as_nonsense(variant, absent):
    model, batch = build(variant).eval(), batch_of()
    alone = without(batch, *absent)
    spoiled = alone | {name: torch.full_like(batch[name], torch.nan) for name in absent}
    with torch.no_grad():
        assert torch.equal(model(alone).nan_to_num(), model(spoiled).nan_to_num())
        assert not torch.allclose(model(alone)[:, 0], model(batch)[:, 0])


@pytest.mark.parametrize("variant", VARIANTS)
def test_records_with_and_without_pictures_share_a_batch(variant):
    model, batch = build(variant).eval(), batch_of(4)
    batch["present"] = torch.tensor([[1, 1, 1], [1, 0, 1], [1, 0, 0], [1, 1, 0]], dtype=torch.bool)
    together = model(batch)
    for i in range(4):
        alone = model({key: value[i : i + 1] for key, value in batch.items()})
        assert torch.allclose(together[i, 0], alone[0, 0], atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_encoding_and_fusing_apart_is_the_whole(variant):
    model, batch = build(variant).eval(), without(batch_of(), "multispectral")
    tokens = model.encode(batch)
    assert set(tokens) == {"clinical", "dermoscopy"} and tokens["clinical"].shape == (
        6,
        9,
        model.encoder("clinical").dim,
    )
    assert torch.equal(model.fuse(tokens, batch["present"]).output.nan_to_num(), model(batch).nan_to_num())


def test_attention_is_shared_out_among_what_is_there():
    model, batch = build().eval(), without(batch_of(), "dermoscopy")
    fused = model.fuse(model.encode(batch), batch["present"])
    assert fused.attention.shape == (6, 3 * 9 + 1)
    mass = model.attention_mass(fused.attention)
    assert set(mass) == {"clinical", "dermoscopy", "multispectral", "none"}
    assert torch.allclose(sum(mass.values()), torch.ones(6), atol=1e-5) and (mass["dermoscopy"] == 0).all()
    maps = model.attention_maps(fused.attention)
    assert maps["clinical"].shape == (6, *GRID) == (6, *model.grid)
    assert torch.allclose(maps["clinical"].sum((1, 2)), mass["clinical"], atol=1e-6)


def test_an_attention_map_is_the_picture_it_was_read_from():
    """One token differs from all others and the query looks for it: it is found in its modality and at its place."""
    model = build()
    fusion, attention = model.fusion, model.fusion.attention[0]
    tokens = {name: torch.zeros(1, 9, model.encoder(name).dim) for name in model.config.names}
    torch.nn.init.normal_(tokens["multispectral"][0, 3 * 1 + 2], std=3.0)
    present = torch.ones(1, 3, dtype=torch.bool)
    with torch.no_grad():
        context, _ = fusion._context(tokens, present)
        keys = attention.to_key(attention.norm_keys(context))[0]
        attention.to_query.weight.zero_()
        attention.to_query.bias.copy_(200 * (keys[2 * 9 + 3 * 1 + 2] - keys.mean(0)))
        maps = model.attention_maps(fusion(tokens, present)[1])
    assert divmod(int(maps["multispectral"][0].argmax()), 3) == (1, 2)
    assert maps["multispectral"][0, 1, 2] > 10 * max(maps["clinical"].max(), maps["dermoscopy"].max())


@pytest.mark.parametrize("absent", [(), ("dermoscopy",), ("dermoscopy", "multispectral")])
def test_what_the_tokens_give_adds_up_to_the_query_that_is_answered_from(absent):
    """Nothing of the query is left untold but what no token brings: its learned part and the output's bias."""
    model, batch = build(depth=2).eval(), batch_of()
    fusion, present = model.fusion, without(batch, *absent)["present"]
    for feed_forward in fusion.feed_forward:  # not followed
        torch.nn.init.zeros_(feed_forward[3].weight), torch.nn.init.zeros_(feed_forward[3].bias)
    with torch.no_grad():
        tokens = model.encode({**batch, "present": present})
        context, mask = fusion._context(tokens, present)
        given = fusion._given_to_the_query(context, mask)
        asked = given.sum(1, keepdim=True) + fusion.query
        for attention in fusion.attention:
            asked, attended = attention(asked, context, mask)
            given = given + attended
        untold = fusion.query + sum(attention.to_out.bias for attention in fusion.attention)
        assert torch.allclose(given.sum(1) + untold, asked[:, 0], atol=1e-5)
        vector, shares = fusion(tokens, present)
        assert torch.allclose(fusion.out_norm(asked[:, 0]), vector, atol=1e-5)
    assert torch.allclose(shares, attention_shares(given), atol=1e-6)
    assert (shares[~mask] == 0).all() and (shares[mask] > 0).all()


def test_a_large_weight_on_a_short_value_is_a_small_share():
    """The example of why weights alone mislead: the most asked token answers least."""
    to_out = torch.nn.Linear(2, 2)
    torch.nn.init.eye_(to_out.weight)
    weights = torch.tensor([0.9, 0.1]).view(1, 1, 1, 2)
    values = torch.tensor([[0.1, 0.0], [0.0, 8.1]]).view(1, 1, 2, 2)
    assert torch.allclose(attention_shares(brought(weights, values, to_out)), torch.tensor([[0.1, 0.9]]))
    # Heads that cancel each other out bring nothing.
    both = torch.cat([values, -values], dim=1)
    to_out = torch.nn.Linear(4, 2)
    with torch.no_grad():
        to_out.weight.copy_(torch.cat([torch.eye(2), torch.eye(2)], dim=1))
    assert (brought(weights.expand(1, 2, 1, 2), both, to_out) == 0).all()


def test_telling_attention_leaves_no_trace_in_training():
    model, batch = build(), batch_of()
    fused = model.fuse(model.encode(batch), batch["present"])
    assert fused.output.requires_grad and not fused.attention.requires_grad


def test_the_original_design_weighs_its_only_token_one():
    model, batch = build("pooled").eval(), batch_of()
    one = model.attention_mass(model.fuse(model.encode(batch), without(batch, "dermoscopy")["present"]).attention)
    assert torch.allclose(one["multispectral"], torch.ones(6)) and (one["none"] == 0).all()
    none = without(batch, "dermoscopy", "multispectral")
    assert torch.allclose(
        model.attention_mass(model.fuse(model.encode(none), none["present"]).attention)["none"], torch.ones(6)
    )
    # Which is why its query and key learn nothing from such records.
    model.train()(without(batch, "dermoscopy"))[:, 0].sum().backward()
    assert model.fusion.to_query.weight.grad.abs().max() < 1e-6 < model.fusion.to_value.weight.grad.abs().max()


def test_the_original_design_agrees_with_torchs_own_attention():
    model = build("pooled").eval()
    fusion = model.fusion
    theirs = torch.nn.MultiheadAttention(fusion.width, 4, batch_first=True).eval()
    with torch.no_grad():
        parts = (fusion.to_query, fusion.to_key, fusion.to_value)
        theirs.in_proj_weight.copy_(torch.cat([p.weight for p in parts]))
        theirs.in_proj_bias.copy_(torch.cat([p.bias for p in parts]))
        theirs.out_proj.load_state_dict(fusion.to_out.state_dict())
        batch = batch_of()
        tokens = model.encode(batch)
        clinical, derm, cube = (tokens[name].mean(1, keepdim=True) for name in model.config.names)
        want = fusion.norm(theirs(clinical, torch.cat([derm, cube], 1), torch.cat([derm, cube], 1))[0] + clinical)
        assert torch.allclose(fusion(tokens, batch["present"])[0], want[:, 0], atol=1e-5)


def test_concatenation_attends_to_nothing():
    model, batch = build("concat").eval(), batch_of()
    fused = model.fuse(model.encode(batch), batch["present"])
    assert fused.attention is None and model.attention_mass(None) == {} == model.attention_maps(None)


def test_hiding_keeps_the_clinical_picture_and_repeats_with_the_seed():
    present = torch.ones(4000, 3, dtype=torch.bool)
    present[:1000, 2] = False
    torch.manual_seed(5)
    kept = hide(present, ("dermoscopy", "clinical", "multispectral"), 0.4)
    assert kept[:, 1].all() and not kept[:1000, 2].any()
    assert kept[:, 0].float().mean() == pytest.approx(0.6, abs=0.03)
    torch.manual_seed(5)
    assert torch.equal(kept, hide(present, ("dermoscopy", "clinical", "multispectral"), 0.4))


@pytest.mark.parametrize(("variant", "differs"), [("fused", True), ("concat", True), ("pooled", False)])
def test_pictures_are_hidden_in_training_only_and_never_in_the_original_design(variant, differs):
    model, batch = build(variant, modality_dropout=0.5, dropout=0.0), batch_of(32)
    a, b = model(batch)[:, 0], model(batch)[:, 0]
    assert torch.equal(a, b) != differs
    model.eval()
    assert torch.equal(model(batch)[:, 0], model(batch)[:, 0])


def test_the_spread_is_learned_beside_the_score_under_squared_error_and_with_it_under_likelihood():
    for loss, shared in (("mse", False), ("heteroscedastic", True)):
        model = build(loss=loss)
        model(batch_of())[:, 1].sum().backward()
        assert bool((model.head.layers[0].weight.grad != 0).any()) == shared
        assert model.head.spread.weight.grad is not None


def test_a_fourth_modality_is_a_matter_of_configuration():
    four = (*THREE, ("infrared", 1))
    model = build(modalities=four)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    batch, targets = batch_of(16, four), torch.full((16,), 0.9)
    losses = []
    for _ in range(8):
        loss = ((model(batch)[:, 0] - targets) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    assert model.encoders["infrared"].trunk.stem_0.in_channels == 1
    fused = model.eval().fuse(model.encode(batch), batch["present"])
    assert model.attention_maps(fused.attention)["infrared"].shape == (16, *GRID)


def test_three_severities_instead_of_a_score():
    assert build(head="classification")(batch_of()).shape == (6, 3)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_saved_model_is_built_again_from_json(variant):
    model = build(variant).eval()
    architecture = json.loads(model.config.to_json())
    assert FusionConfig.from_dict(architecture) == model.config and architecture == json.loads(
        json.dumps(asdict(model.config))
    )
    again, batch = build_model(architecture, model.state_dict()), batch_of()
    assert torch.equal(again(batch).nan_to_num(), model(batch).nan_to_num())
    with pytest.raises(TypeError):
        FusionConfig.from_dict({**architecture, "colour": 1})


def test_a_configuration_that_cannot_work_is_refused_with_what_to_do():
    with pytest.raises(FusionConfigError, match="fused"):
        FusionConfig(variant="early")
    with pytest.raises(FusionConfigError, match="clinical"):
        FusionConfig(modalities=(("dermoscopy", 3),))
    with pytest.raises(FusionConfigError, match="choose a multiple"):
        build(width=18)
    with pytest.raises(FusionConfigError, match="not a multiple of 5 heads"):
        build("pooled", heads=5)


def test_parameters_are_counted_per_part():
    counts = parameter_counts(build())
    assert counts["total"] == sum(n for part, n in counts.items() if part != "total")
    assert set(counts) == {
        "encoder clinical", "encoder dermoscopy", "encoder multispectral", "fusion", "head", "total",
    }  # fmt: skip


def test_mass_of_the_null_token_is_told_apart():
    shares = torch.tensor([[0.1, 0.2, 0.3, 0.3, 0.1]])
    mass = attention_mass(shares, ("a", "b"))
    assert [round(float(mass[name]), 3) for name in ("a", "b", "none")] == [0.3, 0.6, 0.1]


def test_the_full_size_has_the_originals_parameters_and_steps_forward_and_backward():
    """Three Swin-T at 224 px: the original design to the parameter, and the one built here over 12 bands."""
    rgb = (("clinical", 3), ("dermoscopy", 3), ("multispectral", 3))
    original = FusionModel(FusionConfig(rgb, variant="pooled"))
    counts = parameter_counts(original)
    assert counts["encoder clinical"] == 27_519_354 and counts["fusion"] == 2_363_904 and counts["head"] == 213_377
    assert counts["total"] == 85_135_343
    full_size_step(original)
    del original

    # Without dropout of modalities, so that all three encoders are gone through.
    model = FusionModel(FusionConfig(width=768, modality_dropout=0.0))
    assert model.grid == (7, 7) and parameter_counts(model)["total"] == 89_301_808
    full_size_step(model)


def full_size_step(model):
    """One record with all its pictures through the network and back."""
    out = model.train()(batch_of(1, model.config.modalities, 224))
    assert out.shape == (1, 2) and torch.isfinite(out[:, 0]).all()
    ((out[:, 0] - 0.7) ** 2).sum().backward()
    for name in model.config.names:
        assert model.encoders[name].trunk.patch_embed.proj.weight.grad.abs().sum() > 0, name
