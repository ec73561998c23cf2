"""Figures a person looks at in the asset page, as small PNGs.

Belongs here: drawing of numbers that are already computed. Does not belong here: computing them.

Every function returns PNG bytes of at most ``MAX_BYTES``: Dagster keeps metadata in its event database.
Colours are Okabe & Ito's (2008), which stay apart for colour-blind readers. matplotlib is used without
pyplot, whose global state is not safe when several assets draw in one process.
"""

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from mm_assets.learning.metrics import Array, BoolArray, ReliabilityBins

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_BYTES = 50_000
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY, LIGHT = "#767676", "#D9D9D9"
GRID_COLUMNS = 5
CAPTION_LINE = 13  # px
SHEET_FILMS = 48  # more do not fit MAX_BYTES


@dataclass(frozen=True)
class FlowStep:
    """One box of a cohort flow: what is left after a filter."""

    step: str
    images: int
    studies: int
    patients: int


@dataclass(frozen=True)
class Bar:
    """One row of a bar table: a value with its interval (NaN bounds are not drawn)."""

    name: str
    value: float
    low: float
    high: float
    note: str = ""


def as_markdown(png: bytes, alt: str = "figure") -> str:
    """Markdown of an inline image for ``MetadataValue.md``: Dagster strips ``<img>``, not data URIs."""
    return f"![{alt}](data:image/png;base64,{base64.b64encode(png).decode('ascii')})"


def reliability_diagram(curves: Mapping[str, ReliabilityBins], title: str) -> bytes:
    """Observed frequency against predicted probability, a line per model; point area is bin size."""
    figure = new_figure(5.2, 5.0)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1, label="perfect")
    for colour, marker, (name, bins) in zip(COLOURS, "osD^vP*", curves.items(), strict=False):
        axes.plot(bins.predicted, bins.observed, color=colour, linewidth=1.2)
        size = 12 + 60 * bins.n / max(1, bins.n.max(initial=1))
        axes.scatter(bins.predicted, bins.observed, s=size, color=colour, marker=marker, label=name, zorder=3)
    axes.set(xlabel="predicted probability", ylabel="observed frequency", title=title, xlim=(-0.02, 1.02))
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    axes.legend(loc="upper left", frameon=False)
    return small_png(figure)


def roc_grid(scores: Array, targets: Array, mask: BoolArray, labels: Sequence[str], areas: npt.ArrayLike) -> bytes:
    """One ROC curve per label ([N, L] x 3), its area ([L]) in the title; "one class only" where none."""
    figure, panels = _curve_panels(labels, "false positive rate", "true positive rate")
    for k, (axes, area) in enumerate(zip(panels, np.asarray(areas, float), strict=True)):
        curve = _operating_points(scores[:, k], targets[:, k], mask[:, k])
        if curve is None:
            _empty_panel(axes)
            continue
        true_pos, false_pos = curve
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=0.8)
        axes.plot(false_pos / false_pos[-1], true_pos / true_pos[-1], color=COLOURS[0], linewidth=1.4)
        axes.set_title(f"{labels[k]}\nAUROC {area:.2f}", fontsize=8.5)
    return small_png(figure)


def pr_grid(scores: Array, targets: Array, mask: BoolArray, labels: Sequence[str], areas: npt.ArrayLike) -> bytes:
    """One precision-recall curve per label ([N, L] x 3); dotted: the prevalence (prev.), a blind guess."""
    figure, panels = _curve_panels(labels, "recall", "precision")
    for k, (axes, area) in enumerate(zip(panels, np.asarray(areas, float), strict=True)):
        curve = _operating_points(scores[:, k], targets[:, k], mask[:, k])
        if curve is None:
            _empty_panel(axes)
            continue
        true_pos, false_pos = curve[0][1:], curve[1][1:]
        prevalence = true_pos[-1] / (true_pos[-1] + false_pos[-1])
        axes.axhline(prevalence, color=GREY, linestyle=":", linewidth=0.8)
        axes.step(true_pos / true_pos[-1], true_pos / (true_pos + false_pos), color=COLOURS[0], linewidth=1.4)
        axes.set_title(f"{labels[k]}\nAUPRC {area:.2f}, prev. {prevalence:.2f}", fontsize=8.5)
    return small_png(figure)


def confusion_grid(counts: npt.ArrayLike, labels: Sequence[str]) -> bytes:
    """A 2 x 2 table per label from [L, 4] counts (tp, fp, fn, tn); shade: share of the row (the truth)."""
    figure, panels = _panels(labels, side=1.7)
    for k, (axes, (tp, fp, fn, tn)) in enumerate(zip(panels, np.asarray(counts).tolist(), strict=True)):
        table = np.array([[tp, fn], [fp, tn]], dtype=float)
        share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1.25)
        for (i, j), value in np.ndenumerate(table):
            colour = "white" if share[i, j] > 0.7 else "black"
            axes.text(j, i, f"{value:.0f}", ha="center", va="center", color=colour)
        bottom, left = k + GRID_COLUMNS >= len(labels), k % GRID_COLUMNS == 0
        axes.set_xticks([0, 1], ["called +", "called -"] if bottom else ["", ""], fontsize=8)
        axes.set_yticks([0, 1], ["truly +", "truly -"] if left else ["", ""], fontsize=8)
        axes.tick_params(length=0)
    return small_png(figure)


