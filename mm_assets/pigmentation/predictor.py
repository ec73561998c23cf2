"""Answers of a released model: the bundle's preprocessing, the network and its intervals applied to cases.

Belongs here: loading a released folder, answering a batch of cases, and their provenance. Does not belong here: reading
uploads (`uploads.py`), running encoders (`runtime.py`), pictures of attention (`explain.py`), writing a release.

A released folder holds the bundle (model.safetensors, model.json, card.md), the files of its runtime, examples.json and
the images it names. Beside what every bundle has, model.json holds:

    architecture    fields of FusionConfig
    preprocessing   `InputSpec`
    captures        stored_px and cube_px: how records were stored before training
    thresholds      {"mild", "moderate"}
    conformal       subset of modalities -> `learning.conformal.Conformal`
    runtime         {"name", "largest_difference", "tolerance", "records"}
    errors          subset of modalities -> mean absolute error on test, {"value", "low", "high"}
    metrics         headline of the evaluation; ``derived_labels`` of it, a count, makes a warning of every answer
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253

from mm_assets.learning.bundle import load_bundle, require_keys
from mm_assets.learning.conformal import Conformal
from mm_assets.learning.provenance import Provenance
from mm_assets.pigmentation.capture_quality import photograph_warnings
from mm_assets.pigmentation.case import (
    MODALITY_NAMES,
    CaseWarning,
    ExampleCase,
    Picture,
    SkinCase,
    SkinExplanation,
    SkinPrediction,
)
from mm_assets.pigmentation.explain import explanation, picture_of
from mm_assets.pigmentation.fusion import Tokens
from mm_assets.pigmentation.inputs import InputSpec
from mm_assets.pigmentation.model import LOG_SIGMA, SCORE, Fused, FusionModel, build_model
from mm_assets.pigmentation.runtime import Encode, load_runtime
from mm_assets.pigmentation.schema import MODALITIES, REQUIRED_MODALITY, subset_name
from mm_assets.pigmentation.severity import Thresholds, severity_of, shown_score
from mm_assets.pigmentation.training import expected_score
from mm_assets.pigmentation.uploads import ReadImage, StoredSizes, known, read_case, read_image

EXAMPLES = "examples.json"
ERROR_NAME = "Mean absolute error, test split"
NOT_MEASURED = {"value": None, "low": None, "high": None}


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case whose images are decoded; only the predictor that prepared it can answer it."""

    images: dict[str, ReadImage]
    warnings: tuple[CaseWarning, ...]
    explain: bool = False

    def absent(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if name not in self.images]


