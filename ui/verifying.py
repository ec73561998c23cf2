"""What `mm verify` and `mm synth` share between wings.

Belongs here: the terminal's view of findings, and the folder that a synthetic tree may be written to.
Does not belong here: what is looked at (each wing's own module).
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from resources.errors import MendableError

LEVEL_STYLES = {"ok": "green", "warn": "yellow", "error": "red"}


class NothingToVerify(MendableError):
    """No source is configured."""


class FolderTaken(MendableError):
    """The target folder is not empty."""


def print_findings(findings: Iterable[Mapping[str, str]]) -> None:
    """A line per finding (`level` ok, warn or error; `what`) and one more where there is something to `mend`."""
    console = Console(soft_wrap=True)
    for finding in findings:
        style = LEVEL_STYLES[finding["level"]]
        console.print(f"[{style}]{finding['level']:<5}[/{style}] {escape(finding['what'])}", highlight=False)
        if finding["mend"]:
            console.print(f"      {escape(finding['mend'])}", highlight=False)


def require_new_folder(to: Path) -> None:
    """Raise FolderTaken unless the folder is missing or empty."""
    if to.exists() and any(to.iterdir()):
        raise FolderTaken(f"{to} is not empty: give a new folder, or empty it")
