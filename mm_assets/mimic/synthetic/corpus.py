"""A corpus for auditing the leakage filter: complaints with planted leaks beside their leak-free twins.

Belongs here: the audit set alone. It needs no tree on disk and shares the generator's words and findings.
"""

import numpy as np
import pandas as pd

from mm_assets.mimic.schema import LABELS
from mm_assets.mimic.synthetic.complaints import plant_leaks, symptom_table, write_complaints
from mm_assets.mimic.synthetic.latent import draw_findings
from mm_assets.mimic.synthetic.medications import HOME_DRUGS, home_drugs
from mm_assets.mimic.synthetic.prevalence import planted_rates


def leakage_corpus(n: int, seed: int, *, leaky_share: float = 0.3, prevalence_floor: float = 0.06) -> pd.DataFrame:
    """`n` synthetic cases, one row each, deterministic in `seed`.

    Columns: `study_id` (key, 0..n-1), `complaint_leaky`, `complaint_clean` (the twin: the same words without
    the planted phrase), `history` (classes of home drugs), `planted_independent` (bool: the phrase was chosen
    without looking at the findings), `planted_terms` (list of phrases, empty where none), and one int8 column
    (1/0) per label. `leaky_share` of the cases carry a phrase, half of them planted independently.
    """
    rng = np.random.default_rng([seed, 0xC0])
    findings = draw_findings(np.arange(n), planted_rates(prevalence_floor, "train"), rng)
    complaints = write_complaints(symptom_table(findings, rng), rng)
    planted = plant_leaks(complaints, findings, leaky_share, rng)
    return pd.DataFrame(
        {
            "study_id": np.arange(n),
            "complaint_leaky": [case.text for case in planted],
            "complaint_clean": [case.clean for case in planted],
            "history": [_history(row) for row in home_drugs(findings, rng)],
            "planted_independent": [case.independent for case in planted],
            "planted_terms": [[case.phrase] if case.phrase else [] for case in planted],
            **{label: findings[label].astype("int8") for label in LABELS},
        }
    )


def _history(taken: np.ndarray) -> str:
    return "; ".join(sorted(HOME_DRUGS[index].etc[0] for index in np.flatnonzero(taken)))
