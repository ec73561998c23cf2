"""The real server with a tiny untrained split model: ``python -m tests.e2e.split_server PORT FOLDER``."""

import sys
from pathlib import Path

import uvicorn

from tests.ui.fakes import FakeStore, fake_load
from tests.ui.split_models import split_model, split_store
from ui.released import ReleasedModel
from ui.server import assemble

if __name__ == "__main__":
    models = {
        "mimic": ReleasedModel(FakeStore(), "mimic", fake_load),  # type: ignore[arg-type]
        "cloud_vision": split_model(split_store(Path(sys.argv[2]) / "0123456789abcdef")),
    }
    uvicorn.run(assemble(models), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
