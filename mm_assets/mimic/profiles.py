"""Default knobs of the wing per profile.

Belongs here: numbers that differ between demo, study and full. Does not belong here: rules that never change.
A profile only sets defaults: every knob stays a field of its asset's Config and can be set in the launchpad.
"""

from typing import ClassVar

from mm_assets.mimic.synthetic.prevalence import PUBLISHED_LINKED_SHARE
from mm_assets.records.knobs import Knobs, Profiles

LINKED_SHARE = round(PUBLISHED_LINKED_SHARE, 4)  # four digits: the measured results were made with so many
PROFILES: Profiles = {
    # Minutes on two cores.
    "demo": {
        "SourceConfig": {
            "train_studies": 1000, "validate_studies": 200, "test_studies": 400,
            "linked_share": 0.8, "prevalence_floor": 0.06, "film_scale": 0.25,
        },
        "ImageFeatureConfig": {"encoder": "efficientnet-lite0", "grid": 4},
        "TextConfig": {"encoder": "minilm"},
        "TextFeatureConfig": {"max_tokens": 32},
        "TrainKnobs": {"seeds": [0], "max_epochs": 20, "width": 64},
        "EvaluationConfig": {"replicates": 1000},
    },
    # Under an hour on two cores; the README's numbers.
    "study": {
        "SourceConfig": {
            "train_studies": 4000, "validate_studies": 700, "test_studies": 1400,
            "linked_share": LINKED_SHARE, "prevalence_floor": 0.0, "film_scale": 0.25,
        },
        "ImageFeatureConfig": {"encoder": "efficientnet-lite0", "grid": 4},
        "TextConfig": {"encoder": "minilm"},
        "TextFeatureConfig": {"max_tokens": 32},
        "TrainKnobs": {"seeds": [0, 1, 2], "max_epochs": 20, "width": 64},
        "EvaluationConfig": {"replicates": 1000},
    },
    # Real data, hub encoders, a GPU.
    "full": {
        "SourceConfig": {
            "train_studies": 6000, "validate_studies": 1000, "test_studies": 2000,
            "linked_share": LINKED_SHARE, "prevalence_floor": 0.0, "film_scale": 1.0,
        },
        "ImageFeatureConfig": {"encoder": "biomedclip", "grid": 8},
        "TextConfig": {"encoder": "clinical-modernbert"},
        "TextFeatureConfig": {"max_tokens": 32},
        "TrainKnobs": {"seeds": [0, 1, 2], "max_epochs": 20, "width": 768},
        "EvaluationConfig": {"replicates": 1000},
    },
}  # fmt: skip


class MimicKnobs(Knobs):
    """A Config of this wing: unset fields take the profile's value."""

    profiles: ClassVar[Profiles] = PROFILES
