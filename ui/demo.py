"""What `mm demo`, `mm materialize` and `mm status` print.

Belongs here: tables on the terminal. Does not belong here: measuring; every number comes from a report or an artifact.
"""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from resources.artifacts import ArtifactMissing, ArtifactStore
from resources.settings import Settings
from ui.running import RunReport
from ui.wings import RunConfig, wings


def demo_config(limit: int | None) -> RunConfig:
    """Run config of the demo: nothing, or synthetic sources of about `limit` records in every wing."""
    if limit is None:
        return {}
    return {asset: knobs for wing in wings().values() for asset, knobs in wing.demo_config(limit).items()}


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
            console.print(f"[red]{step.name}:[/red] {escape(step.error)}", highlight=False)
    for check in report.checks:
        if not check.passed:
            word = "[red]failed[/red]" if check.blocking else "[yellow]warned[/yellow]"
            console.print(f"{word} {check.asset} {check.name}", highlight=False)


def print_closing(report: RunReport, settings: Settings, *, seconds: float) -> None:
    """The run, the results of every wing in it that went well, and what to do next."""
    print_run(report)
    console = Console(soft_wrap=True)
    store = ArtifactStore(settings.home, settings.scratch)
    for name, wing in wings().items():
        if not report.succeeded_in(name):
            continue
        try:
            evaluation = store.current(name, "evaluation")
        except ArtifactMissing:
            continue
        console.print(wing.closing_table(store, evaluation))
    console.print(f"\n{'done' if report.succeeded else 'FAILED'} in {seconds:.0f} s, profile {settings.profile}")
    if report.succeeded:
        console.print(
            "next:  make serve   the model on http://127.0.0.1:8000/demo\n"
            "       make dev     the graph on http://127.0.0.1:3000\n"
            "       .venv/bin/mm status"
        )


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
