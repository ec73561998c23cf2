"""Reasons to trust the answer to a case less, told to whoever sent it.

Belongs here: when each warning is due, and its words. Does not belong here: what is computed about the case before
(`preprocessing.py`, `out_of_domain.py`), and how a warning is shown.
"""

from collections.abc import Collection

import numpy as np

from mm_assets.mimic.case import FIELD_NAMES, MODALITY_NAMES, CaseWarning, ChestCase
from mm_assets.mimic.out_of_domain import FilmReference, distance
from mm_assets.mimic.preprocessing import ClinicalInput, TextParts

# Standard deviations of the training data beyond which a measurement is called uncommon.
UNCOMMON_DEVIATIONS = 4.0


def film_warnings(pooled: np.ndarray, reference: FilmReference, *, foreign: bool) -> list[CaseWarning]:
    """pooled: [1, D], the film's mean token; foreign: the model saw only synthetic films, and this is none of them."""
    warnings = []
    if foreign:
        warnings.append(
            CaseWarning(code="synthetic_model", message="A real film meets a model trained on synthetic ones.")
        )
    far = float(distance(reference, pooled)[0])
    if far > reference.threshold:
        message = (
            f"Its distance to the training films is {far:.1f}; {reference.quantile:.0%} of held-out films lie below "
            f"{reference.threshold:.1f}. The probabilities may mean nothing."
        )
        warnings.append(CaseWarning(code="out_of_domain", message=message))
    return warnings


def modality_warnings(case: ChestCase, leave_out: Collection[str]) -> list[CaseWarning]:
    """What was not sent, and what was sent and left out."""
    present = case.modalities()
    warnings = [
        CaseWarning(code="missing_modality", message=f"No {name} given; the answer rests on the rest.")
        for modality, name in MODALITY_NAMES.items()
        if modality not in present
    ]
    if left_out := [MODALITY_NAMES[name] for name in present if name in leave_out]:
        warnings.append(CaseWarning(code="left_out", message=f"Read without: {', '.join(left_out)}."))
    return warnings


def value_warnings(clinical: ClinicalInput, training: tuple[list[float], list[float]] | None) -> list[CaseWarning]:
    """training: mean and standard deviation of every measurement, in the order of ``clinical.values``."""
    values = clinical.values
    warnings = [
        CaseWarning(code="converted_value", message=f"{_spoken(name)} was read as {values[name]:.1f}.")
        for name in clinical.converted
    ]
    warnings += [
        CaseWarning(code="uncommon_value", message=f"{_spoken(name)} is not plausible and was not used.")
        for name in clinical.refused
    ]
    for (name, value), mean, spread in zip(values.items(), *training, strict=True) if training else ():
        if abs(value - mean) > UNCOMMON_DEVIATIONS * spread:  # False for NaN
            message = f"{_spoken(name)} {value:g} is far from the training data, whose mean is {mean:.0f}."
            warnings.append(CaseWarning(code="uncommon_value", message=message))
    return warnings


def text_warnings(text: TextParts) -> list[CaseWarning]:
    """Was anything taken out of the note?"""
    if not text.n_redactions:
        return []
    message = "Words that may report the result of a film were taken out of the note, as in training."
    return [CaseWarning(code="words_removed", message=message)]


def _spoken(feature: str) -> str:
    return FIELD_NAMES.get(feature, feature).capitalize()
