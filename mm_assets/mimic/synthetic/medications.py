"""Drugs: what patients take at home (known at triage) and what the ED dispenses after reading the film.

Belongs here: the drug tables and their codes. Does not belong here: when a drug is charted.

A home drug is taken with log-odds `base + sum(weights of the findings present)`.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class HomeDrug:
    """One home drug; `etc` is the therapeutic class as First Databank words it (medrecon.etcdescription)."""

    names: tuple[str, ...]
    etc: tuple[str, ...]
    base: float
    weights: dict[str, float] = field(default_factory=dict)


HOME_DRUGS: tuple[HomeDrug, ...] = (
    HomeDrug(
        ("furosemide", "Lasix", "torsemide"),
        ("Diuretic - Loop",),
        -2.3,
        {"Edema": 1.3, "Cardiomegaly": 1.0, "Pleural Effusion": 0.6},
    ),
    HomeDrug(
        ("metoprolol tartrate", "carvedilol", "atenolol"),
        ("Beta Blockers Cardiac Selective",),
        -1.5,
        {"Cardiomegaly": 0.8},
    ),
    HomeDrug(("lisinopril", "losartan"), ("ACE Inhibitors",), -1.3, {"Cardiomegaly": 0.4, "Edema": 0.4}),
    HomeDrug(
        ("warfarin", "Coumadin"),
        ("Anticoagulants - Coumarin",),
        -2.5,
        {"Cardiomegaly": 0.7, "Support Devices": 0.7},
    ),
    HomeDrug(("amiodarone",), ("Antiarrhythmic - Class III",), -3.7, {"Support Devices": 2.2, "Cardiomegaly": 1.0}),
    HomeDrug(
        ("sevelamer carbonate", "calcium acetate"),
        ("Phosphate Binders",),
        -3.5,
        {"Support Devices": 1.9, "Edema": 0.9, "Pleural Effusion": 0.5},
    ),
    HomeDrug(
        ("albuterol sulfate", "ProAir HFA"),
        ("Beta 2-Adrenergic Agents, Inhaled, Short Acting",),
        -1.9,
        {"Pneumothorax": 0.9, "Lung Lesion": 0.5},
    ),
    HomeDrug(
        ("Spiriva with HandiHaler", "Advair Diskus"),
        ("Asthma/COPD Therapy - Anticholinergics, Inhaled",),
        -2.8,
        {"Pneumothorax": 1.5, "Lung Lesion": 1.0},
    ),
    HomeDrug(
        ("nicotine",),
        ("Smoking Deterrents - Nicotine-Type",),
        -3.3,
        {"Lung Lesion": 2.4, "Pneumothorax": 1.0},
    ),
    HomeDrug(
        ("ondansetron HCl", "dexamethasone"),
        ("Antiemetic - Selective Serotonin 5-HT3 Antagonists",),
        -2.9,
        {"Lung Lesion": 1.9},
    ),
    HomeDrug(("oxycodone", "Percocet"), ("Analgesic Opioid Agonists",), -2.2, {"Atelectasis": 0.9, "Fracture": 0.6}),
    HomeDrug(("docusate sodium", "senna"), ("Laxative - Surfactant",), -2.2, {"Atelectasis": 0.9}),
    HomeDrug(
        ("alendronate", "calcium carbonate-vitamin D3"),
        ("Bone Resorption Inhibitors - Bisphosphonates",),
        -2.8,
        {"Fracture": 2.1},
    ),
    HomeDrug(("isoniazid", "colchicine"), ("Antitubercular - Isoniazid",), -4.5, {"Pleural Other": 3.4}),
    HomeDrug(
        ("levofloxacin", "azithromycin"),
        ("Quinolone Antibiotics",),
        -3.3,
        {"Pneumonia": 1.9, "Consolidation": 1.7},
    ),
    HomeDrug(("prednisone",), ("Glucocorticoids",), -2.6, {"Pneumonia": 0.6}),
    HomeDrug(
        ("labetalol", "hydralazine"),
        ("Antihypertensive - Vasodilators",),
        -3.2,
        {"Enlarged Cardiomediastinum": 2.4},
    ),
    HomeDrug(("atorvastatin", "simvastatin"), ("Antihyperlipidemic - HMG CoA Reductase Inhibitors",), -1.0),
    HomeDrug(("aspirin",), ("Platelet Aggregation Inhibitors - Salicylates", "Analgesic - Salicylates"), -0.9),
    HomeDrug(
        ("omeprazole", "pantoprazole"),
        ("Gastric Acid Secretion Reducing Agents - Proton Pump Inhibitors",),
        -1.2,
    ),
    HomeDrug(("metformin",), ("Antihyperglycemic - Biguanide Type",), -1.8),
    HomeDrug(("insulin glargine",), ("Insulin Analogs - Long Acting",), -2.4),
    HomeDrug(("levothyroxine",), ("Thyroid Hormones - Synthetic T4",), -2.2),
    HomeDrug(
        ("sertraline", "citalopram"),
        ("Antidepressant - Selective Serotonin Reuptake Inhibitors",),
        -1.9,
        {"No Finding": 0.4},
    ),
    HomeDrug(("lorazepam", "clonazepam"), ("Anxiolytic - Benzodiazepines",), -2.6, {"No Finding": 0.6}),
    HomeDrug(("acetaminophen",), ("Analgesic Antipyretic - Non-Salicylate",), -1.6),
    HomeDrug(("ibuprofen",), ("NSAID Analgesics",), -2.3, {"No Finding": 0.5}),
    HomeDrug(("oral contraceptive", "multivitamin"), ("Multivitamins",), -2.2, {"No Finding": 0.4}),
)

# Given once the film has been read: a leak if it ever became a feature.
DRUGS_AFTER_FILM: dict[str, tuple[str, ...]] = {
    "Edema": ("Furosemide 40mg/4mL VIAL", "Nitroglycerin SL .4mg TAB"),
    "Pneumonia": ("CefTRIAXone 1g/50mL 50mL BAG", "Azithromycin 500mg VIAL", "Levofloxacin 750mg/150mL BAG"),
    "Consolidation": ("Piperacillin-Tazobactam 4.5g VIAL",),
    "Pneumothorax": ("Lidocaine 1% 20mL VIAL", "Fentanyl 100mcg/2mL AMP"),
    "Fracture": ("Morphine 4mg/1mL SYR", "Lidocaine 5% Patch"),
    "Cardiomegaly": ("Metoprolol Tartrate 25mg TAB",),
}
DRUGS_ANY_TIME: tuple[str, ...] = (
    "Acetaminophen 325mg TAB", "Ondansetron 4mg/2mL VIAL", "Aspirin 81mg Chewable TAB",
    "Ketorolac 30mg/1mL VIAL", "Lorazepam 1mg TAB", "Albuterol Inhaler 8.5g", "Oxycodone 5mg TAB",
)  # fmt: skip


def home_drugs(findings: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Which home drugs each patient takes: bool [n, drugs] in the order of HOME_DRUGS."""
    logits = np.tile([drug.base for drug in HOME_DRUGS], (len(findings), 1))
    for column, drug in enumerate(HOME_DRUGS):
        for label, weight in drug.weights.items():
            logits[:, column] += weight * findings[label].to_numpy()
    return rng.random(logits.shape) < 1.0 / (1.0 + np.exp(-logits))


def drug_codes(name: str) -> tuple[str, str, str]:
    """Codes of a drug, stable for its name: gsn (6 digits), ndc (11), etccode (8), all with leading zeros."""
    number = int.from_bytes(name.lower().encode()[:6].ljust(6, b"x"), "big")
    return f"{number % 80_000:06d}", f"{number % 70_000_000_000:011d}", f"{number % 9_000:08d}"
