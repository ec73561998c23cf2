"""The figures of an evaluation, by name, as PNG bytes for the asset page.

Belongs here: which figure shows which numbers, and the two that no other wing draws. Does not belong here: how common
figures are drawn (learning/plots.py, regression_plots.py).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mm_assets.cloud_vision.evaluation import Evaluation
from mm_assets.cloud_vision.schema import CLASSES
from mm_assets.cloud_vision.train_job import JOINT
from mm_assets.learning import plots, regression_plots


def figures(evaluation: Evaluation) -> dict[str, bytes]:
    """``accuracy, confusion, misalignment, leak``."""
    tables = {name: table.to_pylist() for name, table in evaluation.tables.items()}
    split = "test"
    return {
        "accuracy": accuracy_bars(tables["models"]),
        "confusion": confusion_table(
            [row for row in tables["confusion"] if row["split"] == split],
            title=f"{JOINT}, seed {evaluation.served_seed}, {split} (n = {evaluation.headline['n_test']:,})",
        ),
        "misalignment": misalignment_curve(tables["misalignment"]),
        "leak": leak_map(tables["leak"]),
    }


def accuracy_bars(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """A bar per network and split with its interval; the ceiling stands beside the numbers."""
    bars = [
        plots.Bar(
            f"{row['model'].replace('_', ' ')}, {row['split']}", row["accuracy"], row["accuracy_low"],
            row["accuracy_high"], "" if row["ceiling"] is None else f"of {row['ceiling']:.3f}",
        )
        for row in rows
    ]  # fmt: skip
    return plots.bar_table(
        bars, title="Accuracy on held-out records", xlabel="accuracy, 95 % interval over records; of: best possible"
    )


def confusion_table(rows: Sequence[Mapping[str, Any]], *, title: str) -> bytes:
    """Counts of label (down) and answer (across); the shade is the share of the label's records."""
    counts = np.array([[_count(rows, true, named) for named in CLASSES] for true in CLASSES], float)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure = plots.new_figure(5.2, 4.0)
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1.25)
    for (true, named), value in np.ndenumerate(counts):
        colour = "white" if share[true, named] > 0.7 else "black"
        axes.text(named, true, f"{value:.0f}\n{share[true, named]:.0%}", ha="center", va="center", color=colour)
    ticks = range(len(CLASSES))
    axes.set_xticks(ticks, CLASSES, fontsize=8)
    axes.set_yticks(ticks, CLASSES, fontsize=8)
    axes.set(title=title, xlabel="answered", ylabel="label")
    axes.tick_params(length=0)
    return plots.small_png(figure)


def misalignment_curve(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Accuracy on aligned test records against the share of train rows joined to another record."""
    shares = [100 * row["share"] for row in rows]
    return regression_plots.line_chart(
        {"joint": (shares, [row["accuracy"] for row in rows])},
        title="What a join by place would cost",
        xlabel="train rows joined to another record, %",
        ylabel="accuracy on test",
    )


def leak_map(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Accuracy against leak, a point per defence; the line is what the image holder could guess."""
    figure = plots.new_figure(6.4, 4.0)
    axes = figure.subplots()
    axes.axvline(rows[0]["guess"], color=plots.GREY, linestyle=":", linewidth=1.2, label="guess from its own data")
    for place, row in enumerate(rows):
        colour = plots.COLOURS[place % len(plots.COLOURS)]
        axes.plot(row["leak"], row["accuracy"], "o", color=colour, markersize=6, label=row["defence"])
    axes.set(
        title="Labels read from the gradients", xlabel="share of train labels that the attack names",
        ylabel="accuracy on test", xlim=(0, 1.02),
    )  # fmt: skip
    axes.grid(color=plots.LIGHT, linewidth=0.5)
    axes.legend(frameon=False, fontsize=8, loc="best")
    return plots.small_png(figure)


def _count(rows: Sequence[Mapping[str, Any]], true: str, named: str) -> int:
    return sum(row["n"] for row in rows if (row["label"], row["answered"]) == (true, named))
