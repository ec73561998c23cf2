"""Around the findings of a chest film: the empty place before an answer, its notices, what its footer says of quality.

Belongs here: HTML of these parts; text is escaped. Does not belong here: findings (`findings.py`), film (`film.py`),
contributions and passages (`reasons.py`), banner and footer (`origin.py`).
"""

from collections.abc import Sequence

from mm_assets.mimic.case import CaseWarning, Prediction
from ui.pages.components import origin
from ui.pages.components.notices import notice_list

_CAUTION = {"out_of_domain", "synthetic_model"}
_TITLES = {
    "out_of_domain": "Unlike the training films.",
    "synthetic_model": "Trained on synthetic films.",
    "missing_modality": "Missing.",
    "left_out": "Left out on request.",
    "uncommon_value": "Uncommon value.",
    "converted_value": "Converted.",
    "words_removed": "Words removed.",
}


def waiting() -> str:
    """Stands where the findings will be."""
    return (
        '<div class="mm-empty">Choose an example, or add a film, a complaint or vital signs, '
        "then press <strong>Read</strong>.</div>"
    )


def notices(warnings: Sequence[CaseWarning]) -> str:
    """The warnings of an answer, most serious first."""
    return notice_list(warnings, _TITLES, _CAUTION)


def quality(answer: Prediction) -> dict[str, str]:
    """What the footer says of the model beside its origin."""
    found = answer.provenance
    auroc = origin.measured(found.test_auroc, found.test_auroc_low, found.test_auroc_high)
    return {"Macro AUROC, test split": auroc, "Intervals shown": answer.interval}