def training_curves(panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]]) -> bytes:
    """Curves over epochs: panel title -> line name -> (epochs, values)."""
    figure = new_figure(4.6 * len(panels), 3.4)
    for axes, (title, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for colour, style, (name, (epochs, values)) in zip(
            COLOURS, ("-", "--", "-.", ":", "-", "--", "-."), lines.items(), strict=False
        ):
            marker = "o" if len(epochs) == 1 else None
            axes.plot(epochs, values, color=colour, linestyle=style, linewidth=1.5, marker=marker, label=name)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False, loc="best")
        axes.grid(color=LIGHT, linewidth=0.5)
    return small_png(figure)


def cohort_flow(steps: Sequence[FlowStep]) -> bytes:
    """CONSORT-like diagram: what is left after each filter on the left, what the filter took on the right."""
    figure = new_figure(8.4, 0.3 + 1.0 * len(steps))
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(-len(steps) + 0.45, 0.55))
    axes.set_axis_off()
    box = {"boxstyle": "round,pad=0.45", "facecolor": "white", "edgecolor": COLOURS[0], "linewidth": 1.2}
    lost = {**box, "edgecolor": GREY, "linewidth": 0.8}
    for k, here in enumerate(steps):
        counts = f"{here.images:,} images · {here.studies:,} studies · {here.patients:,} patients"
        axes.text(3.0, -k, f"{here.step}\n{counts}", ha="center", va="center", fontsize=9, bbox=box, zorder=2)
        if k == 0:
            continue
        before = steps[k - 1]
        axes.annotate("", xy=(3.0, -k + 0.23), xytext=(3.0, -k + 0.77), arrowprops={"arrowstyle": "->", "color": GREY})
        taken = f"excluded: {before.images - here.images:,} images, {before.studies - here.studies:,} studies"
        axes.annotate("", xy=(6.3, -k + 0.5), xytext=(3.0, -k + 0.5), arrowprops={"arrowstyle": "->", "color": GREY})
        axes.text(6.45, -k + 0.5, taken, ha="left", va="center", fontsize=8, bbox=lost, zorder=2)
    return small_png(figure)


