"""`mm synth cloud_vision` and `mm predict cloud_vision`.

Belongs here: options, printing, exit codes. Does not belong here: the work (`prediction.py`,
`mm_assets.cloud_vision.synthetic`).
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from resources.settings import load_settings
from ui.terminal import JsonFlag, one_line_errors, print_json

# Records of a data set by the name of its size: train, validate, test, shifted.
SIZES = {"tiny": (24, 12, 12, 12), "small": (160, 40, 80, 40), "demo": (1280, 240, 700, 240)}


class Size(StrEnum):
    """How many records a data set has."""

    tiny = "tiny"
    small = "small"
    demo = "demo"


class Law(StrEnum):
    """How classes show: neither organisation suffices, or each does."""

    complementary = "complementary"
    separable = "separable"


@one_line_errors
def synth(
    to: Annotated[Path, typer.Option("--to", help="Folder to write into; must be empty or missing.")],
    size: Annotated[Size, typer.Option(help="Records: tiny 60, small 320, demo 2,460.")] = Size.small,
    design: Annotated[Law, typer.Option(help="separable is the original design.")] = Law.complementary,
    difficulty: Annotated[float, typer.Option(min=0, max=1, help="Noise of features, faintness of lesions.")] = 0.5,
    px: Annotated[int, typer.Option(min=192, max=1024, help="Side of an X-ray, px; even.")] = 512,
    seed: Annotated[int, typer.Option(help="Same seed, same data.")] = 0,
) -> None:
    """X-rays and tables of two organisations, and a folder of truth for tests. All of it is synthetic."""
    from mm_assets.cloud_vision.synthetic.dataset import XrayDataConfig, write_data
    from ui.verifying import require_new_folder

    require_new_folder(to)
    if px % 2:
        raise typer.BadParameter("the side must be even", param_hint="--px")
    train, validate, test, shifted = SIZES[size]
    config = XrayDataConfig(
        train=train, validate=validate, test=test, shifted=shifted, px=px, design=design.value, difficulty=difficulty,
        seed=seed, jobs=load_settings().workers,
    )  # fmt: skip
    typer.echo(write_data(to, config).describe())


@one_line_errors
def predict(
    xray: Annotated[Path | None, typer.Option(help="Frontal chest X-ray: JPEG, PNG or DICOM.")] = None,
    features: Annotated[
        str, typer.Option(help="Values of both organisations, f0=1.2,f7=-0.3; what is left out counts as missing.")
    ] = "",
    record: Annotated[
        Path | None, typer.Option(help='JSON file instead: {"xray": file beside it, "f0": 1.2, ...}.')
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Probabilities of the three classes, each organisation's own answer beside them, and where the model came from."""
    from ui.cloud_vision.prediction import predict_record, print_prediction

    prediction = predict_record(load_settings(), xray, features, record)
    if as_json:
        print_json(prediction.model_dump())
    else:
        print_prediction(prediction)
