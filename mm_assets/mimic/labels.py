"""The 14 findings: raw CheXpert values to training targets, under a stated policy.

Belongs here: what blank and uncertain mean, label counts.
Does not belong here: metrics, and loss weights (they are learned from the training split).
Raw values: 1 positive, 0 negative, -1 uncertain, NaN or null blank (not mentioned in the report).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from mm_assets.mimic.schema import LABELS
from resources.errors import MendableError

_MEND = "use the published CheXpert or NegBio file"


class LabelError(MendableError):
    """A label table that lacks a column or holds a value that is none of 1, 0, -1, blank."""


@dataclass(frozen=True)
class LabelPolicy:
    """What becomes of blank and of uncertain (-1) values.

    zero and one set the target; mask leaves the value out of loss and metrics.
    Uncertain is masked by default because the labeler's own uncertainty is unreliable (F1 .07 to .58 against
    radiologists); blank is negative by default because a report names what it sees.
    """

    blank: Literal["zero", "mask"] = "zero"
    uncertain: Literal["mask", "zero", "one"] = "mask"

    def __post_init__(self) -> None:
        if self.blank not in ("zero", "mask") or self.uncertain not in ("mask", "zero", "one"):
            raise LabelError(
                f"label policy blank={self.blank!r}, uncertain={self.uncertain!r} is unknown;"
                " use blank zero|mask and uncertain mask|zero|one"
            )


def raw_labels(table: pa.Table | pa.RecordBatch) -> np.ndarray:
    """Raw values [N, 14] float32 in the order of `schema.LABELS`, found by name; blank is NaN.

    Raises LabelError for a missing column (never read by position: published files differ in order).
    """
    missing = [name for name in LABELS if name not in table.schema.names]
    if missing:
        raise LabelError(f"label columns missing: {', '.join(missing)}; {_MEND}")
    columns = [table.column(name).cast(pa.float32()) for name in LABELS]
    values = [np.asarray(column.to_numpy(zero_copy_only=False)) for column in columns]
    return np.stack(values, axis=1)


def targets_and_mask(raw: np.ndarray, policy: LabelPolicy = LabelPolicy()) -> tuple[np.ndarray, np.ndarray]:
    """Targets [N, 14] float32 in {0, 1} and mask [N, 14] bool (True where the target counts).

    raw: [N, 14] in the order of `schema.LABELS`. Masked targets are 0, so that a loss computed before masking
    stays finite. Raises LabelError for any other value than 1, 0, -1 and NaN.
    """
    blank = np.isnan(raw)
    uncertain = raw == -1
    positive = raw == 1
    if not (blank | uncertain | positive | (raw == 0)).all():
        raise LabelError(f"a label is none of 1, 0, -1 or blank; {_MEND}")
    if policy.uncertain == "one":
        positive = positive | uncertain
    mask = np.ones(raw.shape, dtype=bool)
    if policy.uncertain == "mask":
        mask &= ~uncertain
    if policy.blank == "mask":
        mask &= ~blank
    return positive.astype(np.float32), mask


def label_counts(raw: np.ndarray) -> pa.Table:
    """One row per label: label, positive, negative, uncertain, blank (counts) and prevalence.

    Prevalence is positive / (all rows - uncertain): the share a model sees under the default policy;
    null where there is no such row.
    """
    positive = (raw == 1).sum(axis=0)
    uncertain = (raw == -1).sum(axis=0)
    known = len(raw) - uncertain
    return pa.table(
        {
            "label": list(LABELS),
            "positive": positive,
            "negative": (raw == 0).sum(axis=0),
            "uncertain": uncertain,
            "blank": np.isnan(raw).sum(axis=0),
            "prevalence": [int(p) / int(k) if k else None for p, k in zip(positive, known, strict=True)],
        }
    )
