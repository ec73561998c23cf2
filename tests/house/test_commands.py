"""Every `mm` command that the documents show exists, with its options; nothing is run."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from ui.cli import app

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = ("README.md", "docs/mimic.md", "docs/pigmentation.md", "docs/cloud_vision.md", "docs/remote_home.md")


def shown_commands(document: str) -> list[str]:
    """`mm ...` in code blocks (one a line, up to a comment) and between backticks, without the path before it."""
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line.split("#")[0] for block in blocks for line in block.splitlines()]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    candidates = [*lines, *re.findall(r"`([^`\n]+)`", prose)]
    found = [re.match(r"\s*(?:\.venv/bin/)?(mm\b.*)", candidate) for candidate in candidates]
    return [match[1].strip() for match in found if match]


def fault(command: str) -> str | None:
    """What of `mm a b --c` the command line does not have; None when it has all of it."""
    words = re.sub(r"[\[\]]", " ", command).split()[1:]
    node: Any = typer.main.get_command(app)
    while words and (below := getattr(node, "commands", None)):  # a group
        name = words.pop(0)
        if name not in below:
            return f"no command {name!r}"
        node = below[name]
    options = {name for parameter in node.params for name in parameter.opts}
    unknown = [word for word in words if word.startswith("--") and word.split("=")[0] not in options]
    return f"no option {', '.join(unknown)}" if unknown else None


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documented_commands_exist(document: str) -> None:
    commands = shown_commands(document)
    assert {command: fault(command) for command in commands if fault(command)} == {}


def test_commands_are_found_in_code_blocks_tables_and_prose() -> None:
    shown = shown_commands("README.md")
    assert "mm verify mimic" in shown
    assert any(command.startswith("mm demo [--limit") for command in shown)
    assert {command.split()[1] for command in shown if command != "mm"} >= {
        "demo", "materialize", "status", "verify", "predict", "export", "serve", "study", "synth",
    }  # fmt: skip


def test_a_wrong_command_or_option_is_noticed() -> None:
    assert fault("mm demo --limit 40") is None and fault("mm predict mimic --image FILE [--json]") is None
    assert fault("mm dmeo") == "no command 'dmeo'"
    assert fault("mm verify nowing") == "no command 'nowing'"
    assert fault("mm demo [--limt N]") == "no option --limt"
