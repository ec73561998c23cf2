"""The two record formats that tools around this data exchange.

Belongs here: telling the formats apart and converting both ways. Does not belong here: making records
(integration.read_record) and writing files of them (pt_export.py).

The *earlier pipeline* is a public pipeline for the same data sets, whose records other tools still read and write; both
formats and the names of their fields come from it.

A *standard* record is what `integration.read_record` returns. An *Enhanced RAG* record holds the same under
other names: `image_tensor`, `attention_mask`, tokens [1, T], `attention_segments`, vital signs as a JSON
string in `clinical_data`, and `labels` {disease_labels, bbox_coordinates, severity_scores}. Differences
from the earlier pipeline's own adapter, all on purpose: values are found by name and never by position; a missing
measurement is null and not 0; an uncertain label stays -1; no identifier is ever a feature; keys the other
format has no name for are carried along.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from mm_assets.mimic.attention_regions import GRID
from mm_assets.mimic.notes import CONTEXT_HEADING, SEX_WORDS, context_of
from mm_assets.mimic.schema import CLINICAL_FEATURES, LABELS
from resources.errors import MendableError

if TYPE_CHECKING:
    import torch

FormatName = Literal["standard", "enhanced_rag"]
FORMAT_VERSION = 1

# The earlier pipeline's rules for attention_segments.
_VITALS = re.compile(r"temperature|heart rate|respiratory rate|oxygen saturation|blood pressure", re.IGNORECASE)
_HINT = re.compile(
    "|".join([*(re.escape(label) for label in LABELS if label != "No Finding"), "oedema", "failure"]),
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+")  # a full stop inside 98.6 is followed by a digit
# Keys of each format that have a counterpart in the other; all others are carried unchanged.
_STANDARD_ONLY = frozenset(
    {
        "format",
        "format_version",
        "image",
        "attention_regions",
        "clinical_features",
        "clinical_missing",
        "_enhanced",
    }
)
_ENHANCED_ONLY = frozenset(
    {"format", "format_version", "image_tensor", "attention_mask", "clinical_data", "attention_segments"}
)


class FormatError(MendableError):
    """A record that is in neither format, or holds a value the formats do not allow."""


def detect_format(record: Mapping[str, Any]) -> FormatName:
    """The format a record says it has, else the one its keys show. Raises FormatError when it is neither."""
    named = record.get("format")
    if named in ("standard", "enhanced_rag"):
        return named
    labels = record.get("labels")
    if "image_tensor" in record and isinstance(record.get("clinical_data"), str) and "disease_labels" in (labels or {}):
        return "enhanced_rag"
    if "image" in record and "clinical_features" in record:
        return "standard"
    raise FormatError(
        f"a record with keys {sorted(record)} is in neither format: 'standard' needs image and "
        "clinical_features, "
        "'enhanced_rag' needs image_tensor, clinical_data (JSON) and labels.disease_labels"
    )


def image_key(record: Mapping[str, Any]) -> str:
    """Under which name a record of either format holds its image."""
    return "image_tensor" if "image_tensor" in record else "image"


def as_standard(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record in standard format, whichever of the two it is in. Raises FormatError."""
    return dict(record) if detect_format(record) == "standard" else standard_from_enhanced(record)


def enhanced_from_standard(record: Mapping[str, Any]) -> dict[str, Any]:
    """Standard -> Enhanced RAG. Raises FormatError for features or labels that are not this project's."""
    parked = record.get("_enhanced", {})
    note, knowledge = record.get("pseudo_note", ""), record.get("retrieved_knowledge", [])
    enhanced = {key: value for key, value in record.items() if key not in _STANDARD_ONLY}
    enhanced |= {
        "format": "enhanced_rag",
        "format_version": FORMAT_VERSION,
        "image_tensor": record["image"],
        "text_input_ids": record["text_input_ids"].unsqueeze(0),
        "text_attention_mask": record["text_attention_mask"].unsqueeze(0),
        "clinical_data": _clinical_json(record["clinical_features"]),
        "attention_segments": parked.get("attention_segments", attention_segments(note, knowledge)),
        "labels": {
            "disease_labels": _checked_labels(record["labels"]),
            "bbox_coordinates": parked.get("bbox_coordinates", []),
            "severity_scores": parked.get("severity_scores", []),
        },
    }
    if "attention_regions" in record:
        regions = record["attention_regions"]
        enhanced["attention_mask"] = regions["mask"] if "mask" in regions else regions["edge_energy"].float() / 255
    return enhanced


