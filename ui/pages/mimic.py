"""The tab *Chest X-ray*: a case goes in, an answer comes out with its reasons and its origin.

Belongs here: inputs, events and the order of the results: notices, findings, heat-map, contributions,
passages, provenance. Does not belong here: HTML of each part (`components`), answers (`mm_assets.mimic`).
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import gradio as gr
from pydantic import ValidationError

from mm_assets.mimic.case import (
    FIELD_NAMES,
    MODALITY_NAMES,
    ChestCase,
    Explanation,
    Modality,
    Prediction,
    Predictor,
)
from mm_assets.records.images import stored_image
from ui.pages.components import chest, film, findings, origin, reasons
from ui.pages.components.errors import fields_toast, safely
from ui.pages.components.events import FORGET_AFTER_S, PRIVATE, QUEUED, QUICK, Answering, AnswerPlace, on_upload
from ui.pages.components.figure import fade_js
from ui.pages.components.released_head import example_of, predictor_of, released_head
from ui.released import ReleasedModel

PREVIEW_PX = 518
UNKNOWN = "unknown"
NUMBERS = {
    "age": "Age, years",
    "heartrate": "Heart rate, /min",
    "resprate": "Resp. rate, /min",
    "sbp": "Systolic, mmHg",
    "dbp": "Diastolic, mmHg",
    "o2sat": "SpO₂, %",
    "temperature": "Temp., °F or °C",
    "pain": "Pain, 0 to 10",
    "acuity": "Acuity, ESI 1 to 5",
    "minutes_since_arrival": "Min. since arrival",
}
CHOICES = ("view", "sex", "arrived_by_ambulance")


@dataclass(frozen=True)
class Reading:
    """What is on the screen: kept so that another label or a left-out modality needs no new upload."""

    case: ChestCase
    prediction: Prediction
    explanation: Explanation | None
    left_out: tuple[Modality, ...]


@dataclass(frozen=True)
class Outputs:
    """The right-hand column, from top to bottom."""

    empty: gr.HTML
    panel: gr.Column
    notices: gr.HTML
    findings: gr.HTML
    label: gr.Dropdown
    opacity: gr.Slider
    heat: gr.HTML
    parts: gr.HTML
    leave_out: gr.CheckboxGroup
    passages: gr.HTML
    provenance: gr.HTML

    @property
    def drawn(self) -> list[gr.HTML]:
        """What `_drawn` fills, in its order."""
        return [self.notices, self.findings, self.heat, self.parts, self.passages, self.provenance]


def page(blocks: gr.Blocks, released: ReleasedModel[Predictor]) -> None:
    """Build the tab inside the current Blocks context."""
    film_bytes = gr.State(None, time_to_live=FORGET_AFTER_S)
    reading = gr.State(None, time_to_live=FORGET_AFTER_S)

    examples = released_head(blocks, released, "chest", "Example cases", button_px=220)
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=320):
            upload, preview, fields = _inputs()
            with gr.Row():
                clear = gr.Button("Clear", elem_id="chest-clear", scale=1, min_width=100)
                read = gr.Button("Read", variant="primary", elem_id="chest-read", scale=3, min_width=160)
        with gr.Column(scale=6, min_width=360):
            shown = _outputs()

    form = list(fields.values())
    place = AnswerPlace(shown.drawn, shown.panel, shown.empty)
    case_inputs = [film_bytes, preview, upload, *form]

    @safely
    def on_film(data: bytes | None) -> tuple[bytes | None, str]:
        return data, _preview(data)

    @safely
    def on_read(film_data: bytes | None, opacity: float, *values: Any) -> list[Any]:
        case = _case(film_data, dict(zip(fields, values)))
        kept = _read(released, case, ())
        findings_now = kept.prediction.findings
        strongest = max(findings_now, key=lambda finding: (finding.positive, finding.probability)).label
        return [
            *place.filled(_drawn(kept, strongest, opacity)),
            kept,
            gr.update(choices=[finding.label for finding in findings_now], value=strongest),
            gr.update(
                choices=[(MODALITY_NAMES[name].capitalize(), name) for name in case.modalities()],
                value=[],
                visible=len(case.modalities()) > 1,
            ),
        ]

    @safely
    def on_leave_out(kept: Reading | None, left_out: list[Modality], label: str, opacity: float) -> list[Any]:
        if kept is None:
            return [gr.skip()] * (1 + len(shown.drawn))
        again = _read(released, kept.case, left_out)
        return [again, *_drawn(again, label, opacity)]

    def read_before(kept: Reading | None) -> Any:
        """The ticks of the answer that stays where another was refused, as when every box is ticked."""
        return gr.skip() if kept is None else list(kept.left_out)

    @safely
    def on_label(kept: Reading | None, label: str, opacity: float) -> tuple[Any, Any]:
        if kept is None:
            return gr.skip(), gr.skip()
        return _heat(kept, label, opacity), reasons.contributions_chart(kept.prediction.contributions, label)

    @safely
    def on_example(number: int) -> list[Any]:
        case: ChestCase = example_of(released, number)
        return [case.image, _preview(case.image), None, *(_field_value(case, name) for name in fields)]

    def no_film() -> list[Any]:
        return [None, "", None]

    def on_clear() -> list[Any]:
        return [None, "", None, *(_field_value(ChestCase(), name) for name in fields), None]

    whole_answer = [*place.blocks, reading, shown.label, shown.leave_out]
    answering = Answering(on_read, [film_bytes, shown.opacity, *form], whole_answer, place)
    answering.after(read.click)
    answering.after_examples(examples, on_example, case_inputs)
    again = shown.leave_out.input(
        on_leave_out, [reading, shown.leave_out, shown.label, shown.opacity], [reading, *shown.drawn],
        trigger_mode="always_last", **QUEUED,
    )  # fmt: skip
    again.failure(read_before, reading, shown.leave_out, **QUICK)
    answering.emptied_by([upload.upload, upload.clear, clear.click, *(field.input for field in form)], again)
    on_upload(upload, on_film, [film_bytes, preview], no_film, [film_bytes, preview, reading])
    clear.click(on_clear, None, [*case_inputs, reading], **QUICK)
    shown.label.input(on_label, [reading, shown.label, shown.opacity], [shown.heat, shown.parts], **PRIVATE)
    shown.opacity.input(None, shown.opacity, None, js=fade_js("chest-heat"), **PRIVATE)


def _inputs() -> tuple[gr.File, gr.HTML, dict[str, gr.Radio | gr.Textbox]]:
    """Upload, preview, and the fields by the names of `ChestCase`."""
    unknown = ("unknown", UNKNOWN)
    fields: dict[str, gr.Radio | gr.Textbox] = {}
    gr.HTML('<h2 class="mm-section">Film</h2>')
    # No file_types: films often come without an extension, and the bytes decide.
    upload = gr.File(
        label="Frontal chest film: JPEG, PNG or DICOM, 8 or 16 bit",
        type="binary",
        height=150,
        elem_id="chest-upload",
        elem_classes="mm-upload",
    )
    preview = gr.HTML("", elem_id="chest-preview")
    fields["view"] = gr.Radio(["PA", "AP", unknown], value=UNKNOWN, label="Projection", elem_id="chest-view")
    gr.HTML('<h2 class="mm-section">Note at arrival</h2>')
    fields["complaint"] = gr.Textbox(
        label="Chief complaint",
        placeholder="shortness of breath, cough",
        max_length=500,
        elem_id="chest-complaint",
    )
    fields["history"] = gr.Textbox(
        label="Medicines and history", lines=2, max_lines=8, max_length=5000, elem_id="chest-history"
    )
    gr.HTML('<h2 class="mm-section">Patient and vital signs</h2><p class="mm-hint">Leave empty what is not known.</p>')
    with gr.Row():
        fields["sex"] = gr.Radio(
            [("female", "F"), ("male", "M"), unknown],
            value=UNKNOWN,
            label="Sex",
            min_width=260,
            elem_id="chest-sex",
        )
        fields["arrived_by_ambulance"] = gr.Radio(
            ["yes", "no", unknown],
            value=UNKNOWN,
            label="Came by ambulance",
            min_width=220,
            elem_id="chest-ambulance",
        )
    # Text, not gr.Number: that one shows 0 for "not given", and the mouse wheel changes it unseen.
    with gr.Row(elem_id="chest-numbers"):
        for name, label in NUMBERS.items():
            fields[name] = gr.Textbox(
                label=label,
                max_lines=1,
                max_length=12,
                min_width=120,
                elem_id=f"chest-{name.replace('_', '-')}",
            )
    return upload, preview, fields


def _outputs() -> Outputs:
    empty = gr.HTML(chest.waiting(), elem_id="chest-empty")
    with gr.Column(visible=False, elem_id="chest-answer") as panel:
        warned = gr.HTML(elem_id="chest-notices")
        gr.HTML('<h2 class="mm-section">Findings</h2>')
        table = gr.HTML(elem_id="chest-findings")
        gr.HTML('<h2 class="mm-section">Why</h2>')
        with gr.Row():
            label = gr.Dropdown([], label="Label to explain", min_width=260, elem_id="chest-label")
            opacity = gr.Slider(
                0, 100, value=55, step=5, label="Opacity of the heat-map, %", min_width=260, buttons=[],
                elem_id="chest-opacity",
            )  # fmt: skip
        with gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=300):
                heat = gr.HTML(elem_id="chest-heat")
            with gr.Column(scale=2, min_width=260):
                parts = gr.HTML(elem_id="chest-parts")
                leave_out = gr.CheckboxGroup([], label="Leave out and read again", elem_id="chest-leave-out")
        gr.HTML('<h2 class="mm-section">Retrieved passages</h2>')
        passages = gr.HTML(elem_id="chest-passages")
        provenance = gr.HTML(elem_id="chest-provenance")
    return Outputs(empty, panel, warned, table, label, opacity, heat, parts, leave_out, passages, provenance)


def _case(film_data: bytes | None, values: dict[str, Any]) -> ChestCase:
    """The form as a case; a field out of range is a toast that names it."""
    given: dict[str, Any] = {}
    for name, value in values.items():
        text = str(value or "").strip()
        if text and not (name in CHOICES and text == UNKNOWN):
            # A decimal comma is common where Celsius is.
            given[name] = text.replace(",", ".") if name in NUMBERS else text
    try:
        return ChestCase(image=film_data, **given)
    except ValidationError as error:
        raise fields_toast(error, FIELD_NAMES) from None


def _field_value(case: ChestCase, name: str) -> str:
    """What the form shows for a field of a case."""
    value = getattr(case, name)
    if name in CHOICES:
        return {None: UNKNOWN, True: "yes", False: "no"}.get(value, value)
    return "" if value is None else f"{value:g}" if name in NUMBERS else value


def _preview(film_data: bytes | None) -> str:
    if film_data is None:
        return ""
    stored = stored_image(film_data, PREVIEW_PX)
    return film.preview(stored.jpeg, stored.width, stored.height)


def _read(released: ReleasedModel[Predictor], case: ChestCase, left_out: Collection[Modality]) -> Reading:
    predictor = predictor_of(released)
    return Reading(case, predictor.predict(case, left_out), predictor.explain(case, left_out), tuple(left_out))


def _drawn(kept: Reading, label: str, opacity: float) -> list[str]:
    answer = kept.prediction
    return [
        chest.notices(answer.warnings),
        findings.findings_table(answer.findings, answer.interval),
        _heat(kept, label, opacity),
        reasons.contributions_chart(answer.contributions, label),
        reasons.passages_list(answer.passages),
        origin.footer(answer.provenance, chest.quality(answer)),
    ]


def _heat(kept: Reading, label: str, opacity: float) -> str:
    if kept.explanation is None:
        return film.no_film()
    return film.heat_map(kept.explanation, label, opacity)
