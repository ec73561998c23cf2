"""Figures are small PNGs that hold what was asked for, also at the edges of the data."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from mm_assets.learning import metrics, plots

LABELS = [f"label {k}" for k in range(14)]


def films(n: int) -> list[tuple[bytes, str]]:
    rng = np.random.default_rng(0)
    found = []
    for k in range(n):
        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (200, 160), dtype=np.uint8)).save(out, "JPEG")
        found.append((out.getvalue(), f"film {k} with a caption much too long for the two lines below it, so cut"))
    return found


def labelled(n: int = 120) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    targets = (rng.random((n, 14)) < 0.3).astype(float)
    targets[:, 3] = 0
    return metrics.sigmoid(rng.normal(size=targets.shape) + targets), targets, rng.random(targets.shape) < 0.9


def grids() -> dict[str, bytes]:
    scores, targets, mask = labelled()
    areas = metrics.per_label(metrics.auroc, scores, targets, mask)
    counts = metrics.confusion_counts(scores, targets, mask, np.full(14, 0.5))
    return {
        "roc": plots.roc_grid(scores, targets, mask, LABELS, areas),
        "pr": plots.pr_grid(scores, targets, mask, LABELS, areas),
        "confusion": plots.confusion_grid(counts, LABELS),
        "reliability": plots.reliability_diagram(
            {
                "a": metrics.reliability_bins(scores[mask], targets[mask]),
                "none": metrics.reliability_bins([], []),
            },
            "t",
        ),
        "curves": plots.training_curves({"loss": {"train": ([1], [0.5]), "validate": ([], [])}}),
        "flow": plots.cohort_flow([plots.FlowStep("all", 9, 5, 3), plots.FlowStep("frontal", 7, 4, 3)]),
        "sheet": plots.contact_sheet(films(40)),  # noise: the hardest picture to compress
        "histogram": plots.histogram([1.0, 2.0, np.nan], title="delta", xlabel="min"),
        "empty histogram": plots.histogram([np.nan], title="delta", xlabel="min"),
        "bars": plots.bar_table([plots.Bar("a", 0.7, 0.6, 0.8), plots.Bar("b", *[np.nan] * 3)], title="t", xlabel="x"),
        "no bars": plots.bar_table([], title="t", xlabel="x"),
    }


def test_every_figure_is_a_png_within_the_budget() -> None:
    for name, png in grids().items():
        with Image.open(io.BytesIO(png)) as image:
            assert image.format == "PNG", name
            assert len(image.getcolors(256) or []) > 2, f"{name} is blank"
        assert len(png) <= plots.MAX_BYTES, name


def test_equal_numbers_give_equal_bytes() -> None:
    steps = [plots.FlowStep("all", 9, 5, 3)]
    assert plots.cohort_flow(steps) == plots.cohort_flow(steps)


def test_markdown_holds_the_image() -> None:
    png = plots.histogram([1.0, 2.0], title="t", xlabel="x")
    markdown = plots.as_markdown(png, alt="delta")
    assert markdown.startswith("![delta](data:image/png;base64,") and markdown.endswith(")")
    assert base64.b64decode(markdown.split("base64,")[1][:-1]) == png


@pytest.mark.parametrize("n", [1, 7])
def test_contact_sheet_has_room_for_every_film(n: int) -> None:
    with Image.open(io.BytesIO(plots.contact_sheet(films(n), columns=3))) as sheet:
        columns, rows = min(3, n), -(-n // 3)
        assert sheet.width / sheet.height == pytest.approx(columns / rows, rel=0.45)


def test_captions_break_once_and_are_cut() -> None:
    assert plots._two_lines("one two three", 7, len) == ["one two", "three"]
    assert plots._two_lines("one two three four", 7, len) == ["one two", "three…"]
    assert plots._two_lines("unbreakable", 4, len) == ["", "unb…"]
    assert plots._two_lines("", 4, len) == ["", ""]
