"""HTML of the skin page and the tables of its results: nothing is told twice, cut to the same, or drawn as more."""

import io
import re

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from mm_assets.pigmentation.case import CaseWarning, Picture
from mm_assets.pigmentation.explain import attention_png, explanation
from mm_assets.pigmentation.schema import subset_name, subsets
from mm_assets.pigmentation.uploads import ReadImage
from tests.pigmentation import tiny_skin_release as tiny
from ui.pages.components import lesion
from ui.pigmentation.results import DERIVED_SENTENCE, images_of, readme_table, subset_table


def read(modality: str) -> ReadImage:
    import torch

    pixels = tiny.skin_photograph()
    return ReadImage(modality, torch.zeros(3, 8, 8), pixels, tiny.photograph_bytes(), 96, 96)


def alphas(attention: np.ndarray, even: float, full: float) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(attention_png(attention, even, full))))[..., 3]


def test_what_was_not_sent_is_joined_by_or() -> None:
    told = lesion.notices([], ["dermoscopy", "multispectral"])
    assert "No dermoscopy image or multispectral image;" in told
    left_out = CaseWarning(code="left_out", message="Read without: dermoscopy image.")
    assert "Missing" not in lesion.notices([left_out], [])


def test_even_attention_is_drawn_as_nothing_and_the_most_attended_place_as_opaque() -> None:
    flat = np.full((7, 7), 0.01, np.float32)
    images = {name: read(name) for name in ("clinical", "dermoscopy")}
    shown = explanation(images, {"clinical": flat, "dermoscopy": flat}, None)
    assert alphas(flat, shown.even, shown.full).max() == 0

    almost = flat * np.linspace(0.97, 1.03, 49, dtype=np.float32).reshape(7, 7)
    shown = explanation(images, {"clinical": almost, "dermoscopy": flat}, None)
    assert alphas(almost, shown.even, shown.full).max() < 10

    pointed = np.full((7, 7), 0.005, np.float32)
    pointed[3, 3] = 0.2
    shown = explanation(images, {"clinical": pointed, "dermoscopy": flat}, None)
    over = alphas(pointed, shown.even, shown.full)
    assert over[128, 128] == pytest.approx(255, abs=8) and over[:64].max() == 0
    # One scale: what is average there may be above average here.
    assert 0 <= alphas(flat, shown.even, shown.full).max() < 30


def test_the_null_token_is_told_where_it_takes_a_share() -> None:
    shown = explanation({"clinical": read("clinical")}, {"clinical": np.full((2, 2), 0.2, np.float32)}, None)
    assert "The other 20% of the attention rests on no image" in lesion.maps(shown, {"clinical": 0.8, "none": 0.2}, 60)
    assert "no image" not in lesion.maps(shown, {"clinical": 0.99, "none": 0.01}, 60)


def test_a_picture_without_a_map_has_nothing_over_it() -> None:
    shown = explanation({"clinical": read("clinical")}, {}, None)
    assert isinstance(shown.pictures[0], Picture) and "heat" not in lesion.maps(shown, {}, 60)


SUBSETS = [subset_name(chosen) for chosen in subsets()]
MEASURED = {"mae_low": 0.01, "mae_high": 0.03}
ROWS = [
    {"variant": variant, "subset": subset, "mae": 0.02, "share_of_mean": 0.1, **MEASURED}
    for variant in ("fused", "pooled")
    for subset in SUBSETS
]
BASELINES = [
    {"baseline": name, "mae": mae, **MEASURED} for name, mae in (("predict_mean", 0.2), ("delta_melanin", 0.1))
]


def test_subsets_have_short_names_of_their_own() -> None:
    assert [images_of(subset) for subset in SUBSETS] == ["photograph", "+ dermoscopy", "+ multispectral", "all three"]


def test_the_closing_table_fits_a_terminal_and_shows_the_baselines() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(subset_table(ROWS, BASELINES, title="t"))
    lines = console.export_text().splitlines()
    assert not any("…" in line for line in lines) and max(map(len, lines)) <= 80
    for images in map(images_of, SUBSETS):
        assert sum(bool(re.search(rf"│ {re.escape(images)} +│", line)) for line in lines) >= 2, images
    assert any("0.0100 to 0.0300" in line for line in lines)
    assert any("mean of train" in line and "100%" in line for line in lines)
    assert any("melanin index" in line and "50%" in line for line in lines)


def test_the_closing_table_says_that_derived_labels_are_no_truth() -> None:
    assert DERIVED_SENTENCE not in str(subset_table(ROWS, BASELINES, title="t").title)
    assert DERIVED_SENTENCE in str(subset_table(ROWS, BASELINES, title="t", derived_labels=3).title)


def test_the_readme_has_the_same_rows() -> None:
    head = dict.fromkeys(("worst_tone_ratio", "worst_tone_ratio_ci_low", "worst_tone_ratio_ci_high", "coverage90"), 1.0)
    head |= {"n_test_complete": 9, "n_patients_test": 5, "n_seeds": 1, "derived_labels": 0}
    results = {
        "headline": head, "synthetic": True, "date": "d", "machine": "m", "commit": "c", "wing": "pigmentation",
        "subsets": ROWS, "baselines": BASELINES,
    }  # fmt: skip
    table = readme_table(results)
    assert "| fused | + dermoscopy | 0.0200 | 0.0100 to 0.0300 | 10% |" in table
    assert "| melanin index | photograph | 0.1000 | 0.0100 to 0.0300 | 50% |" in table
    assert DERIVED_SENTENCE not in table
    assert DERIVED_SENTENCE in readme_table({**results, "headline": {**head, "derived_labels": 3}})
