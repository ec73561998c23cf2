"""The real server with a stand-in for the model: ``python -m tests.e2e.fake_server PORT``."""

import sys

import uvicorn

from tests.ui.fakes import FakeStore, fake_load
from ui.released import ReleasedModel
from ui.server import assemble

if __name__ == "__main__":
    released = ReleasedModel(FakeStore(), "mimic", fake_load)  # type: ignore[arg-type]
    uvicorn.run(assemble({"mimic": released}), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
