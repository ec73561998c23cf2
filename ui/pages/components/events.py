"""How the events of every tab are wired: what runs the model waits in one queue, and no answer stays beside a case that
it does not belong to.

Belongs here: options of events, and their chains over upload, example and answer. Does not belong here: what a handler
does (each page).
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.events import Dependency

FORGET_AFTER_S = 3600  # what a page keeps of a case, for whoever has left it open
# One queue for everything that runs a model, whichever the tab.
QUEUED: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1, "api_visibility": "private"}
QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
PRIVATE: dict[str, Any] = {"api_visibility": "private"}

Handler = Callable[..., Any]


@dataclass(frozen=True)
class AnswerPlace:
    """Where an answer stands: its parts, the panel around them, and what stands there before it."""

    drawn: Sequence[gr.HTML]
    panel: gr.Column
    before: gr.HTML

    @property
    def blocks(self) -> list[Block]:
        return [*self.drawn, self.panel, self.before]

    def filled(self, parts: Sequence[str]) -> list[Any]:
        """Values of `blocks` that show an answer of these parts."""
        return [*parts, gr.update(visible=True), gr.update(visible=False)]

    @property
    def emptied_js(self) -> str:
        """Values of `blocks` without an answer, in the browser: an answer of the server could come so late that it
        empties the next answer."""
        shown: list[Any] = [{"__type__": "update", "visible": visible} for visible in (False, True)]
        return f"() => {json.dumps([''] * len(self.drawn) + shown)}"


@dataclass(frozen=True)
class Answering:
    """The events that ask the model: ``ask`` fills ``outputs``, those of ``place`` among them."""

    ask: Handler
    inputs: Sequence[Block]
    outputs: Sequence[Block]
    place: AnswerPlace
    asking: list[Dependency] = field(default_factory=list, init=False)

    def after(self, listener: Callable[..., Dependency]) -> None:
        """Ask when ``listener`` fires: `button.click`, or `.success` of an earlier event. Where it fails, no answer
        stays."""
        event = listener(self.ask, self.inputs, self.outputs, **QUEUED)
        event.failure(None, None, self.place.blocks, js=self.place.emptied_js, **PRIVATE)
        self.asking.append(event)

    def after_examples(
        self, buttons: Sequence[gr.Button], load: Callable[[int], list[Any]], case: Sequence[Block]
    ) -> None:
        """A click on an example fills the case with what ``load`` gives for its number, then asks."""
        for number, button in enumerate(buttons):
            self.after(button.click(partial(load, number), None, case, **PRIVATE).success)

    def emptied_by(self, triggers: Sequence[Callable[..., Dependency]], *others: Dependency) -> None:
        """Empty the place when any of ``triggers`` fires, and drop every answer that is still to come: to ``ask`` and
        to ``others``, events that fill the place as well.

        Call it behind these events, and before other listeners of the triggers: listeners of one trigger wait for
        each other.
        """
        gr.on(
            triggers, None, None, self.place.blocks, js=self.place.emptied_js, cancels=[*self.asking, *others],
            **PRIVATE,
        )  # fmt: skip


def on_upload(
    upload: gr.File, read: Handler, kept: Sequence[Block], forget: Callable[[], list[Any]], forgotten: Sequence[Block]
) -> None:
    """A new file makes the page ``forget`` the one before, then ``read`` fills ``kept``; a refused file leaves the
    upload empty, and so does its removal."""
    upload.upload(forget, None, forgotten, **QUICK).success(read, upload, kept, **PRIVATE).failure(
        lambda: None, None, upload, **QUICK
    )
    upload.clear(forget, None, forgotten, **QUICK)
