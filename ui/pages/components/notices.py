"""What the reader of an answer must know before the numbers, whichever the wing.

Belongs here: HTML of warnings; all text is escaped. Does not belong here: a wing's titles and which of its warnings are
serious (`chest.py`, `lesion.py`, `split_view.py`), the model behind the answers (`origin.py`).
"""

from collections.abc import Collection, Mapping, Sequence
from html import escape
from typing import Protocol


class Warned(Protocol):
    """A warning of any wing."""

    @property
    def code(self) -> str: ...

    @property
    def message(self) -> str: ...


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
