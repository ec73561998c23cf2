"""Markdown of a model card: front matter, sections, tables.

Belongs here: the form that every wing's card shares. Does not belong here: what a wing says about its model.
The form follows Mitchell et al. 2019, Model Cards for Model Reporting, and the front matter that model hubs
read. A card holds no date and no run id: equal numbers give equal bytes.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

UNDEFINED = "–"


@dataclass(frozen=True)
class Section:
    """A second-level heading and its Markdown."""

    title: str
    body: str


def render_card(title: str, front_matter: Mapping[str, str | bool | Sequence[str]], sections: Sequence[Section]) -> str:
    """The card as Markdown with YAML front matter. JSON scalars and lists are valid YAML."""
    head = "\n".join(
        f"{key}: {json.dumps(value if isinstance(value, str | bool) else list(value), ensure_ascii=False)}"
        for key, value in front_matter.items()
    )
    body = "\n\n".join(f"## {section.title}\n\n{section.body.strip()}" for section in sections)
    return f"---\n{head}\n---\n\n# {title}\n\n{body}\n"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str | int | float | None]]) -> str:
    """A table whose cells are escaped; None and NaN show as a dash, floats with three decimals."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)


def upstream_table(upstream: Mapping[str, str]) -> str:
    """What a model was made from: each artifact, such as "mimic/phase3", and its version, by name."""
    return markdown_table(("upstream", "version"), sorted(upstream.items()))


def with_interval(value: float | None, low: float | None, high: float | None, *, signed: bool = False) -> str:
    """``0.812 (0.790 to 0.833)``; without bounds the value alone; a dash where there is none."""
    if value is None or math.isnan(value):
        return UNDEFINED
    style = "+.3f" if signed else ".3f"
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return f"{value:{style}}"
    return f"{value:{style}} ({low:{style}} to {high:{style}})"


def bullets(lines: Sequence[str]) -> str:
    """A Markdown list."""
    return "\n".join(f"- {line}" for line in lines)


def _cell(value: str | int | float | None) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return UNDEFINED
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
