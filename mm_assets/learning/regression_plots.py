"""Figures of predicted scores, as small PNGs.

Belongs here: drawing of numbers that are already computed. Does not belong here: computing them, and the figures that
every kind of model shares (plots.py, whose sizes and colours hold here too).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mm_assets.learning.plots import COLOURS, GREY, LIGHT, new_figure, small_png


def score_histograms(
    scores: Mapping[str, npt.ArrayLike], *, title: str, xlabel: str, marks: Mapping[str, float], bins: int = 25
) -> bytes:
    """Distributions of scores in [0, 1], one outline per name, the first one filled; ``marks`` are named verticals."""
    figure = new_figure(5.8, 3.6)
    axes = figure.subplots()
    for k, (name, values) in enumerate(scores.items()):
        known = np.asarray(values, dtype=np.float64)
        known = known[np.isfinite(known)]
        label = f"{name} (n = {known.size:,})"
        if k == 0:
            axes.hist(known, bins=bins, range=(0, 1), label=label, color=COLOURS[5], edgecolor="white", linewidth=0.5)
        else:
            axes.hist(known, bins=bins, range=(0, 1), label=label, histtype="step", color=COLOURS[k], linewidth=1.6)
    for name, at in marks.items():
        axes.axvline(at, color=GREY, linestyle=":", linewidth=1)
        axes.annotate(
            name, (at, 1), xycoords=("data", "axes fraction"), xytext=(3, -3), textcoords="offset points", color=GREY,
            fontsize=8, va="top",
        )  # fmt: skip
    axes.set(title=title, xlabel=xlabel, ylabel="records", xlim=(0, 1))
    # Room for the legend above the highest bar.
    axes.set_ylim(0, 1.25 * max(axes.get_ylim()[1], 1))
    axes.legend(frameon=False, loc="upper right", fontsize=8)
    return small_png(figure)


def grouped_counts(groups: Sequence[str], counts: Mapping[str, Sequence[int]], *, title: str, xlabel: str) -> bytes:
    """Bars side by side per group, one per name of ``counts``, with the numbers on top."""
    figure = new_figure(5.4, 3.6)
    axes = figure.subplots()
    width = 0.8 / max(1, len(counts))
    for k, (name, values) in enumerate(counts.items()):
        at = np.arange(len(groups)) + (k - (len(counts) - 1) / 2) * width
        drawn = axes.bar(at, values, width=width, color=(COLOURS[5], COLOURS[0], COLOURS[1])[k % 3], label=name)
        axes.bar_label(drawn, [f"{value:,}" for value in values], fontsize=8, padding=1)
    axes.set_xticks(range(len(groups)), groups)
    axes.set(title=title, xlabel=xlabel, ylabel="records")
    axes.set_ylim(0, 1.2 * max(axes.get_ylim()[1], 1))
    axes.legend(frameon=False, loc="upper right", fontsize=8)
    return small_png(figure)


def bland_altman_plot(
    truth: npt.ArrayLike, predicted: npt.ArrayLike, limits: tuple[float, float, float], *, title: str
) -> bytes:
    """Difference against mean of [N] pairs; ``limits``: bias, lower and upper limit of agreement, as lines."""
    y, p = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    figure = new_figure(5.4, 3.8)
    axes = figure.subplots()
    axes.scatter((y + p) / 2, p - y, s=9, color=COLOURS[0], alpha=0.5, linewidths=0)
    for name, value, style in zip(("bias", "lower limit", "upper limit"), limits, ("-", "--", "--"), strict=True):
        if np.isfinite(value):
            axes.axhline(value, color=COLOURS[1], linestyle=style, linewidth=1.2)
            axes.annotate(
                f"{name} {value:+.3f}", (1, value), xycoords=("axes fraction", "data"), xytext=(-3, 2),
                textcoords="offset points", ha="right", fontsize=8,
            )  # fmt: skip
    axes.axhline(0, color=GREY, linewidth=0.6)
    axes.set(title=title, xlabel="mean of label and prediction", ylabel="prediction - label", xlim=(0, 1))
    return small_png(figure)


def line_chart(
    lines: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]], *, title: str, xlabel: str, ylabel: str
) -> bytes:
    """Lines by name: (x [F], y [F])."""
    figure = new_figure(5.2, 3.6)
    axes = figure.subplots()
    for colour, style, (name, (x, y)) in zip(COLOURS, ("-", "--", "-.", ":"), lines.items(), strict=False):
        axes.plot(np.asarray(x), np.asarray(y), color=colour, linestyle=style, linewidth=1.6, label=name)
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.grid(color=LIGHT, linewidth=0.5)
    if lines:
        axes.legend(frameon=False, loc="best", fontsize=8)
    return small_png(figure)
