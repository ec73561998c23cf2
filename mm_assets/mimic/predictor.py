"""Answers of a released model: the bundle's preprocessing, the network and its calibration applied to a case.

Belongs here: loading a released folder, one prediction and its provenance.
Does not belong here: preprocessing (`preprocessing.py`), warnings (`case_warnings.py`), explanations (`explain.py`),
where a release comes from.

A released folder holds the bundle (model.safetensors, model.json, card.md), passages.parquet, index.faiss,
embeddings.safetensors (``tokens`` float16 [P, D]: each passage as the model reads it), examples.json and the
films it names. Beside what every bundle has, model.json holds:

    architecture    fields of MDFNetConfig
    preprocessing   `Preprocessing`
    calibration     scaling and intervals of learning/calibration.py
    out_of_domain   `FilmReference`
    metrics         released_macro_auroc, released_macro_auroc_ci_low, released_macro_auroc_ci_high
"""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253

from mm_assets.learning.bundle import BundleIncomplete, load_bundle, require_keys
from mm_assets.learning.calibration import calibrated, interval_for
from mm_assets.learning.encoders import TextEncoder, VisionEncoder, load_text, load_vision, require_weights
from mm_assets.mimic.case import (
    CaseWarning,
    ChestCase,
    ChestProvenance,
    EmptyCase,
    ExampleCase,
    Explanation,
    Finding,
    Modality,
    Passage,
    Prediction,
)
from mm_assets.mimic.case_warnings import film_warnings, modality_warnings, text_warnings, value_warnings
from mm_assets.mimic.explain import leave_one_out, occlusion_maps, scale_of
from mm_assets.mimic.model import EnhancedMDFNet, MDFNetConfig
from mm_assets.mimic.out_of_domain import FilmReference
from mm_assets.mimic.preprocessing import (
    ClinicalInput,
    TextParts,
    batch_of,
    clinical_input,
    film_tokens,
    note_tokens,
    read_preprocessing,
    stored_film,
    text_parts,
)
from mm_assets.mimic.retrieval import Embedder, mean_pool_embedder, read_index
from mm_assets.records.images import StoredImage
from resources.hub import ENCODERS, local_folder

# Films kept encoded: a reader looks at one film with several labels and modalities left out. Patients' data,
# so few.
FILMS_KEPT = 4

# For a release without examples.
TRIAL_CASE = ChestCase(complaint="cough", age=60, heartrate=90)


@dataclass(frozen=True)
class _Film:
    stored: StoredImage
    tokens: torch.Tensor  # [1, T, D]


@dataclass(frozen=True)
class _Inputs:
    """A case on its way into the model, with what is worth telling about it."""

    batch: dict[str, torch.Tensor]
    clinical: ClinicalInput
    text: TextParts


@dataclass(frozen=True)
class _Knowledge:
    ids: list[str]
    texts: list[str]
    citations: list[str]
    tokens: torch.Tensor  # float32 [P, D]
    index: Any


