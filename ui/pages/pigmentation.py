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
from ui.pages.components.events import FORGET_AFTER_S, PRIVATE, QUEUED, QUICK, Answering, AnswerPlace, on_upload
from ui.pages.components.figure import fade_js
from ui.pages.components.released_head import example_of, predictor_of, released_head
from ui.released import ReleasedModel

LABELS = {
    "clinical": "Clinical photograph: JPEG, PNG or BMP (required)",
    "dermoscopy": "Dermoscopy: JPEG, PNG or BMP",
    "multispectral": "Multispectral cube: .npz with cube and wavelengths_nm",
}


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
    files = {name: gr.State(None, time_to_live=FORGET_AFTER_S) for name in MODALITIES}
    reading = gr.State(None, time_to_live=FORGET_AFTER_S)

    examples = released_head(
        blocks, released, "skin", "Example lesions", button_px=150, notes=lambda reader: reader.notes
    )
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=320):
            uploads, previews = _inputs()
            with gr.Row():
                clear = gr.Button("Clear", elem_id="skin-clear", scale=1, min_width=100)
                assess = gr.Button("Assess", variant="primary", elem_id="skin-assess", scale=3, min_width=160)
        with gr.Column(scale=6, min_width=360):
            shown = _outputs()

    place = AnswerPlace(shown.drawn, shown.panel, shown.empty)
    held, seen, offered = list(files.values()), list(previews.values()), list(uploads.values())

    @safely
    def on_image(name: str, data: bytes | None) -> tuple[bytes | None, str]:
        return data, _preview(released, name, data)

    @safely
    def on_assess(opacity: float, *data: bytes | None) -> list[Any]:
        given: dict[str, Any] = dict(zip(MODALITIES, data, strict=True))
        if given[REQUIRED_MODALITY] is None:
            raise toast("Add a clinical photograph: the other images are read beside it.")
        kept = _read(released, SkinCase(**given), ())
        others = [name for name in kept.prediction.modalities if name != REQUIRED_MODALITY]
        return [
            *place.filled(_drawn(kept, opacity)),
            kept,
            gr.update(
                choices=[(MODALITY_NAMES.get(name, name).capitalize(), name) for name in others],
                value=[],
                visible=bool(others),
            ),
        ]

    @safely
    def on_leave_out(kept: Reading | None, left_out: list[str], opacity: float) -> list[Any]:
        if kept is None:
            return [gr.skip()] * (1 + len(shown.drawn))
        again = _read(released, kept.case, left_out)
        return [again, *_drawn(again, opacity)]

    def read_before(kept: Reading | None) -> Any:
        """The ticks of the answer that stays where another failed."""
        return gr.skip() if kept is None else list(kept.left_out)

    @safely
    def on_example(number: int) -> list[Any]:
        images = example_of(released, number).images()
        data = [images.get(name) for name in MODALITIES]
        return [
            *data,
            *(_preview(released, name, part) for name, part in zip(MODALITIES, data, strict=True)),
            *[None] * len(MODALITIES),
        ]

    def no_image() -> list[Any]:
        return [None, "", None]

    def on_clear() -> list[Any]:
        return [*[None] * len(held), *[""] * len(seen), *[None] * len(offered), None]

    case_inputs = [*held, *seen, *offered]

    whole_answer = [*place.blocks, reading, shown.leave_out]
    answering = Answering(on_assess, [shown.opacity, *held], whole_answer, place)
    answering.after(assess.click)
    answering.after_examples(examples, on_example, case_inputs)
    again = shown.leave_out.input(
        on_leave_out, [reading, shown.leave_out, shown.opacity], [reading, *shown.drawn],
        trigger_mode="always_last", **QUEUED,
    )  # fmt: skip
    again.failure(read_before, reading, shown.leave_out, **QUICK)
    changed = [trigger for upload in uploads.values() for trigger in (upload.upload, upload.clear)]
    answering.emptied_by([*changed, clear.click], again)
    for name in MODALITIES:
        kept = [files[name], previews[name]]
        on_upload(uploads[name], partial(on_image, name), kept, no_image, [*kept, reading])
    clear.click(on_clear, None, [*case_inputs, reading], **QUICK)
    shown.opacity.input(None, shown.opacity, None, js=fade_js("skin-maps"), **PRIVATE)


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
    if data is None:
        return ""
    return lesion.preview(predictor_of(released).picture(name, data))


def _read(released: ReleasedModel[SkinReader], case: SkinCase, left_out: Collection[str]) -> Reading:
    return Reading(case, *predictor_of(released).explained(case, left_out), tuple(left_out))


def _drawn(kept: Reading, opacity: float) -> list[str]:
    answer = kept.prediction
    return [
        lesion.notices(answer.warnings, [name for name in answer.missing if name not in kept.left_out]),
        lesion.dial(answer),
        lesion.changes(answer),
        lesion.maps(kept.explanation, answer.attention_mass, opacity),
        origin.footer(answer.provenance, lesion.quality(answer)),
    ]