class SkinPredictor:
    """A released skin model, ready to answer; safe to call from several threads."""

    def __init__(
        self,
        spec: Mapping[str, Any],
        model: FusionModel,
        encode: Encode,
        provenance: Provenance,
        examples: tuple[ExampleCase, ...] = (),
        notes: tuple[str, ...] = (),
    ) -> None:
        self.provenance, self.examples, self.notes = provenance, examples, notes
        self._model, self._encode = model.eval(), encode
        self._inputs = InputSpec.from_json(spec["preprocessing"])
        self._sizes = StoredSizes.from_json(spec["captures"])
        self._thresholds = Thresholds.from_json(spec["thresholds"])
        self._errors: Mapping[str, Mapping[str, float]] = spec["errors"]
        self._conformal = {name: Conformal.from_json(stored) for name, stored in spec["conformal"].items()}
        self._derived = spec["metrics"].get("derived_labels", 0) > 0
        self._known = {_digest(example.case.clinical) for example in examples}

    @classmethod
    def load(cls, folder: Path, *, version: str, run_id: str | None) -> "SkinPredictor":
        """Read a released folder. Raises BundleIncomplete.

        Where the runtime it was released with is not to be had here, plain torch answers and `notes` says so.
        """
        bundle = load_bundle(folder)
        spec = bundle.spec
        require_keys(spec, ("captures", "thresholds", "conformal", "errors", "runtime"))
        model = build_model(spec["architecture"], bundle.state_dict)
        encode, note = load_runtime(spec["runtime"]["name"], model, folder)
        errors = spec["errors"]
        provenance = Provenance(
            model_version=version,
            run_id=run_id,
            data_version=spec["upstream"].get("pigmentation/lesions", "unknown"),
            synthetic=spec["synthetic"],
            metric=ERROR_NAME,
            **errors[subset_name(model.config.names)],
        )
        return cls(spec, model, encode, provenance, read_examples(folder), (note,) if note else ())

    def prepare(self, case: SkinCase, *, explain: bool = False) -> Prepared:
        """Decode the images of a case and look at their quality. Raises UnusableImage."""
        images = read_case(case, self._inputs, self._sizes)
        warnings = []
        if self.provenance.synthetic and _digest(case.clinical) not in self._known:
            message = "The model was trained on rendered images: for a real photograph the score means nothing."
            warnings.append(CaseWarning(code="synthetic_model", message=message))
        if self._derived:
            message = (
                "The labels of this model were computed from pixels: the score repeats a formula, and is not clinical "
                "truth."
            )
            warnings.append(CaseWarning(code="derived_labels", message=message))
        for name, image in images.items():
            if image.jpeg is not None and case.images().get(name) is not None:
                warnings += photograph_warnings(name, image.pixels)
                if image.profile_ignored is not None:
                    message = (
                        f"The colour profile of the {MODALITY_NAMES[name]} was not applied ({image.profile_ignored}): "
                        "its colours were taken as sRGB."
                    )
                    warnings.append(CaseWarning(code="colour_profile", message=message))
        return Prepared(images, tuple(warnings), explain)

    def answer(self, prepared: Sequence[Prepared]) -> list[SkinPrediction]:
        """Answer several cases, of whatever modalities, in one pass of the encoders and one of the fusion."""
        with torch.inference_mode():
            tokens, present = encoded(self._encode, self._model, [_tensors(one) for one in prepared])
            # Behind the cases themselves: each of them again without each of its other images.
            rows, hidden = [], []
            for row, one in enumerate(prepared):
                for name in one.images:
                    if name != REQUIRED_MODALITY:
                        rows.append(row)
                        hidden.append(self._names.index(name))
            again = present[rows].clone()
            again[torch.arange(len(rows)), hidden] = False
            fused = self._fuse(tokens, present, rows, again)
            scores = scores_of(fused.output, self._model, self._thresholds).tolist()
        sigmas = fused.output[:, LOG_SIGMA].exp().tolist()
        attention = None if fused.attention is None else fused.attention[: len(prepared)]
        mass, maps = self._model.attention_mass(attention), self._model.attention_maps(attention)
        without: list[dict[str, float]] = [{} for _ in prepared]
        for number, (row, column) in enumerate(zip(rows, hidden, strict=True), len(prepared)):
            without[row][self._names[column]] = shown_score(scores[number])
        answers = [
            self._prediction(
                one, scores[row], sigmas[row], {name: float(share[row]) for name, share in mass.items()}, without[row]
            )
            for row, one in enumerate(prepared)
        ]  # fmt: skip
        for row, one in enumerate(prepared):
            if one.explain:
                answers[row].attention = {name: _rounded(maps[name][row]) for name in maps if name in one.images}
        return answers

    def predict(self, case: SkinCase, leave_out: Collection[str] = ()) -> SkinPrediction:
        """Answer a case, as if the modalities of ``leave_out`` had not been sent.

        Raises UnusableImage where an image cannot be read, and ClinicalRequired.
        """
        return self._read(case, leave_out)[0]

    def explained(self, case: SkinCase, leave_out: Collection[str] = ()) -> tuple[SkinPrediction, SkinExplanation]:
        """As `predict` with the maps of attention, and the images as read, each under its map."""
        answer, images = self._read(case, leave_out, explain=True)
        maps = {name: np.array(shares, dtype=np.float32) for name, shares in (answer.attention or {}).items()}
        return answer, explanation(images, maps, self._wavelengths())

    def picture(self, modality: str, data: bytes) -> Picture:
        """One file as the model would read it. Raises UnusableImage, also where it reads no such modality."""
        read = read_image(data, known(modality, self._inputs), self._inputs.image_size, self._sizes)
        return picture_of(read, self._wavelengths())

    def try_once(self) -> None:
        """Answer an example, or a grey square where the release has none; raises when this model cannot."""
        if self.examples:
            self.predict(self.examples[0].case)
        else:
            self.predict(SkinCase(clinical=_grey_square()))

    def _read(
        self, case: SkinCase, leave_out: Collection[str], *, explain: bool = False
    ) -> tuple[SkinPrediction, dict[str, ReadImage]]:
        """The answer and the images it was read from."""
        case.without(leave_out)  # raises where nothing may be left to read
        whole = self.prepare(case, explain=explain)
        kept = _less(whole, leave_out)
        [answer] = self.answer([kept])
        left_out = [MODALITY_NAMES.get(name, name) for name in whole.images if name in leave_out]
        if left_out:
            warning = CaseWarning(code="left_out", message=f"Read without: {', '.join(left_out)}.")
            answer = answer.model_copy(update={"warnings": [*answer.warnings, warning]})
        return answer, kept.images

    @property
    def _names(self) -> tuple[str, ...]:
        return self._model.config.names

    def _wavelengths(self) -> tuple[float, ...] | None:
        cubes = [modality.wavelengths_nm for modality in self._inputs.modalities if modality.kind == "cube"]
        return cubes[0] if cubes else None

    def _fuse(self, tokens: Tokens, present: torch.Tensor, rows: list[int], again: torch.Tensor) -> Fused:
        if not rows:
            return self._model.fuse(tokens, present)
        at = torch.tensor([*range(len(present)), *rows])
        return self._model.fuse({name: values[at] for name, values in tokens.items()}, torch.cat([present, again]))

    def _prediction(
        self, one: Prepared, score: float, sigma: float, mass: dict[str, float], without: dict[str, float]
    ) -> SkinPrediction:
        given = [name for name in self._names if name in one.images]
        conformal = self._conformal.get(subset_name(given))
        low = high = None
        if conformal is not None:
            bounds = conformal.interval(score, sigma if conformal.scaled else None)
            low, high = shown_score(bounds[0]), shown_score(bounds[1])
        return SkinPrediction(
            score=shown_score(score),
            severity=severity_of(score, self._thresholds),
            thresholds=self._thresholds.as_json(),
            interval_low=low,
            interval_high=high,
            interval=conformal.name if conformal else "not measured for this choice of images",
            modalities=given,
            missing=one.absent(self._names),
            attention_mass={name: shown_score(mass[name]) for name in mass if name not in one.absent(self._names)},
            without=without,
            warnings=list(one.warnings),
            model_version=self.provenance.model_version,
            # Of this choice of images: a photograph alone is answered with a larger error.
            provenance=self.provenance.model_copy(update=self._errors.get(subset_name(given), NOT_MEASURED)),
        )  # fmt: skip


