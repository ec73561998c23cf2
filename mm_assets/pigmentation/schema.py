"""Names that the whole wing shares: modalities, subsets of them, tones, severities, table schemas, reasons.

Belongs here: vocabulary. Does not belong here: rules (the modules named after them) and numbers of a profile.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Literal, get_args

import pyarrow as pa

Modality = Literal["clinical", "dermoscopy", "multispectral"]
MODALITIES: tuple[str, ...] = get_args(Modality)
# The query of the fusion: a record without it is quarantined.
REQUIRED_MODALITY = "clinical"
# The learned null token's share of the attention, beside those of the modalities.
NO_MODALITY = "none"

Severity = Literal["Mild", "Moderate", "Severe"]
SEVERITIES: tuple[str, ...] = get_args(Severity)

# Individual typology angle (Chardon et al. 1991), degrees: each class reaches from above its bound to the bound before.
TONE_BOUNDS: tuple[tuple[str, float], ...] = (
    ("very light", 55.0), ("light", 41.0), ("intermediate", 28.0), ("tan", 10.0), ("brown", -30.0),
)  # fmt: skip
TONES = (*(name for name, _ in TONE_BOUNDS), "dark")
UNKNOWN_TONE = "unknown"

# Where a severity label comes from. A derived one is computed from pixels: never reported as clinical truth.
LABEL_SOURCES = ("rater", "mMASI/24", "derived_delta_melanin", "synthetic")
DERIVED_LABEL_SOURCES = ("derived_delta_melanin",)

# Of the same knobs and data: the design built here, the original pooled-token design, and plain concatenation.
VARIANTS = ("fused", "pooled", "concat")

MANIFEST_SCHEMA = pa.schema(
    [
        ("patient_id", pa.string()),
        ("lesion_id", pa.string()),
        ("capture_id", pa.string()),  # one image file; unique
        ("modality", pa.string()),
        ("path", pa.string()),  # below the source's root
        ("visit", pa.int32()),  # null: numbered by the order of captures
        ("label", pa.float32()),  # severity in [0, 1]; null: unlabelled
        ("label_source", pa.string()),  # one of LABEL_SOURCES; null with a null label
        ("ita_deg", pa.float32()),  # measured skin tone around the lesion; null: estimated from the image
        ("skin_tone", pa.string()),  # one of TONES, where a data set names a class instead of an angle
        ("diagnosis", pa.string()),
        ("split", pa.string()),  # an official split; null: none
    ]
)
LESION_SCHEMA = pa.schema(
    [
        ("record_id", pa.string()),  # lesion_id@visit
        ("patient_id", pa.string()),
        ("lesion_id", pa.string()),
        ("visit", pa.int32()),
        ("score", pa.float32()),  # the label; null: unlabelled
        ("label_source", pa.string()),
        ("severity", pa.string()),  # of the label
        ("ita_deg", pa.float32()),
        ("tone", pa.string()),  # one of TONES or "unknown"
        ("tone_source", pa.string()),  # manifest or image
        ("diagnosis", pa.string()),
        ("official_split", pa.string()),
        ("clinical", pa.binary()),  # JPEG
        ("dermoscopy", pa.binary()),  # JPEG; null: not taken
        ("multispectral", pa.binary()),  # float16 [H, W, B] in C order, shape in captures.json; null: not taken
    ]
)
REJECTED_SCHEMA = pa.schema(
    [
        ("capture_id", pa.string()),
        ("lesion_id", pa.string()),
        ("patient_id", pa.string()),
        ("modality", pa.string()),
        ("path", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
SPLIT_SCHEMA = pa.schema([("record_id", pa.string()), ("patient_id", pa.string()), ("split", pa.string())])
PREDICTION_SCHEMA = pa.schema(
    [
        ("record_id", pa.string()),
        ("split", pa.string()),
        ("variant", pa.string()),
        ("seed", pa.int32()),
        ("subset", pa.string()),  # modalities read, joined by "+"; a record that lacks one of them has no row
        ("score", pa.float32()),
        ("log_sigma", pa.float32()),  # of the predicted spread, on the scale of the score; null: none predicted
    ]
)


def record_id(lesion_id: str, visit: int) -> str:
    """The name of a lesion at a visit."""
    return f"{lesion_id}@{visit}"


def subset_name(modalities: Sequence[str]) -> str:
    """`clinical+dermoscopy`: modalities in their configured order."""
    return "+".join(modalities)


def subsets(modalities: Sequence[str] = MODALITIES) -> list[tuple[str, ...]]:
    """Every subset that holds the required modality, smallest first, each in the given order."""
    others = [name for name in modalities if name != REQUIRED_MODALITY]
    return [
        tuple(name for name in modalities if name == REQUIRED_MODALITY or name in chosen)
        for size in range(len(others) + 1)
        for chosen in combinations(others, size)
    ]
