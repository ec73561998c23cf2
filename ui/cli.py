"""The one command line, `mm`.

Belongs here: options, printing, exit codes. Does not belong here: the work itself (ui.running, ui.status, ui.exports,
mm_assets.*), which returns plain values.

Exit codes: 0 done; 1 a run or a blocking check failed; 2 the request cannot be met as given (the message says why).
"""

import json
import time
import warnings
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer

from mm_assets.mimic.case import ChestCase
from resources.errors import MendableError
from resources.settings import load_settings

P = ParamSpec("P")
R = TypeVar("R")

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

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]


def one_line_errors(command: Callable[P, R]) -> Callable[P, R]:
    """An expected failure becomes one line on stderr and its exit code."""

    @wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except MendableError as error:
            typer.echo(f"mm: {error}", err=True)
            raise typer.Exit(error.exit_code) from error

    return wrapper


def field_help(name: str) -> str:
    """What a field of a chest case is and which values it takes, as the case itself says."""
    described = ChestCase.model_json_schema()["properties"][name]
    values = described.get("anyOf", [described])[0]
    text: str = described["description"]
    if "enum" in values:
        text += f": {' or '.join(values['enum'])}"
    elif "minimum" in values:
        text += f": {values['minimum']:g} to {values['maximum']:g}"
    return f"{text}."


