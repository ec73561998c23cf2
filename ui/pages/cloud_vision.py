"""The tab *Split learning*: one record of two organisations goes in; each one's own answer and the joint one come out.

Belongs here: inputs by organisation, events and the order of the results: notices, answer, film, what crossed, what
leaks, provenance. Does not belong here: HTML of each part (`components`), answers (`mm_assets.cloud_vision`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from mm_assets.cloud_vision.case import SplitCase, SplitReader
from mm_assets.cloud_vision.schema import CLASSES, FEATURES, ORG2_FEATURES, ORG3_FEATURES, PATTERNS
from mm_assets.records.images import stored_image
from ui.pages.components import origin, split_view
from ui.pages.components.errors import safely, toast
from ui.pages.components.events import FORGET_AFTER_S, PRIVATE, QUICK, Answering, AnswerPlace, on_upload
from ui.pages.components.figure import fade_js
from ui.pages.components.released_head import example_of, predictor_of, released_head
from ui.released import ReleasedModel

PREVIEW_PX = 384
EXAMPLES = len(CLASSES) * len(PATTERNS)  # a record of each class with each film, also those that mislead


@dataclass(frozen=True)
class Inputs:
    """The left-hand column: what each organisation holds, and below it what it would say alone."""

    upload: gr.File
    preview: gr.HTML
    fields: Mapping[str, gr.Textbox]
    org2_alone: gr.HTML
    org3_alone: gr.HTML


@dataclass(frozen=True)
class Outputs:
    """The right-hand column, from top to bottom."""

    empty: gr.HTML
    panel: gr.Column
    notices: gr.HTML
    joint: gr.HTML
    opacity: gr.Slider
    film: gr.HTML
    crossed: gr.HTML
    leak: gr.HTML
    provenance: gr.HTML

    @property
    def drawn(self) -> list[gr.HTML]:
        """What `_drawn` fills behind the organisations' own answers, in its order."""
        return [self.notices, self.joint, self.film, self.crossed, self.leak, self.provenance]


def page(blocks: gr.Blocks, released: ReleasedModel[SplitReader]) -> None:
    """Build the tab inside the current Blocks context."""
    film_bytes = gr.State(None, time_to_live=FORGET_AFTER_S)
    chosen = gr.State(None, time_to_live=FORGET_AFTER_S)  # the example on the screen: only it has a known truth

    examples = released_head(blocks, released, "split", "Example records", button_px=200, examples=EXAMPLES)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=340):
            given = _inputs()
            with gr.Row():
                clear = gr.Button("Clear", elem_id="split-clear", scale=1, min_width=100)
                ask = gr.Button("Answer together", variant="primary", elem_id="split-ask", scale=3, min_width=160)
        with gr.Column(scale=6, min_width=360):
            shown = _outputs()

    form = list(given.fields.values())
    place = AnswerPlace([given.org2_alone, given.org3_alone, *shown.drawn], shown.panel, shown.empty)
    case_inputs = [film_bytes, given.preview, given.upload, chosen, *form]

    @safely
    def on_film(data: bytes | None) -> tuple[bytes | None, str]:
        return data, _preview(data)

    @safely
    def on_ask(data: bytes | None, example: SplitCase | None, opacity: float, *texts: str) -> list[Any]:
        reader = predictor_of(released)
        case = _with_truth(_case(data, texts), example)
        return place.filled(_drawn(reader, case, opacity))

    @safely
    def on_example(number: int) -> list[Any]:
        case: SplitCase = example_of(released, number)
        values = {**case.org2, **case.org3}
        return [case.xray, _preview(case.xray), None, case, *(_text(values.get(name)) for name in FEATURES)]

    def no_film() -> list[Any]:
        return [None, "", None]

    def on_clear() -> list[Any]:
        return [None, "", None, None, *[""] * len(form)]

    answering = Answering(on_ask, [film_bytes, chosen, shown.opacity, *form], place.blocks, place)
    answering.after(ask.click)
    answering.after_examples(examples, on_example, case_inputs)
    answering.emptied_by([given.upload.upload, given.upload.clear, clear.click, *(field.input for field in form)])
    on_upload(given.upload, on_film, [film_bytes, given.preview], no_film, [film_bytes, given.preview, chosen])
    clear.click(on_clear, None, case_inputs, **QUICK)
    shown.opacity.input(None, shown.opacity, None, js=fade_js("split-film"), **PRIVATE)


