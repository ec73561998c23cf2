"""Chief complaints as a triage nurse types them, with and without words that give the film's reading away.

Belongs here: the symptom table, the ways of writing, the leaky phrases and how they are planted.
Does not belong here: filtering such phrases out of real text (that is the leakage filter).

A symptom occurs with log-odds `base + sum(weights of the findings present)`.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from mm_assets.mimic.schema import LABELS


@dataclass(frozen=True)
class Symptom:
    """One symptom: ways of writing it, its log-odds without findings, and log-odds added by findings."""

    wordings: tuple[str, ...]
    base: float
    weights: dict[str, float] = field(default_factory=dict)


SYMPTOMS: tuple[Symptom, ...] = (
    Symptom(
        ("SOB", "Dyspnea", "Shortness of breath", "DOE", "Difficulty breathing"), -1.9,
        {"Edema": 1.3, "Pneumonia": 0.7, "Pneumothorax": 1.0, "Pleural Effusion": 1.2, "Cardiomegaly": 0.3},
    ),
    Symptom(
        ("Cough", "Productive cough", "cough x 5 days", "Cough/congestion"), -2.8,
        {"Pneumonia": 2.7, "Consolidation": 1.7, "Lung Lesion": 0.8},
    ),
    Symptom(("Fever", "Fevers", "F/C", "Chills"), -3.1, {"Pneumonia": 1.8, "Consolidation": 1.4}),
    Symptom(
        ("Chest pain", "CP", "L Chest pain", "Chest tightness"), -1.7,
        {"Pneumothorax": 1.5, "No Finding": 0.2},
    ),
    Symptom(
        ("s/p Fall", "Fall", "s/p MVC", "MVC", "s/p assault", "Ped struck", "Trauma"), -3.4,
        {"Fracture": 4.3, "Pneumothorax": 1.4},
    ),
    Symptom(("Rib pain", "L rib pain", "Chest wall pain", "R shoulder pain"), -4.0, {"Fracture": 3.6}),
    Symptom(
        ("Leg swelling", "B Leg swelling", "Weight gain", "Orthopnea", "PND"), -3.4,
        {"Edema": 2.2, "Cardiomegaly": 1.1, "Pleural Effusion": 0.8},
    ),
    Symptom(("Palpitations", "Tachycardia", "AFIB"), -3.2, {"Cardiomegaly": 1.2}),
    Symptom(("Hemoptysis", "Coughing blood"), -4.6, {"Lung Lesion": 3.9}),
    Symptom(
        ("Weight loss", "wt loss", "Night sweats", "Poor appetite"), -3.8,
        {"Lung Lesion": 3.1, "Pleural Other": 1.6},
    ),
    Symptom(
        ("Pain with deep breath", "R flank pain", "Chronic chest pain"), -4.0,
        {"Pleural Other": 4.2, "Pleural Effusion": 0.5},
    ),
    Symptom(
        ("Post-op eval", "Post op complication", "s/p surgery", "Wound eval", "Abd distention"), -3.5,
        {"Atelectasis": 2.9, "Support Devices": 0.4},
    ),
    Symptom(("Back pain", "Upper back pain", "BACK PAIN"), -3.0, {"Enlarged Cardiomediastinum": 2.6}),
    Symptom(("Dysphagia", "Hoarseness", "Neck swelling"), -4.4, {"Enlarged Cardiomediastinum": 3.2}),
    Symptom(
        ("Tube eval", "G tube eval", "Dialysis", "ICD firing", "Line clotted"), -4.2, {"Support Devices": 2.8}
    ),
    Symptom(
        ("Altered mental status", "AMS", "Confusion", "Lethargy", "Unresponsive"), -2.8,
        {"Support Devices": 0.8, "Pneumonia": 0.5},
    ),
    Symptom(("Abd pain", "Abdominal pain", "LLQ abdominal pain", "RUQ abdominal pain"), -2.1,
        {"No Finding": 0.4}),
    Symptom(("N/V", "n/v/d", "Nausea", "Vomiting"), -2.6, {"No Finding": 0.3}),
    Symptom(("Headache", "HA"), -3.0, {"No Finding": 0.8}),
    Symptom(("Dizziness", "Lightheaded", "Vertigo"), -2.9, {"No Finding": 0.6}),
    Symptom(("Weakness", "Generalized weakness", "Fatigue"), -2.4),
    Symptom(("Syncope", "Presyncope"), -3.0, {"No Finding": 0.4}),
    Symptom(("ETOH", "SI", "Anxiety", "Psych eval"), -3.1, {"No Finding": 0.9}),
    Symptom(("Hypotension", "Hyperglycemia", "Abnormal labs", "Anemia"), -3.2),
    Symptom(("Leg pain", "Knee pain", "Rash", "Sore throat"), -3.3, {"No Finding": 0.6}),
)  # fmt: skip
_FALLBACK = ("Weakness", "Abd pain", "Dizziness", "Abnormal labs", "Medical eval")

# Words that state what a film or scan has shown, or name the reading itself.
LEAKY_PHRASES: dict[str, tuple[str, ...]] = {
    "Atelectasis": ("Atelectasis on CXR", "Lung collapse", "Atelectasis, Transfer"),
    "Cardiomegaly": ("Cardiomegaly", "Enlarged heart on CXR"),
    "Consolidation": ("Consolidation on CT", "RLL infiltrate", "Infiltrate on CXR"),
    "Edema": ("CHF exacerbation", "Pulmonary edema", "CHF, Transfer", "Flash pulm edema"),
    "Enlarged Cardiomediastinum": ("Widened mediastinum", "Mediastinal widening on CXR"),
    "Fracture": ("RIB FX, Transfer", "Multiple rib fractures", "Rib fracture on XR"),
    "Lung Lesion": ("Lung mass", "Pulmonary nodule on CT", "LUNG NODULE"),
    "Lung Opacity": ("Abnormal CXR", "Opacity on CXR", "Abnormal chest xray"),
    "No Finding": ("CXR neg", "Normal CXR", "Neg chest xray"),
    "Pleural Effusion": ("Pleural effusion", "L PLEURAL EFFUSION, Transfer", "Effusion on CT"),
    "Pleural Other": ("Pleural plaques on CT", "Pleural thickening"),
    "Pneumonia": ("PNEUMONIA, Transfer", "PNA", "Pneumonia", "r/o PNA on outside CXR"),
    "Pneumothorax": ("Pneumothorax, Transfer", "PTX", "r/o PTX on outside CT", "PNEUMOTHORAX"),
    "Support Devices": ("ETT on CXR", "PICC line on CXR", "Intubated, Transfer"),
}


def symptom_table(findings: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Which symptoms each patient reports: bool [n, symptoms] in the order of SYMPTOMS."""
    logits = np.tile([symptom.base for symptom in SYMPTOMS], (len(findings), 1))
    for column, symptom in enumerate(SYMPTOMS):
        for label, weight in symptom.weights.items():
            logits[:, column] += weight * findings[label].to_numpy()
    return rng.random(logits.shape) < 1.0 / (1.0 + np.exp(-logits))


