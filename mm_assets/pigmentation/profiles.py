"""Default knobs of the wing per profile.

Belongs here: numbers that differ between demo, study and full. Does not belong here: rules that never change.
"""

from typing import Any, ClassVar

from mm_assets.records.knobs import Knobs

PROFILES: dict[str, dict[str, dict[str, Any]]] = {
    # Minutes on two cores.
    "demo": {
        "SkinSourceConfig": {"patients": 1250, "rgb_px": 160, "cube_px": 48},
        "LesionKnobs": {"stored_px": 160, "cube_px": 48},
        "SkinTrainKnobs": {
            "seeds": [0], "encoder": "test_resnet", "stage": 2, "image_size": 48, "photographs": "absorbance",
            "width": 64, "epochs": 6,
            "batch_size": 32, "learning_rate": 6e-3, "weight_decay": 0.02, "pretrained": False,
        },
        "SkinEvaluationConfig": {"replicates": 1000},
    },
    # Under an hour on two cores; the README's numbers.
    "study": {
        "SkinSourceConfig": {"patients": 1900, "rgb_px": 160, "cube_px": 56},
        "LesionKnobs": {"stored_px": 160, "cube_px": 56},
        "SkinTrainKnobs": {
            "seeds": [0, 1, 2], "encoder": "test_resnet", "stage": 2, "image_size": 56, "photographs": "absorbance",
            "width": 64, "epochs": 10,
            "batch_size": 16, "learning_rate": 3e-3, "weight_decay": 0.02, "pretrained": False,
        },
        "SkinEvaluationConfig": {"replicates": 1000},
    },
    # Real images, Swin-T, a GPU; the original configuration's training.
    "full": {
        "SkinSourceConfig": {"patients": 4000, "rgb_px": 448, "cube_px": 224},
        "LesionKnobs": {"stored_px": 256, "cube_px": 224},
        "SkinTrainKnobs": {
            "seeds": [0, 1, 2], "encoder": "swin_tiny_patch4_window7_224", "stage": None, "image_size": 224,
            "photographs": "colour", "width": 768, "epochs": 10, "batch_size": 8, "learning_rate": 1e-4,
            "weight_decay": 1e-4, "pretrained": True,
        },
        "SkinEvaluationConfig": {"replicates": 1000},
    },
}  # fmt: skip


class SkinKnobs(Knobs):
    """A Config of this wing whose unset fields take the profile's value."""

    profiles: ClassVar[dict[str, dict[str, dict[str, Any]]]] = PROFILES
