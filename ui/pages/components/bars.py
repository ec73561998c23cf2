"""Named numbers with a bar below each: changes to both sides of a zero line, and shares of a whole.

Belongs here: HTML of the bars; names and numbers are escaped. Does not belong here: what a wing measures with them.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

_ZERO = '<i class="zero"></i>'
# The least change that fills its half of the track: smaller ones must not look like large ones.
LEAST_SCALE = 0.05


def change_bars(changes: Sequence[tuple[str, float, str]]) -> str:
    """Rows of (name, change, the change in words), on one scale; a fall goes to the left of zero."""
    largest = max(LEAST_SCALE, *(abs(change) for _, change, _ in changes))
    return _list(_change(name, change, told, largest) for name, change, told in changes)


def share_bars(shares: Mapping[str, float]) -> str:
    """Name -> share, 0 to 1; the largest one stands out."""
    first = max(shares, key=lambda name: shares[name])
    return _list(_share(name, share, name == first) for name, share in shares.items())


def _change(name: str, change: float, told: str, largest: float) -> str:
    width = 50 * abs(change) / largest
    left = 50.0 if change >= 0 else 50 - width
    colour = "--mm-for" if change >= 0 else "--mm-against"
    return _row(escape(name), told, f"left:{left:.1f}%;width:{width:.1f}%;background:var({colour})", _ZERO)


def _share(name: str, share: float, first: bool) -> str:
    shown = f"<strong>{escape(name)}</strong>" if first else escape(name)
    colour = "--mm-for" if first else "--mm-calm"
    return _row(shown, f"{share:.0%}", f"left:0;width:{share:.1%};background:var({colour})")


def _row(name: str, told: str, style: str, over: str = "") -> str:
    return (
        f'<span>{name}</span><span class="number">{escape(told)}</span>'
        f'<span class="track" aria-hidden="true"><i style="{style}"></i>{over}</span>'
    )


def _list(rows: Iterable[str]) -> str:
    return f'<div class="mm-parts">{"".join(rows)}</div>'
