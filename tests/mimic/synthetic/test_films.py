"""Films: size, look of the published JPEGs, determinism, and findings that show where they should."""

import io

import numpy as np
import pytest
from PIL import Image

from mm_assets.mimic.schema import LABELS, NO_FINDING
from mm_assets.mimic.synthetic.films import FilmSpec, draw_film, equalize, film_jpeg


def _film(rows: int = 306, columns: int = 254, view: str = "PA", **seen: float) -> np.ndarray:
    named = {name.replace("_", " "): value for name, value in seen.items()}
    return draw_film(FilmSpec((1, 2), rows, columns, view, False, named))


@pytest.mark.parametrize(("rows", "columns"), [(306, 254), (254, 306), (48, 40)])
def test_film_has_the_size_asked_for_and_a_flat_histogram(rows: int, columns: int) -> None:
    film = _film(rows, columns)
    assert film.shape == (rows, columns) and film.dtype == np.uint8
    inside = film[film > 8]
    assert inside.min() < 40 and inside.max() > 240
    assert 90 < np.median(inside) < 175


def test_film_is_deterministic() -> None:
    assert np.array_equal(_film(Edema=1.0), _film(Edema=1.0))


@pytest.mark.parametrize("number", range(len(LABELS)), ids=list(LABELS))
def test_every_finding_but_none_changes_the_film(number: int) -> None:
    label, view = LABELS[number], ("PA", "AP")[number % 2]
    if label == NO_FINDING:
        assert np.array_equal(_film(view=view), _film(view=view, No_Finding=1.0))
        return
    plain, sick = _film(view=view).astype(int), _film(view=view, **{label.replace(" ", "_"): 1.0}).astype(int)
    assert (np.abs(plain - sick) > 25).mean() > 0.002


def test_lungs_are_darker_than_heart_and_fluid_fills_a_base() -> None:
    film = _film().astype(float)
    rows, columns = film.shape

    def grey(x: float, y: float, of: np.ndarray = film) -> float:
        row, column = int(y * rows), int((x + 1) / 2 * columns)
        return float(of[row - 6 : row + 6, column - 6 : column + 6].mean())

    assert grey(0.12, 0.6) > 2 * max(grey(-0.55, 0.5), grey(0.6, 0.4))
    wet = _film(Pleural_Effusion=1.5).astype(float)
    gain = [grey(x, 0.68, wet) - grey(x, 0.68) for x in (-0.62, 0.62)]
    assert max(gain) > 30


def test_equalised_values_span_the_range() -> None:
    values = equalize(np.random.default_rng(0).normal(size=(200, 200)).astype(np.float32))
    assert values.min() == 0 and values.max() == pytest.approx(255)
    assert values.mean() == pytest.approx(127.5, abs=3)


def test_jpeg_has_one_channel() -> None:
    with Image.open(io.BytesIO(film_jpeg(_film()))) as image:
        assert (image.format, image.mode) == ("JPEG", "L")