def _inputs() -> Inputs:
    fields: dict[str, gr.Textbox] = {}
    with gr.Column(elem_classes="mm-party", elem_id="split-org2"):
        gr.HTML('<h2 class="mm-section">Organisation 2: the label and five features</h2>')
        fields |= _fields(ORG2_FEATURES)
        org2_alone = gr.HTML(elem_id="split-org2-alone")
    with gr.Column(elem_classes="mm-party", elem_id="split-org3"):
        gr.HTML('<h2 class="mm-section">Organisation 3: the X-ray and five features</h2>')
        # No file_types: films often come without an extension, and the bytes decide.
        upload = gr.File(
            label="X-ray: JPEG, PNG or DICOM, 8 or 16 bit",
            type="binary",
            height=120,
            elem_id="split-upload",
            elem_classes="mm-upload",
        )
        preview = gr.HTML("", elem_id="split-preview")
        fields |= _fields(ORG3_FEATURES)
        org3_alone = gr.HTML(elem_id="split-org3-alone")
    return Inputs(upload, preview, fields, org2_alone, org3_alone)


def _fields(names: Sequence[str]) -> dict[str, gr.Textbox]:
    # Text, not gr.Number: that one shows 0 for "not given", and the mouse wheel changes it unseen.
    with gr.Row(elem_classes="mm-features"):
        return {
            name: gr.Textbox(label=name, max_lines=1, max_length=16, min_width=60, elem_id=f"split-{name}")
            for name in names
        }


def _outputs() -> Outputs:
    empty = gr.HTML(split_view.waiting(), elem_id="split-empty")
    with gr.Column(visible=False, elem_id="split-answer") as panel:
        notices = gr.HTML(elem_id="split-notices")
        gr.HTML('<h2 class="mm-section">Both together</h2>')
        joint = gr.HTML(elem_id="split-joint")
        gr.HTML('<h2 class="mm-section">Where on the film</h2>')
        opacity = gr.Slider(
            0, 100, value=60, step=5, label="Opacity of Grad-CAM, %", buttons=[], elem_id="split-opacity"
        )  # fmt: skip
        film = gr.HTML(elem_id="split-film")
        gr.HTML('<h2 class="mm-section">What crossed for this answer</h2>')
        crossed = gr.HTML(elem_id="split-crossed")
        leak = gr.HTML(elem_id="split-leak")
        provenance = gr.HTML(elem_id="split-provenance")
    return Outputs(empty, panel, notices, joint, opacity, film, crossed, leak, provenance)


def _drawn(reader: SplitReader, case: SplitCase, opacity: float) -> list[str]:
    answer, explanation = reader.explained(case)
    return [
        split_view.alone(answer, "org2"),
        split_view.alone(answer, "org3"),
        split_view.notices(answer),
        split_view.joint(answer, None if case.label is None else reader.labels[case.label]),
        split_view.film(explanation, answer, case, opacity),
        split_view.crossed(answer, len(case.xray)),
        split_view.leak(answer),
        origin.footer(answer.provenance, split_view.quality(answer)),
    ]


def _case(data: bytes | None, texts: Sequence[str]) -> SplitCase:
    """The form as a case; a field that is no number is a toast that names it."""
    if data is None:
        raise toast("Add an X-ray: organisation 3 has nothing to embed without one.")
    values = {name: _number(name, text) for name, text in zip(FEATURES, texts, strict=True)}
    org2, org3 = ({name: values[name] for name in names} for names in (ORG2_FEATURES, ORG3_FEATURES))
    return SplitCase(data, org2, org3)


def _with_truth(case: SplitCase, example: SplitCase | None) -> SplitCase:
    """The lesion is that of the film, the class that of the whole record: changed features have no known one."""
    if example is None:
        return case
    asked, known = {**case.org2, **case.org3}, {**example.org2, **example.org3}
    same = all(_text(asked[name]) == _text(known.get(name)) for name in FEATURES)
    return replace(case, mask=example.mask, label=example.label if same else None)


def _number(name: str, text: str) -> float | None:
    # A decimal comma is common in many languages.
    given = (text or "").strip().replace(",", ".").replace("−", "-")
    try:
        return float(given) if given else None
    except ValueError:
        raise toast(f"{name}: not a number. Leave it empty where it is not known.") from None


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _preview(data: bytes | None) -> str:
    if data is None:
        return ""
    stored = stored_image(data, PREVIEW_PX)
    return split_view.preview(stored.jpeg, stored.width, stored.height)
