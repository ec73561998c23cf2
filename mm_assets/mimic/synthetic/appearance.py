"""How strongly each finding shows on the film: the bridge from latent findings to pixels.

Belongs here: which findings a film can show, how often it misses one, and how often it feigns one.
Does not belong here: shapes and grey values (`anatomy.py`, `findings.py`).

A film alone must not settle everything: findings that words and vital signs carry (fracture, lesion, pleural
other) show rarely, and the airspace diseases share shapes, so that only the context tells them apart.
"""

import numpy as np
import pandas as pd

from mm_assets.mimic.schema import LABELS

# Label -> (share of positives that show, share of negatives that look alike).
VISIBILITY: dict[str, tuple[float, float]] = {
    "Atelectasis": (0.75, 0.03),
    "Cardiomegaly": (0.95, 0.05),
    "Consolidation": (0.80, 0.02),
    "Edema": (0.75, 0.05),
    "Enlarged Cardiomediastinum": (0.90, 0.03),
    "Fracture": (0.45, 0.01),
    "Lung Lesion": (0.70, 0.02),
    "Lung Opacity": (0.85, 0.04),
    "No Finding": (0.0, 0.0),
    "Pleural Effusion": (0.92, 0.03),
    "Pleural Other": (0.55, 0.02),
    "Pneumonia": (0.75, 0.03),
    "Pneumothorax": (0.88, 0.01),
    "Support Devices": (0.95, 0.03),
}


def draw_appearance(findings: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Strength of each finding on the film, float32 [n, 14]: 0 not seen, about 1 plain, up to 1.6 gross."""
    seen = {}
    for label in LABELS:
        shows, feigned = VISIBILITY[label]
        present = findings[label].to_numpy()
        drawn = rng.random(len(findings)) < np.where(present, shows, feigned)
        strength = np.clip(rng.normal(np.where(present, 1.0, 0.75), 0.22), 0.45, 1.6)
        seen[label] = np.where(drawn, strength, 0.0).astype("float32")
    return pd.DataFrame(seen, index=findings.index)
