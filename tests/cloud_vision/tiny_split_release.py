"""A released folder of the wing with a tiny untrained model, made by the code that makes real ones.

Belongs here: what tests of the predictor, the server and the page need instead of a training run.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import save_file

from mm_assets.cloud_vision.case import SplitCase
from mm_assets.cloud_vision.central_training import build_central
from mm_assets.cloud_vision.party_preprocessing import PARTY_FEATURES, TabularPreprocessor
from mm_assets.cloud_vision.predictor import SplitPredictor
from mm_assets.cloud_vision.release import EXAMPLE_SCHEMA, ReleaseInputs, write_release
from mm_assets.cloud_vision.schema import FEATURES, ORG2_FEATURES, ORG3_FEATURES
from mm_assets.cloud_vision.split_model import SplitConfig
from mm_assets.cloud_vision.synthetic.films import FilmPlan, draw_films, film_jpeg, mask_png
from mm_assets.cloud_vision.synthetic.law import draw_features, planted_law

FILM_PX = 256
CONFIG = SplitConfig(image_px=32, channels=8, embedding=16, hidden=32, top_hidden=(32,), dropout=0.0)
PATTERNS = ("ground-glass", "clear", "interstitial")  # of an example of each class
VERDICT = "merged_labels 0+2 .8: leak 0.51 beside a guess of 0.48 (undefended 0.97), accuracy 0.80 (undefended 0.81)"


def drawn_film(pattern: str = "ground-glass", seed: int = 0) -> tuple[bytes, bytes | None]:
    """JPEG and mask of a drawn film; a clear one has no mask."""
    films = draw_films([FilmPlan((seed, 9), pattern, 0.0 if pattern == "clear" else 0.9)], FILM_PX)
    return film_jpeg(films.pixels[0]), None if pattern == "clear" else mask_png(films.masks[0])


def features_of(label: int, seed: int = 0) -> dict[str, float]:
    values = draw_features(planted_law(), np.array([label]), np.random.default_rng(seed))[0]
    return {name: float(np.float32(value)) for name, value in zip(FEATURES, values, strict=True)}


def split_case(label: int = 0, seed: int = 0, **changed: Any) -> SplitCase:
    xray, mask = drawn_film(PATTERNS[label], seed)
    values = features_of(label, seed)
    given: dict[str, Any] = {
        "xray": xray,
        "org2": {name: values[name] for name in ORG2_FEATURES},
        "org3": {name: values[name] for name in ORG3_FEATURES},
        "mask": mask,
        "label": label,
    }
    return SplitCase(**{**given, **changed})


def preprocessor(party: str) -> TabularPreprocessor:
    return TabularPreprocessor(
        party=party, features=PARTY_FEATURES[party], target="label" if party == "org2" else None,
        mean=(0.5,) * 5, std=(1.25,) * 5, median=(0.25,) * 5,
    )  # fmt: skip


def write_tiny_release(folder: Path, *, synthetic: bool = True) -> None:
    """Write a released folder whose answers differ between cases; beside it the networks as training leaves them."""
    trained = folder.parent / f"{folder.name}-trained"
    for path in (folder, trained):
        path.mkdir(parents=True, exist_ok=True)
    write_release(release_inputs(trained, synthetic=synthetic), folder, {"cloud_vision/source": "feedbeef"})


def release_inputs(trained: Path, *, synthetic: bool = True) -> ReleaseInputs:
    weights = {}
    for name in ("joint", "org2", "org3"):
        model = build_central(CONFIG, 3, name)
        with torch.no_grad():  # as a trained one: answers differ between cases
            model.top.layers[-1].weight *= 20
        weights[name] = trained / f"{name}.safetensors"
        save_file(model.state_dict(), str(weights[name]))
    accuracies = {"joint": 0.81, "org2": 0.58, "org3": 0.6, "image_only": 0.57, "pooled": 0.8}
    headline = {
        "split_minus_central": 0.0, "n_test": 280, "accuracy_joint": 0.82, "gain_over_org2_ci_low": 0.15,
        "gain_over_org3_ci_low": 0.15, "accuracy_served": 0.81, "accuracy_served_ci_low": 0.77,
        "accuracy_served_ci_high": 0.85, "leak_accuracy": 0.97, "leak_accuracy_defended": 0.51, "leak_guess": 0.48,
    }  # fmt: skip
    return ReleaseInputs(
        weights=weights,
        architecture=CONFIG.to_json(),
        preprocessors={party: preprocessor(party).as_json() for party in ("org2", "org3")},
        image_px=CONFIG.image_px,
        evaluation={
            "headline": headline,
            "served": {name: {"value": value, "low": 0.5, "high": 0.9} for name, value in accuracies.items()},
            "temperature": 1.5,
            "served_seed": 0,
            "verdict": {"text": VERDICT, "reached": True},
        },
        card="# card\n",
        synthetic=synthetic,
        examples=examples_table(),
    )


def examples_table() -> pa.Table:
    rows = []
    for number in range(6):
        case = split_case(number % 3, seed=number)
        rows.append(
            {"image_id": f"IMG_{number:06d}", "xray": case.xray, **case.org2, **case.org3, "label": case.label,
             "pattern": PATTERNS[number % 3], "mask": case.mask}
        )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=EXAMPLE_SCHEMA)


def load_tiny(folder: Path) -> SplitPredictor:
    return SplitPredictor.load(folder, version="v1", run_id="run-1")
