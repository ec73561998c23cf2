"""What every test shares: one thread, no leftovers of another test's Dagster instance, no network."""

import os
from collections.abc import Iterator

# Before anything imports torch or a hub client.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
from dagster._core.storage.defs_state import base as defs_state


@pytest.fixture(autouse=True)
def no_leftover_instance() -> Iterator[None]:
    """An ended instance stays the current defs-state storage when it ends in another context; definitions then fail."""
    defs_state._current_storage.set(None)
    yield
    defs_state._current_storage.set(None)
