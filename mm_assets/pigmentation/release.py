"""The folder of a released model, put together from what the earlier assets published.

Belongs here: which file of the release comes from where, and which examples it offers. Does not belong here: opening
artifacts (`published.py`), training, judging, and answering (`predictor.py`, which reads the folder).
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253

from mm_assets.learning.bundle import save_bundle
from mm_assets.pigmentation.compute_table import ComputeTable, measure_compute
from mm_assets.pigmentation.datasets import StoredModality, stored_modalities
from mm_assets.pigmentation.inputs import InputSpec, to_tensor
from mm_assets.pigmentation.model import FusionModel
from mm_assets.pigmentation.predictor import EXAMPLES, encoded, scores_of
from mm_assets.pigmentation.release_rule import release_refusal
from mm_assets.pigmentation.runtime import Encode, choose_runtime
from mm_assets.pigmentation.schema import SEVERITIES, TONES, subsets
from mm_assets.pigmentation.severity import Thresholds
from mm_assets.pigmentation.train_job import load_trained
from resources.errors import MendableError

RELEASED_VARIANT = "fused"
# Validation records on which runtimes are compared.
PARITY_RECORDS = 256
_BATCH = 16

Row = Mapping[str, Any]


class NotReleasable(MendableError):
    """The evaluation does not allow a release."""


@dataclass(frozen=True)
class ReleaseInputs:
    """Everything of a release, as plain values and local files.

    trained: the folder of the chosen variant and seed. captures: `captures.json` of the lesions. evaluation:
    `evaluation.json`. validate: stored records (columns of LESION_SCHEMA) that the model was not trained on, at least
    one; `PARITY_RECORDS` are enough. examples: stored records to offer on the page, in order; none of real patients.
    runtime_before: that of the last release of the same model, kept unless another is clearly faster, so that a rerun
    gives the same release.
    """

    trained: Path
    captures: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    card: str
    synthetic: bool
    validate: Sequence[Row]
    examples: Sequence[Row]
    runtime_before: str | None = None


@dataclass(frozen=True)
class Release:
    """What was written: the card, and what was measured, which is no part of the folder: how the runtimes compared,
    and what one case costs."""

    card: str
    runtime_trial: dict[str, Any]
    compute: ComputeTable


def write_release(inputs: ReleaseInputs, folder: Path, upstream: Mapping[str, str]) -> Release:
    """Write the bundle, the files of its runtime and the examples into ``folder``. Raises NotReleasable."""
    headline = inputs.evaluation["headline"]
    if refusal := release_refusal(headline):
        raise NotReleasable(f"the model is not released: {refusal}; look at pigmentation/evaluation, then train again")
    model, spec = load_trained(inputs.trained)
    thresholds = Thresholds.from_json(inputs.evaluation["thresholds"])
    cases, score = parity_cases(spec, inputs), subset_scores(model, thresholds)
    choice = choose_runtime(model, cases, folder, score=score, before=inputs.runtime_before)
    compute = measure_compute(model, max(cases, key=len), choice, score)
    bundle = {
        "wing": "pigmentation",
        "architecture": asdict(model.config),
        "preprocessing": spec.as_json(),
        "captures": dict(inputs.captures),
        "thresholds": thresholds.as_json(),
        "conformal": inputs.evaluation["conformal"],
        "errors": inputs.evaluation["errors"],
        "runtime": choice.as_spec(),
        "metrics": headline,
        "upstream": dict(upstream),
        "synthetic": inputs.synthetic,
        "variant": RELEASED_VARIANT,
        "seed": inputs.evaluation["released_seed"],
    }
    save_bundle(folder, model.state_dict(), bundle, inputs.card)
    # Never a patient's picture, whatever was passed.
    stored = [modality for modality in stored_modalities(inputs.captures) if modality.name in spec.names]
    write_examples(folder, inputs.examples if inputs.synthetic else (), stored)
    return Release(inputs.card, choice.as_json(), compute)


def parity_cases(spec: InputSpec, inputs: ReleaseInputs) -> list[dict[str, torch.Tensor]]:
    """The validation records on which runtimes must agree, as the network reads them: modality -> [C, S, S]."""
    stored = {modality.name: modality for modality in stored_modalities(inputs.captures)}
    return [
        {
            name: to_tensor(spec.modality(name), stored[name].pixels(row[name]), spec.image_size)
            for name in spec.names
            if row[name] is not None
        }
        for row in inputs.validate[:PARITY_RECORDS]
    ]


def subset_scores(
    model: FusionModel, thresholds: Thresholds
) -> Callable[[Encode, Sequence[Mapping[str, torch.Tensor]]], torch.Tensor]:
    """Encoders and N cases to scores [N, K], one for every subset of the modalities: any of them may be asked for.

    The encoders run once a case, and the fusion once for all subsets, as in an answer. Where a case lacks an image,
    its scores of the subsets with it are those without.
    """
    names = model.config.names
    chosen = torch.tensor([[name in subset for name in names] for subset in subsets(names)])

    def score(encode: Encode, some: Sequence[Mapping[str, torch.Tensor]]) -> torch.Tensor:
        parts = []
        with torch.inference_mode():
            for start in range(0, len(some), _BATCH):
                tokens, present = encoded(encode, model, some[start : start + _BATCH])
                shown = (present[None] & chosen[:, None]).flatten(0, 1)
                repeated = {name: values.repeat(len(chosen), 1, 1) for name, values in tokens.items()}
                output = model.fuse(repeated, shown).output
                parts.append(scores_of(output, model, thresholds).reshape(len(chosen), -1).T)
        return torch.cat(parts)

    return score


def choose_examples(records: Sequence[Row]) -> list[str]:
    """Ids of one record per skin tone that the set has, light to dark, the severities taking turns.

    records: ``record_id``, ``tone`` and ``severity`` of the test split. Where a tone lacks the severity that is its
    turn, its first record stands in.
    """
    chosen = []
    for turn, tone in enumerate(TONES):
        of_tone = sorted((row for row in records if row["tone"] == tone), key=lambda row: row["record_id"])
        wanted = [row for row in of_tone if row["severity"] == SEVERITIES[turn % len(SEVERITIES)]]
        chosen += [row["record_id"] for row in (wanted or of_tone)[:1]]
    return chosen


def write_examples(folder: Path, rows: Sequence[Row], stored: Sequence[StoredModality]) -> None:
    """`examples.json` and its images, each in a form that may be uploaded: JPEG, or a cube as .npz."""
    listed = []
    for row in rows:
        tone, severity = str(row["tone"]), str(row["severity"])
        name = f"examples/{tone}-{severity}".replace(" ", "_").lower()
        entry: dict[str, str] = {"title": f"{tone.capitalize()} skin, {severity.lower()} (synthetic)"}
        for modality in stored:
            data = row[modality.name]
            if data is None or modality.kind == "hsl":  # made of the clinical photograph when it is read
                continue
            file = f"{name}-{modality.name}.{'jpg' if modality.kind == 'rgb' else 'npz'}"
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(data if modality.kind == "rgb" else npz_of(modality, data))
            entry[modality.name] = file
        listed.append(entry)
    (folder / EXAMPLES).write_text(json.dumps(listed, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def npz_of(modality: StoredModality, data: bytes) -> bytes:
    """A stored cube as the .npz that may be uploaded; equal cubes give equal bytes."""
    stream = io.BytesIO()
    np.savez(stream, cube=modality.pixels(data), wavelengths_nm=np.asarray(modality.wavelengths_nm or (), np.float32))
    return stream.getvalue()
