"""What the reader of a chest film must know before the numbers.

Belongs here: HTML of the notices and of the empty place before the first answer; all text is escaped.
Does not belong here: the model behind the answers (`origin.py`).
"""

from collections.abc import Sequence
from html import escape

from mm_assets.mimic.case import CaseWarning

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


def notices(warnings: Sequence[CaseWarning]) -> str:
    """The warnings of an answer, most serious first."""
    ordered = sorted(warnings, key=lambda warning: warning.code not in _CAUTION)
    items = "".join(
        f'<div class="mm-notice{" caution" if warning.code in _CAUTION else ""}">'
        f"<strong>{escape(_TITLES[warning.code])}</strong> {escape(warning.message)}</div>"
        for warning in ordered
    )
    return f'<div class="mm-notices" role="status" aria-live="polite">{items}</div>'


def waiting() -> str:
    """Stands where the findings will be."""
    return (
        '<div class="mm-empty">Choose an example, or add a film, a complaint or vital signs, '
        "then press <strong>Read</strong>.</div>"
    )
