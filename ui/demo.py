"""What `mm demo`, `mm materialize` and `mm status` print.

Belongs here: tables on the terminal. Does not belong here: measuring; every number comes from a report or an artifact.
"""

from typing import Any

from rich.console import Console
from rich.table import Table

from resources.artifacts import ArtifactMissing, ArtifactStore
from resources.settings import Settings
from ui.running import RunReport

# `mm demo --limit N` keeps the demo's proportions of train, validate and test.
DEMO_SHARES = {"train_studies": 0.625, "validate_studies": 0.125, "test_studies": 0.25}


def demo_config(limit: int | None) -> dict[str, dict[str, Any]]:
    """Run config of the demo: nothing, or a synthetic source of about `limit` linked studies."""
    if limit is None:
        return {}
    return {"mimic/source": {name: round(limit * share) for name, share in DEMO_SHARES.items()}}


def print_run(report: RunReport) -> None:
    """Seconds and checks per asset, then every failure with its message."""
    console = Console(soft_wrap=True)
    table = Table("asset", "seconds", "checks", title=f"run {report.run_id}")
    for step in report.steps:
        if not step.is_asset:
            continue  # a check's own step: its results stand beside the asset
        checks = [check for check in report.checks if check.asset == step.name]
        passed = sum(check.passed for check in checks)
        table.add_row(
            step.name,
            f"{step.seconds:.1f}" if step.succeeded else "[red]failed[/red]",
            f"{passed}/{len(checks)}" if checks else "",
        )
    console.print(table)
    for step in report.steps:
        if step.error:
            console.print(f"[red]{step.name}:[/red] {step.error}", highlight=False)
    for check in report.checks:
        if not check.passed:
            word = "[red]failed[/red]" if check.blocking else "[yellow]warned[/yellow]"
            console.print(f"{word} {check.asset} {check.name}", highlight=False)


def print_closing(report: RunReport, settings: Settings, *, seconds: float) -> None:
    """The run, the ablation table and what to do next."""
    print_run(report)
    console = Console(soft_wrap=True)
    store = ArtifactStore(settings.home, settings.scratch)
    try:
        evaluation = store.current("mimic", "evaluation")
    except ArtifactMissing:
        evaluation = None
    if evaluation is not None and report.succeeded:
        rows = store.read_table(evaluation, "ablation.parquet").to_pylist()
        kind = "SYNTHETIC data" if evaluation.synthetic else "real data"
        console.print(ablation_table(rows, title=f"mimic, held-out test split, {kind}"))
    console.print(f"\n{'done' if report.succeeded else 'FAILED'} in {seconds:.0f} s, profile {settings.profile}")
    if report.succeeded:
        console.print(
            "next:  make serve   the model on http://127.0.0.1:8000/demo\n"
            "       make dev     the graph on http://127.0.0.1:3000\n"
            "       .venv/bin/mm status"
        )


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


def print_status(found: dict[str, Any]) -> None:
    """One row per asset."""
    console = Console(soft_wrap=True)
    for wing, content in found["wings"].items():
        table = Table("asset", "version", "materialised", "data", "passed", "failed", "warned", title=wing)
        for name, asset in content["assets"].items():
            data = {None: "", True: "synthetic", False: "real"}[asset["synthetic"]]
            checks = asset["checks"]
            table.add_row(
                name,
                (asset["version"] or "-")[:12],
                (asset["materialized_at"] or "never")[:19],
                data,
                *(str(checks[count]) for count in ("passed", "failed", "warned")),
            )
        console.print(table)
        metrics = content["assets"].get("evaluation", {}).get("metrics") or {}
        for name, value in metrics.items():
            console.print(f"  {name}: {value:.3f}" if isinstance(value, float) else f"  {name}: {value}")
