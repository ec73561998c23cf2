"""`mm predict pigmentation`: the images of one lesion from the command line to the released model.

Belongs here: from files to a case, and the terminal's view of an answer. Does not belong here: the answer itself.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from resources.errors import MendableError
from resources.settings import Settings

if TYPE_CHECKING:
    from mm_assets.pigmentation.case import SkinPrediction

# As the inference script of the earlier program printed it, for whoever reads it with a script.
_HEAD, _FOOT = f"{'=' * 10} RESULT {'=' * 10}", "=" * 28


class ImageMissing(MendableError):
    """A file that was named is not there."""


def predict_skin(settings: Settings, files: Mapping[str, Path | None]) -> "SkinPrediction":
    """Load the released model and answer one case; files by modality. Raises ImageMissing, ArtifactMissing and
    UnusableImage."""
    from mm_assets.pigmentation.case import SkinCase
    from ui.released import released_predictor

    for modality, path in files.items():
        if path is not None and not path.is_file():
            raise ImageMissing(f"there is no file {path}: give the path of an image after --{modality}")
    case = SkinCase(**{modality: path.read_bytes() for modality, path in files.items() if path is not None})
    answer: SkinPrediction = released_predictor(settings, "pigmentation").predict(case)
    return answer


def result_block(prediction: "SkinPrediction") -> str:
    """Score with four digits, of which the last is always 0: what is shown has three."""
    return f"{_HEAD}\nPigmentation Score  : {prediction.score:.4f}\nSeverity Level     : {prediction.severity}\n{_FOOT}"


def print_prediction(prediction: "SkinPrediction") -> None:
    """The block, then interval, images, warnings and provenance."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(result_block(prediction))
    if prediction.interval_low is not None and prediction.interval_high is not None:
        interval = f"{prediction.interval_low:.3f} to {prediction.interval_high:.3f}, {prediction.interval}"
        console.print(f"interval: {interval}")
    console.print(f"read: {', '.join(prediction.modalities)}")
    if prediction.missing:
        console.print(f"missing: {', '.join(prediction.missing)}")
    for name, score in prediction.without.items():
        console.print(f"without {name}: {score:.3f}")
    for warning in prediction.warnings:
        console.print(f"{warning.code}: {warning.message}", style="yellow")
    origin = prediction.provenance
    data = "SYNTHETIC data" if origin.synthetic else "real data"
    quality = ""
    if origin.value is not None:
        quality = f", {(origin.metric or 'quality').lower()} {origin.value:.3f}"
        if origin.low is not None and origin.high is not None:
            quality += f" ({origin.low:.3f} to {origin.high:.3f})"
    console.print(f"model {origin.model_version}, run {origin.run_id}, data {origin.data_version}, {data}{quality}")
    console.print(origin.disclaimer)
