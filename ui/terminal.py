"""What the commands of the house and of every wing share on the terminal.

Belongs here: one-line errors, the `--json` flag. Does not belong here: commands (`ui.cli`, `ui/<wing>/commands.py`).
"""

import json
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any, ParamSpec, TypeVar

import typer

from resources.errors import MendableError

P = ParamSpec("P")
R = TypeVar("R")

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]


def one_line_errors(command: Callable[P, R]) -> Callable[P, R]:
    """An expected failure becomes one line on stderr and its exit code."""

    @wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except MendableError as error:
            typer.echo(f"mm: {error}", err=True)
            raise typer.Exit(error.exit_code) from error

    return wrapper


def print_json(value: Mapping[str, Any]) -> None:
    """JSON on stdout."""
    typer.echo(json.dumps(value, indent=2, default=str))
