"""The tab *Skin pigmentation*: up to three images of a lesion go in, a score comes out with its reasons and origin.

Belongs here: inputs, events and the order of the results: notices, dial, what each image changed, attention,
provenance. Does not belong here: HTML of each part (`components`), answers (`mm_assets.pigmentation`).
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from mm_assets.pigmentation.case import MODALITY_NAMES, SkinCase, SkinExplanation, SkinPrediction, SkinReader
from mm_assets.pigmentation.schema import MODALITIES, REQUIRED_MODALITY
from ui.pages.components import lesion, origin
from ui.pages.components.errors import safely, toast
from ui.released import ReleasedModel
from ui.routes.shared import not_released

EXAMPLES_SHOWN = 6
LOOK_EVERY_S = 5
FORGET_AFTER_S = 3600
LABELS = {
    "clinical": "Clinical photograph: JPEG, PNG or BMP (required)",
    "dermoscopy": "Dermoscopy: JPEG, PNG or BMP",
    "multispectral": "Multispectral cube: .npz with cube and wavelengths_nm",
}
MODEL = "model"  # one queue for everything that runs a model


@dataclass(frozen=True)
class Reading:
    """What is on the screen: kept so that a left-out image needs no new upload."""

    case: SkinCase
    prediction: SkinPrediction
    explanation: SkinExplanation
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Outputs:
    """The right-hand column, from top to bottom."""

    empty: gr.HTML
    panel: gr.Column
    notices: gr.HTML
    dial: gr.HTML
    changes: gr.HTML
    leave_out: gr.CheckboxGroup
    opacity: gr.Slider
    maps: gr.HTML
    provenance: gr.HTML

    @property
    def drawn(self) -> list[gr.HTML]:
        """What `_drawn` fills, in its order."""
        return [self.notices, self.dial, self.changes, self.maps, self.provenance]


def page(blocks: gr.Blocks, released: ReleasedModel[SkinReader]) -> None:
    """Build the tab inside the current Blocks context."""
    shown_state = gr.State("")
    files = {name: gr.State(None, time_to_live=FORGET_AFTER_S) for name in MODALITIES}
    reading = gr.State(None, time_to_live=FORGET_AFTER_S)

    banner = gr.HTML(origin.looking(), elem_id="skin-banner")
    examples = _example_buttons()
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=320):
            uploads, previews = _inputs()
            with gr.Row():
                clear = gr.Button("Clear", elem_id="skin-clear", scale=1, min_width=100)
                assess = gr.Button("Assess", variant="primary", elem_id="skin-assess", scale=3, min_width=160)
        with gr.Column(scale=6, min_width=360):
            shown = _outputs()

    answer = [reading, *shown.drawn]
    whole_answer = [*answer, shown.leave_out, shown.panel, shown.empty]
    held, seen, offered = list(files.values()), list(previews.values()), list(uploads.values())

    @safely
    def on_upload(name: str, data: bytes | None) -> tuple[bytes | None, str]:
        return data, _preview(released, name, data)

    @safely
    def on_assess(opacity: float, *data: bytes | None) -> list[Any]:
        given: dict[str, Any] = dict(zip(MODALITIES, data, strict=True))
        if given[REQUIRED_MODALITY] is None:
            raise toast("Add a clinical photograph: the other images are read beside it.")
        kept = _read(released, SkinCase(**given), ())
        others = [name for name in kept.prediction.modalities if name != REQUIRED_MODALITY]
        return [
            kept,
            *_drawn(kept, opacity),
            gr.update(
                choices=[(MODALITY_NAMES.get(name, name).capitalize(), name) for name in others],
                value=[],
                visible=bool(others),
            ),
            gr.update(visible=True),
            gr.update(visible=False),
        ]

    @safely
    def on_leave_out(kept: Reading | None, left_out: list[str], opacity: float) -> list[Any]:
        if kept is None:
            return [gr.skip()] * len(answer)
        again = _read(released, kept.case, left_out)
        return [again, *_drawn(again, opacity)]

    @safely
    def on_example(number: int) -> list[Any]:
        release = released.current
        if release is None or number >= len(release.predictor.examples):
            raise toast(not_released(released.wing))
        images = release.predictor.examples[number].case.images()
        data = [images.get(name) for name in MODALITIES]
        return [
            *data,
            *(_preview(released, name, part) for name, part in zip(MODALITIES, data, strict=True)),
            *[None] * len(MODALITIES),
        ]

    def on_look(shown_before: str) -> list[Any]:
        release = released.current
        # The error is part of what is shown: a broken release must appear although the version stays.
        now = f"{release.version if release else 'nothing'} {released.last_error or ''}"
        if now == shown_before:
            return [gr.skip()] * (2 + EXAMPLES_SHOWN)
        provenance = release.predictor.provenance if release else None
        told = " ".join([*(release.predictor.notes if release else ()), released.last_error or ""]).strip()
        titles = [example.title for example in release.predictor.examples] if release else []
        buttons = [
            gr.update(value=titles[i], visible=True) if i < len(titles) else gr.update(visible=False)
            for i in range(EXAMPLES_SHOWN)
        ]
        return [now, origin.banner(released.wing, provenance, told or None), *buttons]

    def no_answer() -> list[Any]:
        """An answer never stays beside images that it does not belong to."""
        return [None, *[""] * len(shown.drawn), gr.skip(), gr.update(visible=False), gr.update(visible=True)]

    def no_image() -> list[Any]:
        return [None, "", *no_answer()]

    def on_clear() -> list[Any]:
        return [*[None] * len(held), *[""] * len(seen), *[None] * len(offered), *no_answer()]

    model: dict[str, Any] = {"concurrency_id": MODEL, "concurrency_limit": 1, "api_visibility": "private"}
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    private: dict[str, Any] = {"api_visibility": "private"}
    read_inputs = [shown.opacity, *held]
    case_inputs = [*held, *seen, *offered]

    for name in MODALITIES:
        emptied = [files[name], previews[name], *whole_answer]
        uploads[name].upload(no_image, None, emptied, **quick).success(
            partial(on_upload, name), uploads[name], [files[name], previews[name]], **private
        ).failure(lambda: None, None, uploads[name], **quick)
        uploads[name].clear(no_image, None, emptied, **quick)
    assess.click(on_assess, read_inputs, whole_answer, **model).failure(no_answer, None, whole_answer, **quick)
    for number, button in enumerate(examples):
        button.click(partial(on_example, number), None, case_inputs, **private).success(
            on_assess, read_inputs, whole_answer, **model
        ).failure(no_answer, None, whole_answer, **quick)
    clear.click(on_clear, None, [*case_inputs, *whole_answer], **quick)
    shown.leave_out.input(on_leave_out, [reading, shown.leave_out, shown.opacity], answer, **model)
    shown.opacity.input(None, shown.opacity, None, js=lesion.FADE_JS, **private)
    looked = [shown_state, banner, *examples]
    blocks.load(on_look, shown_state, looked, **quick)
    gr.Timer(LOOK_EVERY_S).tick(on_look, shown_state, looked, **quick)


def _example_buttons() -> list[gr.Button]:
    gr.HTML('<h2 class="mm-section">Example lesions</h2>')
    with gr.Row(elem_id="skin-examples"):
        return [
            gr.Button("Example", visible=False, size="md", min_width=150, elem_id=f"skin-example-{i}")
            for i in range(EXAMPLES_SHOWN)
        ]


def _inputs() -> tuple[dict[str, gr.File], dict[str, gr.HTML]]:
    """Uploads and previews by modality."""
    gr.HTML('<h2 class="mm-section">Images of one lesion</h2>')
    uploads, previews = {}, {}
    for name, label in LABELS.items():
        # No file_types: the bytes decide.
        uploads[name] = gr.File(
            label=label, type="binary", height=130, elem_id=f"skin-{name}", elem_classes="mm-upload"
        )
        previews[name] = gr.HTML("", elem_id=f"skin-{name}-preview")
    return uploads, previews


def _outputs() -> Outputs:
    empty = gr.HTML(lesion.waiting(), elem_id="skin-empty")
    with gr.Column(visible=False, elem_id="skin-answer") as panel:
        warned = gr.HTML(elem_id="skin-notices")
        gr.HTML('<h2 class="mm-section">Severity of pigmentation</h2>')
        dial = gr.HTML(elem_id="skin-dial")
        gr.HTML('<h2 class="mm-section">What each image changes</h2>')
        changes = gr.HTML(elem_id="skin-changes")
        leave_out = gr.CheckboxGroup([], label="Leave out and assess again", elem_id="skin-leave-out")
        gr.HTML('<h2 class="mm-section">Where the model looked</h2>')
        opacity = gr.Slider(
            0, 100, value=60, step=5, label="Opacity of the attention, %", buttons=[], elem_id="skin-opacity"
        )  # fmt: skip
        maps = gr.HTML(elem_id="skin-maps")
        provenance = gr.HTML(elem_id="skin-provenance")
    return Outputs(empty, panel, warned, dial, changes, leave_out, opacity, maps, provenance)


def _preview(released: ReleasedModel[SkinReader], name: str, data: bytes | None) -> str:
    """The image as the model will read it; raises UnusableImage, so that a bad file is told at once."""
    release = released.current
    if data is None:
        return ""
    if release is None:
        raise toast(not_released(released.wing), "No model yet")
    picture = release.predictor.picture(name, data)
    return "" if picture is None else lesion.preview(picture)


def _read(released: ReleasedModel[SkinReader], case: SkinCase, left_out: Collection[str]) -> Reading:
    release = released.current
    if release is None:
        raise toast(not_released(released.wing), "No model yet")
    prediction = release.predictor.predict(case, left_out)
    return Reading(case, prediction, release.predictor.explain(case, left_out), tuple(left_out))


def _drawn(kept: Reading, opacity: float) -> list[str]:
    answer = kept.prediction
    return [
        lesion.notices(answer.warnings, [name for name in answer.missing if name not in kept.left_out]),
        lesion.dial(answer),
        lesion.changes(answer),
        lesion.maps(kept.explanation, answer.attention_mass, opacity),
        origin.footer(answer.provenance, lesion.quality(answer)),
    ]
