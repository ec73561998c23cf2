import inspect
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_assets.mimic.leakage import redact
from mm_assets.mimic.leakage_rules import RULES, compile_pattern
from mm_assets.mimic.schema import LABELS

LEAKS: dict[str, tuple[str, ...]] = {
    "Atelectasis": (
        "Atelectasis", "bibasilar atelectasis", "LLL lobar collapse", "mucus plug", "volume loss",
    ),
    "Cardiomegaly": ("cardiomegaly", "enlarged heart", "big heart", "heart enlarged", "CTR > 0.55"),
    "Consolidation": ("consolidation", "RUL consolidative opacity", "air bronchograms"),
    "Edema": (
        "edema", "pulm edema", "Flash pulmonary oedema", "CHF", "heart failure", "fluid on lungs", "HFrEF",
    ),
    "Enlarged Cardiomediastinum": (
        "widened mediastinum", "mediastinal mass", "cardiomediastinal enlargement",
    ),
    "Fracture": (
        "fracture", "rib fx", "Multiple rib fractures", "broken ribs", "fractured sternum", "T12 fx",
    ),
    "Lung Lesion": (
        "lung mass", "mass on CT", "pulmonary nodule", "nodule", "lung CA", "spot on lung", "NSCLC",
    ),
    "Lung Opacity": (
        "opacity", "infiltrate", "RLL infiltrates", "ground glass", "whiteout", "airspace disease",
    ),
    "No Finding": ("normal CXR", "clear lungs", "no acute cardiopulmonary process", "neg chest xray"),
    "Pleural Effusion": ("effusion", "pleural effusion", "fluid around the lung", "hemothorax", "empyema"),
    "Pleural Other": ("pleural thickening", "pleural plaques", "fibrothorax", "s/p pleurodesis"),
    "Pneumonia": (
        "pneumonia", "PNA", "r/o pna", "pneumonitis", "pnuemonia", "lung infection", "bronchopneumonia",
    ),
    "Pneumothorax": (
        "PTX", "pneumothorax", "collapsed lung", "collapsed left lung", "Lung collapse", "tension PTX",
    ),
    "Support Devices": (
        "intubated", "PICC line eval", "chest tube", "pacemaker", "AICD", "central line", "NGT",
        "dobhoff", "port-a-cath",
        "ETT", "trach", "LVAD", "pigtail",
    ),
    "imaging": (
        "abnl CXR", "CT", "x-ray", "xray", "abnormal chest film", "CT scan", "MRI", "ultrasound", "u/s",
    ),
    "report": (
        "impression", "findings", "consistent with infection", "RLL", "left lower lobe",
        "costophrenic blunting",
    ),
    "post_hoc": (
        "admitted to ICU", "diagnosed with flu", "discharged home", "Transfer", "I50.9", "given lasix",
    ),
}  # fmt: skip

KEPT = (
    "productive cough", "active bleeding", "reacts to light", "connective tissue disease", "Collapse",
    "pleuritic chest pain",
    "chest congestion", "leg edema", "edema of both legs", "bilateral LE edema", "hip fracture",
    "fx of left wrist",
    "knee effusion", "breast mass", "thyroid nodule", "vaginal discharge", "RLQ pain", "ICD firing",
    "IV infiltrated",
    "metoprolol XR", "buprenorphine film", "s/p fall", "N/V", "fever 101.2", "dyspnea x 3 days",
    "1,000 units", "hepatitis B",
    "omeprazole 20 mg cap", "levothyroxine (Thyroid Hormones - Synthetic T4)", "hoarseness",
    "nasal congestion",
)  # fmt: skip


@pytest.mark.parametrize("term", [term for terms in LEAKS.values() for term in terms])
def test_a_leak_goes_and_its_neighbours_stay_as_typed(term: str) -> None:
    assert redact(term).text == ""
    assert redact(f"Dyspnea, {term}, temp 98.6").text == "Dyspnea, temp 98.6"
    assert redact(f"{term.upper()}; Fall").text == "Fall"


@pytest.mark.parametrize("text", KEPT)
def test_symptoms_drugs_and_other_body_parts_stay(text: str) -> None:
    assert redact(text).n_redactions == 0, redact(text).rules_hit
    assert redact(f"{text}, PTX").text == text


def test_rule_about_ct_never_bites_into_a_word() -> None:
    ct = next(rule for rule in RULES if rule.id == "imaging.ct")
    pattern = compile_pattern(ct.pattern)
    for word in ("fracture", "active", "productive cough", "connective", "reacts", "doctor", "electric"):
        assert not pattern.search(word)
    assert pattern.search("pain, CT neg") and pattern.search("ct-guided")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SOB/PNA", "SOB"),
        ("cough and pneumonia", "cough"),
        ("pneumonia and cough", "cough"),
        ("Dyspnea w/PNA", "Dyspnea"),
        ("a, b, and PTX", "a, b"),
        ("s/p PTX", ""),
        ("patient with PTX", ""),
        ("Fall, rib fracture, active bleeding", "Fall, active bleeding"),
        ("Cough, , PNA", "Cough"),
        ("Chief complaint: CHF, cough. Temp 101.2.", "Chief complaint: cough. Temp 101.2."),
        ("Cough. Seen elsewhere, where an early film had shown a large pneumothorax. T 98.6 F.", None),
        ("IMPRESSION: all well. Cough.", "Cough."),
    ],
)
def test_what_is_left_reads_naturally(text: str, expected: str | None) -> None:
    cleaned = redact(text).text
    assert cleaned == ("Cough. Seen elsewhere. T 98.6 F." if expected is None else expected)


def test_counts_and_rules_name_what_was_done() -> None:
    result = redact("PTX, cough, abnl CXR")
    assert result.n_redactions == 2
    assert result.rules_hit == ("imaging.film", "pneumothorax.name")


def test_filter_sees_text_alone() -> None:
    assert list(inspect.signature(redact).parameters) == ["text"]


_WORDS = [
    *(t for terms in LEAKS.values() for t in terms),
    *KEPT,
    "lung",
    "collapsed",
    "the",
    "in",
    "98.6",
    "no",
    "x",
]
_TEXTS = st.lists(
    st.tuples(
        st.sampled_from(_WORDS),
        st.sampled_from([", ", "; ", ". ", " and ", "/", " ", " w/ ", "\n", ": ", ",", "-"]),
    ),
    max_size=9,
).map(lambda parts: "".join(word + joint for word, joint in parts))


@settings(max_examples=50, deadline=None)
@given(_TEXTS | st.text(max_size=60))
def test_idempotent_and_nothing_forbidden_is_left(text: str) -> None:
    once = redact(text)
    again = redact(once.text)
    assert again.text == once.text and again.n_redactions == 0 and not again.rules_hit
    assert (once.n_redactions == 0) == (once.text == text)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([*KEPT, "PTX", "PNA", "abnl CXR", "CHF"]), min_size=1, max_size=8))
def test_comma_lists_lose_exactly_the_leaking_items(items: list[str]) -> None:
    cleaned = redact(", ".join(items)).text
    assert cleaned == ", ".join(item for item in items if item in KEPT)
    assert not re.search(r"\[|\*|_|,\s*,|,\s*$", cleaned)


def test_rule_table_covers_every_label_and_is_well_formed() -> None:
    assert {rule.label for rule in RULES if rule.kind == "label_term"} == set(LABELS)
    assert {rule.kind for rule in RULES} == {"label_term", "report_wording", "imaging", "post_hoc"}
    assert len({rule.id for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert (rule.kind == "label_term") == (rule.label is not None)
        assert rule.why and not compile_pattern(rule.pattern).fullmatch("")
