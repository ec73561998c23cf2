"""The folder of a released model, put together from what the earlier assets published.

Belongs here: which file of the release comes from where, and which examples it offers. Does not belong here: opening
artifacts (published.py), training, judging, and answering (predictor.py, which says what is in the folder and reads
it).
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from mm_assets.cloud_vision.predictor import ALONE, EXAMPLES
from mm_assets.cloud_vision.release_rule import release_refusal
from mm_assets.cloud_vision.schema import CLASSES, FEATURES, ORGANISATIONS
from mm_assets.cloud_vision.train_job import JOINT
from mm_assets.learning.bundle import save_bundle
from resources.errors import MendableError

EXAMPLE_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("xray", pa.binary()),  # JPEG
        *((name, pa.float32()) for name in FEATURES),
        ("label", pa.int32()),  # place in CLASSES
        ("pattern", pa.string()),  # what is on the film, one of PATTERNS
        ("mask", pa.binary()),  # PNG of one bit a pixel; null: no lesion
    ]
)


class NotReleasable(MendableError):
    """The evaluation does not allow a release."""


@dataclass(frozen=True)
class ReleaseInputs:
    """Everything of a release, as plain values and local files.

    weights: of the served seed, "joint", "org2" and "org3". architecture: of SplitConfig. preprocessors: of each party.
    evaluation: `evaluation.json`. examples: EXAMPLE_SCHEMA; without columns where the X-rays are real.
    """

    weights: Mapping[str, Path]
    architecture: Mapping[str, Any]
    preprocessors: Mapping[str, Mapping[str, Any]]
    image_px: int
    evaluation: Mapping[str, Any]
    card: str
    synthetic: bool
    examples: pa.Table


def write_release(inputs: ReleaseInputs, folder: Path, upstream: Mapping[str, str]) -> str:
    """Write the bundle, both parties' networks alone and the examples into ``folder``; returns the card.

    Raises NotReleasable.
    """
    import pyarrow.parquet as pq
    from safetensors.torch import load_file

    result = inputs.evaluation
    headline = result["headline"]
    if refusal := release_refusal(headline):
        raise NotReleasable(f"the model is not released: {refusal}; look at cloud_vision/evaluation, then train again")
    spec = {
        "wing": "cloud_vision",
        "labels": list(CLASSES),
        "architecture": dict(inputs.architecture),
        "preprocessing": {**inputs.preprocessors, "image_px": inputs.image_px},
        "temperature": [result["temperature"]] * len(CLASSES),
        "metrics": headline,
        "baselines": {name: found["value"] for name, found in result["served"].items()},
        "leak": {
            "text": result["verdict"]["text"],
            "reached": result["verdict"]["reached"],
            **{name: headline[name] for name in ("leak_accuracy", "leak_accuracy_defended", "leak_guess")},
        },
        "upstream": dict(upstream),
        "synthetic": inputs.synthetic,
        "seed": result["served_seed"],
    }
    save_bundle(folder, load_file(inputs.weights[JOINT]), spec, inputs.card)
    for party in ORGANISATIONS:
        shutil.copyfile(inputs.weights[party], folder / ALONE[party])
    if inputs.synthetic:  # never a patient's picture, whatever was passed
        pq.write_table(inputs.examples.cast(EXAMPLE_SCHEMA), folder / EXAMPLES)
    return inputs.card


def choose_examples(labels: Sequence[int], patterns: Sequence[str]) -> list[int]:
    """Positions of the first record of each class with each pattern, also films that mislead, by class."""
    first: dict[tuple[int, str], int] = {}
    for place, key in enumerate(zip(labels, patterns, strict=True)):
        first.setdefault(key, place)
    return [first[key] for key in sorted(first)]
