"""How every page looks: one theme and one style sheet (theme.css), no font and no file from elsewhere.

Belongs here: colours, spacing and type shared by pages. Classes start with ``mm-``.
Does not belong here: what is shown (`ui.pages`).
"""

from pathlib import Path
from typing import Any

STYLE_SHEET = Path(__file__).with_name("theme.css")


def theme() -> Any:
    """The Gradio theme: fonts of the system, contrast of at least 4.5 to 1 in light and dark."""
    import gradio as gr

    return gr.themes.Base(
        primary_hue=gr.themes.colors.cyan,
        neutral_hue=gr.themes.colors.slate,
        # Gradio's bundled fonts lack basic Latin letters in several weights; a hub font would ask the
        # network.
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
        radius_size=gr.themes.sizes.radius_md,
        spacing_size=gr.themes.sizes.spacing_md,
    ).set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_text_color="white",
        block_label_text_color="*neutral_700",
        block_title_text_color="*neutral_700",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_label_text_color_dark="*neutral_200",
        block_title_text_color_dark="*neutral_200",
        slider_color="*primary_700",
        checkbox_background_color_selected="*primary_700",
    )
