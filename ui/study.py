"""`mm study`: the numbers of the README, with where and when they were measured.

Belongs here: running the study profile, writing docs/results/<wing>.json, and the README's part made from it.
Does not belong here: any number that an asset has not measured, and how a wing's table looks (its entry).
"""

import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from resources.dagster_resources import House
from resources.errors import MendableError
from resources.settings import load_settings
from ui.home import REPOSITORY
from ui.wings import wing_named

RESULTS = REPOSITORY / "docs" / "results"
README = REPOSITORY / "README.md"


class StudyFailed(MendableError):
    """A step of the study failed; its error stands above."""

    exit_code = 1


def run_study(wing: str) -> Path:
    """Run the wing's study beside the demo's artifacts (`<MM_HOME>-study`), write its results and the README's table.

    After a kill the synthetic tree is used as it is and training goes on from its last epochs; the rest is made again.
    """
    from ui.demo import print_run
    from ui.running import resolve, run_selection

    house = House(home=load_settings().home.rstrip("/") + "-study", profile="study")
    started, code = time.monotonic(), code_state()
    report = run_selection(resolve(wing), house=house)
    print_run(report)
    if not report.succeeded:
        raise StudyFailed(f"the study of {wing} did not finish: mend what failed above and run it again")
    results = results_of(wing, house, seconds=time.monotonic() - started, measured_on=commit(code))
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{wing}.json"
    path.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    write_readme_table(wing, results)
    return path


def results_of(wing: str, house: House, *, seconds: float, measured_on: str) -> dict[str, Any]:
    """What is committed: headline, tables, versions, and where and on which commit (`measured_on`) it was measured."""
    settings, store = house.settings(), house.artifacts()
    evaluation, tables = store.current(wing, "evaluation"), wing_named(wing).study_tables
    return {
        "wing": wing,
        "profile": settings.profile,
        "synthetic": evaluation.synthetic,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": measured_on,
        "machine": machine(),
        "seconds": round(seconds),
        "versions": {"evaluation": evaluation.version, **evaluation.upstream},
        "training": store.read_json(store.current(wing, "model"), "training.json"),
        "headline": evaluation.metrics,
        **{name: store.read_table(evaluation, f"{name}.parquet").to_pylist() for name in tables},
    }


def code_state() -> tuple[str, str]:
    """The commit checked out, and how tracked files differ from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, check=False)
        return done.stdout.decode(errors="replace").strip()

    return git("rev-parse", "--short", "HEAD"), git("diff", "--binary", "HEAD")


def commit(began: tuple[str, str] | None = None) -> str:
    """The commit a measurement began on (`code_state` of that time; unset: now), with a mark when the tree had changes,
    and one when it changed since."""
    now = code_state()
    name, changes = began or now
    return name + (" with changes" if changes else "") + (", changed meanwhile" if began not in (None, now) else "")


def machine() -> str:
    """Kind of machine: processor, cores, Python and torch."""
    import torch

    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text())
        model = found[1].strip() if found else ""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    software = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{model or platform.processor()}, {cores} cores, {gpu}, {software}"


def write_readme_table(wing: str, results: Mapping[str, Any]) -> None:
    """Replace what stands between the README's markers for this wing. Raises StudyFailed where it has none."""
    text = README.read_text(encoding="utf-8")
    start, end = f"<!-- results:{wing} -->", f"<!-- /results:{wing} -->"
    if start not in text or end not in text:
        raise StudyFailed(f"the README has no place for {wing}: put {start} and {end} where its table belongs")
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    README.write_text(f"{before}{start}\n{readme_table(results)}\n{end}{after}", encoding="utf-8")


def readme_table(results: Mapping[str, Any]) -> str:
    """Markdown of a wing's results, generated from a results file."""
    return wing_named(results["wing"]).readme_table(results)
