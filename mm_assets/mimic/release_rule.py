"""Which evaluation allows a model to be released: one rule for the blocking check and for the release itself.

Belongs here: the floor and its reason. Does not belong here: measuring, and writing the release.
A blocking check holds only within its own run, so the release asks again.
"""

from collections.abc import Mapping
from typing import Any

# A model below this macro AUROC on held-out data is broken, whatever the data.
LEAST_MACRO_AUROC = 0.6
# ... and one whose interval reaches chance has shown nothing.
CHANCE = 0.5
# With fewer test studies the interval says nothing about the model; a warning check tells that nothing was judged.
LEAST_JUDGED = 100


def release_refusal(metrics: Mapping[str, Any]) -> str | None:
    """Why the evaluated model must not be released; None when it may, or when too few studies allow no judgement."""
    if metrics["n_test"] < LEAST_JUDGED:
        return None
    value, low = metrics["macro_auroc"], metrics["macro_auroc_ci_low"]
    if value < LEAST_MACRO_AUROC:
        return f"macro AUROC {value:.3f} on test is below {LEAST_MACRO_AUROC}"
    if low <= CHANCE:
        return f"macro AUROC {value:.3f} on test has an interval from {low:.3f}, which includes chance"
    return None
