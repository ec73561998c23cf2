"""What an evaluation must show before its network may be released.

Belongs here: the rule, which the asset and the blocking check share. Does not belong here: measuring, and the bounds
of warnings (checks/cloud_vision_model_judges.py).
"""

from collections.abc import Mapping
from typing import Any

# With fewer test records an interval says nothing about the model; a warning tells that nothing was judged.
LEAST_JUDGED = 100


def release_refusal(headline: Mapping[str, Any]) -> str | None:
    """Why the joint network may not be released; None where it may.

    Its weights have to be those of training in one place, to the bit (else the exchange has a fault), and it has to be
    surely better than each organisation alone (else nothing is gained by joining), which is left open where too few
    records allow no judgement.
    """
    difference = headline["split_minus_central"]
    if difference != 0:
        return f"split training ended {difference:.1e} away from training in one place: they have to be equal"
    if headline["n_test"] < LEAST_JUDGED:
        return None
    for party in ("org2", "org3"):
        low = headline[f"gain_over_{party}_ci_low"]
        if low is None or low <= 0:
            return (
                f"not surely better than {party} alone: {headline['accuracy_joint']:.3f} beside "
                f"{headline[f'accuracy_{party}']:.3f}"
            )
    return None
