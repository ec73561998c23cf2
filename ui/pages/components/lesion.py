"""A skin answer on the page: dial, notices, what each image changed, and the images under the model's attention.

Belongs here: HTML with drawing inside it; text is escaped. Does not belong here: what the numbers mean
(`mm_assets.pigmentation`), banner and footer (`origin.py`).
"""

import math
from collections.abc import Mapping, Sequence
from html import escape

from mm_assets.pigmentation.case import MODALITY_NAMES, CaseWarning, Picture, SkinExplanation, SkinPrediction
from mm_assets.pigmentation.schema import NO_MODALITY
from ui.pages.components import origin
from ui.pages.components.bars import change_bars
from ui.pages.components.figure import figure, heat
from ui.pages.components.notices import notice_list

PREVIEW_HEIGHT_PX, PICTURE_HEIGHT_PX = 170, 260
_CAUTION = {"synthetic_model", "derived_labels", "no_skin", "too_dark", "too_bright"}
_TITLES = {
    "synthetic_model": "Trained on synthetic images.",
    "derived_labels": "Trained on derived labels.",
    "left_out": "Left out on request.",
    "colour_profile": "Colours uncertain.",
    "blurred": "Blurred.",
    "too_dark": "Too dark.",
    "too_bright": "Too bright.",
    "no_skin": "Not like skin.",
}
_CENTRE, _RADIUS = (130.0, 122.0), 100.0


def waiting() -> str:
    """Stands where the answer will be."""
    return (
        '<div class="mm-empty">Choose an example, or add a clinical photograph, then press '
        "<strong>Assess</strong>. Dermoscopy and multispectral image are optional.</div>"
    )


def dial(answer: SkinPrediction) -> str:
    """Half a circle from 0 to 1: the classes as an arc, the interval inside it, a needle at the score."""
    mild, moderate = answer.thresholds["mild"], answer.thresholds["moderate"]
    arcs = "".join(
        _arc(low, high, _RADIUS, 18, kind)
        for low, high, kind in ((0, mild, "mild"), (mild, moderate, "moderate"), (moderate, 1, "severe"))
    )
    interval, spoken = "", "no interval"
    if answer.interval_low is not None and answer.interval_high is not None:
        interval = _arc(answer.interval_low, answer.interval_high, _RADIUS - 20, 6, "interval")
        spoken = f"interval {answer.interval_low:.3f} to {answer.interval_high:.3f}"
    (tip_x, tip_y), (x, y) = _at(answer.score, _RADIUS - 6), _CENTRE
    needle = f'<line class="needle" x1="{x}" y1="{y}" x2="{tip_x:.1f}" y2="{tip_y:.1f}"/>'
    ticks = "".join(_tick(value) for value in (0.0, mild, moderate, 1.0))
    label = escape(f"Score {answer.score:.3f} of 1, {answer.severity}, {spoken}", quote=True)
    return (
        f'<div class="mm-dial"><svg viewBox="0 0 260 146" role="img" aria-label="{label}">{arcs}{interval}{ticks}'
        f'{needle}<circle class="hub" cx="{x}" cy="{y}" r="6"/></svg>'
        f'<div class="mm-dial-text"><p class="score">{answer.score:.3f}</p>'
        f'<p class="severity {answer.severity.lower()}">{answer.severity}</p>'
        f'<p class="mm-hint">{_interval(answer)}</p>'
        f'<p class="mm-hint">Mild up to {mild:g}, Moderate up to {moderate:g}, Severe above.</p></div></div>'
    )


def _interval(answer: SkinPrediction) -> str:
    if answer.interval_low is None or answer.interval_high is None:
        return f"Interval {escape(answer.interval)}."
    return f"{answer.interval_low:.3f} – {answer.interval_high:.3f}<br>{escape(answer.interval)}"


def _at(value: float, radius: float) -> tuple[float, float]:
    angle = math.pi * (1 - value)
    return _CENTRE[0] + radius * math.cos(angle), _CENTRE[1] - radius * math.sin(angle)


