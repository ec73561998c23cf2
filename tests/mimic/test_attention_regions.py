import numpy as np
import pytest
from PIL import Image, ImageDraw

from mm_assets.mimic.attention_regions import GRID, attention_regions

SIZE = 512
LUNGS = ((140, 235), (372, 235))  # centres x, y of the drawn lungs


def chest(opaque_side: int | None = None) -> np.ndarray:
    """A drawn chest film: dark lungs with ribs in a brighter body; one lung may be white."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    film = np.full((SIZE, SIZE), 170.0)
    for side, (centre_x, centre_y) in enumerate(LUNGS):
        inside = ((x - centre_x) / 72) ** 2 + ((y - centre_y) / 150) ** 2 <= 1
        film[inside] = 175 if side == opaque_side else 60
        film[inside & (y % 40 < 8)] += 30
    grain = np.random.default_rng([0, 1]).normal(0, 2, film.shape)
    return np.clip(film + grain, 0, 255).astype(np.uint8)


def test_energy_lies_in_the_lungs_and_is_scaled_to_255() -> None:
    cells = attention_regions(chest())
    assert cells.shape == (GRID, GRID) and cells.dtype == np.uint8 and cells.max() == 255
    cell = SIZE // GRID
    in_lungs = sum(int(cells[y // cell, x // cell - 1 : x // cell + 2].sum()) for x, y in LUNGS)
    assert in_lungs > 200
    assert (cells[:, 7:9] == 0).all()  # spine
    assert (cells[14:] == 0).all()  # abdomen


def test_collimator_borders_get_no_energy() -> None:
    film = chest()
    framed = np.zeros((SIZE, SIZE), dtype=np.uint8)
    inner = np.asarray(Image.fromarray(film).resize((384, 384)))
    framed[64:448, 64:448] = inner
    cells = attention_regions(framed)
    assert cells.max() == 255
    assert (cells[:3] == 0).all() and (cells[-3:] == 0).all()
    assert (cells[:, :3] == 0).all() and (cells[:, -3:] == 0).all()


def test_white_borders_get_no_energy() -> None:
    film = chest()
    film[:40] = film[-40:] = 255
    assert (attention_regions(film)[:2] == 0).all()


@pytest.mark.parametrize("corner", [(10, 10), (440, 10), (10, 470), (430, 470)])
def test_burnt_in_letters_outside_the_lungs_get_no_energy(corner: tuple[int, int]) -> None:
    image = Image.fromarray(chest())
    ImageDraw.Draw(image).text(corner, "PORT L", fill=255, font_size=30)
    lettered = np.asarray(image)
    assert (lettered != chest()).sum() > 100
    assert np.array_equal(attention_regions(lettered), attention_regions(chest()))


def test_letters_on_a_black_border_do_not_widen_the_exposed_area() -> None:
    framed = np.zeros((SIZE, SIZE), dtype=np.uint8)
    framed[64:448, 64:448] = np.asarray(Image.fromarray(chest()).resize((384, 384)))
    image = Image.fromarray(framed)
    ImageDraw.Draw(image).text((10, 8), "L", fill=255, font_size=40)
    assert np.array_equal(attention_regions(np.asarray(image)), attention_regions(framed))


def test_an_opaque_lung_stays_in_the_field() -> None:
    cells = attention_regions(chest(opaque_side=1))
    lungs = attention_regions(chest()) > 0
    right, left = np.s_[:, 8:], np.s_[:, :8]
    assert (cells[right] > 0).sum() > 0.9 * lungs[right].sum()  # the whole ellipse stands for the white lung
    assert ((cells > 0) & lungs)[left].sum() > 0.9 * lungs[left].sum()


def test_a_bright_opacity_within_a_lung_does_not_leave_a_hole() -> None:
    film = chest()
    film[220:260, 130:170] = 190
    assert attention_regions(film)[7, 4] > 0


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_constant_film_has_no_energy(value: int) -> None:
    assert (attention_regions(np.full((300, 200), value, dtype=np.uint8)) == 0).all()


def test_any_size_gives_the_same_places() -> None:
    large = np.asarray(Image.fromarray(chest()).resize((1030, 1250)))
    difference = attention_regions(large).astype(int) - attention_regions(chest())
    assert np.abs(difference).mean() < 8
