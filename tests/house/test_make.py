"""The README's make targets exist and call what it says; the long ones are only rehearsed."""

import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("demo", "mm demo"),
        ("test", "-m pytest"),
        ("check", "lint-imports"),
        ("dev", "dagster dev -w workspace.yaml"),
        ("serve", "mm serve"),
        ("study", "mm study"),
        ("bench", "benchmarks.run_all"),
        ("clean", "rm -rf"),
    ],
)
def test_target_calls(target: str, command: str) -> None:
    out = subprocess.run(["make", "-n", target], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert command in out.stdout


def test_help_lists_every_documented_target() -> None:
    out = subprocess.run(["make", "-s", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for target in ("demo", "test", "check", "dev", "serve", "study", "bench", "clean"):
        assert f"make {target}" in out.stdout


def test_lock_pins_every_direct_dependency_and_names_no_address() -> None:
    lock = (REPOSITORY / "requirements.lock").read_text()
    lines = [line for line in lock.splitlines() if line and not line.startswith("#")]
    assert all("==" in line and "://" not in line for line in lines)
    names = {line.split("==")[0].lower() for line in lines}
    assert {"dagster", "torch", "gradio", "great-expectations", "pytest"} <= names
