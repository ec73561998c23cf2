"""Figures of scores are small PNGs, also at the edges of the data."""

import io

import numpy as np
import pytest
from PIL import Image

from mm_assets.learning import plots
from mm_assets.learning import regression_plots as drawn

RNG = np.random.default_rng(0)
SCORES = RNG.random(3000)

FIGURES = {
    "histograms": lambda: drawn.score_histograms(
        {"labelled": SCORES, "predicted": [0.5, np.nan]}, title="t", xlabel="x", marks={"Moderate": 0.25}
    ),
    "no scores": lambda: drawn.score_histograms({"labelled": []}, title="t", xlabel="x", marks={}),
    "counts": lambda: drawn.grouped_counts(
        ["Mild", "Severe"], {"labelled": [3, 0], "predicted": [0, 3]}, title="t", xlabel="x"
    ),
    "no counts": lambda: drawn.grouped_counts(["Mild"], {"labelled": [0]}, title="t", xlabel="x"),
    "agreement": lambda: drawn.bland_altman_plot(
        SCORES, SCORES + RNG.normal(0, 0.1, 3000), (0.0, -0.2, 0.2), title="t"
    ),
    "one pair": lambda: drawn.bland_altman_plot([0.2], [0.3], (0.1, float("nan"), float("nan")), title="t"),
    "lines": lambda: drawn.line_chart({"a": ([0, 1], [0, 1]), "b": ([0], [1])}, title="t", xlabel="x", ylabel="y"),
    "no lines": lambda: drawn.line_chart({}, title="t", xlabel="x", ylabel="y"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_a_png_within_the_budget(name: str) -> None:
    png = FIGURES[name]()
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG" and len(image.getcolors(256) or []) > 2
    assert len(png) <= plots.MAX_BYTES
