"""Films as pictures: sizes, determinism, where lesions lie, and grey levels that say nothing about the class."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mm_assets.cloud_vision.film_statistics import STATISTICS, class_from_statistics, exposure_gap, intensity_statistics
from mm_assets.cloud_vision.schema import PATTERNS
from mm_assets.cloud_vision.synthetic.chest import draw_chests
from mm_assets.cloud_vision.synthetic.fields import band_fields, white_noise
from mm_assets.cloud_vision.synthetic.films import FilmPlan, canvas_side, draw_films, film_jpeg, mask_png


def _plan(number: int, pattern: str = "clear", severity: float = 0.7, **knobs: object) -> FilmPlan:
    return FilmPlan((11, number), pattern, 0.0 if pattern == "clear" else severity, **knobs)  # type: ignore[arg-type]


def test_a_field_is_the_same_at_any_resolution() -> None:
    small, large = (band_fields([np.random.default_rng(1)], px, 1.0, 2, 12)[0] for px in (64, 192))
    assert small.dtype == np.float32
    # The centre of a small pixel is that of the large one in the middle of three, up to the grid's half pixel.
    again = np.asarray(Image.fromarray(large).resize((64, 64), Image.Resampling.BOX))
    assert np.corrcoef(small.ravel(), again.ravel())[0, 1] > 0.9
    many = band_fields([np.random.default_rng(seed) for seed in range(40)], 64, 1.0, 2, 12)
    assert many.std() == pytest.approx(1.0, abs=0.05) and abs(float(many.mean())) < 0.02


def test_grain_has_mean_zero_and_unit_deviation() -> None:
    noise = white_noise(np.random.default_rng(0), (200, 200))
    assert abs(float(noise.mean())) < 0.02 and noise.std() == pytest.approx(1.0, abs=0.02)


def test_films_have_the_sizes_asked_for() -> None:
    films = draw_films([_plan(0), _plan(1, "ground-glass")])
    assert films.pixels.shape == (2, 512, 512) and films.pixels.dtype == np.uint8
    assert films.masks.shape == (2, canvas_side(512), canvas_side(512)) and films.masks.dtype == bool
    with Image.open(io.BytesIO(film_jpeg(films.pixels[0]))) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "L", (512, 512))
    with Image.open(io.BytesIO(mask_png(films.masks[1]))) as image:
        assert (image.format, image.mode) == ("PNG", "1") and np.array_equal(np.asarray(image), films.masks[1])


def test_the_same_plan_gives_the_same_film_and_another_seed_another() -> None:
    first, again, other = (draw_films([_plan(number, "interstitial")], 192) for number in (2, 2, 3))
    assert np.array_equal(first.pixels, again.pixels) and np.array_equal(first.masks, again.masks)
    assert np.abs(first.pixels.astype(int) - other.pixels).mean() > 5


def test_healthy_anatomy_and_exposure_do_not_depend_on_the_lesion() -> None:
    clear, ill = (draw_films([_plan(4, pattern)], 384) for pattern in ("clear", "ground-glass"))
    assert not clear.masks.any() and ill.masks.any()
    small = np.asarray(Image.fromarray(ill.masks[0]).resize((384, 384)))
    change = np.abs(clear.pixels[0].astype(int) - ill.pixels[0])
    assert change[small].mean() > 2.5 * change[~small].mean()


@pytest.mark.parametrize("pattern", PATTERNS[1:])
def test_lesions_lie_in_the_lungs_and_grow_with_severity(pattern: str) -> None:
    shares = []
    for severity in (0.3, 0.6, 1.0):
        plans = [_plan(number, pattern, severity) for number in range(12)]
        masks = draw_films(plans, 256).masks
        lungs = draw_chests([np.random.default_rng((*plan.seed, 0)) for plan in plans], 96).lungs > 0.1
        assert masks.any(axis=(1, 2)).all()
        assert (masks & ~lungs).sum() < 0.02 * masks.sum()
        shares.append(masks.mean())
    assert shares == sorted(shares) and shares[-1] > 1.3 * shares[0]


def test_ground_glass_is_bilateral_peripheral_and_basal() -> None:
    plans = [_plan(number, "ground-glass", 0.8) for number in range(16)]
    masks = draw_films(plans, 256).masks
    chests = draw_chests([np.random.default_rng((*plan.seed, 0)) for plan in plans], 96)
    left = chests.left > 0.5
    sides = np.array([[(mask & left[n]).sum(), (mask & ~left[n]).sum()] for n, mask in enumerate(masks)])
    assert (sides > 0).all()
    lungs = chests.lungs > 0.5
    for where in (chests.outer, chests.basal):
        assert where[masks & lungs].mean() > where[~masks & lungs].mean() + 0.1


def test_an_unknown_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match="no pattern 'fracture'"):
        _plan(0, "fracture")


def test_contrast_is_how_much_a_lesion_shows() -> None:
    clear = draw_films([_plan(6)], 256).pixels[0].astype(int)
    faint, strong = (
        draw_films([replace(_plan(6, "interstitial"), contrast=contrast)], 256).pixels[0] for contrast in (0.3, 1.2)
    )
    assert np.abs(strong - clear).mean() > 1.5 * np.abs(faint - clear).mean()


def test_the_shifted_exposure_is_darker_for_every_pattern() -> None:
    for pattern in PATTERNS:
        usual, shifted = (
            draw_films([_plan(n, pattern, other_exposure=other) for n in range(6)], 192).pixels.mean()
            for other in (False, True)
        )
        assert shifted < 0.92 * usual


def test_grey_levels_alone_tell_neither_class_nor_pattern() -> None:
    plans = [_plan(number, PATTERNS[number % 3], 0.3 + 0.7 * (number % 7) / 6) for number in range(240)]
    statistics = np.stack([intensity_statistics(draw_films([plan], 256).pixels[0]) for plan in plans])
    labels = np.arange(240) % 3
    audit = class_from_statistics(statistics, labels)
    assert audit.films == 240 and audit.chance == pytest.approx(1 / 3)
    assert audit.above_chance < 2.5, audit


def test_the_audit_notices_a_class_that_is_exposed_differently() -> None:
    plans = [_plan(number, other_exposure=number % 2 == 1) for number in range(60)]
    statistics = np.stack([intensity_statistics(draw_films([plan], 192).pixels[0]) for plan in plans])
    audit = class_from_statistics(statistics, np.arange(60) % 2)
    assert audit.best > 0.8 and audit.above_chance > 4


def test_statistics_are_named_and_those_of_the_histogram() -> None:
    pixels = np.zeros((10, 10), dtype=np.uint8)
    pixels[:5] = 200
    named = dict(zip(STATISTICS, intensity_statistics(pixels), strict=True))
    assert named["mean"] == 100 and named["deviation"] == 100 and named["entropy"] == pytest.approx(1.0)
    assert named["percentile_25"] == 0 and named["percentile_75"] == 200 and named["share_12"] == pytest.approx(0.5)
    assert np.isfinite(intensity_statistics(np.full((4, 4), 255, dtype=np.uint8))).all()


def test_too_few_films_of_a_class_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 5 films"):
        class_from_statistics(np.zeros((8, 3)), [0, 0, 0, 0, 0, 1, 1, 1])


def test_darker_films_lie_a_gap_apart() -> None:
    rng = np.random.default_rng(0)
    some, darker = rng.normal(100, 10, (400, 3)), rng.normal(80, 10, (300, 3))
    assert exposure_gap(some, darker) == pytest.approx(2.0, abs=0.25)
    assert exposure_gap(some[:200], some[200:]) == pytest.approx(0.0, abs=0.3)
