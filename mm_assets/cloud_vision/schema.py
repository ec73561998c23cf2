"""Names that the whole wing shares: classes, organisations, features, splits, table schemas, reasons.

Belongs here: vocabulary. Does not belong here: rules (the modules named after them) and numbers of a profile.

Organisation 2 holds the labels and features f0 to f4; organisation 3 holds the X-rays and features f5 to f9. Neither
ever shows the other a row.
"""

from typing import Literal

import pyarrow as pa

CLASSES = ("COVID-19", "Normal", "Viral pneumonia")  # the label is the place in this list

Organisation = Literal["org2", "org3"]
ORGANISATIONS: tuple[Organisation, ...] = ("org2", "org3")
LABEL_HOLDER: Organisation = "org2"
IMAGE_HOLDER: Organisation = "org3"

ORG2_FEATURES = ("f0", "f1", "f2", "f3", "f4")
ORG3_FEATURES = ("f5", "f6", "f7", "f8", "f9")
FEATURES = (*ORG2_FEATURES, *ORG3_FEATURES)

# "shifted" has another exposure and another mix of classes; nothing is fitted or chosen on it.
SPLITS = ("train", "validate", "test", "shifted")

ID_COLUMN, LABEL_COLUMN, IMAGE_COLUMN, SPLIT_COLUMN = "image_id", "label", "image", "split"

# What is seen on a film, whatever its class. The generator plants these; real films have none of these names.
PATTERNS = ("clear", "ground-glass", "interstitial")

ORG2_SCHEMA = pa.schema(
    [
        (ID_COLUMN, pa.string()),  # as written: repeated, out of order, in several spellings
        *((name, pa.float32()) for name in ORG2_FEATURES),
        (LABEL_COLUMN, pa.int32()),  # place in CLASSES
        (SPLIT_COLUMN, pa.string()),  # one of SPLITS, agreed on by both organisations
    ]
)
ORG3_SCHEMA = pa.schema(
    [
        (ID_COLUMN, pa.string()),
        *((name, pa.float32()) for name in ORG3_FEATURES),
        (IMAGE_COLUMN, pa.string()),  # path below organisation 3's folder
        (SPLIT_COLUMN, pa.string()),
    ]
)
# Local and cloud name of every X-ray.
MAPPING_SCHEMA = pa.schema([(name, pa.string()) for name in ("local", "cloud", "content_type")])
# What a model that is right answers, for the records that both organisations hold.
EXPECTED_SCHEMA = pa.schema(
    [(ID_COLUMN, pa.string()), (SPLIT_COLUMN, pa.string()), (LABEL_COLUMN, pa.int32()), ("class_name", pa.string())]
)
# One X-ray of a real source, ready for use.
XRAY_SCHEMA = pa.schema(
    [
        (ID_COLUMN, pa.string()),
        ("path", pa.string()),  # below the source's root
        (LABEL_COLUMN, pa.int32()),  # place in CLASSES
        (SPLIT_COLUMN, pa.string()),  # an official split; null: none
        ("sha256", pa.string()),  # of the file as it came
        ("width", pa.int32()),  # px, of the file as it came
        ("height", pa.int32()),
        ("format", pa.string()),
        ("xray", pa.binary()),  # square grey JPEG
    ]
)
REJECTED_SCHEMA = pa.schema([(name, pa.string()) for name in (ID_COLUMN, "path", "reason", "detail")])
