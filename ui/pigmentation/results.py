"""The wing's results for people: the closing table of a demo, the README's table of a study.

Belongs here: wording and layout. Does not belong here: any number that the evaluation has not measured.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from rich.table import Column, Table

from mm_assets.pigmentation.schema import MODALITIES, REQUIRED_MODALITY

# Rows of the baselines: what was done, and from which images.
_BASELINES = {
    "predict_mean": ("mean of train", ""),
    "delta_melanin": ("melanin index", "photograph"),
    "lesion_lightness": ("lesion lightness", "photograph"),
}
DERIVED_SENTENCE = "Some labels were computed from pixels: agreement with them is no clinical truth."
Rows = Sequence[Mapping[str, Any]]


def subset_table(subsets: Rows, baselines: Rows, title: str, *, derived_labels: int = 0) -> Table:
    """One row per variant and subset of images, then one per baseline: mean absolute error with its interval, as a
    share of the error of predicting the mean. ``derived_labels``: how many of test, told in the title."""
    whole = partial(Column, no_wrap=True)  # on a narrow terminal the headings break instead
    table = Table(
        whole("variant"), whole("images"), "mean abs. error", whole("95 % interval"), "of the mean's",
        title=f"{title}\n{DERIVED_SENTENCE}" if derived_labels else title,
    )  # fmt: skip
    for row in _shown(subsets, baselines):
        table.add_row(*row)
    return table


def images_of(subset: str) -> str:
    """A subset in few letters, so that no two are cut to the same: `photograph`, `+ dermoscopy`, `all three`."""
    names = subset.split("+")
    others = [name for name in names if name != REQUIRED_MODALITY]
    if not others:
        return "photograph"
    return "all three" if set(names) == set(MODALITIES) else f"+ {' + '.join(others)}"


def _shown(subsets: Rows, baselines: Rows) -> list[tuple[str, ...]]:
    mean = next((row["mae"] for row in baselines if row["baseline"] == "predict_mean"), None)
    named = [(row["variant"], images_of(row["subset"]), row["share_of_mean"], row) for row in subsets]
    for row in baselines:
        name, images = _BASELINES.get(row["baseline"], (row["baseline"].replace("_", " "), ""))
        named.append((name, images, row["mae"] / mean if mean else None, row))
    return [
        (name, images, _number(row["mae"]), _interval(row["mae_low"], row["mae_high"]), _percent(share))
        for name, images, share, row in named
    ]


def readme_table(results: Mapping[str, Any]) -> str:
    """Markdown of the subsets and the baselines, generated from a results file."""
    head = results["headline"]
    lines = [
        f"{'**Synthetic data.** ' if results['synthetic'] else ''}"
        f"{f'**{DERIVED_SENTENCE}** ' if head['derived_labels'] else ''}"
        f"Test split: {head['n_test_complete']:,} visits with all images, of {head['n_patients_test']:,} patients; "
        f"{head['n_seeds']} seeds, 95 % intervals over patients. "
        f"Measured {results['date']} on {results['machine']}, commit {results['commit']}.",
        "",
        "| variant | images | mean absolute error | 95 % interval | of predicting the mean |",
        "|---|---|---:|---|---:|",
    ]
    lines += [f"| {' | '.join(row)} |" for row in _shown(results["subsets"], results["baselines"])]
    lines += [
        "",
        f"Worst skin tone over best, all images: {_number(head['worst_tone_ratio'], 2)} "
        f"({_interval(head['worst_tone_ratio_ci_low'], head['worst_tone_ratio_ci_high'], 2)}). Coverage of the 90 % "
        f"intervals: {_percent(head['coverage90'])}. All tables: "
        f"[docs/results/{results['wing']}.json](docs/results/{results['wing']}.json).",
    ]
    return "\n".join(lines)


def _number(value: float | None, digits: int = 4) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _interval(low: float | None, high: float | None, digits: int = 4) -> str:
    return "" if low is None or high is None else f"{low:.{digits}f} to {high:.{digits}f}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"
