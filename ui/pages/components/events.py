"""How the events of every tab are wired: what runs the model waits in one queue, and no answer stays beside a case that
it does not belong to.

Belongs here: options of events, and their chains over upload, example and answer. Does not belong here: what a handler
does (each page).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from gradio.blocks import Block

FORGET_AFTER_S = 3600  # what a page keeps of a case, for whoever has left it open
# One queue for everything that runs a model, whichever the tab.
QUEUED: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1, "api_visibility": "private"}
QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
PRIVATE: dict[str, Any] = {"api_visibility": "private"}

Handler = Callable[..., Any]


@dataclass(frozen=True)
class Answering:
    """The event that asks the model: ``ask`` fills ``outputs``, and ``empty`` empties them where it fails."""

    ask: Handler
    inputs: Sequence[Block]
    outputs: Sequence[Block]
    empty: Callable[[], list[Any]]

    def after(self, listener: Callable[..., Any]) -> None:
        """Ask when ``listener`` fires: `button.click`, or `.success` of an earlier event."""
        listener(self.ask, self.inputs, self.outputs, **QUEUED).failure(self.empty, None, self.outputs, **QUICK)

    def after_examples(
        self, buttons: Sequence[gr.Button], load: Callable[[int], list[Any]], case: Sequence[Block]
    ) -> None:
        """A click on an example fills the case with what ``load`` gives for its number, then asks."""
        for number, button in enumerate(buttons):
            self.after(button.click(partial(load, number), None, case, **PRIVATE).success)


def on_upload(
    upload: gr.File, read: Handler, kept: Sequence[Block], empty: Callable[[], list[Any]], emptied: Sequence[Block]
) -> None:
    """A new file empties the answer at once, then ``read`` fills ``kept``; a refused file leaves the upload empty, and
    so does its removal."""
    upload.upload(empty, None, emptied, **QUICK).success(read, upload, kept, **PRIVATE).failure(
        lambda: None, None, upload, **QUICK
    )
    upload.clear(empty, None, emptied, **QUICK)
