"""From a visit to the model's tensors: one description, stored in the bundle and used when the model answers.

Belongs here: the typed ``preprocessing`` section of ``model.json``, and the batch of a single case made by it
with the same functions that made the training records (stored film, redaction, note, tokens, passages).
Does not belong here: those functions, and the model.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch  # noqa: TID253
from pydantic import BaseModel, ConfigDict, ValidationError

from mm_assets.learning.bundle import BundleIncomplete
from mm_assets.learning.encoders import TextEncoder, VisionEncoder
from mm_assets.learning.transforms import apply_transform
from mm_assets.mimic.case import ChestCase
from mm_assets.mimic.clinical import repair_values
from mm_assets.mimic.features import encode_id_lists, pool_grid, pool_runs
from mm_assets.mimic.leakage import redact
from mm_assets.mimic.notes import pseudo_note
from mm_assets.mimic.retrieval import Embedder, query_text, retrieve
from mm_assets.mimic.schema import MAX_AGE, REPAIRABLE_FEATURES
from mm_assets.mimic.tokens import tokenize
from mm_assets.records.images import StoredImage, decode_image, stored_image


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class VisionInput(_Section):
    """How a film becomes tokens: stored as a square JPEG, transformed, encoded, pooled to a grid."""

    encoder: str  # name in resources.hub
    weights_digest: str  # of the encoder, as in training
    transform: dict[str, Any]  # of learning.transforms
    stored_px: int
    resize_mode: Literal["squash", "letterbox", "crop"]
    quality_mode: Literal["default", "fast"]
    grid: int  # patches per side after pooling


class TextInput(_Section):
    """How a note becomes tokens: cut at ``note_cap`` by its tokenizer, averaged to ``kept_tokens``."""

    encoder: str
    weights_digest: str
    note_cap: int
    kept_tokens: int


class RetrievalInput(_Section):
    """Which encoder embeds the query, and how many passages are read."""

    encoder: str
    weights_digest: str
    passages: int


class Preprocessing(_Section):
    """Everything between a case and the batch; `model_dump` of it is ``preprocessing`` in ``model.json``."""

    vision: VisionInput
    text: TextInput
    retrieval: RetrievalInput
    clinical: tuple[str, ...]  # order of the measurements


def read_preprocessing(section: Mapping[str, Any]) -> Preprocessing:
    """``preprocessing`` of a bundle's specification. Raises BundleIncomplete, naming what does not fit."""
    try:
        return Preprocessing.model_validate(section)
    except ValidationError as error:
        names = ", ".join(".".join(map(str, item["loc"])) for item in error.errors())
        raise BundleIncomplete(
            f"'preprocessing' of the model specification lacks, or has an unknown, {names}: "
            "train and release the model again with `mm materialize mimic`"
        ) from None


@dataclass(frozen=True)
class ClinicalInput:
    """The measurements of a case after repair; NaN is missing."""

    values: dict[str, float]
    converted: tuple[str, ...]  # changed: Celsius, clipped, or an age that the training data does not tell apart
    refused: tuple[str, ...]  # given, but beyond what the training data keeps


@dataclass(frozen=True)
class TextParts:
    """What the model reads of the text, and what was retrieved for it."""

    note: str
    n_redactions: int
    passage_rows: tuple[int, ...]
    passage_scores: tuple[float, ...]


def stored_film(image: bytes, vision: VisionInput) -> StoredImage:
    """The film as a training record holds it. Raises UnreadableImage."""
    return stored_image(image, vision.stored_px, vision.resize_mode, vision.quality_mode)


def film_tokens(stored: StoredImage, vision: VisionInput, encoder: VisionEncoder) -> torch.Tensor:
    """A stored film -> float32 [1, T, D], rounded to float16 as the stored training tokens are.

    Reads the JPEG and not the pixels it was made from: training saw the JPEG.
    """
    pixels = decode_image(stored.jpeg).pixels
    with torch.inference_mode():
        tokens = encoder(apply_transform(vision.transform, pixels[None])).float()
    return pool_grid(tokens, vision.grid).half().float()


