"""The demo page at ``/demo``: one tab per wing.

Belongs here: how the pages are mounted, and the settings that keep them private: no request to other hosts,
no analytics, no monitoring, no run history, uploads removed.
Does not belong here: what a tab shows (one module per wing beside this one).
"""

import logging
from collections.abc import Mapping
from typing import Any

import gradio as gr
from fastapi import FastAPI

from ui.problems import MAX_BODY_BYTES
from ui.released import ReleasedModel
from ui.theme import STYLE_SHEET, theme
from ui.wings import wing_named

PATH = "/demo"
UPLOADS_LIVE_S = 3600
WAITING_AT_MOST = 32


def head() -> str:
    """Icon and style sheet; given as ``css`` Gradio would rewrite the selectors and lose those for narrow
    screens.
    """
    return f'<link rel="icon" href="/favicon.ico"><style>{STYLE_SHEET.read_text(encoding="utf-8")}</style>'


def build(models: Mapping[str, ReleasedModel[Any]]) -> gr.Blocks:
    """All tabs; nothing is served yet."""
    with gr.Blocks(
        title="mm-assets",
        analytics_enabled=False,
        delete_cache=(UPLOADS_LIVE_S, UPLOADS_LIVE_S),
        fill_width=True,
    ) as blocks:
        gr.HTML(
            '<header class="mm-head"><h1>mm-assets</h1><p>Released models, each answer with the data '
            "and the run it came from. Everything stays on this machine.</p></header>",
            elem_id="mm-head",
        )
        with gr.Tabs():
            for name, released in models.items():
                wing = wing_named(name)
                with gr.Tab(wing.title, id=name):
                    wing.page(blocks, released)
    blocks.queue(default_concurrency_limit=1, max_size=WAITING_AT_MOST)
    return blocks


def mount(app: FastAPI, models: Mapping[str, ReleasedModel[Any]]) -> FastAPI:
    """``app`` with the page below ``/demo``."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return gr.mount_gradio_app(
        app,
        build(models),
        path=PATH,
        theme=theme(),
        head=head(),
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        max_file_size=MAX_BODY_BYTES,
        # The text of an unexpected exception may hold a path; expected ones are toasts of our own.
        show_error=False,
    )
