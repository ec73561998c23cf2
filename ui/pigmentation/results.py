"""The wing's results for people: the closing table of a demo, the README's table of a study.

Belongs here: wording and layout. Does not belong here: any number that the evaluation has not measured.
"""

from collections.abc import Mapping
from typing import Any

from rich.table import Table


def subset_table(rows: list[dict[str, Any]], title: str) -> Table:
    """One row per variant and subset of images: mean absolute error with its interval, as a share of the mean's."""
    table = Table("variant", "images", "mean abs. error", "95 % interval", "of predicting the mean", title=title)
    for row in rows:
        table.add_row(
            row["variant"], row["subset"], _number(row["mae"]), _interval(row["mae_low"], row["mae_high"]),
            _percent(row["share_of_mean"]),
        )  # fmt: skip
    return table


def readme_table(results: Mapping[str, Any]) -> str:
    """Markdown of the subsets and the baselines, generated from a results file."""
    head = results["headline"]
    lines = [
        f"{'**Synthetic data.** ' if results['synthetic'] else ''}Test split: {head['n_test_complete']:,} visits with "
        f"all images, of {head['n_patients_test']:,} patients; {head['n_seeds']} seeds, 95 % intervals over patients. "
        f"Measured {results['date']} on {results['machine']}, commit {results['commit']}.",
        "",
        "| variant | images | mean absolute error | 95 % interval | of predicting the mean |",
        "|---|---|---:|---|---:|",
    ]
    lines += [
        f"| {row['variant']} | {row['subset']} | {_number(row['mae'])} | "
        f"{_interval(row['mae_low'], row['mae_high'])} | {_percent(row['share_of_mean'])} |"
        for row in results["subsets"]
    ]
    lines += [
        f"| {row['baseline'].replace('_', ' ')} | | {_number(row['mae'])} | "
        f"{_interval(row['mae_low'], row['mae_high'])} | |"
        for row in results["baselines"]
    ]
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
