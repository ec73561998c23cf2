"""`mm verify mimic`, `mm synth mimic` and `mm predict mimic`.

Belongs here: options, printing, exit codes. Does not belong here: the work (`sources.py`, `prediction.py`).
"""

from pathlib import Path
from typing import Annotated

import typer

from mm_assets.mimic.case import ChestCase
from resources.settings import load_settings
from ui.terminal import JsonFlag, one_line_errors, print_json


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


@one_line_errors
def verify(as_json: JsonFlag = False) -> None:
    """Headers, counts against the published ones, official split disjoint by patient, and what a run will take."""
    from ui.mimic.sources import print_estimate, verify_configured
    from ui.verifying import print_findings

    report = verify_configured(load_settings())
    if as_json:
        print_json(report)
    else:
        print_findings(report["findings"])
        print_estimate(report)
    if report["errors"]:
        raise typer.Exit(1)


@one_line_errors
def synth(
    to: Annotated[Path, typer.Option("--to", help="Folder to write the tree into; must be empty or missing.")],
    patients: Annotated[int, typer.Option(min=20, help="Patients in the tree.")] = 200,
    seed: Annotated[int, typer.Option(help="Same seed, same tree.")] = 0,
    scale: Annotated[float, typer.Option(min=0.05, max=1.0, help="Film size; 1 is 2544x3056 px.")] = 0.25,
) -> None:
    """A tree in the published layout of MIMIC-CXR-JPG, MIMIC-IV-ED and MIMIC-IV. All of it is synthetic."""
    from ui.mimic.sources import write_synthetic

    for line in write_synthetic(to, patients=patients, seed=seed, scale=scale):
        typer.echo(line)


@one_line_errors
def predict(
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
    from ui.mimic.prediction import predict_chest, print_prediction

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
