import numpy as np
import pytest
import torch
from torch import nn

from mm_assets.learning.encoders import TextEncoder, VisionEncoder, random_text, random_vision
from mm_assets.learning.losses import combined_loss
from mm_assets.learning.training import TrainConfig, fit
from mm_assets.learning.transforms import transform_spec
from mm_assets.mimic.full_model import FullMDFNet, StageRates, full_config, set_stage, stage_groups
from mm_assets.mimic.model import EnhancedMDFNet, MDFNetConfig, parameter_table
from resources.hub import ENCODERS


def full_batch(n, image_px, words, passages=2, text_dim=768, vocabulary=50_000):
    rng = torch.Generator().manual_seed(0)
    mask = torch.ones(n, words, dtype=torch.long)
    mask[0, words // 2 :] = 0
    return {
        "images": torch.randn(n, 3, image_px, image_px, generator=rng),
        "input_ids": torch.randint(1, vocabulary, (n, words), generator=rng),
        "attention_mask": mask,
        "passage_tokens": torch.randn(n, passages, text_dim, generator=rng),
        "passage_mask": torch.ones(n, passages, dtype=torch.bool),
        "clinical": torch.randn(n, 12, generator=rng),
        "clinical_missing": torch.zeros(n, 12, dtype=torch.bool),
        **{f"{name}_present": torch.ones(n, dtype=torch.bool) for name in ("image", "text", "tabular")},
        "targets": (torch.rand(n, 14, generator=rng) < 0.3).float(),
        "target_mask": torch.ones(n, 14, dtype=torch.bool),
    }


def test_the_full_configuration_steps_forward_and_backward():
    """ViT-B/16 at 224 px, ModernBERT-base and fusion at width 768, on random weights."""
    model = FullMDFNet(
        random_vision(ENCODERS["biomedclip"]),
        random_text(ENCODERS["modernbert"]),
        EnhancedMDFNet(full_config()),
    )
    *parts, total = parameter_table(model)
    counts = {row["part"]: row["parameters"] / 1e6 for row in parts}
    assert counts["vision"] == pytest.approx(85.8, abs=0.1)
    assert counts["text"] == pytest.approx(149.0, abs=0.5)
    assert total["parameters"] / 1e6 == pytest.approx(243, rel=0.02)

    batch = full_batch(2, 224, 12)
    for stage in (1, 2):
        set_stage(model.train(), stage)
        model.zero_grad(set_to_none=True)
        logits = model(batch)
        assert logits.shape == (2, 14)
        loss = combined_loss(logits, batch["targets"], batch["target_mask"])
        assert torch.isfinite(loss)
        loss.backward()
        assert model.fusion.head.layers[0].weight.grad.abs().sum() > 0
        patch, word = model.vision.trunk.patch_embed.proj.weight, model.text.trunk.layers[0].attn.Wqkv.weight
        for weight in (patch, word):
            assert (weight.grad is not None and weight.grad.abs().sum() > 0) == (stage == 2)


class TinyText(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 16)

    def forward(self, input_ids, attention_mask):
        return type("Out", (), {"last_hidden_state": self.embed(input_ids)})


def tiny_model():
    import timm

    torch.manual_seed(0)
    trunk = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=16, depth=1, embed_dim=24, num_heads=2, num_classes=0
    )
    vision = VisionEncoder("tiny", trunk, "timm", transform_spec(32, 0.5, 0.5), 24)
    text = TextEncoder("tiny", TinyText(), None, 16, 32)
    config = MDFNetConfig(image_dim=24, image_tokens=4, text_dim=16, dim=16, heads=2, head_widths=(32, 16))
    return FullMDFNet(vision, text, EnhancedMDFNet(config))


def test_stage_two_of_a_small_run_moves_the_encoders_and_stage_one_does_not(tmp_path):
    records = full_batch(48, 32, 6, text_dim=16, vocabulary=50)

    def make(rows):
        return {key: value[torch.from_numpy(np.asarray(rows))] for key, value in records.items()}

    model = tiny_model()
    for stage in (1, 2):
        set_stage(model, stage)
        before = {name: p.clone() for name, p in model.named_parameters()}
        result = fit(
            model, make, np.arange(32), np.arange(32, 48), combined_loss,
            TrainConfig(epochs=2, batch_size=8, learning_rate=1e-3), tmp_path / f"stage{stage}",
            groups=lambda net: stage_groups(net, StageRates(encoders=1e-3, fusion=1e-3, head=1e-3)),
        )  # fmt: skip
        assert len(result.curves) == 2
        moved = {name.split(".")[0] for name, p in model.named_parameters() if not torch.equal(p, before[name])}
        assert moved == ({"fusion"} if stage == 1 else {"vision", "text", "fusion"})


def test_stage_groups_hold_every_trainable_weight_once_at_its_rate():
    model = tiny_model()
    set_stage(model, 2)
    groups = stage_groups(model, StageRates())
    members = [id(p) for group in groups for p in group["params"]]
    assert sorted(members) == sorted(id(p) for p in model.parameters())
    rates = {group["name"].split(" ")[0]: group["lr"] for group in groups}
    assert rates == {"encoders": 1e-5, "fusion": 5e-5, "head": 1e-4}

    set_stage(model, 1)
    assert {group["name"].split(" ")[0] for group in stage_groups(model, StageRates())} == {"fusion", "head"}


def test_frozen_encoders_stay_in_evaluation_mode():
    model = tiny_model()
    set_stage(model.train(), 1)
    model.train()
    assert not model.vision.training and not model.text.training and model.fusion.training
    set_stage(model, 2)
    assert model.vision.training
