"""A code location that imports torch or Great Expectations costs every step several CPU-seconds."""

import json
import subprocess
import sys
from pathlib import Path

import checks
import jobs
import mm_assets
import resources
import ui

REPOSITORY = Path(__file__).resolve().parents[2]
HEAVY = ["torch", "great_expectations", "transformers", "timm", "gradio", "sklearn", "scipy", "boto3", "faiss",
         "google.cloud.storage", "pytorch_lightning", "matplotlib", "duckdb"]  # fmt: skip
PRELOADED = ["sqlalchemy", "alembic", "torch", "great_expectations"]

PROBE = f"""
import json, sys, time
start = time.process_time()
import mm_assets.definitions
seconds = time.process_time() - start
print(json.dumps([seconds, [name for name in {HEAVY!r} if name in sys.modules]]))
"""


def test_definitions_load_lean() -> None:
    out = subprocess.run([sys.executable, "-c", PROBE], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    seconds, loaded = json.loads(out.stdout.splitlines()[-1])
    assert loaded == []
    # About 1 CPU-second; the bound only catches an import that does not belong, on any machine.
    assert seconds < 4.0


def test_preload_module_imports() -> None:
    # The forkserver swallows an ImportError of its preload list, so nothing else would notice; nor that a tool took
    # the imports for unused and removed them.
    probe = f"import sys, jobs.preload; print([name for name in {PRELOADED!r} if name not in sys.modules])"
    out = subprocess.run([sys.executable, "-c", probe], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    assert out.stdout.splitlines()[-1] == "[]"


def test_our_packages_are_ours() -> None:
    # A dependency that ships a top-level "resources" would shadow ours.
    for package in (resources, jobs, checks, ui, mm_assets):
        assert package.__file__ and Path(package.__file__).is_relative_to(REPOSITORY), package
