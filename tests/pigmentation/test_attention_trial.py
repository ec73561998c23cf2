"""The trial hides pixels of a real model's pictures, only of pictures that are there, and tells good maps from bad."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mm_assets.learning.metrics import MetricInputError
from mm_assets.pigmentation.attention_trial import attention_trial, map_trial
from mm_assets.pigmentation.fusion import FusionConfig
from mm_assets.pigmentation.model import SCORE, FusionModel

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


def spotted(n: int, seed: int) -> tuple[dict[str, torch.Tensor], torch.Tensor, np.ndarray]:
    """Pictures with one bright spot on noise, all three of the same field; its score, by size; where it is, [N, 3, 4,
    4]."""
    rng = np.random.default_rng(seed)
    at, radius = rng.uniform(0.3, 0.7, (n, 2)), rng.uniform(0.08, 0.28, n)
    axis = (np.arange(32) + 0.5) / 32
    distance = np.hypot(axis[None, :, None] - at[:, 0, None, None], axis[None, None] - at[:, 1, None, None])
    spot = (distance < radius[:, None, None]).astype(np.float32)
    pictures = {
        name: torch.from_numpy((2 * spot[:, None] + rng.normal(0, 0.1, (n, channels, 32, 32))).astype(np.float32))
        for name, channels in CONFIG.modalities
    }
    where = spot.reshape(n, 4, 8, 4, 8).mean((2, 4))
    score = torch.from_numpy(((radius - 0.08) / 0.2).astype(np.float32))
    return {**pictures, "present": torch.ones(n, 3, dtype=torch.bool)}, score, np.repeat(where[:, None], 3, axis=1)


@pytest.fixture(scope="module")
def trained() -> FusionModel:
    """It has learned the size of a spot."""
    network = model(replace(CONFIG, modality_dropout=0.3, dropout=0.0)).train()
    batch_, score, _ = spotted(256, seed=0)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    for step in range(48):
        rows = torch.arange(32) + 32 * (step % 8)
        loss = ((network({name: value[rows] for name, value in batch_.items()})[:, SCORE] - score[rows]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def test_the_models_map_passes_as_the_truth_does_and_a_random_or_reversed_one_fails(trained: FusionModel) -> None:
    pictures, score, where = spotted(16, seed=1)
    with torch.no_grad():
        assert (trained(pictures)[:, SCORE] - score).abs().mean() < 0.12  # a quarter is what the mean makes
    assert trained.grid == where.shape[2:]
    owners = np.arange(16)
    rng = np.random.default_rng(2)
    own = attention_trial(trained, pictures, owners)
    truth = map_trial(trained, pictures, where, owners)
    chance = map_trial(trained, pictures, rng.random(where.shape), owners)
    background = map_trial(trained, pictures, -where, owners)
    low = {k: np.quantile(c.gain_replicates(500, 0), 0.025) for k, c in enumerate((own, truth, chance, background))}
    assert low[0] > 0 and low[1] > 0 and low[2] < 0 and low[3] < 0
    assert background.gain < 0.5 * -own.gain < 0
    assert own.gain > 0.5 * truth.gain
    assert abs(chance.gain) < 0.2 * truth.gain
