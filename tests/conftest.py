"""What every test shares: one thread, no leftovers of another test's Dagster instance, no network."""

import os
import sys
from collections.abc import Iterator

# Before anything imports torch or a hub client.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
from dagster._core.storage.defs_state import base as defs_state


@pytest.fixture(autouse=True)
def no_leftover_instance() -> Iterator[None]:
    """An ended instance stays the current defs-state storage when it ends in another context; definitions then fail."""
    defs_state._current_storage.set(None)
    yield
    defs_state._current_storage.set(None)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """torch computes in one thread, whatever another test or the code it tried has set."""
    _set_one_thread()
    yield
    _set_one_thread()  # the next file's fixtures of module scope run before its first test's own


def _set_one_thread() -> None:
    # Not imported for it: many tests do without torch. One that imports it later gets the variable's one thread.
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
