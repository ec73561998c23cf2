"""All benchmarks, one after the other, each in a process of its own; their results in one file and on one page.

Writes docs/results/benchmarks.json and refills the marked parts of docs/benchmarks.md. Exit code 1 when a gate is
missed, 2 when a benchmark broke: its results are then left out, and named. A quick run proves that all of it works;
its numbers are not for the page, so it writes below .scratch instead.

    python -m benchmarks.run_all [--quick]

Not here: gpu_mimic.py, which is run by hand where a GPU is.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.reporting import Gate, gate_line, shown

BENCHMARKS = ("phase1_images", "phase1_memory", "linking", "bootstrap", "fusion_training", "threads")
# fusion_training has options and a result of its own.
QUICK_OPTIONS = {"fusion_training": ["--records", "16", "--rounds", "1"]}
ROOT = Path(__file__).parent.parent
DOCS, QUICK_DOCS = ROOT / "docs", ROOT / ".scratch" / "quick-benchmarks"
PAGE, RESULTS = "benchmarks.md", "results/benchmarks.json"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
MARKED = re.compile(r"(<!-- begin (\w+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)


def run_benchmark(name: str, quick: bool) -> dict[str, Any] | None:
    """The result of one benchmark (see reporting.py), or None where it broke; its table is printed as it runs."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(file)]
        options = QUICK_OPTIONS.get(name, ["--quick"]) if quick else []
        subprocess.run([*command, *options], cwd=ROOT, env=os.environ | ONE_THREAD)
        if not file.exists():
            return None
        result = json.loads(file.read_text())
        return fusion_result(result, quick) if name == "fusion_training" else result


def fusion_result(own: dict[str, Any], quick: bool) -> dict[str, Any]:
    """The result of fusion_training in the shape of all others; its gate is that of the last row."""
    keys = ("configuration", "records_per_s_stored", "records_per_s_encoded", "ratio", "bytes_per_record")
    gate = Gate(
        "fusion training, stored features over encoders run again", own["rows"][-1]["ratio"], "at least", own["gate"]
    )
    return {
        "quick": quick,
        "numbers": {"configurations": own["rows"]},
        "columns": ["configuration", "records/CPU s, stored", "records/CPU s, encoded", "ratio", "stored bytes/record"],
        "rows": [[row[key] for key in keys] for row in own["rows"]],
        "gates": [asdict(gate) | {"met": gate.met}],
    }


def machine() -> dict[str, Any]:
    """What the numbers were measured on, without a name of the machine."""
    models = re.findall(r"^model name\s*: (.*)$", _text("/proc/cpuinfo"), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+)", _text("/proc/meminfo"), re.MULTILINE)
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(int(memory[1]) * 1024 / 1e9) if memory else None,
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def commit() -> str | None:
    """The commit measured, with a + where files differ from it; None outside a checkout."""

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)

    head = git("rev-parse", "--short=12", "HEAD")
    if head.returncode:
        return None
    return head.stdout.strip() + ("+" if git("status", "--porcelain").stdout.strip() else "")


def filled(page: str, results: dict[str, Any]) -> str:
    """The page with each `<!-- begin NAME -->` part made anew from the results; a benchmark that broke says so."""

    def part(match: re.Match[str]) -> str:
        name = match[2]
        return f"{match[1]}{summary(results) if name == 'summary' else section(results, name)}\n{match[3]}"

    return MARKED.sub(part, page)


def summary(results: dict[str, Any]) -> str:
    """When and where, and every gate of every benchmark."""
    where = results["machine"]
    lines = [
        *(["**Quick run: small sizes, no numbers to quote.**", ""] if results["quick"] else []),
        f"Measured {results['date']} at commit `{results['commit']}` on {where['cores']} cores of "
        f"{where['processor']}, {where['memory_gb']} GB, Python {where['python']}, load average "
        f"{where['load_average']} at the start.",
        "",
    ]
    rows = []
    for name, result in results["benchmarks"].items():
        for gate in (result or {"gates": []})["gates"]:
            limit, verdict = f"{gate['direction']} {shown(gate['limit'])}", "met" if gate["met"] else "**missed**"
            rows.append((gate["name"], gate["value"], limit, verdict, name))
    return "\n".join([*lines, markdown(("gate", "measured", "limit", "", "benchmark"), rows)])


def section(results: dict[str, Any], name: str) -> str:
    """The table of one benchmark."""
    result = results["benchmarks"].get(name)
    return markdown(result["columns"], result["rows"]) if result else "This benchmark broke: no result."


def markdown(columns: Any, rows: Any) -> str:
    """A pipe table, the first column to the left, the others to the right."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *([shown(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: proves that all of it works")
    quick = parser.parse_args().quick
    results: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "quick": quick,
        "machine": machine(),
        "benchmarks": {},
    }
    for name in BENCHMARKS:
        print(f"\n{name}", flush=True)
        results["benchmarks"][name] = run_benchmark(name, quick)
    folder = QUICK_DOCS if quick else DOCS
    (folder / RESULTS).parent.mkdir(parents=True, exist_ok=True)
    (folder / RESULTS).write_text(json.dumps(results, indent=2) + "\n")
    (folder / PAGE).write_text(filled((DOCS / PAGE).read_text(), results))
    gates = [gate for result in results["benchmarks"].values() if result for gate in result["gates"]]
    broken = [name for name, result in results["benchmarks"].items() if result is None]
    print(f"\n{'quick run: small sizes, no numbers to quote' if quick else 'all gates'}")
    print("\n".join(gate_line(gate) for gate in gates))
    print(f"written: {folder / RESULTS}, {folder / PAGE}")
    if broken:
        print("broken: " + ", ".join(broken), file=sys.stderr)
        return 2
    return 0 if all(gate["met"] for gate in gates) else 1


def _text(path: str) -> str:
    file = Path(path)
    return file.read_text() if file.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
