"""Stand-ins for a released model and for the store it comes from.

Belongs here: what tests of the server and the page need instead of a trained model.
"""

import hashlib
import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mm_assets.mimic.case import (
    CaseWarning,
    ChestCase,
    ChestProvenance,
    Contribution,
    EmptyCase,
    ExampleCase,
    Explanation,
    Finding,
    Modality,
    Passage,
    Prediction,
)
from mm_assets.mimic.schema import LABELS
from mm_assets.records.images import encode_jpeg, stored_image
from resources.artifacts import ArtifactMissing
from ui.released import ReleasedModel


def chest_like_film(width: int = 320, height: int = 384, seed: int = 0) -> np.ndarray:
    """uint8 [height, width]: two dark lung fields in a bright body; enough to look at."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    body = 175 - 120 * np.abs(x - 0.5)
    for centre in (0.31, 0.69):
        body -= 130 * np.exp(-((((x - centre) / 0.12) ** 2 + ((y - 0.45) / 0.26) ** 2) ** 2))
    body += 40 * np.exp(-(((x - 0.56) / 0.14) ** 2 + ((y - 0.62) / 0.15) ** 2))
    body += 10 * np.sin(y * 60) * (np.abs(x - 0.5) > 0.08)
    return np.clip(body + rng.normal(0, 4, body.shape), 0, 255).astype(np.uint8)


def film_bytes(seed: int = 0) -> bytes:
    return encode_jpeg(chest_like_film(seed=seed))


def provenance(version: str = "0123456789abcdef") -> ChestProvenance:
    return ChestProvenance(
        model_version=version,
        run_id="run-1",
        data_version="fedcba9876543210",
        test_auroc=0.812,
        test_auroc_low=0.79,
        test_auroc_high=0.83,
        synthetic=True,
    )


class FakePredictor:
    """Answers from a digest of the case: the same case, the same answer; another film, another answer."""

    labels: tuple[str, ...] = LABELS

    def __init__(self, version: str = "0123456789abcdef") -> None:
        self.provenance: ChestProvenance = provenance(version)
        self.examples: tuple[ExampleCase, ...] = (
            ExampleCase(
                "Woman, 71, short of breath, AP film",
                ChestCase(
                    image=film_bytes(1), complaint="shortness of breath", history="furosemide",
                    view="AP", sex="F", age=71, temperature=98.1, heartrate=104, resprate=26,
                    o2sat=91, sbp=158, dbp=92, pain=0,
                    acuity=2, arrived_by_ambulance=True,
                ),
            ),
            ExampleCase("Man, 34, chest pain, no film", ChestCase(complaint="chest pain", sex="M", age=34)),
        )  # fmt: skip

    def predict(self, case: ChestCase, leave_out: Collection[Modality] = ()) -> Prediction:
        present = [name for name in case.modalities() if name not in leave_out]
        if not present:
            raise EmptyCase
        if "image" in present:
            stored_image(case.image or b"", 64)  # raises what the real one raises
        seed = hashlib.sha256(repr((present, case)).encode() + (case.image or b"")).digest()
        rng = np.random.default_rng(list(seed))
        findings = []
        for label in LABELS:
            p = float(rng.beta(0.8, 3))
            half = 0.3 * math.sqrt(p * (1 - p)) / 2 + 0.01
            findings.append(
                Finding(
                    label=label,
                    probability=p,
                    low=max(0.0, p - half),
                    high=min(1.0, p + half),
                    threshold=0.3,
                    positive=p >= 0.3,
                )
            )
        warnings = [CaseWarning(code="synthetic_model", message="A real film meets a model trained on synthetic ones.")]
        if leave_out:
            warnings.append(CaseWarning(code="left_out", message=f"Read without: {', '.join(sorted(leave_out))}."))
        return Prediction(
            findings=findings,
            interval="Venn-Abers interval from the validation split",
            contributions=[
                Contribution(modality=name, change={label: float(rng.normal(0, 0.1)) for label in LABELS})
                for name in present
            ],
            passages=[
                Passage(
                    id="edema-03",
                    text="Perihilar haze <b>suggests</b> oedema.",
                    citation="Own words",
                    score=0.61,
                )
            ],
            warnings=warnings,
            provenance=self.provenance,
        )

    def try_once(self) -> None:
        self.predict(self.examples[0].case)

    def explain(self, case: ChestCase, leave_out: Collection[Modality] = ()) -> Explanation | None:
        if case.image is None or "image" in leave_out:
            return None
        stored = stored_image(case.image, 518)
        maps = np.random.default_rng(0).normal(0, 0.3, (len(LABELS), 4, 4)).astype(np.float32)
        return Explanation(stored.jpeg, stored.width, stored.height, "squash", LABELS, maps, float(np.abs(maps).max()))


@dataclass(frozen=True)
class FakeArtifact:
    """The part of an artifact that serving reads."""

    version: str
    run_id: str | None = "run-1"


class FakeStore:
    """A store with one released model, replaced by assigning `version`; None means nothing is released."""

    def __init__(self, version: str | None = "0123456789abcdef") -> None:
        self.version = version
        self.unreachable = False

    def current(self, wing: str, asset: str) -> Any:
        if self.unreachable:
            raise OSError("/secret/path: connection reset")
        if self.version is None:
            raise ArtifactMissing(f"{wing}/{asset} is not there")
        return FakeArtifact(self.version)

    def local_folder(self, artifact: Any) -> Path:
        return Path(artifact.version)


def fake_load(folder: Path, artifact: Any) -> FakePredictor:
    if artifact.version.startswith("broken"):
        raise ValueError("/secret/path/model.safetensors is damaged")
    return FakePredictor(artifact.version)


def held_model(store: FakeStore, wing: str, predictor: Any) -> ReleasedModel[Any]:
    """A released folder, looked at once: its path is the artifact's version, ``predictor`` the wing's class."""

    def load(folder: Path, artifact: Any) -> Any:
        return predictor.load(folder, version=Path(artifact.version).name, run_id="run-1")

    held: ReleasedModel[Any] = ReleasedModel(store, wing, load)  # type: ignore[arg-type]
    held.refresh()
    return held


def png_16_bit() -> bytes:
    """A 16-bit grey ramp, which an 8-bit reader would show all white."""
    import io

    stream = io.BytesIO()
    Image.fromarray(np.linspace(0, 65535, 128 * 128, dtype=np.uint16).reshape(128, 128)).save(stream, "PNG")
    return stream.getvalue()
