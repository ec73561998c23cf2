"""The wing's results for people: the closing table of a demo, the README's table of a study.

Belongs here: wording and layout. Does not belong here: any number that the evaluation has not measured.
"""

from collections.abc import Mapping
from typing import Any

from rich.table import Table


def ablation_table(rows: list[dict[str, Any]], title: str) -> Table:
    """One row per variant: macro AUROC with its interval, and the gain over the best single modality."""
    table = Table("variant", "macro AUROC", "95 % interval", "minus best single", "95 % interval", title=title)
    for row in rows:
        table.add_row(
            row["variant"],
            f"{row['macro_auroc']:.3f}",
            interval(row["macro_auroc_low"], row["macro_auroc_high"]),
            "" if row["difference"] is None else f"{row['difference']:+.3f}",
            interval(row["difference_low"], row["difference_high"]),
        )
    return table


def interval(low: float | None, high: float | None) -> str:
    """`0.701 to 0.742`, or nothing."""
    return "" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def readme_table(results: Mapping[str, Any]) -> str:
    """Markdown of the ablation, generated from a results file."""
    head = results["headline"]
    lines = [
        f"{'**Synthetic data.** ' if results['synthetic'] else ''}Test split: {head['n_test']:,} studies of "
        f"{head['n_patients_test']:,} patients, {head['n_seeds']} seeds, 95 % intervals over patients. "
        f"Measured {results['date']} on {results['machine']}, commit {results['commit']}.",
        "",
        "| variant | macro AUROC | 95 % interval | minus best single | 95 % interval |",
        "|---|---:|---|---:|---|",
    ]
    for row in results["ablation"]:
        difference = row["difference"]
        lines.append(
            f"| {row['variant']} | {row['macro_auroc']:.3f} | {row['macro_auroc_low']:.3f} to "
            f"{row['macro_auroc_high']:.3f} | {'' if difference is None else f'{difference:+.3f}'} | "
            + ("" if difference is None else f"{row['difference_low']:+.3f} to {row['difference_high']:+.3f}")
            + " |"
        )
    lines += [
        "",
        f"Calibration error (ECE) {head['ece_before']:.3f} before and {head['ece_after']:.3f} after calibration fitted "
        f"on validate. All tables: [docs/results/{results['wing']}.json](docs/results/{results['wing']}.json).",
    ]
    return "\n".join(lines)
