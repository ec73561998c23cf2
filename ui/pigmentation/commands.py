"""`mm synth pigmentation` and `mm predict pigmentation`.

Belongs here: options, printing, exit codes. Does not belong here: the work (`prediction.py`, `mm_assets.pigmentation`).
"""

from pathlib import Path
from typing import Annotated

import typer

from resources.settings import load_settings
from ui.terminal import JsonFlag, one_line_errors, print_json


@one_line_errors
def synth(
    to: Annotated[Path, typer.Option("--to", help="Folder to write the tree into; must be empty or missing.")],
    patients: Annotated[int, typer.Option(min=6, help="Patients in the tree, one to three lesions each.")] = 60,
    seed: Annotated[int, typer.Option(help="Same seed, same tree.")] = 0,
    rgb_px: Annotated[int, typer.Option(min=32, max=1024, help="Side of a photograph, px.")] = 160,
) -> None:
    """Rendered lesions of every skin tone: photographs, dermoscopy and spectral cubes. All of it is synthetic."""
    from mm_assets.pigmentation.synthetic.tree import SkinTreeConfig, write_tree
    from ui.verifying import require_new_folder

    require_new_folder(to)
    report = write_tree(to, SkinTreeConfig(patients=patients, seed=seed, rgb_px=rgb_px))
    typer.echo(report.describe())
    typer.echo(f"use it as a source:\n  export MM_PIGMENTATION_URL={to.absolute()}")


@one_line_errors
def predict(
    clinical: Annotated[Path, typer.Option(help="Clinical photograph: JPEG, PNG or BMP.")],
    dermoscopy: Annotated[Path | None, typer.Option(help="Dermoscopy image: JPEG, PNG or BMP.")] = None,
    multispectral: Annotated[
        Path | None, typer.Option(help="Spectral cube: .npz with cube [H, W, B] and wavelengths_nm [B].")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Severity of a lesion's pigmentation with its interval, and where the model came from."""
    from ui.pigmentation.prediction import predict_skin, print_prediction

    files = {"clinical": clinical, "dermoscopy": dermoscopy, "multispectral": multispectral}
    prediction = predict_skin(load_settings(), files)
    if as_json:
        print_json(prediction.model_dump())
    else:
        print_prediction(prediction)
