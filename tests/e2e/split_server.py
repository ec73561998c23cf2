"""The real server with a tiny untrained split model: ``python -m tests.e2e.split_server PORT FOLDER``.

An answer to a record whose f9 is `SLOW_F9` takes `SLOW_S` seconds, so that something can happen before it.
"""

import sys
import time
from pathlib import Path

import uvicorn

from mm_assets.cloud_vision.case import SplitCase, SplitExplanation, SplitPrediction
from mm_assets.cloud_vision.predictor import SplitPredictor
from tests.ui.fakes import FakeStore, fake_load, held_model
from tests.ui.split_models import split_store
from ui.released import ReleasedModel
from ui.server import assemble

SLOW_F9, SLOW_S = 77.0, 2.0


class SometimesSlow(SplitPredictor):
    """As its base."""

    def explained(self, case: SplitCase) -> tuple[SplitPrediction, SplitExplanation]:
        if case.org3.get("f9") == SLOW_F9:
            time.sleep(SLOW_S)
        return super().explained(case)


if __name__ == "__main__":
    store = split_store(Path(sys.argv[2]) / "0123456789abcdef")
    models = {
        "mimic": ReleasedModel(FakeStore(), "mimic", fake_load),  # type: ignore[arg-type]
        "cloud_vision": held_model(store, "cloud_vision", SometimesSlow),
    }
    uvicorn.run(assemble(models), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
