"""The head of every tab: which model answers, and its example cases as buttons; both follow the release.

Belongs here: looking for a new release while the page is open, and a handler's way to the model or to an example.
Does not belong here: what is done with an example (each page), watching the store (`ui.released`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from ui.pages.components import origin
from ui.pages.components.errors import toast
from ui.pages.components.events import QUICK
from ui.released import P, ReleasedModel

LOOK_EVERY_S = 5


def released_head(
    blocks: gr.Blocks,
    released: ReleasedModel[P],
    prefix: str,
    heading: str,
    button_px: int,
    examples: int = 6,
    notes: Callable[[P], Sequence[str]] = lambda predictor: (),
) -> list[gr.Button]:
    """Banner and example buttons of a tab, kept up to date; returns the buttons.

    ``prefix`` opens the ids of elements, ``examples`` are shown at most, ``notes`` tells what the banner says of a
    model beside its origin.
    """
    shown_state = gr.State("")
    banner = gr.HTML(origin.looking(), elem_id=f"{prefix}-banner")
    gr.HTML(f'<h2 class="mm-section">{heading}</h2>')
    with gr.Row(elem_id=f"{prefix}-examples"):
        buttons = [
            gr.Button("Example", visible=False, size="md", min_width=button_px, elem_id=f"{prefix}-example-{i}")
            for i in range(examples)
        ]

    def on_look(shown_before: str) -> list[Any]:
        loading, release = released.loading, released.current  # in this order: loading ends with a release
        # All that the banner shows: a broken release must appear although the version stays.
        version = release.version if release else "loading" if loading else "nothing"
        now = f"{version} {released.last_error or ''}"
        if now == shown_before:
            return [gr.skip()] * (2 + examples)
        provenance = release.predictor.provenance if release else None
        told = " ".join([*(notes(release.predictor) if release else ()), released.last_error or ""]).strip()
        titles = [example.title for example in release.predictor.examples] if release else []
        updates = [
            gr.update(value=titles[i], visible=True) if i < len(titles) else gr.update(visible=False)
            for i in range(examples)
        ]
        if release is None and loading:
            return [now, origin.looking(), *updates]
        return [now, origin.banner(released.wing, provenance, told or None), *updates]

    looked = [shown_state, banner, *buttons]
    blocks.load(on_look, shown_state, looked, **QUICK)
    gr.Timer(LOOK_EVERY_S).tick(on_look, shown_state, looked, **QUICK)
    return buttons


def predictor_of(released: ReleasedModel[P]) -> P:
    """The model in use, to be kept for the whole event. Raises a toast when there is none."""
    release = released.current
    if release is None:
        raise toast(released.absence, "No model yet")
    return release.predictor


def example_of(released: ReleasedModel[Any], number: int) -> Any:
    """The case behind an example button. Raises a toast when there is no such example any more."""
    release = released.current
    if release is None:
        raise toast(released.absence, "No model yet")
    if number >= len(release.predictor.examples):
        raise toast("This example went with the model before; choose one that is shown now.")
    return release.predictor.examples[number].case
