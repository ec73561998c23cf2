"""The hand-made measures see what they should on pictures whose lesion is known."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mm_assets.learning.metrics import MetricInputError
from mm_assets.pigmentation.baselines import (
    BASELINES,
    MEASURED_PX,
    Measures,
    fit_baselines,
    lesion_mask,
    measure,
    measure_stored,
    measured,
    melanin_index,
)

LIGHT, DARK = np.array([224, 172, 150]), np.array([92, 60, 44])


def skin(colour: np.ndarray, radius: float = 0.2, excess: float = 0.6, tilt: float = 0.0, seed: int = 0) -> np.ndarray:
    """A round lesion of ``excess`` x the skin's linear light, on light that falls off by ``tilt`` to the right."""
    rows, columns = np.mgrid[-1 : 1 : MEASURED_PX * 1j, -1 : 1 : MEASURED_PX * 1j]
    linear = (colour / 255.0) ** 2.2 * np.ones((MEASURED_PX, MEASURED_PX, 1))
    linear = linear * np.where(np.hypot(rows, columns) < 2 * radius, excess, 1.0)[..., None]
    linear = linear * (1 - tilt * (columns + 1) / 2)[..., None]
    noise = np.random.default_rng(seed).normal(0, 0.004, linear.shape)
    return (255 * np.clip(linear + noise, 0, 1) ** (1 / 2.2)).round().astype(np.uint8)


def circle(radius: float = 0.2) -> np.ndarray:
    rows, columns = np.mgrid[-1 : 1 : MEASURED_PX * 1j, -1 : 1 : MEASURED_PX * 1j]
    return np.hypot(rows, columns) < 2 * radius


@pytest.mark.parametrize("colour", [LIGHT, DARK])
@pytest.mark.parametrize("tilt", [0.0, 0.3])
def test_the_lesion_is_found_in_its_own_picture(colour: np.ndarray, tilt: float) -> None:
    mask = lesion_mask(melanin_index(skin(colour, tilt=tilt)))
    both, either = (mask & circle()).sum(), (mask | circle()).sum()
    assert both / either > 0.85


@pytest.mark.parametrize("colour", [LIGHT, DARK])
def test_skin_without_a_lesion_measures_about_nothing(colour: np.ndarray) -> None:
    assert measure(skin(colour, excess=1.0)).delta_melanin < 0.3
    assert measure(np.full((40, 60, 3), 128, np.uint8)) == Measures(0.0, pytest.approx(53.6, abs=0.1))


@settings(max_examples=15, deadline=None)
@given(st.floats(0.12, 0.3), st.floats(0.4, 0.8))
def test_more_area_and_more_melanin_measure_more_on_every_skin(radius: float, excess: float) -> None:
    for colour in (LIGHT, DARK):
        here = measure(skin(colour, radius, excess)).delta_melanin
        assert measure(skin(colour, radius + 0.06, excess)).delta_melanin > here
        assert measure(skin(colour, radius, excess - 0.1)).delta_melanin > here


def test_lightness_confuses_skin_with_lesion_and_the_difference_does_not() -> None:
    faint_on_dark, strong_on_light = skin(DARK, excess=0.85), skin(LIGHT, excess=0.4)
    assert measure(faint_on_dark).lesion_lightness < measure(strong_on_light).lesion_lightness
    assert measure(faint_on_dark).delta_melanin < measure(strong_on_light).delta_melanin


def test_calibration_is_monotone_and_keeps_to_train() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(200)
    labels = np.clip(values**2 + rng.normal(0, 0.05, 200), 0, 1)
    measures = [Measures(10 * v, 80 - 60 * v) for v in values]
    fitted = fit_baselines(measures, labels)
    scores = fitted.scores([Measures(x, 80 - 6 * x) for x in np.linspace(-5, 20, 60)])
    assert tuple(scores) == BASELINES
    assert (scores["predict_mean"] == labels.mean()).all()
    for name in ("delta_melanin", "lesion_lightness"):
        assert (np.diff(scores[name]) >= -1e-12).all()
        assert scores[name].min() >= 0 and scores[name].max() <= 1
    of_train = fitted.scores(measures)
    assert np.abs(of_train["delta_melanin"] - labels).mean() < 0.05
    with pytest.raises(MetricInputError, match="one label for each"):
        fit_baselines([], [])
    with pytest.raises(MetricInputError, match="one label for each"):
        fit_baselines(measures[:2], [0.5, float("nan")])


def test_stored_photographs_of_any_size_are_measured_in_order() -> None:
    stored = []
    for excess in (0.9, 0.5):
        out = io.BytesIO()
        Image.fromarray(skin(LIGHT, excess=excess)).resize((256, 256)).save(out, "JPEG", quality=95)
        stored.append(out.getvalue())
    faint, strong = measured(stored, workers=1)
    assert faint.delta_melanin < strong.delta_melanin
    assert strong.delta_melanin == pytest.approx(measure(skin(LIGHT, excess=0.5)).delta_melanin, rel=0.1)
    assert strong == measure_stored(stored[1])
