"""The film on the page: a preview, and the heat-map of one label over it.

Belongs here: captions and scale of a chest film; text is escaped.
Does not belong here: what the map shows (`mm_assets.mimic.explain`).
"""

import io
from html import escape

from mm_assets.mimic.case import Explanation
from ui.pages.components.figure import figure, heat

PREVIEW_HEIGHT_PX, HEAT_HEIGHT_PX = 300, 540


def preview(film: bytes, width: int, height: int) -> str:
    """The uploaded film, squashed into a square, in its own proportions of ``width`` and ``height`` pixels."""
    return _figure(film, width, height, "squash", f"{width} × {height} pixels", PREVIEW_HEIGHT_PX)


def heat_map(explanation: Explanation, label: str, opacity: float) -> str:
    """The film under the map of one label; ``opacity`` 0 to 100."""
    from PIL import Image

    from mm_assets.mimic.explain import coloured

    index = explanation.labels.index(label)
    stream = io.BytesIO()
    Image.fromarray(coloured(explanation.maps[index], explanation.scale)).save(stream, "PNG")
    over = heat(stream.getvalue(), f"Heat-map: parts of the film that spoke for or against {label}", opacity)
    drawn = _figure(
        explanation.film,
        explanation.width,
        explanation.height,
        explanation.resize_mode,
        f"Influence on {escape(label)}: how the answer changes when a part is hidden. It shows influence, not disease.",
        HEAT_HEIGHT_PX,
        over,
    )
    return (
        f'{drawn}<div class="mm-scale"><span>against, −{explanation.scale:.2f}</span><span class="ramp" '
        f'role="img" aria-label="colour scale"></span><span>for, +{explanation.scale:.2f} log-odds</span>'
        "</div>"
        '<p class="mm-hint">The scale is the same for all labels of this film.</p>'
    )


def no_film() -> str:
    return '<div class="mm-empty">No film was read, so there is no heat-map.</div>'


def _figure(film: bytes, width: int, height: int, resize_mode: str, caption: str, tall_px: int, over: str = "") -> str:
    # Only a film squashed into the stored square is stretched back; otherwise the square is what the model saw.
    ratio = width / height if resize_mode == "squash" else 1.0
    return figure(film, "Chest film", caption, ratio, tall_px, over)
