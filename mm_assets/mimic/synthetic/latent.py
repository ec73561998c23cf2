"""Latent findings: which of the 14 labels a study truly has, and what the labeler wrote down.

Belongs here: co-occurrence of findings, label noise, uncertain and blank values.
Does not belong here: how a finding shows in a film, in vital signs or in words.

Findings are drawn from a Gaussian factor model with the planted rates as thresholds, so that diseases come in
the company that they keep (oedema with a large heart and effusions, pneumothorax with fractures).
"""

import numpy as np
import pandas as pd

from mm_assets.mimic.schema import LABELS, NO_FINDING
from mm_assets.mimic.synthetic.prevalence import DRAWN_LABELS, EMPTY_ROW_SHARE, LabelRate

# Loadings of each label on disease processes; the squares of a row sum to less than 1.
_PROCESSES: dict[str, dict[str, float]] = {
    "heart failure": {
        "Edema": 0.68, "Cardiomegaly": 0.60, "Pleural Effusion": 0.48, "Enlarged Cardiomediastinum": 0.30,
        "Lung Opacity": 0.15,
    },
    "infection": {"Pneumonia": 0.68, "Consolidation": 0.62, "Lung Opacity": 0.52, "Pleural Effusion": 0.15},
    "collapse": {"Atelectasis": 0.55, "Pleural Effusion": 0.40, "Lung Opacity": 0.25,
                 "Support Devices": 0.20},
    "critical illness": {
        "Support Devices": 0.55, "Atelectasis": 0.35, "Pleural Effusion": 0.25, "Consolidation": 0.20,
        "Edema": 0.20, "Enlarged Cardiomediastinum": 0.30, "Pneumothorax": 0.20,
    },
    "injury": {"Fracture": 0.55, "Pneumothorax": 0.45},
    "frailty": {label: 0.42 for label in DRAWN_LABELS if label not in ("Fracture", "Support Devices")},
    "tumour": {"Lung Lesion": 0.60, "Pleural Other": 0.35, "Pleural Effusion": 0.15, "Lung Opacity": 0.15},
}  # fmt: skip
# Share of a study's latent variance that belongs to the patient and so repeats in the next study.
_PATIENT_SHARE = 0.3
# Labels that may stand beside No Finding: a healthy chest with a line in it.
_COMPATIBLE_WITH_NO_FINDING = {"Support Devices"}


def draw_findings(patients: np.ndarray, rates: dict[str, LabelRate], rng: np.random.Generator) -> pd.DataFrame:
    """True findings of studies: bool [n, 14] in label order.

    patients: patient key per study; studies of one patient resemble each other.
    """
    loadings = np.array([[_PROCESSES[process].get(label, 0.0) for process in _PROCESSES] for label in DRAWN_LABELS])
    unique, index = np.unique(patients, return_inverse=True)

    def draw(n: int) -> np.ndarray:
        own = np.sqrt(1.0 - (loadings**2).sum(axis=1))
        processes = rng.standard_normal((n, loadings.shape[1]))
        return processes @ loadings.T + rng.standard_normal((n, len(DRAWN_LABELS))) * own

    latent = np.sqrt(_PATIENT_SHARE) * draw(len(unique))[index]
    latent += np.sqrt(1.0 - _PATIENT_SHARE) * draw(len(patients))
    # Half of the uncertain readings are taken from studies that do have the finding.
    true_rate = np.array([rates[label].positive + rates[label].uncertain / 2 for label in DRAWN_LABELS])
    findings = pd.DataFrame(latent > _normal_quantile(1.0 - true_rate), columns=list(DRAWN_LABELS))
    return _with_no_finding(findings)


def observed_labels(
    findings: pd.DataFrame, rates: dict[str, LabelRate], noise: float, rng: np.random.Generator
) -> pd.DataFrame:
    """What the labeler wrote: float [n, 14] with 1, 0, -1 (uncertain) and NaN (not mentioned).

    noise: share of the positives that the labeler misses; as many negatives are marked positive, so that
    the rate stays. No Finding is 1 or NaN only, and about 1 % of rows are entirely empty.
    """
    n = len(findings)
    observed: dict[str, np.ndarray] = {}
    any_mention = np.zeros(n, dtype=bool)
    for label in DRAWN_LABELS:
        rate, truth = rates[label], findings[label].to_numpy()
        share = rate.positive + rate.uncertain / 2
        missed = truth & (rng.random(n) < noise)
        invented = ~truth & (rng.random(n) < noise * share / (1.0 - share))
        positive = (truth & ~missed) | invented
        chance = np.where(positive, rate.uncertain / 2 / share, rate.uncertain / 2 / (1.0 - share))
        uncertain = rng.random(n) < chance
        negative = ~positive & ~uncertain & (rng.random(n) < rate.negative / (1.0 - share))
        observed[label] = np.select([uncertain, positive, negative], [-1.0, 1.0, 0.0], default=np.nan)
        if label not in _COMPATIBLE_WITH_NO_FINDING:
            any_mention |= uncertain | positive
    observed[NO_FINDING] = np.where(any_mention, np.nan, 1.0)
    frame = pd.DataFrame(observed)[list(LABELS)]
    frame.loc[rng.random(n) < EMPTY_ROW_SHARE] = np.nan
    return frame


def second_labeler(observed: pd.DataFrame, rng: np.random.Generator, disagreement: float = 0.02) -> pd.DataFrame:
    """NegBio's values: those of CheXpert, with a small share of mentions read as uncertain."""
    values = observed.to_numpy(copy=True)
    changed = ~np.isnan(values) & (rng.random(values.shape) < disagreement)
    changed[:, LABELS.index(NO_FINDING)] = False
    values[changed] = -1.0
    return pd.DataFrame(values, columns=list(LABELS))


def _with_no_finding(findings: pd.DataFrame) -> pd.DataFrame:
    pathological = [label for label in DRAWN_LABELS if label not in _COMPATIBLE_WITH_NO_FINDING]
    findings = findings.assign(**{NO_FINDING: ~findings[pathological].any(axis=1)})
    return findings[list(LABELS)]


def _normal_quantile(p: np.ndarray) -> np.ndarray:
    from statistics import NormalDist

    return np.array([NormalDist().inv_cdf(float(value)) for value in p])
