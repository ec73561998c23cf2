"""Errors of the page: a toast in plain words, and nothing about the server in it.

Belongs here: turning any exception of an event handler into a `gr.Error`.
"""

import logging
import uuid
from collections.abc import Callable, Mapping
from functools import wraps
from html import escape
from typing import ParamSpec, TypeVar

import gradio as gr
from pydantic import ValidationError

from ui.problems import problem_of

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


def toast(message: str, title: str = "Please check") -> gr.Error:
    """An expected failure; Gradio shows the message as HTML, so it is escaped here."""
    return gr.Error(escape(message), title=title, print_exception=False)


def safely(handler: Callable[P, R]) -> Callable[P, R]:
    """An event handler whose every failure is a toast without paths or class names."""

    @wraps(handler)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return handler(*args, **kwargs)
        except gr.Error:
            raise
        except Exception as error:
            status, _, detail = problem_of(error)
            if status != 500:
                raise toast(detail) from None
            reference = uuid.uuid4().hex[:8]
            log.exception("page error %s", reference)
            raise toast(f"The server failed; its log has the reason under {reference}.", "Error") from None

    return wrapper


def fields_toast(error: ValidationError, names: Mapping[str, str]) -> gr.Error:
    """One sentence per refused field, without its value; ``names`` are the fields as the page calls them."""
    sentences = []
    for item in error.errors():
        field = ".".join(str(part) for part in item["loc"])
        reason = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
        sentences.append(f"{names.get(field, field).capitalize()}: {reason}")
    return toast("; ".join(sentences))
