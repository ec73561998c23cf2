"""A picture on the page with something laid over it that a slider fades.

Belongs here: HTML of a picture, its caption and its overlay, all inside the page, so that no image is written to a
cache of it. Does not belong here: which picture of which wing, and what the overlay means.
"""

import base64
from html import escape


def figure(jpeg: bytes, alt: str, caption: str, ratio: float, tall_px: int, over: str = "") -> str:
    """A JPEG in its own proportions, at most ``tall_px`` tall; ``ratio``: width over height of the original.

    ``caption`` and ``over`` are HTML, ``alt`` is text. Stored pictures are square: stretching them back shows the
    original, and what lies over them stays aligned.
    """
    return (
        f'<figure class="mm-film"><div class="frame" '
        f'style="aspect-ratio:{ratio:.4f};max-width:min(100%,{tall_px * ratio:.0f}px)">'
        f'<img src="{_data_uri(jpeg, "image/jpeg")}" alt="{escape(alt, quote=True)}">{over}</div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def heat(png: bytes, alt: str, opacity: float) -> str:
    """A transparent PNG over a picture that a slider fades; ``opacity`` 0 to 100."""
    return _over(png, alt, f'class="heat" style="opacity:{opacity / 100:.2f}"')


def plate(png: bytes, alt: str) -> str:
    """A transparent PNG over a picture that stays."""
    return _over(png, alt, 'class="plate"')


def fade_js(elem_id: str) -> str:
    """A slider's handler that fades what lies over the pictures of an element, in the browser: no answer of the server
    is needed for it."""
    return (
        f"(value) => {{ document.querySelectorAll('#{elem_id} .heat')"
        ".forEach((map) => { map.style.opacity = value / 100; }); return value; }"
    )


def _over(png: bytes, alt: str, attributes: str) -> str:
    return f'<img {attributes} src="{_data_uri(png, "image/png")}" alt="{escape(alt, quote=True)}">'


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
