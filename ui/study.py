"""`mm study`: the numbers of the README, with where and when they were measured.

Belongs here: running the study profile, writing docs/results/<wing>.json, and the README's table made from it.
Does not belong here: any number that an asset has not measured.
"""

import json
import os
import platform
import re
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from resources.dagster_resources import House
from resources.errors import MendableError
from resources.settings import load_settings
from ui.home import REPOSITORY

RESULTS = REPOSITORY / "docs" / "results"
README = REPOSITORY / "README.md"
TABLES = ("ablation", "per_label", "subgroups", "missing_modality", "calibration_methods")


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
    started = time.monotonic()
    report = run_selection(resolve(wing), house=house)
    print_run(report)
    if not report.succeeded:
        raise StudyFailed(f"the study of {wing} did not finish: mend what failed above and run it again")
    results = results_of(wing, house, seconds=time.monotonic() - started)
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{wing}.json"
    path.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    write_readme_table(wing, results)
    return path


def results_of(wing: str, house: House, *, seconds: float) -> dict[str, Any]:
    """What is committed: headline, tables, versions, and where it was measured."""
    settings, store = house.settings(), house.artifacts()
    evaluation = store.current(wing, "evaluation")
    return {
        "wing": wing,
        "profile": settings.profile,
        "synthetic": evaluation.synthetic,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "seconds": round(seconds),
        "versions": {"evaluation": evaluation.version, **evaluation.upstream},
        "training": store.read_json(store.current(wing, "model"), "training.json"),
        "headline": evaluation.metrics,
        **{name: store.read_table(evaluation, f"{name}.parquet").to_pylist() for name in TABLES},
    }


def commit() -> str:
    """The commit the study ran on, with a mark when the tree had changes."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")


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


def write_readme_table(wing: str, results: dict[str, Any]) -> None:
    """Replace what stands between the README's markers for this wing."""
    text = README.read_text(encoding="utf-8")
    start, end = f"<!-- results:{wing} -->", f"<!-- /results:{wing} -->"
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    README.write_text(f"{before}{start}\n{readme_table(results)}\n{end}{after}", encoding="utf-8")


def readme_table(results: dict[str, Any]) -> str:
    """Markdown of the ablation, generated from a results file."""
    head = results["headline"]
    lines = [
        f"{'**Synthetic data.** ' if results['synthetic'] else ''}Test split: {head['n_test']:,} studies of "
        f"{head['n_patients_test']:,} patients, {head['n_seeds']} seeds, 95 % intervals over patients. "
        f"Measured {results['date']} on {results['machine']}, commit {results['commit']}.",
        "",
        "| variant | macro AUROC | 95 % interval | minus best single | 95 % interval |",
        "|---|---:|---|---:|---|",
    ]
    for row in results["ablation"]:
        difference = row["difference"]
        lines.append(
            f"| {row['variant']} | {row['macro_auroc']:.3f} | {row['macro_auroc_low']:.3f} to "
            f"{row['macro_auroc_high']:.3f} | {'' if difference is None else f'{difference:+.3f}'} | "
            + ("" if difference is None else f"{row['difference_low']:+.3f} to {row['difference_high']:+.3f}")
            + " |"
        )
    lines += [
        "",
        f"Calibration error (ECE) {head['ece_before']:.3f} before and {head['ece_after']:.3f} after calibration fitted "
        f"on validate. All tables: [docs/results/{results['wing']}.json](docs/results/{results['wing']}.json).",
    ]
    return "\n".join(lines)
