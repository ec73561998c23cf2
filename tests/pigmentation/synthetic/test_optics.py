"""Physics that can be checked without a picture: spectra, tones, the table against the integral."""

import numpy as np
import pytest

from mm_assets.pigmentation.schema import TONES
from mm_assets.pigmentation.skin_tone import tone_of
from mm_assets.pigmentation.synthetic.optics import (
    CONSTITUTIVE_MELANIN,
    HORNY_LAYER,
    MOST_BLOOD,
    MOST_MELANIN,
    RESTING_BLOOD,
    WAVELENGTHS_NM,
    color_matching,
    melanin_of_ita,
    reflectance,
    skin_color,
    skin_ita,
)

BANDS = np.array(WAVELENGTHS_NM)


def test_table_agrees_with_the_integral_over_wavelengths() -> None:
    rng = np.random.default_rng(0)
    melanin = rng.uniform(0, 0.7, (60, 50)).astype(np.float32)
    blood = rng.uniform(0.005, 0.12, (60, 50)).astype(np.float32)
    wavelengths, weights = color_matching()
    exact = np.maximum(np.einsum("lhw,lc->chw", reflectance(melanin, blood, wavelengths), weights), 0)
    assert skin_color(melanin, blood) == pytest.approx(exact, rel=0.012, abs=2e-4)


def test_fractions_beyond_the_table_count_as_its_end() -> None:
    inside, beyond = (skin_color(np.full((1, 1), m), np.full((1, 1), b)) for m, b in ((1.0, 0.16), (1.7, 0.5)))
    assert (MOST_MELANIN, MOST_BLOOD) == (1.0, 0.16)
    assert np.array_equal(inside, beyond)


def test_without_absorption_white_stays_white() -> None:
    _, weights = color_matching()
    assert weights.sum(axis=0) == pytest.approx([1, 1, 1], abs=1e-6)


def test_pigments_darken_where_they_should() -> None:
    pale, tanned, flushed = (
        reflectance(np.array(m), np.array(b), BANDS) for m, b in ((0.05, 0.03), (0.25, 0.03), (0.05, 0.09))
    )
    assert np.all((pale > 0) & (pale < 1) & (tanned < pale) & (flushed < pale))
    loss_of_melanin, loss_of_blood = np.log(pale / tanned), np.log(pale / flushed)
    assert np.all(np.diff(loss_of_melanin) < 0)  # less and less towards the infrared
    green, red = np.argmin(abs(BANDS - 545)), np.argmin(abs(BANDS - 650))
    assert loss_of_blood[green] > 5 * loss_of_blood[red]


def test_excess_melanin_multiplies_any_skin_alike_below_the_horny_layer() -> None:
    def factor(background: float) -> np.ndarray:
        one, more = (
            (reflectance(np.array(m), np.array(0.03), BANDS) - HORNY_LAYER) for m in (background, background + 0.1)
        )
        return more / one

    assert factor(0.03) == pytest.approx(factor(0.3), rel=2e-3)


def test_constitutive_melanin_spans_all_tones_and_turns_back_into_it() -> None:
    melanin = np.geomspace(*CONSTITUTIVE_MELANIN, 60)
    angles = skin_ita(melanin)
    assert np.all(np.diff(angles) < 0)
    assert {tone_of(angle) for angle in angles} == set(TONES)
    assert melanin_of_ita(angles) == pytest.approx(melanin, rel=0.01)
    assert 0 < RESTING_BLOOD < MOST_BLOOD
