from dataclasses import replace

import numpy as np
import pytest
import torch

from mm_assets.mimic.model import (
    EnhancedMDFNet,
    MDFNetConfig,
    UnknownVariant,
    parameter_table,
    set_clinical_statistics,
)
from mm_assets.mimic.schema import SINGLE_MODALITIES, STAGE1_VARIANTS
from tests.mimic.fusion_data import multimodal_data

CONFIG = MDFNetConfig(image_dim=20, image_tokens=4, text_dim=12, dim=16, heads=2, head_widths=(32, 16))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return multimodal_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def batch(data):
    return data.batch(np.arange(8))


def build(variant="fused", **changes):
    torch.manual_seed(0)
    return EnhancedMDFNet(replace(CONFIG, variant=variant, **changes))


@pytest.mark.parametrize("variant", STAGE1_VARIANTS)
def test_every_variant_gives_fourteen_logits_and_trains_every_weight(data, variant):
    model = build(variant, modality_dropout=0.5)
    rows = np.arange(64)
    model(data.batch(rows)).square().sum().backward()
    assert model(data.batch(rows)).shape == (64, 14)
    without = [name for name, p in model.named_parameters() if p.grad is None]
    # A missing-modality token is only used where something is missing, which a single modality never is here.
    assert [n for n in without if not n.startswith("missing.")] == []


@pytest.mark.parametrize("variant", SINGLE_MODALITIES)
def test_a_single_modality_cannot_see_the_others(data, batch, variant):
    model = build(variant).eval()
    only = data.batch(np.arange(8), modalities=(variant,))
    assert torch.equal(model(batch), model(only))


@pytest.mark.parametrize("modality", SINGLE_MODALITIES)
def test_an_absent_modality_has_no_influence(batch, modality):
    model = build().eval()
    keys = {"image": ["image_tokens"], "text": ["text_tokens", "passage_tokens"], "tabular": ["clinical"]}
    absent = batch | {f"{modality}_present": torch.zeros(8, dtype=torch.bool)}
    spoiled = absent | {key: batch[key] + 50 for key in keys[modality]}
    assert torch.equal(model(absent), model(spoiled))
    assert not torch.allclose(model(absent), model(batch))


def test_everything_absent_is_still_an_answer(batch):
    nothing = batch | {f"{m}_present": torch.zeros(8, dtype=torch.bool) for m in SINGLE_MODALITIES}
    logits = build().eval()(nothing)
    assert torch.isfinite(logits).all() and torch.allclose(logits, logits[:1].expand_as(logits), atol=1e-5)


def test_padding_does_not_change_the_answer(batch):
    model = build().eval()
    longer = batch | {
        "text_tokens": torch.cat([batch["text_tokens"], torch.full((8, 3, 12), 9.0)], dim=1),
        "text_mask": torch.cat([batch["text_mask"], torch.zeros(8, 3, dtype=torch.bool)], dim=1),
    }
    assert torch.allclose(model(batch), model(longer), atol=1e-5)


def test_passages_and_notes_are_told_apart(batch):
    model = build().eval()
    k = batch["passage_tokens"].shape[1]
    swapped = batch | {
        "text_tokens": batch["passage_tokens"], "text_mask": batch["passage_mask"] | True,
        "passage_tokens": batch["text_tokens"][:, :k], "passage_mask": batch["text_mask"][:, :k] | True,
    }  # fmt: skip
    straight = batch | {
        "text_tokens": batch["text_tokens"][:, :k], "text_mask": swapped["passage_mask"],
        "passage_mask": swapped["text_mask"],
    }  # fmt: skip
    assert not torch.allclose(model(straight), model(swapped), atol=1e-4)


def test_the_place_of_a_patch_matters_only_through_its_position(batch):
    model = build("image").eval()
    mixed = batch | {"image_tokens": batch["image_tokens"].flip(1)}
    assert not torch.allclose(model(batch), model(mixed))
    model.tokens["image"].position.data.zero_()
    assert torch.allclose(model(batch), model(mixed), atol=1e-5)


def test_film_tokens_can_carry_a_gradient(batch):
    tokens = batch["image_tokens"].clone().requires_grad_()
    build().eval()(batch | {"image_tokens": tokens})[:, 3].sum().backward()
    assert (tokens.grad.abs().sum(-1) > 0).all()


def test_modality_dropout_repeats_with_the_seed_and_is_off_in_evaluation(batch):
    model = build(modality_dropout=0.5, token_dropout=0.0, head_dropout=(0.0, 0.0))
    outs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outs.append(model(batch))
    assert torch.equal(outs[0], outs[1]) and not torch.equal(outs[0], outs[2])
    model.eval()
    assert torch.equal(model(batch), model(batch))


def test_measurements_are_standardised_by_statistics_that_travel_with_the_weights(data):
    model = build()
    clinical = data.records.clinical[data.positions("train")]
    set_clinical_statistics(model, clinical)
    maker = model.tokens["tabular"]
    assert np.allclose(maker.mean.numpy(), np.nanmean(clinical, 0), rtol=1e-4)
    assert np.allclose(maker.std.numpy(), np.nanstd(clinical, 0), rtol=1e-3)
    assert {"tokens.tabular.mean", "tokens.tabular.std"} <= set(model.state_dict())
    assert maker.standardise(torch.full((1, 12), 1e6)).max() == 5


def test_a_constant_or_empty_column_does_not_divide_by_zero():
    model = build("tabular")
    clinical = np.full((10, 12), 7.0, np.float32)
    clinical[:, 0] = np.nan
    set_clinical_statistics(model, clinical)
    maker = model.tokens["tabular"]
    assert maker.std.tolist() == [1.0] * 12 and maker.mean.tolist() == [0.0] + [7.0] * 11


def test_the_configuration_survives_json():
    config = replace(CONFIG, variant="pooled3", labels=("a", "b"))
    assert MDFNetConfig.from_json(config.to_json()) == config


def test_an_unknown_variant_names_the_known_ones():
    with pytest.raises(UnknownVariant, match="fused"):
        MDFNetConfig(variant="early")


def test_the_parameter_table_adds_up():
    model = build()
    model.head.requires_grad_(False)
    *parts, total = parameter_table(model)
    assert total["parameters"] == sum(p.numel() for p in model.parameters()) == sum(r["parameters"] for r in parts)
    assert next(r for r in parts if r["part"] == "head")["trainable"] == 0
