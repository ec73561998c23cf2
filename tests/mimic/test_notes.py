import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_assets.mimic.abbreviations import CAPITALS_ONLY, PLAIN, expand
from mm_assets.mimic.notes import context_of, enhanced_note, pseudo_note
from mm_assets.mimic.schema import CLINICAL_FEATURES

ROW = {
    "age": 65.0, "gender": "F", "sex_female": 1.0, "chief_complaint": "SOB, CP",
    "history": "Lasix (Diuretic - Loop)",
    "temperature": 98.5999985, "heartrate": 85.0, "resprate": 18.0, "o2sat": 97.0, "sbp": 120.0,
    "dbp": 80.0, "pain": 0.0,
    "acuity": 2.0, "arrived_by_ambulance": 1.0, "minutes_since_arrival": 42.0,
}  # fmt: skip


def test_a_full_note_word_for_word() -> None:
    assert pseudo_note(ROW) == (
        "65-year-old female. Chief complaint: shortness of breath, chest pain. "
        "Home medications and history: Lasix (Diuretic - Loop). Arrived by ambulance, 42 minutes before "
        "the film. "
        "Pain score 0. Triage acuity 2 (emergent). Vital signs: temperature 98.6 °F, heart rate 85 "
        "beats/min, "
        "respiratory rate 18 breaths/min, oxygen saturation 97 %, blood pressure 120/80 mmHg."
    )


def test_pain_zero_is_not_missing_pain() -> None:
    assert "Pain score 0." in pseudo_note(ROW)
    assert "Pain" not in pseudo_note(ROW | {"pain": math.nan})


@pytest.mark.parametrize(("gender", "word"), [("F", "female"), ("M", "male"), ("f ", "female"), (None, "patient")])
def test_sex_is_the_recorded_one(gender: str | None, word: str) -> None:
    assert pseudo_note(ROW | {"gender": gender}).startswith(f"65-year-old {word}.")


def test_a_row_that_says_nothing_gives_no_note() -> None:
    assert pseudo_note({}) == ""
    assert pseudo_note(dict.fromkeys(ROW, None)) == ""
    assert pseudo_note({"chief_complaint": " ", "history": "", "age": math.nan, "gender": ""}) == ""


_VALUE = st.none() | st.just(math.nan) | st.floats(0, 300, width=32)


@settings(max_examples=50, deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(CLINICAL_FEATURES, _VALUE)), st.sampled_from(["F", "M", None]))
def test_every_number_is_the_records_and_absence_is_silent(values: dict[str, float | None], gender: str | None) -> None:
    note = pseudo_note(values | {"gender": gender, "chief_complaint": "Weakness"})
    written = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", note)]
    shown = [name for name in CLINICAL_FEATURES if name not in ("sex_female", "arrived_by_ambulance")]
    known = sorted(round(v, 1) for name in shown if (v := values[name]) is not None and not math.isnan(v))
    assert sorted(written) == pytest.approx(known, abs=1e-9)
    assert not re.search(r"\b(none|nan|null)\b", note, re.IGNORECASE)
    assert ("female" in note.lower()) == (gender == "F")


def test_passages_can_be_read_back_from_the_enhanced_note() -> None:
    passages = ["Air rises. It collects - at the top.", "Fluid sinks."]
    assert context_of(enhanced_note("A note.", passages)) == passages
    assert enhanced_note("A note.", []) == "A note." and context_of("A note.") == []


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("SOB, CP", "shortness of breath, chest pain"),
        ("n/v/d", "nausea, vomiting and diarrhea"),
        ("s/p MVC, +LOC", "status post motor vehicle collision, +loss of consciousness"),
        ("Dyspnea w/ cough w/o fever", "Dyspnea with cough without fever"),
        ("w/pain", "with pain"),
        ("HA, ha", "headache, headache"),
        ("he said ha ha", "he said ha ha"),
        ("L rib pain, hepatitis B", "left rib pain, hepatitis B"),
        ("scab, cabin, tabdomen", "scab, cabin, tabdomen"),
        ("Abd pain", "abdominal pain"),
    ],
)
def test_abbreviations_are_written_out_on_word_boundaries(typed: str, meant: str) -> None:
    assert expand(typed) == meant


def test_abbreviation_table_is_large_final_and_without_digits() -> None:
    table = PLAIN | CAPITALS_ONLY
    assert len(table) >= 60
    for short, long in table.items():
        assert expand(long) == long, f"{short} expands to another abbreviation"
        assert not any(c.isdigit() for c in long)
        assert expand(short if short in PLAIN else short.upper()).strip() == long