def standard_from_enhanced(record: Mapping[str, Any]) -> dict[str, Any]:
    """Enhanced RAG -> standard.

    Boxes, severities and attention segments that the standard format cannot express are parked under
    `_enhanced`. A record written by the earlier pipeline (no label values, no notes apart) is read too: its
    empty `disease_labels` become blank labels, not negatives. Raises FormatError.
    """
    import torch

    standard = {key: value for key, value in record.items() if key not in _ENHANCED_ONLY}
    enhanced_note = record.get("enhanced_note", "")
    standard.setdefault("pseudo_note", enhanced_note.partition(f"\n{CONTEXT_HEADING}")[0])
    standard.setdefault("retrieved_knowledge", context_of(enhanced_note))
    clinical = _clinical_tensor(record["clinical_data"])
    standard |= {
        "format": "standard",
        "format_version": FORMAT_VERSION,
        "image": record["image_tensor"],
        "text_input_ids": record["text_input_ids"].reshape(-1),
        "text_attention_mask": record["text_attention_mask"].reshape(-1),
        "clinical_features": clinical,
        "clinical_missing": torch.isnan(clinical),
        "labels": _checked_labels(_named(record["labels"]["disease_labels"])),
    }
    if "attention_mask" in record:
        standard["attention_regions"] = _regions(record["attention_mask"])
    parked = {
        key: record["labels"][key] for key in ("bbox_coordinates", "severity_scores") if record["labels"].get(key)
    }
    segments = record.get("attention_segments")
    if segments is not None and segments != attention_segments(
        standard["pseudo_note"], standard["retrieved_knowledge"]
    ):
        parked["attention_segments"] = segments
    if parked:
        standard["_enhanced"] = parked
    return standard


def attention_segments(pseudo_note: str, knowledge: Sequence[str]) -> dict[str, list[str]]:
    """Three segments: sentences with vital signs, retrieved texts, and sentences that name a finding."""
    note, context = _SENTENCE.split(pseudo_note), [s for text in knowledge for s in _SENTENCE.split(text)]
    return {
        "clinical_data": [sentence for sentence in note if _VITALS.search(sentence)],
        "knowledge_context": list(knowledge),
        "diagnostic_hints": [sentence for sentence in [*note, *context] if _HINT.search(sentence)],
    }


def _clinical_json(features: "torch.Tensor") -> str:
    if len(features) != len(CLINICAL_FEATURES):
        raise FormatError(
            f"a record has {len(features)} clinical features: "
            f"give the {len(CLINICAL_FEATURES)} of schema.CLINICAL_FEATURES"
        )
    values = {
        name: None if math.isnan(value) else value
        for name, value in zip(CLINICAL_FEATURES, features.tolist(), strict=True)
    }
    if any(value is not None and math.isinf(value) for value in values.values()):
        raise FormatError("a clinical feature is infinite: repair it in phase 1 or make it NaN (missing)")
    return json.dumps(values)


def _clinical_tensor(clinical_data: str) -> "torch.Tensor":
    """float32 [F] by name; keys that are no clinical feature (an identifier, say) are not read."""
    import torch

    try:
        values = json.loads(clinical_data)
    except json.JSONDecodeError as error:
        raise FormatError(f"clinical_data is not JSON ({error}): write an object of feature name to number") from error
    if "gender" in values and "sex_female" not in values:
        sex = SEX_WORDS.get(str(values["gender"]).strip().upper())
        values["sex_female"] = None if sex is None else float(sex == "female")
    known = [values.get(name) for name in CLINICAL_FEATURES]
    return torch.tensor([float("nan") if value is None else float(value) for value in known], dtype=torch.float32)


def _named(disease_labels: Any) -> dict[str, Any]:
    """Labels by name from a mapping, or from a list of the positive labels' names; an empty list says
    nothing.
    """
    if isinstance(disease_labels, Mapping):
        return dict(disease_labels)
    if all(isinstance(name, str) for name in disease_labels):
        return dict.fromkeys(disease_labels, 1.0)
    raise FormatError(
        "disease_labels is a list of numbers, whose order no one can know: give a mapping of label to value"
    )


def _checked_labels(labels: Mapping[str, Any]) -> dict[str, float | None]:
    unknown = set(labels) - set(LABELS)
    if unknown:
        raise FormatError(f"unknown labels {sorted(unknown)}: use the names of schema.LABELS")
    wrong = [name for name, value in labels.items() if value not in (1, 0, -1, None)]
    if wrong:
        raise FormatError(f"labels {wrong} are none of 1, 0, -1 (uncertain) or None (blank): give raw label values")
    return {name: None if labels.get(name) is None else float(labels[name]) for name in LABELS}


def _regions(mask: "torch.Tensor") -> dict[str, "torch.Tensor"]:
    """Our 16 x 16 map, or the earlier pipeline's full-size mask as it is."""
    import torch

    if mask.shape == (GRID, GRID):
        return {"edge_energy": (mask * 255).round().to(torch.uint8)}
    return {"mask": mask}