def _arc(low: float, high: float, radius: float, width: float, kind: str) -> str:
    (x0, y0), (x1, y1) = _at(low, radius), _at(high, radius)
    return (
        f'<path class="{kind}" d="M{x0:.1f} {y0:.1f}A{radius:g} {radius:g} 0 0 1 {x1:.1f} {y1:.1f}" '
        f'stroke-width="{width:g}" fill="none"/>'
    )


def _tick(value: float) -> str:
    x, y = _at(value, _RADIUS + 16)
    # Beside the arc a label grows away from it; only near the top does it fit centred.
    aside = x - _CENTRE[0]
    anchor = "middle" if abs(aside) < 20 else "start" if aside > 0 else "end"
    return f'<text x="{x:.1f}" y="{y + 3:.1f}" text-anchor="{anchor}">{value:g}</text>'


def notices(warnings: Sequence[CaseWarning], not_sent: Sequence[str]) -> str:
    """The warnings of an answer, most serious first, then what was not sent; what was left out is a warning."""
    names = " or ".join(MODALITY_NAMES.get(name, name) for name in not_sent)
    return notice_list(warnings, _TITLES, _CAUTION, f"No {names}; the answer rests on the rest." if names else "")


def changes(answer: SkinPrediction) -> str:
    """One bar per optional image: the score minus what it would be without that image."""
    if not answer.without:
        return '<p class="mm-hint">Only the clinical photograph was read, so there is nothing to compare.</p>'
    rows = [
        (MODALITY_NAMES.get(name, name).capitalize(), answer.score - without, _told(answer.score - without, without))
        for name, without in answer.without.items()
    ]
    return f'<p class="mm-hint">How much each image moved the score, found by leaving it out.</p>{change_bars(rows)}'


def _told(change: float, without: float) -> str:
    return f"{'+' if change >= 0 else '−'}{abs(change):.3f} (without: {without:.3f})"


def maps(explanation: SkinExplanation, mass: Mapping[str, float], opacity: float) -> str:
    """The images side by side, each under its attention; ``opacity`` 0 to 100."""
    figures = "".join(_attended(picture, explanation, mass, opacity) for picture in explanation.pictures)
    none = mass.get(NO_MODALITY, 0.0)
    rest = (
        f"<br>The other {none:.0%} of the attention rests on no image: a learned null token takes it."
        if none > 0.01
        else ""
    )
    return (
        f'<div class="mm-pictures">{figures}</div><p class="mm-hint">Blue: places that got more than an even share '
        "of the attention, on one scale for all images; without blue, it was spread evenly. It shows attention, not "
        f"disease.{rest}</p>"
    )


def _attended(picture: Picture, explanation: SkinExplanation, mass: Mapping[str, float], opacity: float) -> str:
    from mm_assets.pigmentation.explain import attention_png

    name = MODALITY_NAMES.get(picture.modality, picture.modality)
    over = ""
    if picture.attention is not None:
        source = attention_png(picture.attention, explanation.even, explanation.full)
        over = heat(source, f"Attention of the model on the {name}", opacity)
    share = mass.get(picture.modality)
    told = "" if share is None else f", {share:.0%} of the attention"
    return _figure(picture, f"{name.capitalize()}{told}", PICTURE_HEIGHT_PX, over)


def preview(picture: Picture) -> str:
    """An uploaded image as it will be read, in its own proportions."""
    return _figure(picture, f"{picture.width} × {picture.height} pixels", PREVIEW_HEIGHT_PX)


def quality(answer: SkinPrediction) -> dict[str, str]:
    """What the footer says of the model beside its origin."""
    provenance = answer.provenance
    measured = origin.measured(provenance.value, provenance.low, provenance.high)
    return {provenance.metric or "Quality": measured, "Interval shown": answer.interval}


def _figure(picture: Picture, caption: str, tall_px: int, over: str = "") -> str:
    return figure(picture.jpeg, caption, escape(caption), picture.width / picture.height, tall_px, over)
