"""The trial hides pixels of a real model's pictures, and only of pictures that are there."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mm_assets.learning.metrics import MetricInputError
from mm_assets.pigmentation.attention_trial import attention_trial
from mm_assets.pigmentation.fusion import FusionConfig
from mm_assets.pigmentation.model import FusionModel

CONFIG = FusionConfig(
    modalities=(("clinical", 3), ("dermoscopy", 3), ("multispectral", 4)), encoder="test_resnet", stage=2,
    image_size=32, width=32,
)  # fmt: skip


def batch(n: int = 3) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    present = torch.ones(n, 3, dtype=torch.bool)
    present[1, 1:] = False
    return {**{name: torch.randn(n, channels, 32, 32) for name, channels in CONFIG.modalities}, "present": present}


def model(config: FusionConfig = CONFIG) -> FusionModel:
    torch.manual_seed(1)
    torch.set_num_threads(1)
    return FusionModel(config).eval()


def test_every_record_has_a_curve_that_starts_at_no_change() -> None:
    curves = attention_trial(model(), batch(), ["a", "a", "b"])
    assert curves.attended.shape == curves.random.shape == (3, 11)
    assert (curves.attended[:, 0] == 0).all() and (curves.random[:, 0] == 0).all()
    assert (curves.attended[:, -1] > 0).all()
    assert np.isfinite(curves.gain)


def test_what_an_absent_picture_holds_changes_nothing() -> None:
    network, pictures = model(), batch()
    before = attention_trial(network, pictures, ["a", "a", "b"])
    pictures["dermoscopy"][1] += 3.0
    after = attention_trial(network, pictures, ["a", "a", "b"])
    np.testing.assert_allclose(before.attended, after.attended, atol=1e-6)


def test_a_design_without_places_is_refused() -> None:
    with pytest.raises(MetricInputError, match="no map of attention"):
        attention_trial(model(replace(CONFIG, variant="concat")), batch(), ["a", "a", "b"])