def scores_of(output: torch.Tensor, model: FusionModel, thresholds: Thresholds) -> torch.Tensor:
    """Scores [B] in [0, 1] of a regression's output [B, 2], or of a classifier's logits [B, 3]."""
    if model.config.head == "regression":
        return output[:, SCORE]
    return torch.from_numpy(expected_score(output.float().numpy(), thresholds))


def encoded(
    encode: Encode, model: FusionModel, cases: Sequence[Mapping[str, torch.Tensor]]
) -> tuple[Tokens, torch.Tensor]:
    """Tokens [B, T, D] per modality that any case has, zero where a case has not, and ``present`` bool [B, M]."""
    names = model.config.names
    present = torch.tensor([[name in case for name in names] for case in cases])
    having = {name: [row for row, case in enumerate(cases) if name in case] for name in names}
    pictures = {name: torch.stack([cases[row][name] for row in rows]) for name, rows in having.items() if rows}
    tokens = encode(pictures)
    for name, seen in tokens.items():
        if len(seen) < len(cases):
            tokens[name] = seen.new_zeros(len(cases), *seen.shape[1:]).index_copy(0, torch.tensor(having[name]), seen)
    return tokens, present


def read_examples(folder: Path) -> tuple[ExampleCase, ...]:
    """``examples.json``: a list of objects with ``title`` and, by modality, the name of a file in the folder."""
    listed = folder / EXAMPLES
    if not listed.is_file():
        return ()
    examples = []
    for entry in json.loads(listed.read_text(encoding="utf-8")):
        files = {name: (folder / entry[name]).read_bytes() for name in MODALITIES if entry.get(name)}
        examples.append(ExampleCase(entry["title"], SkinCase(**files)))
    return tuple(examples)


def _tensors(prepared: Prepared) -> dict[str, torch.Tensor]:
    return {name: image.tensor for name, image in prepared.images.items()}


def _less(prepared: Prepared, leave_out: Collection[str]) -> Prepared:
    images = {name: image for name, image in prepared.images.items() if name not in leave_out}
    return Prepared(images, prepared.warnings, prepared.explain)


def _rounded(shares: torch.Tensor) -> list[list[float]]:
    """Six digits: a part of three maps of 7 x 7 has some .007."""
    return [[round(float(share), 6) for share in row] for row in shares]


def _grey_square() -> bytes:
    from mm_assets.records.color_images import encode_color_jpeg

    return encode_color_jpeg(np.full((64, 64, 3), 128, np.uint8))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
