"""Default knobs of the wing per profile.

Belongs here: numbers that differ between demo, study and full. Does not belong here: rules that never change.
"""

from typing import Any, ClassVar

from mm_assets.records.knobs import Knobs

# The two classes that look alike on a film are one to its holder.
MERGED = {"kind": "merged_labels", "strength": 0.8, "merged": [0, 2]}
STUDIED_DEFENCES = [
    MERGED,
    {"kind": "randomised_labels", "strength": 0.5},
    {"kind": "noise", "strength": 2.0},
    {"kind": "distance_correlation", "strength": 2.0},
]
ALL_DEFENCES = [
    *STUDIED_DEFENCES,
    {"kind": "merged_labels", "strength": 0.9, "merged": [0, 2]},
    {"kind": "merged_labels", "strength": 1.0, "merged": [0, 2]},
    {"kind": "equal_norm", "strength": 2.0},
]

PROFILES: dict[str, dict[str, dict[str, Any]]] = {
    # Minutes on two cores.
    "demo": {
        "XraySourceConfig": {"train": 1280, "validate_": 240, "test": 700, "shifted": 240, "px": 512},
        "FeatureKnobs": {"image_px": 64},
        "SplitTrainKnobs": {
            "seeds": [0], "epochs": 15, "batch_size": 16, "org2_learning_rate": 1e-3,
            "org3_learning_rate": 1e-3, "weight_decay": 0.01, "encoder": "compact", "channels": 8, "embedding": 32,
            "hidden": 64, "dropout": 0.1,
        },
        "MisalignmentKnobs": {"shares": [0.05, 0.2, 0.5], "seeds": 1},
        "LeakKnobs": {"seeds": 1, "defences": [MERGED]},
        "SplitEvaluationConfig": {"replicates": 1000},
    },
    # Under an hour on two cores; the README's numbers.
    "study": {
        "XraySourceConfig": {"train": 2400, "validate_": 400, "test": 1600, "shifted": 600, "px": 512},
        "FeatureKnobs": {"image_px": 64},
        "SplitTrainKnobs": {
            "seeds": [0, 1, 2], "epochs": 25, "batch_size": 16, "org2_learning_rate": 1e-3,
            "org3_learning_rate": 1e-3, "weight_decay": 0.01, "encoder": "compact", "channels": 8, "embedding": 32,
            "hidden": 64, "dropout": 0.1,
        },
        "MisalignmentKnobs": {"shares": [0.05, 0.2, 0.5], "seeds": 2},
        "LeakKnobs": {"seeds": 2, "defences": STUDIED_DEFENCES},
        "SplitEvaluationConfig": {"replicates": 1000},
    },
    # Real X-rays; without them as many are drawn. Trained on CPUs like the others, so for a machine with many.
    "full": {
        "XraySourceConfig": {"train": 8000, "validate_": 1000, "test": 2500, "shifted": 1000, "px": 512},
        "FeatureKnobs": {"image_px": 224},
        "SplitTrainKnobs": {
            "seeds": [0, 1, 2], "epochs": 30, "batch_size": 32, "org2_learning_rate": 1e-3,
            "org3_learning_rate": 1e-3, "weight_decay": 0.01, "encoder": "compact", "channels": 16, "embedding": 32,
            "hidden": 64, "dropout": 0.1,
        },
        "MisalignmentKnobs": {"shares": [0.05, 0.2, 0.5], "seeds": 1},
        "LeakKnobs": {"seeds": 2, "defences": ALL_DEFENCES},
        "SplitEvaluationConfig": {"replicates": 1000},
    },
}  # fmt: skip


class CloudKnobs(Knobs):
    """A Config of this wing whose unset fields take the profile's value."""

    profiles: ClassVar[dict[str, dict[str, dict[str, Any]]]] = PROFILES
