"""The film on the page: a preview, and the heat-map of one label over it.

Belongs here: HTML with the pictures inside it, so that no film is written to a cache of the page; text is
escaped.
Does not belong here: what the map shows (`mm_assets.mimic.explain`).
"""

import base64
import io
from html import escape

from mm_assets.mimic.case import Explanation

PREVIEW_HEIGHT_PX, HEAT_HEIGHT_PX = 300, 540

# Reads the slider in the browser: no answer of the server is needed to fade a picture.
FADE_JS = (
    "(value) => { document.querySelectorAll('.mm-film .heat')"
    ".forEach((map) => { map.style.opacity = value / 100; }); return value; }"
)


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
    name = escape(label)
    picture = _data_uri(stream.getvalue(), "image/png")
    over = (
        f'<img class="heat" style="opacity:{opacity / 100:.2f}" src="{picture}" '
        f'alt="Heat-map: parts of the film that spoke for or against {name}">'
    )
    figure = _figure(
        explanation.film,
        explanation.width,
        explanation.height,
        explanation.resize_mode,
        f"Influence on {name}: how the answer changes when a part is hidden. It shows influence, not disease.",
        HEAT_HEIGHT_PX,
        over,
    )
    return (
        f'{figure}<div class="mm-scale"><span>against, −{explanation.scale:.2f}</span><span class="ramp" '
        f'role="img" aria-label="colour scale"></span><span>for, +{explanation.scale:.2f} log-odds</span>'
        "</div>"
        '<p class="mm-hint">The scale is the same for all labels of this film.</p>'
    )


def no_film() -> str:
    return '<div class="mm-empty">No film was read, so there is no heat-map.</div>'


def _figure(film: bytes, width: int, height: int, resize_mode: str, caption: str, tall_px: int, over: str = "") -> str:
    # The stored picture is square. When the whole film was squashed into it, stretching it back shows the
    # film in its own proportions and the map stays aligned; otherwise the square is what the model saw.
    ratio = width / height if resize_mode == "squash" else 1.0
    return (
        f'<figure class="mm-film"><div class="frame" '
        f'style="aspect-ratio:{ratio:.4f};max-width:min(100%,{tall_px * ratio:.0f}px)">'
        f'<img src="{_data_uri(film, "image/jpeg")}" alt="Chest film">{over}</div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
