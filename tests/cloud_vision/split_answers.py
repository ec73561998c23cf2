"""Planted answers of every network, and what the audits found: what tests of the evaluation need.

Belongs here: made-up numbers. Does not belong here: tests, and training anything.
"""

import numpy as np

from mm_assets.cloud_vision.evaluation import EvaluationInputs
from mm_assets.cloud_vision.predictions import SplitAnswers

# How far a network's logit of the label stands above the others, in standard deviations of their noise.
SKILL = {"joint": 2.0, "pooled": 1.9, "org2": 0.8, "org3": 0.9, "image_only": 0.7}
LEAK = [
    {"seed": seed, "defence": name, "accuracy": accuracy, "validated": accuracy + 0.01, "leak": leak + 0.01 * seed,
     "guess": 0.55, "epsilon": bound, "leak_random_labels": leak}
    for seed in (0, 1)
    for name, accuracy, leak, bound in (("none", 0.80, 0.95, None), ("merged_labels of 0+2 0.6", 0.79, 0.57, 1.4))
]  # fmt: skip
VERDICT = {
    "guess": 0.55, "reached": True, "defence": "merged_labels of 0+2 0.6", "text": "found it", "seeds": 2,
}  # fmt: skip
CARRIED = {
    "bytes_per_epoch": 1000,
    "validation_bytes_per_epoch": 100,
    "counts": [{"sender": "org2", "receiver": "org3", "kind": "train/backward", "messages": 7, "bytes": 900}],
}
CEILINGS = {
    "org2": 0.56, "org3": 0.63, "image_only": 0.62, "tables_only": 0.7, "joint": 0.88, "shifted_joint": 0.87,
    "chance": 0.34, "standard_error": 0.001,
}  # fmt: skip


def answers(n, seeds, *, draw):
    """SplitAnswers of n records: networks as good as SKILL, each seed with noise of its own."""
    rng = np.random.default_rng(draw)
    labels = rng.integers(3, size=n)
    found = SplitAnswers(np.array([f"img_{k:04d}" for k in range(n)]), labels)
    for name, skill in SKILL.items():
        for seed in (0,) if name == "pooled" else seeds:
            found.logits[name, seed] = rng.normal(size=(n, 3)) + skill * np.eye(3)[labels]
    return found


def example(*, seeds=(0, 1), shifted=True):
    """EvaluationInputs; the better seed of the joint network on validate is the last one."""
    parts = {"validate": answers(150, seeds, draw=1), "test": answers(300, seeds, draw=2)}
    if shifted:
        parts["shifted"] = answers(120, seeds, draw=3)
    best = parts["validate"]
    best.logits["joint", seeds[-1]] = best.logits["joint", seeds[-1]] + 2.0 * np.eye(3)[best.labels]
    return EvaluationInputs(
        answers=parts,
        ceilings=CEILINGS,
        misalignment=[
            {"share": share, "seed": seed, "accuracy": 0.8 - 0.2 * share, "n": 300}
            for share in (0.0, 0.05, 0.5)
            for seed in (0, 1)
        ],
        leak=LEAK,
        verdict=VERDICT,
        carried={str(seed): CARRIED for seed in seeds},
        split_minus_central=0.0,
    )
