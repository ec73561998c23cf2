"""Below the picture: what each modality changed, which passages were read, and where the answer comes from.

Belongs here: HTML of contributions, passages and the provenance footer; all text is escaped.
"""

from collections.abc import Sequence
from html import escape

from mm_assets.mimic.case import MODALITY_NAMES, ChestProvenance, Contribution, Passage
from ui.pages.components import origin


def contributions_chart(contributions: Sequence[Contribution], label: str) -> str:
    """One bar per modality: the probability of ``label`` minus what it would be without that modality."""
    if len(contributions) < 2:
        return '<p class="mm-hint">Only one modality was read, so there is nothing to compare.</p>'
    largest = max(0.05, *(abs(part.change[label]) for part in contributions))
    rows = "".join(_part(part, label, largest) for part in contributions)
    return (
        f'<p class="mm-hint">Change in the probability of <strong>{escape(label)}</strong> that each part '
        f'brought, found by leaving it out.</p><div class="mm-parts">{rows}</div>'
    )


def _part(part: Contribution, label: str, largest: float) -> str:
    change = part.change[label]
    width = 50 * abs(change) / largest
    left = 50.0 if change >= 0 else 50 - width
    colour = "var(--mm-for)" if change >= 0 else "var(--mm-against)"
    return (
        f"<span>{escape(MODALITY_NAMES[part.modality])}</span>"
        f'<span class="number">{_points(change)}</span>'
        f'<span class="track" aria-hidden="true">'
        f'<i style="left:{left:.1f}%;width:{width:.1f}%;background:{colour}"></i>'
        '<i class="zero"></i></span>'
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


def provenance_footer(provenance: ChestProvenance, interval: str) -> str:
    """Model, run, data and measured quality under every answer."""
    auroc = origin.measured(provenance.test_auroc, provenance.test_auroc_low, provenance.test_auroc_high)
    return origin.footer(provenance, {"Macro AUROC, test split": auroc, "Intervals shown": interval})
