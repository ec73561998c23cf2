"""Below the picture: what each modality changed, and which passages were read.

Belongs here: HTML of contributions and passages; all text is escaped.
"""

from collections.abc import Sequence
from html import escape

from mm_assets.mimic.case import MODALITY_NAMES, Contribution, Passage
from ui.pages.components.bars import change_bars


def contributions_chart(contributions: Sequence[Contribution], label: str) -> str:
    """One bar per modality: the probability of ``label`` minus what it would be without that modality."""
    if len(contributions) < 2:
        return '<p class="mm-hint">Only one modality was read, so there is nothing to compare.</p>'
    rows = [(MODALITY_NAMES[part.modality], part.change[label], _points(part.change[label])) for part in contributions]
    return (
        f'<p class="mm-hint">Change in the probability of <strong>{escape(label)}</strong> that each part '
        f"brought, found by leaving it out.</p>{change_bars(rows)}"
    )


def _points(change: float) -> str:
    return f"{'+' if change >= 0 else '−'}{abs(change) * 100:.1f} points"


def passages_list(passages: Sequence[Passage]) -> str:
    """The retrieved texts with their citations, best first."""
    if not passages:
        return '<p class="mm-hint">Nothing was retrieved: there was no complaint or history to search with.</p>'
    items = "".join(
        f"<li>{escape(passage.text)}<small>{escape(passage.citation)} · passage {escape(passage.id)} · "
        f"similarity {passage.score:.2f}</small></li>"
        for passage in passages
    )
    return f'<ol class="mm-passages">{items}</ol>'
