"""Colours with published values, bounds of classes, and the skin around a lesion."""

import math

import numpy as np
import pytest

from mm_assets.pigmentation.schema import TONES, UNKNOWN_TONE
from mm_assets.pigmentation.skin_tone import background_ita, ita_degrees, srgb_to_lab, tone_of


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 255, 255), (100.0, 0.0, 0.0)), ((0, 0, 0), (0.0, 0.0, 0.0)), ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 0, 255), (32.30, 79.19, -107.86)), ((128, 128, 128), (53.59, 0.0, 0.0)),
    ],
)  # fmt: skip
def test_lab_has_the_published_values(rgb: tuple[int, ...], lab: tuple[float, ...]) -> None:
    assert srgb_to_lab(np.array(rgb, np.uint8)) == pytest.approx(lab, abs=0.02)
    assert srgb_to_lab(np.array(rgb) / 255.0) == pytest.approx(lab, abs=0.02)


def test_angle_is_that_of_chardon() -> None:
    lab = np.array([[70.0, 8.0, 20.0], [50.0, 5.0, 15.0], [30.0, 9.0, 20.0]])
    assert ita_degrees(lab) == pytest.approx([45.0, 0.0, -45.0])


@pytest.mark.parametrize(
    ("ita", "tone"),
    [
        (70, "very light"), (55.01, "very light"), (55, "light"), (41, "intermediate"), (28, "tan"), (10, "brown"),
        (-29.9, "brown"), (-30, "dark"), (-80, "dark"), (None, UNKNOWN_TONE), (math.nan, UNKNOWN_TONE),
    ],
)  # fmt: skip
def test_bounds_belong_to_the_darker_class(ita: float | None, tone: str) -> None:
    assert tone_of(ita) == tone


def test_every_class_is_reached() -> None:
    assert {tone_of(ita) for ita in np.linspace(-90, 90, 400)} == set(TONES)


def test_background_ignores_lesion_glare_and_dark_corners() -> None:
    skin = np.array([224, 172, 140], np.uint8)
    picture = np.full((100, 120, 3), skin)
    alone = background_ita(picture)
    assert alone == pytest.approx(float(ita_degrees(srgb_to_lab(skin))))
    picture[30:70, 30:90] = (60, 30, 20)
    picture[:10, :30] = 255
    picture[-10:, :30] = 0
    assert background_ita(picture) == pytest.approx(alone)


def test_no_skin_has_no_angle() -> None:
    assert math.isnan(background_ita(np.full((40, 40, 3), (20, 60, 200), np.uint8)))
