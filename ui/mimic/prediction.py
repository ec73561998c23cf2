"""`mm predict`: one case from the command line to the released model.

Belongs here: from options to a case, and the terminal's view of an answer. Does not belong here: the answer itself.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from resources.errors import MendableError
from resources.settings import Settings

if TYPE_CHECKING:
    from mm_assets.mimic.case import Prediction


class CaseError(MendableError):
    """A field of the case cannot be read."""


def predict_chest(settings: Settings, image: Path | None, fields: Mapping[str, Any]) -> "Prediction":
    """Load the released model and answer one case. Raises CaseError, ArtifactMissing, UnreadableImage, EmptyCase."""
    from mm_assets.mimic.case import ChestCase
    from ui.released import released_predictor

    if image is not None and not image.is_file():
        raise CaseError(f"there is no file {image}: give the path of a JPEG, PNG or DICOM film")
    try:
        case = ChestCase(
            image=image.read_bytes() if image else None,
            **{name: value for name, value in fields.items() if value is not None},
        )
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise CaseError(f"--{option} {first['input']!r}: {first['msg']}") from None
    answer: Prediction = released_predictor(settings, "mimic").predict(case)
    return answer


def print_prediction(prediction: "Prediction") -> None:
    """Findings above their threshold first, then warnings and provenance."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    table = Table("finding", "probability", "interval", "threshold", "")
    for finding in sorted(prediction.findings, key=lambda finding: -finding.probability):
        table.add_row(
            finding.label,
            f"{finding.probability:.2f}",
            f"{finding.low:.2f} to {finding.high:.2f}",
            f"{finding.threshold:.2f}",
            "above" if finding.positive else "",
        )
    console.print(table)
    console.print(f"interval: {prediction.interval}")
    for warning in prediction.warnings:
        console.print(f"{warning.code}: {warning.message}", style="yellow")
    origin = prediction.provenance
    data = "SYNTHETIC data" if origin.synthetic else "real data"
    auroc = "" if origin.test_auroc is None else (
        f", test AUROC {origin.test_auroc:.3f} ({origin.test_auroc_low:.3f} to {origin.test_auroc_high:.3f})"
    )  # fmt: skip
    console.print(f"model {origin.model_version}, run {origin.run_id}, data {origin.data_version}, {data}{auroc}")
    console.print(origin.disclaimer)