class MimicPredictor:
    """A released chest model, ready to answer; safe to call from several threads."""

    def __init__(
        self,
        spec: dict[str, Any],
        model: EnhancedMDFNet,
        vision: VisionEncoder,
        text: TextEncoder,
        embed: Embedder,
        knowledge: _Knowledge,
        provenance: ChestProvenance,
        examples: tuple[ExampleCase, ...],
    ) -> None:
        self.labels: tuple[str, ...] = tuple(spec["labels"])
        self.provenance = provenance
        self.examples = examples
        self._spec, self._model, self._knowledge = spec, model.eval(), knowledge
        self._vision, self._text, self._embed = vision, text, embed
        self._inputs_spec = read_preprocessing(spec["preprocessing"])
        self._reference = FilmReference.model_validate(spec["out_of_domain"])
        self._example_films = {_digest(e.case.image) for e in examples if e.case.image is not None}
        self._films: OrderedDict[str, _Film] = OrderedDict()
        self._films_lock = threading.Lock()

    @classmethod
    def load(cls, folder: Path, *, version: str, run_id: str | None) -> "MimicPredictor":
        """Read a released folder.

        Raises BundleIncomplete, EncoderUnavailable when an encoder's weights cannot be had, and OtherWeights when
        they are not those of training.
        """
        bundle = load_bundle(folder)
        spec = bundle.spec
        require_keys(spec, ("labels", "thresholds", "calibration", "out_of_domain"))
        inputs = read_preprocessing(spec["preprocessing"])
        model = EnhancedMDFNet(MDFNetConfig.from_dict(spec["architecture"]))
        model.load_state_dict(bundle.state_dict)
        text = _text_encoder(inputs.text.encoder)
        retrieval = inputs.retrieval.encoder
        query = text if retrieval == inputs.text.encoder else _text_encoder(retrieval)
        card = ENCODERS[inputs.vision.encoder]
        vision = load_vision(card, local_folder(card))
        read_by: tuple[tuple[VisionEncoder | TextEncoder, str], ...] = (
            (vision, inputs.vision.weights_digest),
            (text, inputs.text.weights_digest),
            (query, inputs.retrieval.weights_digest),
        )
        for encoder, digest in read_by:
            require_weights(encoder, digest, made="the model was trained with", mend="mm materialize mimic")
        metrics, upstream = spec["metrics"], spec["upstream"]
        provenance = ChestProvenance(
            model_version=version,
            run_id=run_id,
            data_version=data_version(upstream),
            test_auroc=metrics.get("released_macro_auroc"),
            test_auroc_low=metrics.get("released_macro_auroc_ci_low"),
            test_auroc_high=metrics.get("released_macro_auroc_ci_high"),
            synthetic=spec["synthetic"],
        )
        return cls(
            spec, model, vision, text, mean_pool_embedder(query), _read_knowledge(folder), provenance,
            read_examples(folder),
        )  # fmt: skip

    def predict(self, case: ChestCase, leave_out: Collection[Modality] = ()) -> Prediction:
        """Answer a case, as if the modalities of ``leave_out`` had not been sent.

        Raises UnreadableImage when the film cannot be read and EmptyCase when nothing is left to read.
        """
        asked = case.without(leave_out)
        if not asked.modalities():
            raise EmptyCase
        inputs = self._inputs(asked)
        probabilities = calibrated(self._spec["calibration"], self._logits(inputs.batch))[0]
        return Prediction(
            findings=[self._finding(label, float(p)) for label, p in zip(self.labels, probabilities, strict=True)],
            interval=self._spec["calibration"]["intervals"]["name"],
            contributions=leave_one_out(self._probabilities, asked, self.labels),
            passages=self._passages(inputs.text),
            warnings=[
                *self._film_warnings(asked),
                *modality_warnings(case, leave_out),
                *value_warnings(inputs.clinical, self._training_statistics()),
                *text_warnings(inputs.text),
            ],
            provenance=self.provenance,
        )

    def explain(self, case: ChestCase, leave_out: Collection[Modality] = ()) -> Explanation | None:
        """Where in the film the answer comes from; None when no film is read. Raises UnreadableImage."""
        asked = case.without(leave_out)
        if asked.image is None:
            return None
        batch = self._inputs(asked).batch
        side = round(batch["image_tokens"].shape[1] ** 0.5)
        maps = occlusion_maps(self._model, batch, (side, side))
        stored = self._film(asked.image).stored
        mode = self._inputs_spec.vision.resize_mode
        return Explanation(stored.jpeg, stored.width, stored.height, mode, self.labels, maps, scale_of(maps))

    def try_once(self) -> None:
        """Answer the first example, or a case without film; raises when this model cannot."""
        self.predict(self.examples[0].case if self.examples else TRIAL_CASE)

    def _film(self, image: bytes) -> _Film:
        key = _digest(image)
        with self._films_lock:
            if key in self._films:
                self._films.move_to_end(key)
                return self._films[key]
        stored = stored_film(image, self._inputs_spec.vision)
        film = _Film(stored, film_tokens(stored, self._inputs_spec.vision, self._vision))
        with self._films_lock:
            self._films[key] = film
            while len(self._films) > FILMS_KEPT:
                self._films.popitem(last=False)
        return film

    def _inputs(self, case: ChestCase) -> _Inputs:
        config, wanted = self._model.config, self._inputs_spec
        clinical = clinical_input(case, wanted.clinical)
        text = text_parts(case, clinical.values, wanted.retrieval, self._knowledge.index, self._embed)
        batch = batch_of(
            self._film(case.image).tokens if case.image is not None else None,
            note_tokens(text.note, wanted.text, self._text),
            self._knowledge.tokens[list(text.passage_rows)],
            list(clinical.values.values()),
            image_shape=(config.image_tokens, config.image_dim),
        )
        return _Inputs(batch, clinical, text)

    def _logits(self, batch: dict[str, torch.Tensor]) -> np.ndarray:
        with torch.inference_mode():
            return self._model(batch).float().cpu().numpy()

    def _probabilities(self, case: ChestCase) -> np.ndarray:
        return np.asarray(calibrated(self._spec["calibration"], self._logits(self._inputs(case).batch))[0])

    def _finding(self, label: str, probability: float) -> Finding:
        low, high, _ = interval_for(self._spec["calibration"], label, probability)
        threshold = float(self._spec["thresholds"][label])
        return Finding(
            label=label, probability=probability, low=low, high=high, threshold=threshold,
            positive=probability >= threshold,
        )  # fmt: skip

    def _passages(self, text: TextParts) -> list[Passage]:
        known = self._knowledge
        return [
            Passage(id=known.ids[row], text=known.texts[row], citation=known.citations[row], score=score)
            for row, score in zip(text.passage_rows, text.passage_scores, strict=True)
        ]

    def _film_warnings(self, case: ChestCase) -> list[CaseWarning]:
        if case.image is None:
            return []
        foreign = self.provenance.synthetic and _digest(case.image) not in self._example_films
        return film_warnings(self._film(case.image).tokens.mean(1).numpy(), self._reference, foreign=foreign)

    def _training_statistics(self) -> tuple[list[float], list[float]] | None:
        """Mean and standard deviation of every measurement in training; None for a model that reads none."""
        if "tabular" not in self._model.config.modalities:
            return None
        statistics = self._model.tokens["tabular"]
        return statistics.mean.tolist(), statistics.std.tolist()  # type: ignore[operator]


