"""A split answer on the page: each organisation's own answer, the joint one, the film under Grad-CAM, what crossed.

Belongs here: HTML of these parts; text is escaped. Does not belong here: what the numbers mean
(`mm_assets.cloud_vision`), banner and footer (`origin.py`).
"""

from html import escape

from mm_assets.cloud_vision.case import (
    EMBEDDING_WAY,
    GRADIENT_WAY,
    SplitCase,
    SplitExplanation,
    SplitPrediction,
)
from mm_assets.cloud_vision.schema import Organisation
from ui.pages.components import origin
from ui.pages.components.bars import share_bars
from ui.pages.components.figure import figure, heat, plate
from ui.pages.components.notices import notice_list

PREVIEW_HEIGHT_PX, PICTURE_HEIGHT_PX = 220, 460
ORGANISATION_NAMES: dict[Organisation, str] = {"org2": "Organisation 2", "org3": "Organisation 3"}
_CAUTION = {"synthetic_model", "synthetic_tables"}
_TITLES = {
    "synthetic_model": "Trained on synthetic films.",
    "synthetic_tables": "Trained on made-up features.",
    "uncommon_value": "Uncommon value.",
}


def waiting() -> str:
    """Stands where the joint answer will be."""
    return (
        '<div class="mm-empty">Choose an example, or add an X-ray and the feature values that are known, then press '
        "<strong>Answer together</strong>.</div>"
    )


def notices(answer: SplitPrediction) -> str:
    """The warnings of an answer, then what was not sent."""
    names = ", ".join(answer.missing)
    missing = f"No value of {names}: the median of the train rows stands in." if names else ""
    return notice_list(answer.warnings, _TITLES, _CAUTION, missing)


def joint(answer: SplitPrediction, truth: str | None) -> str:
    """The class that was answered, its probabilities, and the true class where it is known."""
    known = ""
    if truth is not None:
        word = "is the true class" if truth == answer.label else f"the true class is {truth}"
        known = f'<span class="mm-truth{"" if truth == answer.label else " wrong"}">{escape(word)}</span>'
    return (
        f'<p class="mm-joint"><strong>{escape(answer.label)}</strong> {known}</p>'
        f"{share_bars(answer.probabilities)}{_held_out(answer.held_out['joint'], 'Both together')}"
    )


def alone(answer: SplitPrediction, party: Organisation) -> str:
    """What an organisation would say by itself."""
    return (
        f'<h3 class="mm-alone">Its answer alone</h3>{share_bars(answer.alone[party])}'
        f"{_held_out(answer.held_out[party], f'{ORGANISATION_NAMES[party]} alone')}"
    )


def preview(jpeg: bytes, width: int, height: int) -> str:
    """The uploaded film in its own proportions."""
    return figure(jpeg, "X-ray", f"{width} × {height} pixels", width / height, PREVIEW_HEIGHT_PX)


def film(explanation: SplitExplanation, answer: SplitPrediction, case: SplitCase, opacity: float) -> str:
    """The film under Grad-CAM, ``opacity`` 0 to 100, and the outline of the true lesion where it is known."""
    from mm_assets.cloud_vision.explain import grad_cam_png, outline_png

    name = explanation.label
    over = heat(grad_cam_png(explanation.grad_cam), f"Grad-CAM: parts of the film that spoke for {name}", opacity)
    if explanation.mask is not None:
        over += plate(outline_png(explanation.mask), "Outline of the true lesion")
    ratio = explanation.width / explanation.height
    caption = f"Orange: what on the film spoke for {escape(name)}. It shows influence, not disease."
    if explanation.mask is not None:
        caption += " Cyan: the true lesion."
    return (
        f"{figure(explanation.film, 'X-ray', caption, ratio, PICTURE_HEIGHT_PX, over)}"
        f'<p class="mm-hint">{_in_lesion(explanation, answer, case)}</p>'
    )


def _in_lesion(explanation: SplitExplanation, answer: SplitPrediction, case: SplitCase) -> str:
    told = "" if explanation.grad_cam.any() else f"Nothing on the film spoke for {escape(answer.label)}. "
    if answer.in_lesion is not None and answer.lesion_share is not None:
        return (
            f"{told}<strong>{answer.in_lesion:.0%}</strong> of the map lies inside the true lesion, which covers "
            f"{answer.lesion_share:.0%} of the film: so much of it would an even map have."
        )
    if case.mask is None and case.label is not None:
        return f"{told}There is no lesion on this film."
    return f"{told}Where a lesion is on this film is not known." if case.mask is None else told


def crossed(answer: SplitPrediction, film_bytes: int) -> str:
    """The messages between the organisations, beside what stayed where it was."""
    rows = [
        ("Organisation 3 → 2", "embedding of its film and features", answer.crossed[EMBEDDING_WAY]),
        ("Organisation 2 → 3", "gradient of the answer, for Grad-CAM alone", answer.crossed[GRADIENT_WAY]),
    ]
    body = "".join(
        f'<tr><th scope="row" class="name">{way}</th><td>{what}</td><td class="number">{size:,} bytes</td></tr>'
        for way, what, size in rows
    )
    return (
        f'<div class="mm-scroll"><table class="mm-findings"><tbody>{body}</tbody></table></div>'
        f'<p class="mm-hint">The film of {film_bytes:,} bytes and the features stayed where they are.</p>'
    )


def leak(answer: SplitPrediction) -> str:
    """What the audit found."""
    return (
        f'<div class="mm-notice"><strong>What leaks.</strong> {escape(answer.leak)}</div>'
        '<p class="mm-hint">Measured by sorting the gradients of a training; see the model card.</p>'
    )


def quality(answer: SplitPrediction) -> dict[str, str]:
    """What the footer says of the model beside its origin."""
    found = answer.provenance
    return {found.metric or "Quality": origin.measured(found.value, found.low, found.high)}


def _held_out(accuracy: float, who: str) -> str:
    return f'<p class="mm-hint">{who}: right on {accuracy:.0%} of the test records.</p>'
