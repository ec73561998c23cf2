"""What the instruments make of a known skin, and that one law holds for all of it."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.skin_renderer import (
    CUBE_TOLERANCE,
    PICTURE_TOLERANCE,
    band_by_band,
    color_band_by_band,
    draw,
    worst_differences,
)
from mm_assets.pigmentation.synthetic.captures import clinical_picture, dermoscopy_picture, reflectance_cube
from mm_assets.pigmentation.synthetic.cohort import plan_cohort
from mm_assets.pigmentation.synthetic.maps import HALF_BURDEN, LesionPlan, draw_maps, severity_score
from mm_assets.pigmentation.synthetic.optics import WAVELENGTHS_NM, reflectance, skin_color

PLAN = LesionPlan(seed=(1, 2), background_melanin=0.1)
BANDS = np.array(WAVELENGTHS_NM, np.float32)


def test_score_is_area_times_mean_excess_in_monotone_form() -> None:
    maps = draw_maps(PLAN)
    assert maps.burden == pytest.approx(maps.area_fraction * maps.mean_excess)
    assert maps.score == severity_score(maps.burden) == maps.burden / (maps.burden + HALF_BURDEN)
    scores = [severity_score(burden) for burden in np.linspace(0, 0.2, 50)]
    assert scores[0] == 0 and scores == sorted(scores) and scores[-1] < 1


@pytest.mark.parametrize("melanin", [0.02, 0.1, 0.34])
def test_label_does_not_depend_on_the_background(melanin: float) -> None:
    assert draw_maps(replace(PLAN, background_melanin=melanin)).score == pytest.approx(draw_maps(PLAN).score, rel=1e-3)


def test_later_visit_is_the_same_lesion_faded_and_grown() -> None:
    first, later = draw_maps(PLAN), draw_maps(replace(PLAN, growth=1.15, fading=0.6))
    assert later.centre == first.centre
    assert np.array_equal(later.blood.shape, first.blood.shape) and np.array_equal(later.hairs, first.hairs)
    assert later.area_fraction > first.area_fraction
    assert later.mean_excess < 0.8 * first.mean_excess
    assert np.corrcoef(first.excess.ravel(), later.excess.ravel())[0, 1] > 0.8


@pytest.mark.parametrize("px", [32, 100])
def test_shapes_types_and_determinism(px: int) -> None:
    maps = draw_maps(PLAN)
    for capture in (clinical_picture, dermoscopy_picture):
        one, again, other = (capture(maps, np.random.default_rng(seed), px) for seed in (0, 0, 1))
        assert one.shape == (px, px, 3) and one.dtype == np.uint8
        assert np.array_equal(one, again) and not np.array_equal(one, other)
    cube = reflectance_cube(maps, np.random.default_rng(0), px, BANDS)
    assert cube.shape == (px, px, len(BANDS)) and cube.dtype == np.float16
    assert cube.min() >= 0 and cube.max() <= 1


def test_cube_is_calibrated() -> None:
    maps = replace(draw_maps(PLAN), hairs=np.zeros((0, 4, 2)))
    cube = reflectance_cube(maps, np.random.default_rng(0), 40, BANDS).astype(float)
    exact = reflectance(maps.melanin, maps.blood, BANDS).mean(axis=(1, 2))
    assert cube.mean(axis=(0, 1)) == pytest.approx(exact, rel=0.05)


def test_lesion_is_darker_than_the_skin_around_it_for_all_instruments_and_tones() -> None:
    for melanin in (0.03, 0.12, 0.33):
        maps = draw_maps(LesionPlan(seed=(1, 5), background_melanin=melanin))
        lesion = maps.excess > 0.5 * maps.excess.max()
        around = maps.excess < 1e-3
        assert lesion.sum() > 100 and around.sum() > 100
        clinical = clinical_picture(maps, np.random.default_rng(0), 160).astype(float).mean(axis=2)
        cube = reflectance_cube(maps, np.random.default_rng(0), 160, BANDS).astype(float).mean(axis=2)
        for picture in (clinical, cube):
            assert picture[lesion].mean() < 0.95 * picture[around].mean()


def test_cameras_differ_in_light_dermoscopes_hardly() -> None:
    maps = replace(draw_maps(PLAN), hairs=np.zeros((0, 4, 2)))

    def hue_spread(draw) -> float:  # type: ignore[no-untyped-def]
        pictures = [draw(maps, np.random.default_rng(seed), 48).astype(float).mean(axis=(0, 1)) for seed in range(30)]
        return float(np.std([np.log(red / blue) for red, _, blue in pictures]))

    assert hue_spread(clinical_picture) > 3 * hue_spread(dermoscopy_picture)


def test_look_up_and_plain_loop_over_wavelengths_draw_the_same_pictures() -> None:
    records = plan_cohort(3, trapped=0, seed=8)
    ours = [draw(record, skin_color, reflectance) for record in records]
    loop = [draw(record, color_band_by_band, band_by_band) for record in records]
    picture, cube = worst_differences(ours, loop)
    assert picture <= PICTURE_TOLERANCE and cube <= CUBE_TOLERANCE
