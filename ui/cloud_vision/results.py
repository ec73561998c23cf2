"""The wing's results for people: the closing table of a demo, the README's tables of a study.

Belongs here: wording and layout. Does not belong here: any number that the evaluation has not measured.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from rich.table import Column, Table

# Name of a model in the tables -> who answers, from what; in the order of the rows.
_MODELS = {
    "joint": "both, split-trained",
    "pooled": "both, pooled",
    "org2": "organisation 2 alone",
    "org3": "organisation 3 alone",
    "image_only": "X-ray alone",
}
SHIFTED = "both, shifted test"
Rows = Sequence[Mapping[str, Any]]


def models_table(models: Rows, headline: Mapping[str, Any], title: str) -> Table:
    """One row per model on the test split, then the joint one on the shifted split; below, what leaks and crosses."""
    whole = partial(Column, no_wrap=True)  # on a narrow terminal the headings break instead
    table = Table(
        whole("who answers"), "accuracy", whole("95 % interval"), "macro F1", "AUROC", "ceiling",
        title=title, caption=_told(headline), caption_justify="left",
    )  # fmt: skip
    for row in _shown(models):
        table.add_row(*row)
    return table


def readme_table(results: Mapping[str, Any]) -> str:
    """Markdown of the models, of the defences and of misalignment, generated from a results file."""
    head = results["headline"]
    joint = next(row for row in results["models"] if (row["model"], row["split"]) == ("joint", "test"))
    seeds = "one seed" if joint["seeds"] == 1 else f"{joint['seeds']} seeds"
    lines = [
        f"{'**Synthetic data.** ' if results['synthetic'] else '**Real X-rays, made-up tables.** '}"
        f"Test split: {joint['n']:,} records that both organisations hold; {seeds}, 95 % intervals over records. "
        f"Measured {results['date']} on {results['machine']}, commit {results['commit']}.",
        "",
        "| who answers | accuracy | 95 % interval | macro F1 | AUROC | ceiling |",
        "|---|---:|---|---:|---:|---:|",
        *(f"| {' | '.join(row)} |" for row in _shown(results["models"])),
        "",
        f"{_told(head)}",
        "",
        "| defence | accuracy | labels read from gradients | the same on random labels | guess without gradients |",
        "|---|---:|---:|---:|---:|",
        *(f"| {' | '.join(row)} |" for row in _defences(results["leak"])),
        "",
        "| rows paired with another record's | accuracy |",
        "|---:|---:|",
        *(f"| {row['share']:.0%} | {_number(row['accuracy'])} |" for row in results["misalignment"]),
        "",
        f"All tables: [docs/results/{results['wing']}.json](docs/results/{results['wing']}.json).",
    ]
    return "\n".join(lines)


def _shown(models: Rows) -> Iterator[tuple[str, ...]]:
    named = {(row["model"], row["split"]): row for row in models}
    wanted = [(who, (model, "test")) for model, who in _MODELS.items()]
    for who, key in [*wanted, (SHIFTED, ("joint", "shifted"))]:
        if key in named:
            row = named[key]
            numbers = (_number(row[metric]) for metric in ("macro_f1", "auroc", "ceiling"))
            interval = f"{_number(row['accuracy_low'])} to {_number(row['accuracy_high'])}"
            yield (who, _number(row["accuracy"]), interval, *numbers)


def _defences(rows: Rows) -> Iterator[tuple[str, ...]]:
    for row in rows:
        numbers = (row[name] for name in ("accuracy", "leak", "leak_random_labels", "guess"))
        yield (str(row["defence"]), *map(_number, numbers))


def _told(head: Mapping[str, Any]) -> str:
    bound = "which counts" if head["leak_reached"] else "the nearest: no defence that was tried counts"
    return (
        f"Labels that the received gradients give away while training: {_percent(head['leak_accuracy'])} without a "
        f"defence, {_percent(head['leak_accuracy_defended'])} with {head['leak_defence']}, {bound}. Organisation 3 "
        f"guesses {_percent(head['leak_guess'])} from its own data. {head['wire_bytes_per_epoch'] / 1e6:.2f} MB cross "
        "an epoch."
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _percent(share: float | None) -> str:
    return "not measured" if share is None else f"{share:.0%}"
