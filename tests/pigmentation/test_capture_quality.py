"""Warnings about photographs: none for skin of any tone, one for each thing that is wrong."""

import numpy as np
import pytest

from mm_assets.pigmentation.capture_quality import photograph_warnings
from tests.pigmentation.tiny_skin_release import skin_photograph

FLAT = np.full((96, 96, 3), (180, 130, 110), np.uint8)
GRAIN = np.random.default_rng(0).normal(0, 8, (96, 96, 1))


def codes(pixels: np.ndarray) -> list[str]:
    return [warning.code for warning in photograph_warnings("clinical", pixels)]


@pytest.mark.parametrize("colour", [(244, 220, 205), (215, 165, 140), (150, 100, 75), (95, 60, 45), (60, 40, 32)])
def test_skin_of_every_tone_is_left_in_peace(colour: tuple[int, int, int]) -> None:
    shade = skin_photograph(darkness=0).astype(float) / (215, 165, 140)
    assert codes(np.clip(shade * colour, 0, 255).astype(np.uint8)) == []


def test_each_fault_has_its_own_warning() -> None:
    assert codes((skin_photograph() * 0.08).astype(np.uint8)) == ["too_dark"]
    assert codes(np.full((96, 96, 3), 255, np.uint8)) == ["too_bright"]
    assert codes(FLAT) == ["blurred"]
    green = np.clip(np.array([60, 160, 70]) + GRAIN, 0, 255).astype(np.uint8)
    assert codes(green) == ["no_skin"]
    grey = np.clip(np.array([128, 128, 128]) + GRAIN, 0, 255).astype(np.uint8)
    assert codes(grey) == ["no_skin"]
    blue = np.clip(np.array([50, 90, 190]) + GRAIN, 0, 255).astype(np.uint8)
    assert codes(blue) == ["no_skin"]


def test_the_image_is_named() -> None:
    [warning] = photograph_warnings("dermoscopy", FLAT)
    assert "dermoscopy image" in warning.message
