"""Drawing synthetic chest films: shapes on a small canvas, beside the same recipe drawn at the film's own 512 px.

Ours (mm_assets/cloud_vision/synthetic/films.py) beside the same code with a canvas of 512 px, one film at a time, JPEG
included on both sides, and with the same random numbers. The films must show the same: the correlation of their grey
levels, after averaging over blocks of 4 x 4 px, is asserted. CPU seconds of this process.

    python -m benchmarks.xray_generator [--quick] [--json FILE]
"""

import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.reporting import Gate, finish, parse_options
from mm_assets.cloud_vision.synthetic.cohort import plan_records
from mm_assets.cloud_vision.synthetic.films import FILM_PX, FilmPlan, canvas_side, draw_films, film_jpeg
from mm_assets.cloud_vision.synthetic.law import planted_law

FILMS, QUICK_FILMS = 48, 4
ROUNDS = 4  # interleaved; the best of every film and way counts, the machine may be busy
OTHER_BATCH = 4
GATE = 3.0
LEAST_CORRELATION = 0.99
BLOCK = 4


def plans_of(films: int) -> list[FilmPlan]:
    """Films of the default design, in its mix of patterns."""
    sizes = {"train": films, "validate": 0, "test": 0, "shifted": 0}
    return [record.film for record in plan_records(planted_law(), sizes, common_share=1.0, seed=0)]


def draw(plans: Sequence[FilmPlan], batch: int, canvas_px: int) -> tuple[np.ndarray, int, np.ndarray]:
    """The films, uint8 [N, px, px], the size of their files in bytes, and the CPU seconds of every batch."""
    pixels, size, seconds = [], 0, []
    for start in range(0, len(plans), batch):
        begun = time.process_time()
        films = draw_films(plans[start : start + batch], FILM_PX, canvas_px)
        size += sum(len(film_jpeg(film)) for film in films.pixels)
        seconds.append(time.process_time() - begun)
        pixels.append(films.pixels)
    return np.concatenate(pixels), size, np.array(seconds)


def least_correlation(ours: np.ndarray, native: np.ndarray) -> float:
    """The lowest among films, of block means."""
    side = FILM_PX // BLOCK
    one, other = (films.reshape(-1, side, BLOCK, side, BLOCK).mean(axis=(2, 4)) for films in (ours, native))
    return min(float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) for a, b in zip(one, other, strict=True))


def measure(films: int) -> dict[str, Any]:
    plans = plans_of(films)
    canvas = canvas_side(FILM_PX)
    ways = {"ours": (1, canvas), "four_at_a_time": (OTHER_BATCH, canvas), "native": (1, FILM_PX)}
    draw(plans[:1], 1, canvas)  # weights and quantiles are computed once a process
    rounds = [{name: draw(plans, *way) for name, way in ways.items()} for _ in range(ROUNDS)]
    ours, native = rounds[0]["ours"], rounds[0]["native"]
    alike = least_correlation(ours[0], native[0])
    if alike < LEAST_CORRELATION:
        raise AssertionError(f"the two ways draw different films: correlation {alike:.4f}")
    seconds = {name: float(np.min([drawn[name][2] for drawn in rounds], axis=0).sum()) for name in ways}
    begun = time.process_time()
    for film in ours[0]:
        film_jpeg(film)
    jpeg_s = time.process_time() - begun
    return {
        "films": films,
        "cpu_count": os.cpu_count(),
        **{f"{name}_ms_per_film": round(1e3 * taken / films, 2) for name, taken in seconds.items()},
        "jpeg_ms_per_film": round(1e3 * jpeg_s / films, 2),
        "kb_per_film": round(ours[1] / films / 1e3, 1),
        "films_per_cpu_second": round(films / seconds["ours"], 1),
        "ratio": round(seconds["native"] / seconds["ours"], 2),
        "least_correlation": round(alike, 4),
    }


def main() -> int:
    options = parse_options(__doc__)
    numbers = measure(QUICK_FILMS if options.quick else FILMS)
    ours = numbers["ours_ms_per_film"]
    return finish(
        options,
        numbers=numbers,
        columns=("step", "CPU ms a film", "times ours"),
        rows=[
            (name, numbers[key], numbers[key] / ours)
            for name, key in (
                (f"ours: canvas of {canvas_side(FILM_PX)} px, JPEG included", "ours_ms_per_film"),
                ("ours, four films at a time", "four_at_a_time_ms_per_film"),
                (f"the same recipe at {FILM_PX} px, JPEG included", "native_ms_per_film"),
                ("JPEG alone, alike for both", "jpeg_ms_per_film"),
            )
        ],
        gates=[Gate("drawing X-rays, native size over ours", numbers["ratio"], "at least", GATE)],
    )


if __name__ == "__main__":
    sys.exit(main())
