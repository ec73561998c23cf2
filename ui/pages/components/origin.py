"""Which model answers, above and below every tab.

Belongs here: HTML of the banner over a page and of the provenance under an answer; all text is escaped.
Does not belong here: what only one wing's answers have.
"""

from collections.abc import Mapping
from html import escape

from mm_assets.learning.provenance import Origin


def banner(wing: str, origin: Origin | None, last_error: str | None) -> str:
    """One line above the page: which model answers, or how to get one."""
    if origin is None:
        text = (
            f"<strong>No model is released yet.</strong> Run <code>mm demo --wing {escape(wing)}</code>; "
            "this page notices it by itself."
        )
    else:
        model = f"Model <strong>{escape(origin.model_version)}</strong>"
        text = f"{model}, trained on <strong>{escape(origin.trained_on)}</strong>. {escape(origin.disclaimer)}"
    if last_error:
        text += f" <br>{escape(last_error)}"
    return f'<div class="mm-banner" role="status">{text}</div>'


def looking() -> str:
    """The banner until it is known whether there is a model, and while the first one is being loaded."""
    return '<div class="mm-banner" role="status">Loading the released model …</div>'


def measured(value: float | None, low: float | None, high: float | None) -> str:
    """`0.812 (95 % interval 0.790 – 0.830)`, or that nothing was measured."""
    if value is None:
        return "not measured"
    interval = "" if low is None or high is None else f" (95 % interval {low:.3f} – {high:.3f})"
    return f"{value:.3f}{interval}"


def footer(origin: Origin, quality: Mapping[str, str]) -> str:
    """Model, run, data and quality (name -> text) under every answer."""
    facts = {
        "Model version": origin.model_version,
        "Run": origin.run_id or "unknown",
        "Data version": origin.data_version,
        **quality,
        "Trained on": origin.trained_on,
    }
    pairs = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    return f'<footer class="mm-provenance"><dl>{pairs}</dl><p>{escape(origin.disclaimer)}</p></footer>'
