"""One line per asset and check as a run goes, for people who watch a terminal.

Belongs here: the terminal's view of a run. Does not belong here: the event log, which Dagster keeps itself.
"""

import logging
import sys
import time
from typing import Any

import dagster as dg


class StepLines(logging.Handler):
    """Prints start, end and failure of each step with its seconds, and warnings that assets log."""

    def __init__(self) -> None:
        super().__init__()
        self.started: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line to stderr, which progress bars share."""
        meta: dict[str, Any] = getattr(record, "dagster_meta", {}) or {}
        event = meta.get("dagster_event")
        step = str(meta.get("step_key") or "").replace("__", "/")
        kind = getattr(event, "event_type_value", None)
        if kind == "STEP_START":
            self.started[step] = time.monotonic()
            line = f"  ... {step}"
        elif kind == "STEP_SUCCESS":
            line = f"  ok  {step}  {time.monotonic() - self.started.get(step, time.monotonic()):.1f} s"
        elif kind in ("STEP_FAILURE", "STEP_SKIPPED"):
            line = f"  {'FAILED' if kind == 'STEP_FAILURE' else 'skipped'}  {step}"
        elif event is None and record.levelno >= logging.WARNING:
            said = str(meta.get("orig_message", record.getMessage()))
            if said.startswith("Dependencies for step"):
                return  # the failure above it has been told
            line = f"      {step}: {said}"
        else:
            return
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


@dg.logger(config_schema=None, description="One line per step on stderr")
def steps_logger(_: dg.InitLoggerContext) -> logging.Logger:
    """A fresh logger: Dagster attaches its own metadata to each record."""
    logger = logging.Logger("mm-steps", logging.DEBUG)
    logger.addHandler(StepLines())
    return logger
