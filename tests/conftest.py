"""What every test shares: one thread, no leftovers of another test's Dagster instance, no network."""

import os
import sys
from collections.abc import Iterator

# Before anything imports torch or a hub client.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
from dagster._core.storage.defs_state import base as defs_state


@pytest.hookimpl(tryfirst=True)  # the plugin that runs the workers reads the groups in a hook of its own
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several workers: a file stays with one, all tests that look at the small demo share one and its demo, and
    what takes minutes comes first, so that nobody waits for it in the end."""
    if not hasattr(config, "workerinput"):
        return
    for item in items:
        file = item.nodeid.partition("::")[0]
        demo = file.startswith("tests/e2e/") and "house" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("small-demo" if demo else file))
    items.sort(key=lambda item: not item.nodeid.startswith("tests/e2e/"))


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
