"""`mm predict cloud_vision`: one record from the command line to the released model.

Belongs here: from files and options to a case, and the terminal's view of an answer. Does not belong here: the answer
itself.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from mm_assets.cloud_vision.schema import FEATURES, ORG2_FEATURES, ORG3_FEATURES
from resources.errors import MendableError
from resources.settings import Settings

if TYPE_CHECKING:
    from mm_assets.cloud_vision.case import SplitPrediction


class RecordUnreadable(MendableError):
    """What was given on the command line is no record."""


def predict_record(settings: Settings, xray: Path | None, features: str, record: Path | None) -> "SplitPrediction":
    """Load the released model and answer one record.

    Raises RecordUnreadable, ArtifactMissing, UnreadableImage and UnusableFeature.
    """
    from mm_assets.cloud_vision.case import SplitCase
    from ui.released import released_predictor

    if (record is None) == (xray is None) or (record is not None and features):
        raise RecordUnreadable("give either --xray, with --features where they are known, or --record")
    if record is not None:
        xray, values = read_record(record)
    else:
        values = parse_features(features)
    if xray is None or not xray.is_file():
        raise RecordUnreadable(f"there is no file {xray}: give the path of a JPEG, PNG or DICOM X-ray")
    case = SplitCase(
        xray.read_bytes(),
        {name: values.get(name) for name in ORG2_FEATURES},
        {name: values.get(name) for name in ORG3_FEATURES},
    )
    answer: SplitPrediction = released_predictor(settings, "cloud_vision").predict(case)
    return answer


def parse_features(text: str) -> dict[str, float]:
    """``f0=1.2,f7=-0.3`` as values by name. Raises RecordUnreadable, naming the part that is wrong."""
    values = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        values[name.strip()] = _value(name.strip(), value.strip())
    return values


def read_record(path: Path) -> tuple[Path, dict[str, float]]:
    """X-ray and values of a JSON file; the X-ray's path is relative to it. Raises RecordUnreadable."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordUnreadable(f"{path} cannot be read as JSON ({type(error).__name__}): correct it") from None
    if not isinstance(content, dict) or not isinstance(content.get("xray"), str):
        raise RecordUnreadable(f'{path} names no X-ray: write {{"xray": "film.jpg", "f0": 1.2}}')
    given = {name: value for name, value in content.items() if name != "xray" and value is not None}
    return path.parent / content["xray"], {name: _value(name, value) for name, value in given.items()}


def _value(name: str, value: Any) -> float:
    if name not in FEATURES:
        raise RecordUnreadable(f"there is no feature '{name}': choose from {', '.join(FEATURES)}, as in f0=1.2")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise RecordUnreadable(f"{name}={value!r} is no number: write it as in {name}=1.2, or leave it out") from None


def print_prediction(prediction: "SplitPrediction") -> None:
    """Probabilities of both together and of each alone, then warnings, bytes and provenance."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    table = Table("class", "together", "organisation 2 alone", "organisation 3 alone")
    for label, share in prediction.probabilities.items():
        alone = (f"{prediction.alone[party][label]:.2f}" for party in ("org2", "org3"))
        table.add_row(label, f"{share:.2f}{' <' if label == prediction.label else ''}", *alone)
    held_out = (f"{prediction.held_out[name]:.2f}" for name in ("joint", "org2", "org3"))
    table.add_row("right on the test split", *held_out, style="dim")
    console.print(table)
    if prediction.missing:
        console.print(f"missing, median of train instead: {', '.join(prediction.missing)}")
    for warning in prediction.warnings:
        console.print(f"{warning.code}: {warning.message}", style="yellow")
    console.print("crossed: " + ", ".join(f"{way} {size:,} bytes" for way, size in prediction.crossed.items()))
    console.print(f"leak: {prediction.leak}")
    origin = prediction.provenance
    data = "SYNTHETIC data" if origin.synthetic else origin.trained_on
    console.print(f"model {origin.model_version}, run {origin.run_id}, data {origin.data_version}, {data}")
    console.print(origin.disclaimer)
