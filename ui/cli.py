"""The one command line, `mm`.

Belongs here: options, printing, exit codes. Does not belong here: the work itself (ui.running, ui.status, ui.exports,
mm_assets.*), which returns plain values, and commands of one wing (ui/<wing>/commands.py).

Exit codes: 0 done; 1 a run or a blocking check failed; 2 the request cannot be met as given (the message says why).
"""

import os
import time
import warnings
from pathlib import Path
from typing import Annotated

import typer

from resources.settings import load_settings
from ui.terminal import JsonFlag, one_line_errors, print_json
from ui.wings import CommandGroups, wing_named, wings

app = typer.Typer(
    name="mm",
    help="Multimodal data and models as one Dagster asset graph.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
verify_app = typer.Typer(help="Is a source tree complete? Looks before anything runs.", no_args_is_help=True)
synth_app = typer.Typer(help="Write a synthetic source tree.", no_args_is_help=True)
predict_app = typer.Typer(help="Ask a released model.", no_args_is_help=True)
app.add_typer(verify_app, name="verify")
app.add_typer(synth_app, name="synth")
app.add_typer(predict_app, name="predict")
for entry in wings().values():
    entry.add_commands(CommandGroups(verify_app, synth_app, predict_app))


@app.command()
@one_line_errors
def demo(
    wing: Annotated[str | None, typer.Option(help="Only this wing.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=40, help="Records per wing, for a quick look; unset: the profile's.")
    ] = None,
) -> None:
    """Materialise the demo graph from source to released model and print a closing table."""
    from resources.compute import start_process_server
    from ui.home import prepare_dagster_home

    chosen = [wing_named(wing).name] if wing else list(wings())
    home = prepare_dagster_home()
    settings = load_settings()
    if settings.workers > 1:
        start_process_server()  # before the imports below: they take as long as its own

    from ui.demo import demo_config, print_closing
    from ui.running import resolve, run_selection

    keys = [key for name in chosen for key in resolve(name)]
    started = time.monotonic()
    typer.echo(f"profile {settings.profile}, results in {settings.home}, history in {home}", err=True)
    report = run_selection(keys, config=demo_config(limit))
    print_closing(report, settings, seconds=time.monotonic() - started)
    if not report.succeeded:
        raise typer.Exit(1)


@app.command()
@one_line_errors
def study(wing: Annotated[str | None, typer.Option(help="Only this wing.")] = None) -> None:
    """Run the study profile and write docs/results/<wing>.json, from which the README's tables come."""
    from ui.home import prepare_dagster_home
    from ui.study import run_study

    prepare_dagster_home()
    for name in [wing_named(wing).name] if wing else wings():
        typer.echo(f"wrote {run_study(name)}")


@app.command()
@one_line_errors
def materialize(
    selection: Annotated[
        str, typer.Argument(help="mimic | mimic/links | +mimic/links (with upstream) | Dagster's own selection syntax")
    ],
    partition: Annotated[
        str | None, typer.Option(help="Of partitioned assets: p12, or a range p10..p13; unset: all.")
    ] = None,
    only: Annotated[bool, typer.Option("--only", help="Do not make missing upstream assets first.")] = False,
    config: Annotated[
        Path | None, typer.Option(help="YAML file of knobs: `wing/asset:` and below it `knob: value`.")
    ] = None,
) -> None:
    """Materialise part of the graph, with its checks, in this process."""
    from ui.config_file import ConfigFile, read_config_file
    from ui.demo import print_run
    from ui.home import prepare_dagster_home
    from ui.running import resolve, run_selection, with_missing_upstream

    prepare_dagster_home()
    asked_for = read_config_file(config) if config else ConfigFile({})
    os.environ.update(asked_for.environment)
    settings = load_settings()
    keys = resolve(selection)
    if not only:
        asked = set(keys)
        keys = with_missing_upstream(keys, settings)
        if added := ["/".join(key.path) for key in keys if key not in asked]:
            typer.echo(f"first, because nothing is published there yet: {', '.join(added)}", err=True)
    report = run_selection(keys, partition=partition, config=asked_for.config)
    print_run(report)
    if not report.succeeded:
        raise typer.Exit(1)


@app.command()
@one_line_errors
def status(as_json: JsonFlag = False) -> None:
    """Every asset: version, time, synthetic or real, checks and headline metrics."""
    import dagster as dg

    from ui.demo import print_status
    from ui.home import prepare_dagster_home
    from ui.status import status as read_status

    prepare_dagster_home()
    settings = load_settings()
    found = read_status(settings, dg.DagsterInstance.get())
    if as_json:
        print_json(found)
    else:
        print_status(found)


@app.command()
@one_line_errors
def export(
    wing: Annotated[str, typer.Argument(help="A wing, such as mimic.")],
    stage: Annotated[
        str, typer.Argument(help="links | quarantine | cohort_flow | phase3 | ...; a wrong one lists all.")
    ],
    to: Annotated[Path, typer.Option("--to", help="Folder to write into; made if missing.")],
    file_format: Annotated[str, typer.Option("--format", help="csv | json | parquet | pt (mimic phase3)")] = "csv",
    record_format: Annotated[str, typer.Option(help="Of pt records: standard | enhanced_rag")] = "standard",
) -> None:
    """Write a published stage in a format other tools read."""
    from ui.exports import export_stage

    for path in export_stage(load_settings(), wing, stage, file_format, to, record_format):
        typer.echo(str(path))


@app.command()
@one_line_errors
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
) -> None:
    """The API, and the demo page at /demo."""
    from ui.server import serve as run_server

    run_server(load_settings(), host, port)


def main() -> None:
    """Entry point of the `mm` script."""
    # One known beta parameter (single-run backfills of p10..p19); every other warning still shows.
    warnings.filterwarnings("ignore", message=r".*`backfill_policy`.*beta.*")
    app(prog_name="mm")


if __name__ == "__main__":
    main()
