"""Phase 2: a short note in words from one record's structured data.

Belongs here: the wording of pseudo-notes and of notes with retrieved context. Does not belong here: which
values are valid (phase 1 repaired them), redaction (phase 1b), and what the model reads (tokens.py: the
note alone).

What is missing is left out: a sentence about absence would be a constant that costs tokens, and the missing
flags travel with the clinical features. Complaint and medicines come early, so that a token cap cuts
numbers that the model also gets as features, and not words that it gets nowhere else.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mm_assets.mimic.abbreviations import expand

SEX_WORDS: dict[str, str] = {"F": "female", "M": "male"}
# Emergency Severity Index, levels as named in the ESI handbook.
ACUITY_WORDS: dict[int, str] = {
    1: "resuscitation",
    2: "emergent",
    3: "urgent",
    4: "less urgent",
    5: "non-urgent",
}
# Marks where a note ends and retrieved text begins.
CONTEXT_HEADING = "[Clinical Context]"


def pseudo_note(row: Mapping[str, Any]) -> str:
    """One paragraph about the visit before the film.

    row: `schema.CLINICAL_FEATURES` (numbers; None or NaN is missing), `gender` ("F" or "M"),
    `chief_complaint` and `history` after filtering. Every number in the note is the record's, rounded to
    one decimal; units follow `schema.CLINICAL_FEATURES`. The complaint's and history's own digits are kept
    as they are. A row that says nothing gives an empty note.
    """
    sentences = [
        _who(row),
        _sentence("Chief complaint", row.get("chief_complaint")),
        _sentence("Home medications and history", row.get("history")),
        _arrival(row),
        _pain(row),
        _acuity(row),
        _vital_signs(row),
    ]
    note = " ".join(sentence for sentence in sentences if sentence)
    return "" if note == "Patient." else note


def enhanced_note(note: str, passages: Sequence[str]) -> str:
    """The note followed by retrieved passages, one per line; the note alone when nothing was retrieved."""
    if not passages:
        return note
    return "\n".join([note, CONTEXT_HEADING, *(f"- {passage}" for passage in passages)])


def context_of(enhanced: str) -> list[str]:
    """The passages that `enhanced_note` wrote below the note, in order."""
    _, heading, context = enhanced.partition(f"\n{CONTEXT_HEADING}\n")
    return [line.removeprefix("- ") for line in context.split("\n")] if heading else []


def _who(row: Mapping[str, Any]) -> str:
    age = _number(row.get("age"))
    sex = SEX_WORDS.get(str(row.get("gender") or "").strip().upper(), "patient")
    return f"{age}-year-old {sex}." if age else f"{sex.capitalize()}."


def _sentence(title: str, text: Any) -> str:
    if not isinstance(text, str) or not text.strip():
        return ""
    words = expand(text.strip()).rstrip(" .")
    return f"{title}: {words}." if words else ""


def _arrival(row: Mapping[str, Any]) -> str:
    ambulance = _value(row.get("arrived_by_ambulance"))
    minutes = _number(row.get("minutes_since_arrival"))
    how = "" if ambulance is None else "Arrived by ambulance" if ambulance else "Arrived without an ambulance"
    if minutes is None:
        return f"{how}." if how else ""
    when = f"{minutes} minutes before the film"
    return f"{how}, {when}." if how else f"Arrived {when}."


def _pain(row: Mapping[str, Any]) -> str:
    pain = _number(row.get("pain"))
    return "" if pain is None else f"Pain score {pain}."


def _acuity(row: Mapping[str, Any]) -> str:
    value = _value(row.get("acuity"))
    if value is None:
        return ""
    word = ACUITY_WORDS.get(round(value))
    return f"Triage acuity {_number(value)} ({word})." if word else f"Triage acuity {_number(value)}."


def _vital_signs(row: Mapping[str, Any]) -> str:
    units = (
        ("temperature", "temperature {} °F"),
        ("heartrate", "heart rate {} beats/min"),
        ("resprate", "respiratory rate {} breaths/min"),
        ("o2sat", "oxygen saturation {} %"),
    )
    parts = [wording.format(number) for name, wording in units if (number := _number(row.get(name))) is not None]
    systolic, diastolic = _number(row.get("sbp")), _number(row.get("dbp"))
    if systolic is not None and diastolic is not None:
        parts.append(f"blood pressure {systolic}/{diastolic} mmHg")
    elif systolic is not None:
        parts.append(f"systolic blood pressure {systolic} mmHg")
    elif diastolic is not None:
        parts.append(f"diastolic blood pressure {diastolic} mmHg")
    return f"Vital signs: {', '.join(parts)}." if parts else ""


def _value(value: Any) -> float | None:
    if value is None or not math.isfinite(float(value)):
        return None
    return float(value)


def _number(value: Any) -> str | None:
    """One decimal at most: stored float32 values (98.6 is 98.5999985) read as they were charted."""
    known = _value(value)
    if known is None:
        return None
    rounded = round(known, 1)
    return str(int(rounded)) if rounded == int(rounded) else f"{rounded:.1f}"
