"""Errors of the page: a toast in plain words, and nothing about the server in it.

Belongs here: turning any exception of an event handler into a `gr.Error`.
"""

import logging
import uuid
from collections.abc import Callable
from functools import wraps
from html import escape
from typing import ParamSpec, TypeVar

import gradio as gr
from pydantic import ValidationError

from mm_assets.mimic.case import FIELD_NAMES
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
        except ValidationError as error:
            raise toast("; ".join(field_messages(error))) from None
        except Exception as error:
            status, _, detail = problem_of(error)
            if status != 500:
                raise toast(detail) from None
            reference = uuid.uuid4().hex[:8]
            log.exception("page error %s", reference)
            raise toast(f"The server failed; its log has the reason under {reference}.", "Error") from None

    return wrapper


def field_messages(error: ValidationError) -> list[str]:
    """One sentence per refused field, without the value."""
    sentences = []
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"])
        reason = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
        sentences.append(f"{FIELD_NAMES.get(name, name).capitalize()}: {reason}")
    return sentences
