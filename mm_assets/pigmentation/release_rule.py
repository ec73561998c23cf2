"""Which evaluation allows a model to be released: one rule for the blocking check and for the release itself.

Belongs here: the floor and its reason. Does not belong here: measuring, and writing the release.
A blocking check holds only within its own run, so the release asks again.
"""

from collections.abc import Mapping
from typing import Any

# Share of predict-the-mean's error above which a model is broken, whatever the data.
LARGEST_SHARE_OF_MEAN = 0.8
# With fewer test records the interval says nothing about the model; a warning check tells that nothing was judged.
LEAST_JUDGED = 100


def release_refusal(metrics: Mapping[str, Any]) -> str | None:
    """Why the evaluated model must not be released; None when it may, or when too few records allow no judgement."""
    if metrics["n_test_complete"] < LEAST_JUDGED:
        return None
    error, mean = metrics["mae_all"], metrics["mae_predict_mean"]
    if error > LARGEST_SHARE_OF_MEAN * mean:
        return (
            f"mean absolute error {error:.3f} on test is more than {LARGEST_SHARE_OF_MEAN} of the {mean:.3f} that "
            "predicting the mean of train makes"
        )
    low = metrics["gain_over_mean_ci_low"]
    if low is None or low <= 0:
        return (
            f"mean absolute error {error:.3f} on test is not surely below the {mean:.3f} of predicting the mean: the "
            + ("gain has no interval" if low is None else f"interval of the gain starts at {low:.3f}")
        )
    return None
