"""How accurate anybody could be on synthetic records: the best rule's accuracy for each party and for both together.

Belongs here: accuracies that follow from the planted law. Does not belong here: the law (`synthetic/law.py`), models.

Features: exact likelihoods, averaged over a sample. Films: the pattern is taken as read without error, so the figures
that include a film are upper bounds; a model that overlooks faint lesions stays below them.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mm_assets.cloud_vision.schema import CLASSES, FEATURES, ORG2_FEATURES, ORG3_FEATURES
from mm_assets.cloud_vision.synthetic.law import PlantedLaw, draw_features, draw_patterns

# View -> its features, and whether it sees the film.
VIEWS: Mapping[str, tuple[tuple[str, ...], bool]] = {
    "org2": (ORG2_FEATURES, False),
    "org3": (ORG3_FEATURES, True),
    "image_only": ((), True),
    "tables_only": (FEATURES, False),
    "joint": (FEATURES, True),
}


def accuracy_ceilings(law: PlantedLaw, samples: int = 200_000, seed: int = 0) -> dict[str, float]:
    """Best possible accuracy of each of VIEWS, and of `shifted_joint` (both parties, on the shifted mix of classes,
    without knowing of the shift); `chance` (the commonest class) and `standard_error` (the largest, of the sampling).
    """
    rng = np.random.default_rng(seed)
    found = {}
    for name, prior in (("", law.prior), ("shifted_", law.shifted_prior)):
        labels = rng.choice(len(CLASSES), samples, p=prior)
        features, patterns = draw_features(law, labels, rng), draw_patterns(law, labels, rng)
        for view, (columns, film) in VIEWS.items():
            if name and view != "joint":
                continue
            scores = log_posterior(law, features, patterns, columns, film)
            # A label drawn among equal scores would be right as often as the first one: no ties to break.
            found[f"{name}{view}"] = float((scores.argmax(axis=1) == labels).mean())
    found["chance"] = float(law.prior.max())
    found["standard_error"] = float(0.5 / np.sqrt(samples))
    return found


def log_posterior(
    law: PlantedLaw, features: np.ndarray, patterns: np.ndarray, columns: Sequence[str], film: bool
) -> np.ndarray:
    """Unnormalised log posterior [N, classes] of who sees `columns` of the features [N, 10] and, with `film`, the
    pattern [N]; under the prior that models are trained on."""
    scores = np.tile(np.log(law.prior), (len(features), 1))
    if columns:
        places = [FEATURES.index(name) for name in columns]
        precision = np.linalg.inv(law.covariance[np.ix_(places, places)])
        for label, mean in enumerate(law.means[:, places]):
            off = features[:, places] - mean
            scores[:, label] -= 0.5 * np.einsum("ni,ij,nj->n", off, precision, off)
    if film:
        with np.errstate(divide="ignore"):
            scores += np.log(law.patterns)[:, patterns].T
    return scores