def data_version(upstream: dict[str, str]) -> str:
    """The version of the records the model learnt from: that of phase 3."""
    return upstream.get("mimic/phase3", "unknown")


def read_examples(folder: Path) -> tuple[ExampleCase, ...]:
    """``examples.json``: a list of objects with ``title``, ``image`` (file in the folder, or null) and case
    fields.
    """
    listed = folder / "examples.json"
    if not listed.is_file():
        return ()
    examples = []
    for entry in json.loads(listed.read_text(encoding="utf-8")):
        fields = {name: value for name, value in entry.items() if name not in ("title", "image")}
        film = (folder / entry["image"]).read_bytes() if entry.get("image") else None
        examples.append(ExampleCase(entry["title"], ChestCase(image=film, **fields)))
    return tuple(examples)


def _read_knowledge(folder: Path) -> _Knowledge:
    import pyarrow.parquet as pq
    from safetensors.torch import load_file

    rows = pq.read_table(folder / "passages.parquet", columns=["passage_id", "text", "citation"]).to_pydict()
    tokens = load_file(str(folder / "embeddings.safetensors"))["tokens"].float()
    if len(tokens) != len(rows["text"]):
        raise BundleIncomplete(
            f"{len(tokens)} passage tokens for {len(rows['text'])} passages: release the model again"
        )
    index = read_index(folder / "index.faiss", len(tokens))
    return _Knowledge(rows["passage_id"], rows["text"], rows["citation"], tokens, index)


def _text_encoder(name: str) -> TextEncoder:
    card = ENCODERS[name]
    return load_text(card, local_folder(card))


def _digest(image: bytes | None) -> str:
    return hashlib.sha256(image or b"").hexdigest()