def write_complaints(symptoms: np.ndarray, rng: np.random.Generator) -> list[list[str]]:
    """The items of each complaint as typed: mixed case, abbreviations, at most four, in any order."""
    complaints = []
    for row in symptoms:
        chosen = rng.permutation(np.flatnonzero(row))[:4]
        items = [str(rng.choice(SYMPTOMS[index].wordings)) for index in chosen]
        complaints.append([_as_typed(item, rng) for item in items] or [str(rng.choice(_FALLBACK))])
    return complaints


@dataclass(frozen=True)
class PlantedComplaint:
    """A complaint, its twin without the planted phrase, and what was planted for which label."""

    text: str
    clean: str
    phrase: str | None
    label: str | None
    independent: bool


def plant_leaks(
    complaints: list[list[str]], findings: pd.DataFrame, share: float, rng: np.random.Generator
) -> list[PlantedComplaint]:
    """Add a leaky phrase to about `share` of the complaints.

    One half names a finding that the study has. The other half is planted independently of the findings: the
    label is drawn by its frequency in the cohort, so that a filter's redaction flag must have AUROC .5 there.
    """
    truth = findings[list(LABELS)].to_numpy(dtype=bool)
    frequency = truth.mean(axis=0) + 1e-9
    planted = []
    for items, present in zip(complaints, truth, strict=True):
        clean = ", ".join(items)
        if rng.random() >= share:
            planted.append(PlantedComplaint(clean, clean, None, None, False))
            continue
        independent = bool(rng.random() < 0.5)
        weights = frequency if independent else present.astype(float)
        label = str(rng.choice(LABELS, p=weights / weights.sum()))
        phrase = str(rng.choice(LEAKY_PHRASES[label]))
        where = int(rng.integers(0, len(items) + 1))
        text = ", ".join([*items[:where], phrase, *items[where:]])
        planted.append(PlantedComplaint(text, clean, phrase, label, independent))
    return planted


def _as_typed(item: str, rng: np.random.Generator) -> str:
    style = rng.random()
    if style < 0.12:
        return item.upper()
    if style < 0.22:
        return item.lower()
    return item
