"""What the reader must know before the numbers: a banner for the model, notices for this case.

Belongs here: HTML of banner, notices and the empty place before the first answer; all text is escaped.
"""

from collections.abc import Sequence
from html import escape

from mm_assets.mimic.case import CaseWarning, Provenance

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


def banner(provenance: Provenance | None, last_error: str | None) -> str:
    """One line above the page: which model answers, or how to get one."""
    if provenance is None:
        text = (
            "<strong>No model is released yet.</strong> Run <code>mm demo --wing mimic</code>; "
            "this page notices it by itself."
        )
    else:
        kind = "trained on <strong>synthetic data</strong>" if provenance.synthetic else "trained on patient data"
        model = f"Model <strong>{escape(provenance.model_version)}</strong>"
        text = f"{model}, {kind}. {escape(provenance.disclaimer)}"
    if last_error:
        text += f" <br>{escape(last_error)}"
    return f'<div class="mm-banner" role="status">{text}</div>'


def looking() -> str:
    """The banner until the page has asked for the model."""
    return '<div class="mm-banner" role="status">Looking for the released model …</div>'


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