@app.command()
@one_line_errors
def demo(
    wing: Annotated[str | None, typer.Option(help="Only this wing.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=40, help="Linked studies in all, for a quick look; unset: the profile's.")
    ] = None,
) -> None:
    """Materialise the demo graph from source to released model and print a closing table."""
    from ui.demo import demo_config, print_closing
    from ui.home import prepare_dagster_home
    from ui.running import resolve, run_selection

    home = prepare_dagster_home()
    settings = load_settings()
    keys = [key for name in ([wing] if wing else wings()) for key in resolve(name)]
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
    for name in [wing] if wing else wings():
        typer.echo(f"wrote {run_study(name)}")


@app.command()
@one_line_errors
def materialize(
    selection: Annotated[
        str, typer.Argument(help="mimic | mimic/links | +mimic/links (with upstream) | Dagster's own selection syntax")
    ],
    partition: Annotated[str | None, typer.Option(help="p12, or a range p10..p13; unset: all of p10..p19.")] = None,
    only: Annotated[bool, typer.Option("--only", help="Do not make missing upstream assets first.")] = False,
) -> None:
    """Materialise part of the graph, with its checks, in this process."""
    from resources.artifacts import ArtifactStore
    from ui.demo import print_run
    from ui.home import prepare_dagster_home
    from ui.running import resolve, run_selection, with_missing_upstream

    prepare_dagster_home()
    settings = load_settings()
    keys = resolve(selection)
    if not only:
        asked = set(keys)
        keys = with_missing_upstream(keys, ArtifactStore(settings.home, settings.scratch))
        if added := ["/".join(key.path) for key in keys if key not in asked]:
            typer.echo(f"first, because nothing is published there yet: {', '.join(added)}", err=True)
    report = run_selection(keys, partition=partition)
    print_run(report)
    if not report.succeeded:
        raise typer.Exit(1)


@app.command()
@one_line_errors
def status(as_json: JsonFlag = False) -> None:
    """Every asset: version, time, synthetic or real, checks and headline metrics."""
    import dagster as dg

    from resources.artifacts import ArtifactStore
    from ui.demo import print_status
    from ui.home import prepare_dagster_home
    from ui.status import status as read_status

    prepare_dagster_home()
    settings = load_settings()
    found = read_status(ArtifactStore(settings.home, settings.scratch), dg.DagsterInstance.get())
    if as_json:
        print_json(found)
    else:
        print_status(found)


@app.command()
@one_line_errors
def export(
    wing: Annotated[str, typer.Argument(help="mimic")],
    stage: Annotated[str, typer.Argument(help="links | quarantine | cohort_flow | phase3 | ...")],
    to: Annotated[Path, typer.Option("--to", help="Folder to write into; made if missing.")],
    file_format: Annotated[str, typer.Option("--format", help="csv | json | parquet | pt (phase3)")] = "csv",
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


@verify_app.command("mimic")
@one_line_errors
def verify_mimic(as_json: JsonFlag = False) -> None:
    """Headers, counts against the published ones, official split disjoint by patient, and what a run will take."""
    from ui.verifying import print_findings, verify_configured_mimic

    report = verify_configured_mimic(load_settings())
    if as_json:
        print_json(report)
    else:
        print_findings(report)
    if report["errors"]:
        raise typer.Exit(1)


@synth_app.command("mimic")
@one_line_errors
def synth_mimic(
    to: Annotated[Path, typer.Option("--to", help="Folder to write the tree into; must be empty or missing.")],
    patients: Annotated[int, typer.Option(min=20, help="Patients in the tree.")] = 200,
    seed: Annotated[int, typer.Option(help="Same seed, same tree.")] = 0,
    scale: Annotated[float, typer.Option(min=0.05, max=1.0, help="Film size; 1 is 2544x3056 px.")] = 0.25,
) -> None:
    """A tree in the published layout of MIMIC-CXR-JPG, MIMIC-IV-ED and MIMIC-IV. All of it is synthetic."""
    from ui.verifying import write_synthetic_mimic

    for line in write_synthetic_mimic(to, patients=patients, seed=seed, scale=scale):
        typer.echo(line)


@predict_app.command("mimic")
@one_line_errors
def predict_mimic(
    image: Annotated[Path | None, typer.Option(help=field_help("image"))] = None,
    complaint: Annotated[str, typer.Option(help=field_help("complaint"))] = "",
    history: Annotated[str, typer.Option(help=field_help("history"))] = "",
    view: Annotated[str | None, typer.Option(help=field_help("view"))] = None,
    sex: Annotated[str | None, typer.Option(help=field_help("sex"))] = None,
    age: Annotated[float | None, typer.Option(help=field_help("age"))] = None,
    temperature: Annotated[float | None, typer.Option(help=field_help("temperature"))] = None,
    heartrate: Annotated[float | None, typer.Option(help=field_help("heartrate"))] = None,
    resprate: Annotated[float | None, typer.Option(help=field_help("resprate"))] = None,
    o2sat: Annotated[float | None, typer.Option(help=field_help("o2sat"))] = None,
    sbp: Annotated[float | None, typer.Option(help=field_help("sbp"))] = None,
    dbp: Annotated[float | None, typer.Option(help=field_help("dbp"))] = None,
    pain: Annotated[float | None, typer.Option(help=field_help("pain"))] = None,
    acuity: Annotated[int | None, typer.Option(help=field_help("acuity"))] = None,
    minutes_since_arrival: Annotated[float | None, typer.Option(help=field_help("minutes_since_arrival"))] = None,
    arrived_by_ambulance: Annotated[
        bool | None,
        typer.Option("--arrived-by-ambulance/--walked-in", help=field_help("arrived_by_ambulance")),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """14 calibrated probabilities with intervals, and where the model came from."""
    from ui.prediction import predict_chest, print_prediction

    fields = {
        "complaint": complaint, "history": history, "view": view, "sex": sex, "age": age,
        "temperature": temperature, "heartrate": heartrate, "resprate": resprate, "o2sat": o2sat,
        "sbp": sbp, "dbp": dbp, "pain": pain, "acuity": acuity,
        "minutes_since_arrival": minutes_since_arrival, "arrived_by_ambulance": arrived_by_ambulance,
    }  # fmt: skip
    prediction = predict_chest(load_settings(), image, fields)
    if as_json:
        print_json(prediction.model_dump())
    else:
        print_prediction(prediction)


def wings() -> list[str]:
    """The wings of the graph, in the order they were built."""
    return ["mimic"]


def print_json(value: dict[str, Any]) -> None:
    """JSON on stdout."""
    print(json.dumps(value, indent=2, default=str))


def main() -> None:
    """Entry point of the `mm` script."""
    # One known beta parameter (single-run backfills of p10..p19); every other warning still shows.
    warnings.filterwarnings("ignore", message=r".*`backfill_policy`.*beta.*")
    app(prog_name="mm")


if __name__ == "__main__":
    main()
