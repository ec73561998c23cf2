"""What every test shares: one thread, no leftovers of another test's Dagster instance, no network."""

import os
import sys
from collections.abc import Iterator
from typing import Any

# Before anything imports torch or a hub client.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
from dagster._core.storage.defs_state import base as defs_state

SMALL_DEMO = "tests/e2e/small_demo/"  # tests that look at one and the same run of `mm demo`


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of several workers each takes whole files, and one all that look at the small demo, so that it is run once."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return SMALL_DEMO if nodeid.startswith(SMALL_DEMO) else super()._split_scope(nodeid)

    return ByFile(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Workers begin with what takes minutes, so that nobody waits for it in the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: (not item.nodeid.startswith(SMALL_DEMO), not item.nodeid.startswith("tests/e2e/")))


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