def contact_sheet(films: Sequence[tuple[bytes, str]], columns: int = 6) -> bytes:
    """Grey thumbnails of encoded images with captions of two lines, of the first ``SHEET_FILMS``."""
    from PIL import Image, ImageDraw, ImageFont

    films = films[:SHEET_FILMS]
    columns = max(1, min(columns, len(films)))
    rows = math.ceil(len(films) / columns)
    for side, levels in ((150, 32), (120, 32), (96, 24), (72, 16), (48, 8)):
        text_height = 2 * CAPTION_LINE
        sheet = Image.new("L", (columns * (side + 6) + 6, rows * (side + text_height + 6) + 6), 255)
        draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
        for k, (data, caption) in enumerate(films):
            with Image.open(io.BytesIO(data)) as film:
                thumbnail = film.convert("L")
                thumbnail.thumbnail((side, side), Image.Resampling.LANCZOS)
            left, top = 6 + k % columns * (side + 6), 6 + k // columns * (side + text_height + 6)
            sheet.paste(thumbnail, (left + (side - thumbnail.width) // 2, top + (side - thumbnail.height) // 2))
            for line, text in enumerate(_two_lines(caption, side, font.getlength)):
                draw.text((left, top + side + 1 + line * CAPTION_LINE), text, fill=0, font=font)
        # 32 grey levels are hardly told apart in a thumbnail and take a third of the bytes.
        png = _encode(sheet.quantize(levels, dither=Image.Dither.NONE))
        if len(png) <= MAX_BYTES:
            return png
    return png


def histogram(values: npt.ArrayLike, *, title: str, xlabel: str, bins: int = 30) -> bytes:
    """Distribution of [N] numbers; NaN are counted in the title and not drawn."""
    array = np.asarray(values, dtype=np.float64)
    known = array[np.isfinite(array)]
    figure = new_figure(5.4, 3.4)
    axes = figure.subplots()
    axes.hist(known, bins=bins, color=COLOURS[0], edgecolor="white", linewidth=0.5)
    missing = f", {array.size - known.size:,} missing" if known.size < array.size else ""
    axes.set(title=f"{title} (n = {known.size:,}{missing})", xlabel=xlabel, ylabel="count")
    return small_png(figure)


def bar_table(bars: Sequence[Bar], *, title: str, xlabel: str, reference: float | None = None) -> bytes:
    """Bars from 0 or, around a ``reference``, points; the interval as a line, the numbers on the right.

    Around 0 the values are differences and carry their sign.
    """
    figure = new_figure(7.0, 0.9 + 0.32 * len(bars))
    axes = figure.subplots()
    if reference is not None:
        axes.axvline(reference, color=GREY, linestyle=":", linewidth=1)
    for k, bar in enumerate(bars):
        if not math.isfinite(bar.value):
            continue
        if reference is None:
            axes.barh(k, bar.value, height=0.6, color=COLOURS[5])
        axes.plot([bar.low, bar.high], [k, k], color="black", linewidth=1.4, solid_capstyle="butt")
        axes.plot(bar.value, k, "o", color=COLOURS[0], markersize=4.5)
    axes.set_yticks(range(len(bars)), [bar.name for bar in bars])
    axes.set(title=title, xlabel=xlabel, ylim=(max(len(bars), 1) - 0.5, -0.5))
    axes.locator_params(axis="x", nbins=6)
    axes.spines[["top", "right"]].set_visible(False)
    numbers = axes.twinx()
    numbers.set_yticks(range(len(bars)), [_written(bar, signed=reference == 0) for bar in bars], fontsize=9)
    numbers.set_ylim(axes.get_ylim())
    numbers.spines[:].set_visible(False)
    for shown in (axes, numbers):
        shown.tick_params(axis="y", length=0)
    return small_png(figure)


def _written(bar: Bar, signed: bool) -> str:
    if not math.isfinite(bar.value):
        return f"not defined  {bar.note}".rstrip()
    style = "+.3f" if signed else ".3f"
    has_interval = math.isfinite(bar.low) and math.isfinite(bar.high)
    interval = f" [{bar.low:{style}}, {bar.high:{style}}]" if has_interval else ""
    return f"{bar.value:{style}}{interval}  {bar.note}".rstrip()


def _two_lines(text: str, width: int, length: Callable[..., float]) -> list[str]:
    """Break at a space where the first line is full; cut the second with an ellipsis."""
    words, first = text.split(), ""
    while words and length(f"{first} {words[0]}".strip()) <= width:
        first = f"{first} {words.pop(0)}".strip()
    second = " ".join(words)
    while second and length(second) > width:
        second = second.removesuffix("…")[:-1].rstrip() + "…" if second != "…" else ""
    return [first, second]


def new_figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> "Figure":
    """An empty figure of ``width`` x ``height`` inches at 100 pixels an inch."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def _panels(labels: Sequence[str], side: float) -> "tuple[Figure, list[Axes]]":
    """One titled square panel per label; margins are fixed, because fitting 14 panels takes seconds."""
    rows = math.ceil(len(labels) / GRID_COLUMNS)
    width, height = side * GRID_COLUMNS + 1.0, (side + 0.45) * rows + 0.5
    figure = new_figure(width, height, layout=None)
    figure.subplots_adjust(
        left=0.7 / width,
        right=1 - 0.4 / width,
        bottom=0.5 / height,
        top=1 - 0.42 / height,
        hspace=0.4,
        wspace=0.28,
    )
    panels = [figure.add_subplot(rows, GRID_COLUMNS, k + 1) for k in range(len(labels))]
    for axes, label in zip(panels, labels, strict=True):
        axes.set_title(label, fontsize=8.5)
    return figure, panels


def _curve_panels(labels: Sequence[str], xlabel: str, ylabel: str) -> "tuple[Figure, list[Axes]]":
    figure, panels = _panels(labels, side=1.9)
    for k, axes in enumerate(panels):
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        axes.tick_params(labelsize=8, labelbottom=k + GRID_COLUMNS >= len(labels), labelleft=k % GRID_COLUMNS == 0)
    figure.supxlabel(xlabel, fontsize=9, y=0.01)
    figure.supylabel(ylabel, fontsize=9, x=0.01)
    return figure, panels


def _empty_panel(axes: "Axes") -> None:
    axes.text(0.5, 0.5, "one class only", ha="center", va="center", color=GREY, fontsize=8)


def _operating_points(scores: Array, targets: Array, mask: BoolArray) -> tuple[Array, Array] | None:
    """Cumulative true and false positives from (0, 0), a point per distinct score; None for one class."""
    known = np.asarray(mask, bool)
    s, y = np.asarray(scores, float)[known], np.asarray(targets)[known] == 1
    if y.all() or not y.any():
        return None
    distinct, group = np.unique(-s, return_inverse=True)
    true_pos = np.cumsum(np.bincount(group, weights=y, minlength=distinct.size))
    false_pos = np.cumsum(np.bincount(group, weights=~y, minlength=distinct.size))
    return np.concatenate([[0.0], true_pos]), np.concatenate([[0.0], false_pos])


def small_png(figure: "Figure") -> bytes:
    """Encode a figure with a palette: line art loses nothing visible and shrinks to a third."""
    from PIL import Image

    canvas: Any = figure.canvas
    canvas.draw()
    flat = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    for colours in (64, 24, 8):
        png = _encode(flat.quantize(colours, dither=Image.Dither.NONE))
        if len(png) <= MAX_BYTES:
            return png
    half = flat.resize((flat.width // 2, flat.height // 2), Image.Resampling.LANCZOS)
    return _encode(half.quantize(24, dither=Image.Dither.NONE))


def _encode(image: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format="PNG", optimize=True)
    return out.getvalue()
