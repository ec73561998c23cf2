"""Judges of the trained networks of the wing `cloud_vision`: bounds, and what is said outside of them.

Belongs here: comparing. Does not belong here: measuring (the assets), reading what they measured
(`checks/cloud_vision_model.py`), and judging data (`checks/cloud_vision_judges.py`).
"""

from math import isfinite
from typing import Any

from checks.expectations import CheckOutcome
from mm_assets.cloud_vision.release_rule import LEAST_JUDGED, release_refusal

LEAST_GAIN = 0.15  # of accuracy over each party alone: below it the design gives no reason to join
LARGEST_POOLED_GAP = 0.02  # of accuracy below a model with all columns in one place
LEAST_MISALIGNED_LOSS = 0.03  # of accuracy when half of the train rows are joined to another record
LARGEST_ABOVE_CEILING = 0.03  # of accuracy: more is a leak of the answer, not chance


def every_network_has_a_loss(found: dict[str, Any]) -> CheckOutcome:
    """Every training reached a finite loss on validate."""
    least = found["least_val_score"]
    finite = least is not None and isfinite(least)
    return CheckOutcome(
        finite, f"largest best loss on validate {-least:.3f}" if finite else "a network has no finite loss on validate"
    )


def split_equals_central(found: dict[str, Any]) -> CheckOutcome:
    """Training over the wire ends with the weights of training in one place, to the bit."""
    difference = found["split_minus_central"]
    return CheckOutcome(
        difference == 0,
        f"largest difference of a weight {difference:g}; anything but 0 is a fault of the exchange",
        {"difference": difference},
    )


def model_is_releasable(found: dict[str, Any]) -> CheckOutcome:
    """The joint network is surely better than each party alone."""
    refusal = release_refusal(found)
    return CheckOutcome(
        refusal is None,
        refusal or "better than each party alone",
        {name: found[name] for name in ("accuracy_joint", "accuracy_org2", "accuracy_org3")},
    )


def joining_is_worth_it(found: dict[str, Any]) -> CheckOutcome:
    """The joint network is 15 points better than each party and than the X-ray alone."""
    gains = {name: found[f"gain_over_{name}"] for name in ("org2", "org3", "image_only")}
    told = ", ".join(f"{gain:+.3f} over {name.replace('_', ' ')}" for name, gain in gains.items())
    return CheckOutcome(
        min(gains.values()) >= LEAST_GAIN, f"accuracy {told}; at least {LEAST_GAIN:+.2f} is expected", gains
    )


def splitting_costs_little(found: dict[str, Any]) -> CheckOutcome:
    """The joint network is at most 2 points below a model with all columns in one place."""
    gain, low = found["gain_over_pooled"], found["gain_over_pooled_ci_low"]
    return CheckOutcome(
        gain >= -LARGEST_POOLED_GAP,
        f"accuracy {gain:+.3f} to the pooled model, interval from {low:+.3f}; at least {-LARGEST_POOLED_GAP:+.2f} is "
        "expected",
        {"gain_over_pooled": gain, "ci_low": low},
    )


def nobody_beats_the_ceiling(found: dict[str, Any]) -> CheckOutcome:
    """No accuracy lies above what is possible: it would have been told the answer."""
    pairs = {
        name: (found[f"accuracy_{name}"], found[ceiling])
        for name, ceiling in (
            ("joint", "accuracy_ceiling"), ("org2", "accuracy_ceiling_org2"), ("org3", "accuracy_ceiling_org3"),
            ("image_only", "accuracy_ceiling_image_only"), ("shifted", "accuracy_ceiling_shifted"),
        )
    }  # fmt: skip
    above = {
        name: value - ceiling
        for name, (value, ceiling) in pairs.items()
        if value is not None and ceiling is not None and found[f"accuracy_{name}_ci_low"] > ceiling
    }
    worst = max(above.values(), default=0.0)
    return CheckOutcome(
        worst <= LARGEST_ABOVE_CEILING,
        f"{', '.join(above)} surely above the best possible, by {worst:.3f}: look for the label among the features"
        if above
        else "nobody is surely above the best possible",
        {"above": worst},
    )


def misalignment_hurts(found: dict[str, Any]) -> CheckOutcome:
    """Half of the rows joined to another record cost accuracy: the join is what the network learns from."""
    none, half = found["misaligned_0"], found.get("misaligned_50")
    if half is None or found["n_test"] < LEAST_JUDGED:
        return CheckOutcome(True, "not judged: a share of 50 % was not tried, or on too few test records")
    return CheckOutcome(
        none - half >= LEAST_MISALIGNED_LOSS,
        f"accuracy {none:.3f} aligned, {half:.3f} with half of the rows misaligned; a loss of "
        f"{LEAST_MISALIGNED_LOSS:.2f} is expected",
        {"aligned": none, "misaligned": half},
    )


def labels_are_kept(found: dict[str, Any]) -> CheckOutcome:
    """A defence brings the leak to what could be guessed, at little cost of accuracy."""
    told = (
        f"leak {found['leak_accuracy']:.3f} undefended, {found['leak_accuracy_defended']:.3f} with "
        f"{found['leak_defence']}, beside a guess of {found['leak_guess']:.3f}; accuracy "
        f"{found['accuracy_undefended']:.3f} and {found['accuracy_defended']:.3f}"
    )
    reached = bool(found["leak_reached"])
    return CheckOutcome(
        reached,
        told if reached else f"not reached: {told}",
        {name: found[name] for name in ("leak_accuracy", "leak_accuracy_defended", "leak_guess")},
    )


def release_is_current(found: dict[str, Any]) -> CheckOutcome:
    """The released bundle was judged by the current evaluation."""
    same = found["named"] == found["current"]
    return CheckOutcome(same, "released from the current evaluation" if same else "released from an older one")
