"""Vital signs: what triage measures before the film, and how they drift once the film has been read.

Belongs here: physiology by finding, pain and acuity, dirt and missing values at the published rates.
Does not belong here: charting times and table headers.

Units: degrees Fahrenheit, beats/min, breaths/min, %, mmHg, mmHg; pain 0-10 as text; acuity ESI 1 (worst) to
5.
"""

import numpy as np
import pandas as pd

from mm_assets.mimic.schema import VITALS

# Mean shift of each vital by finding.
_SHIFTS: dict[str, dict[str, float]] = {
    "heartrate": {"Pneumonia": 7, "Edema": 4, "Pneumothorax": 6, "Pleural Effusion": 2, "Consolidation": 4,
                  "Fracture": 3, "No Finding": -2},
    "resprate": {"Pneumonia": 1.2, "Edema": 1.5, "Pneumothorax": 1.4, "Pleural Effusion": 0.5,
                 "Consolidation": 0.5,
                 "Atelectasis": 0.3},
    "o2sat": {"Pneumonia": -0.9, "Edema": -1.0, "Pneumothorax": -1.1, "Pleural Effusion": -0.4,
              "Consolidation": -0.6,
              "Atelectasis": -0.5, "Lung Opacity": -0.3},
    "sbp": {"Edema": 15, "Pneumonia": -5, "Cardiomegaly": 5, "Enlarged Cardiomediastinum": 11,
            "Support Devices": -7,
            "Consolidation": -3},
    "dbp": {"Edema": 6, "Pneumonia": -2, "Cardiomegaly": 2, "Enlarged Cardiomediastinum": 5,
            "Support Devices": -4},
}  # fmt: skip
_BASE = {"temperature": (98.1, 0.55), "heartrate": (84, 14), "resprate": (17.3, 1.9), "o2sat": (98.2, 1.3),
         "sbp": (134, 19), "dbp": (76, 12)}  # fmt: skip
_FEVER_LOGIT = {"base": -3.1, "Pneumonia": 2.5, "Consolidation": 1.4, "Atelectasis": 0.3}
_LIMITS = {"temperature": (94, 106), "heartrate": (32, 190), "resprate": (8, 50), "o2sat": (62, 100),
           "sbp": (62, 245), "dbp": (30, 150)}  # fmt: skip
# Shares of missing triage and vitalsign values (MIMIC-IV-ED 2.1 counts).
TRIAGE_MISSING = {"temperature": 0.055, "heartrate": 0.040, "resprate": 0.048, "o2sat": 0.048, "sbp": 0.043,
                  "dbp": 0.045, "acuity": 0.016}  # fmt: skip
VITALSIGN_MISSING = {"temperature": 0.361, "heartrate": 0.045, "resprate": 0.057, "o2sat": 0.087,
                     "sbp": 0.052,
                     "dbp": 0.052}  # fmt: skip
# Typing errors, as shares of all values: what the free-text fields of the source system let through.
_TYPOS: dict[str, tuple[float, ...]] = {
    "temperature": (9.8, 986.0, 0.0), "heartrate": (999.0, 600.0, 8.0), "resprate": (999.0, 180.0, 1.0),
    "o2sat": (999.0, 9.0, 976.0), "sbp": (999.0, 13.0, 1305.0), "dbp": (999.0, 7.0, 775.0),
}  # fmt: skip
_TYPO_SHARE = 0.0015


def triage_vitals(findings: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """True vitals on arrival, float [n, 6] in the order of VITALS, without dirt or gaps."""
    n = len(findings)
    fever_logit = np.full(n, _FEVER_LOGIT["base"])
    for label, weight in _FEVER_LOGIT.items():
        if label != "base":
            fever_logit += weight * findings[label].to_numpy()
    fever = rng.random(n) < 1 / (1 + np.exp(-fever_logit))
    values = {}
    for vital in VITALS:
        mean, spread = _BASE[vital]
        shift = np.zeros(n)
        for label, amount in _SHIFTS.get(vital, {}).items():
            # Not every patient reacts alike: between none and twice the mean shift.
            shift += amount * findings[label].to_numpy() * rng.uniform(0, 2, n)
        values[vital] = mean + shift + rng.normal(0, spread, n)
    values["temperature"] += fever * rng.uniform(1.6, 4.6, n)
    values["heartrate"] += fever * 9
    return _rounded(pd.DataFrame(values))


def later_vitals(
    arrival: pd.DataFrame, findings: pd.DataFrame, after_film: np.ndarray, rng: np.random.Generator
) -> pd.DataFrame:
    """Vitals charted later in the stay, one row per row of `arrival`.

    Before the film they repeat the arrival with measurement noise. After it they move far in
    the direction of the findings: whoever uses them as features reads the label.
    """
    values = arrival + rng.normal(0, 1, arrival.shape) * np.array([0.25, 5, 1, 0.8, 8, 5])
    for vital, shifts in _SHIFTS.items():
        for label, amount in shifts.items():
            values[vital] += 5 * amount * (findings[label].to_numpy() & after_film)
    values["temperature"] += 2.5 * (findings["Pneumonia"].to_numpy() & after_film)
    return _rounded(values)


def pain_text(findings: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Pain as typed: mostly 0-10, sometimes words, ranges or impossible numbers, sometimes None."""
    n = len(findings)
    hurts = 0.35 + 0.4 * findings["Fracture"] + 0.15 * findings["Pneumothorax"] + 0.25 * findings["Pleural Other"]
    score = np.where(rng.random(n) < hurts, rng.integers(3, 11, n), rng.choice([0, 0, 0, 0, 1, 2], n)).astype(int)
    text = score.astype(str).astype(object)
    odd = rng.random(n) < 0.05
    words = ["uta", "unable", "UTA", "5-7", "13", "critical", "denies", "ua", "4.5", "10/10", "sleeping"]
    text[odd] = rng.choice(words, int(odd.sum()))
    text[rng.random(n) < 0.035] = None
    return text


def acuity(vitals: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """ESI level 1-5 as a float, from how far the vitals are from normal."""
    strain = (98 - vitals["o2sat"]).clip(0) / 5 + (vitals["heartrate"] - 100).clip(0) / 25
    strain += (vitals["resprate"] - 20).clip(0) / 5 + (vitals["temperature"] - 100.4).clip(0) / 2
    strain += (95 - vitals["sbp"]).clip(0) / 15
    return np.clip(np.round(2.75 - 0.45 * strain.to_numpy() + rng.normal(0, 0.55, len(vitals))), 1, 5)


def as_charted(
    vitals: pd.DataFrame, missing: dict[str, float], celsius: np.ndarray, rng: np.random.Generator
) -> pd.DataFrame:
    """Vitals with the faults of the published tables: Celsius rows, typing errors, gaps."""
    values = vitals.copy()
    values.loc[celsius, "temperature"] = ((values.loc[celsius, "temperature"] - 32) / 1.8).round(1)
    for vital in VITALS:
        typo = (rng.random(len(values)) < _TYPO_SHARE) & ~celsius
        values.loc[typo, vital] = rng.choice(_TYPOS[vital], int(typo.sum()))
        gone = (rng.random(len(values)) < missing[vital]) & ~celsius
        values.loc[gone, vital] = np.nan
    return values


def _rounded(values: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {vital: np.clip(values[vital], *_LIMITS[vital]).round(1 if vital == "temperature" else 0) for vital in VITALS}
    )
