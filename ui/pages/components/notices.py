"""What the reader of an answer must know before the numbers.

Belongs here: HTML of warnings, whichever the wing, and of the empty place before the first answer of a chest film; all
text is escaped. Does not belong here: the model behind the answers (`origin.py`).
"""

from collections.abc import Collection, Mapping, Sequence
from html import escape
from typing import Protocol

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


class Warned(Protocol):
    """A warning of any wing."""

    @property
    def code(self) -> str: ...

    @property
    def message(self) -> str: ...


def notices(warnings: Sequence[CaseWarning]) -> str:
    """The warnings of a chest film's answer, most serious first."""
    return notice_list(warnings, _TITLES, _CAUTION)


def notice_list(
    warnings: Sequence[Warned], titles: Mapping[str, str], caution: Collection[str], missing: str = ""
) -> str:
    """Warnings under the titles of their codes, those of ``caution`` first and in colour; ``missing``, a sentence of
    what was not sent, comes last."""
    ordered = sorted(warnings, key=lambda warning: warning.code not in caution)
    items = [_notice(titles[warning.code], warning.message, warning.code in caution) for warning in ordered]
    if missing:
        items.append(_notice("Missing.", missing, False))
    return f'<div class="mm-notices" role="status" aria-live="polite">{"".join(items)}</div>'


def _notice(title: str, message: str, caution: bool) -> str:
    kind = "mm-notice caution" if caution else "mm-notice"
    return f'<div class="{kind}"><strong>{escape(title)}</strong> {escape(message)}</div>'


def waiting() -> str:
    """Stands where the findings will be."""
    return (
        '<div class="mm-empty">Choose an example, or add a film, a complaint or vital signs, '
        "then press <strong>Read</strong>.</div>"
    )