def clinical_input(case: ChestCase, features: Sequence[str]) -> ClinicalInput:
    """Measurements in the order of ``features`` and in their units, repaired as in the training records."""
    given: dict[str, float | None] = {
        "sex_female": {"F": 1.0, "M": 0.0}.get(case.sex or ""),
        "arrived_by_ambulance": None if case.arrived_by_ambulance is None else float(case.arrived_by_ambulance),
    }
    values: dict[str, float] = {}
    converted, refused = [], []
    for name in features:
        value = given[name] if name in given else getattr(case, name)
        if value is None:
            values[name] = math.nan
        elif name in REPAIRABLE_FEATURES:
            repaired, changed = repair_values(name, np.array([float(value)]))
            values[name] = float(repaired[0])
            if changed[0]:
                converted.append(name)
            if math.isnan(values[name]):
                refused.append(name)
        else:
            values[name] = float(value)
            if name == "age" and value > MAX_AGE:
                values[name] = float(MAX_AGE)
                converted.append(name)
    return ClinicalInput(values, tuple(converted), tuple(refused))


def text_parts(
    case: ChestCase, clinical: Mapping[str, float], retrieval: RetrievalInput, index: Any, embed: Embedder
) -> TextParts:
    """Redact, write the note, retrieve: as phases 1b and 2 do. Passages are searched with pre-image text
    only.
    """
    complaint, history = redact(" ".join(case.complaint.split())), redact(" ".join(case.history.split()))
    note = pseudo_note({**clinical, "gender": case.sex, "chief_complaint": complaint.text, "history": history.text})
    found = retrieve(index, embed, [query_text(complaint.text, history.text)], retrieval.passages)
    kept = found.ids[0] >= 0
    return TextParts(
        note=note,
        n_redactions=complaint.n_redactions + history.n_redactions,
        passage_rows=tuple(int(row) for row in found.ids[0][kept]),
        passage_scores=tuple(float(score) for score in found.scores[0][kept]),
    )


def note_tokens(note: str, text: TextInput, encoder: TextEncoder) -> torch.Tensor:
    """A note -> float32 [T, D], T at most ``kept_tokens`` and 0 for an empty note."""
    ids = tokenize(encoder.tokenizer, [note], text.note_cap)[0].input_ids
    encoded = encode_id_lists([ids], encoder, batch=1, dtype=torch.float32)[0]
    return pool_runs(encoded, text.kept_tokens).half().float() if len(encoded) else encoded


def batch_of(
    image: torch.Tensor | None,
    note: torch.Tensor,
    passages: torch.Tensor,
    clinical: Sequence[float],
    *,
    image_shape: tuple[int, int],
) -> dict[str, torch.Tensor]:
    """One case in the keys and shapes of `MultimodalData.batch`; what is absent is zeros marked absent.

    image [1, Ti, Di] or None (then zeros of ``image_shape`` (Ti, Di)); note [Tt, Dt]; passages [k, Dt];
    clinical [F] with NaN for missing.
    """
    width = passages.shape[-1]
    has_note = len(note) > 0
    text = note if has_note else torch.zeros(1, width)
    kept = passages if len(passages) else torch.zeros(1, width)
    measured = torch.tensor([clinical], dtype=torch.float32)
    missing = ~torch.isfinite(measured)
    return {
        "image_tokens": image if image is not None else torch.zeros(1, *image_shape),
        "image_present": torch.tensor([image is not None]),
        "text_tokens": text[None],
        "text_mask": torch.full((1, len(text)), has_note),
        "text_present": torch.tensor([has_note]),
        "passage_tokens": kept[None],
        "passage_mask": torch.full((1, len(kept)), len(passages) > 0),
        "clinical": measured.masked_fill(missing, 0.0),
        "clinical_missing": missing,
        "tabular_present": ~missing.all(1),
    }
