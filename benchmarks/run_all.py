"""All benchmarks, one after the other, each in a process of its own; their results in one file and on one page.

Writes docs/results/benchmarks.json and refills the marked parts of docs/benchmarks.md. Exit code 1 when a gate is
missed, 2 when a benchmark broke: its results are then left out, and named. A quick run proves that all of it works;
its numbers are not for the page, so it writes below .scratch instead.

    python -m benchmarks.run_all [--quick] [NAME ...]

With names only those are measured anew, and the others keep what they had; each tells when and at which commit.

Not here: gpu_mimic.py and gpu_skin.py, which are run by hand where a GPU is.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.reporting import gate_line, shown
from ui.study import commit, machine

BENCHMARKS = (
    "phase1_images", "phase1_memory", "linking", "bootstrap", "fusion_training", "threads",
    "skin_renderer", "skin_inference", "skin_serving", "upload", "xray_generator",
)  # fmt: skip
ROOT = Path(__file__).parent.parent
DOCS, QUICK_DOCS = ROOT / "docs", ROOT / ".scratch" / "quick-benchmarks"
PAGE, RESULTS = "benchmarks.md", "results/benchmarks.json"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
MARKED = re.compile(r"(<!-- begin (\w+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)


def run_benchmark(name: str, quick: bool) -> dict[str, Any] | None:
    """The result of one benchmark (see reporting.py), or None where it broke; its table is printed as it runs."""
    measured = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "load_average": round(os.getloadavg()[0], 1),
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(file)]
        subprocess.run([*command, *["--quick"] * quick], cwd=ROOT, env=os.environ | ONE_THREAD)
        return {**measured, **json.loads(file.read_text())} if file.exists() else None


def memory_gb() -> int | None:
    """Memory of this machine, None where it does not tell."""
    file = Path("/proc/meminfo")
    found = re.search(r"^MemTotal:\s+(\d+)", file.read_text(), re.MULTILINE) if file.exists() else None
    return round(int(found[1]) * 1024 / 1e9) if found else None


def filled(page: str, results: dict[str, Any]) -> str:
    """The page with each `<!-- begin NAME -->` part made anew from the results; a benchmark that broke says so."""

    def part(match: re.Match[str]) -> str:
        name = match[2]
        return f"{match[1]}{summary(results) if name == 'summary' else section(results, name)}\n{match[3]}"

    return MARKED.sub(part, page)


def summary(results: dict[str, Any]) -> str:
    """When and where, and every gate of every benchmark."""
    memory = f", {results['memory_gb']} GB" if results["memory_gb"] else ""
    lines = [
        *(["**Quick run: small sizes, no numbers to quote.**", ""] if results["quick"] else []),
        f"Measured on {results['machine']}{memory}.",
        "",
    ]
    rows = []
    for name, result in results["benchmarks"].items():
        for gate in (result or {"gates": []})["gates"]:
            limit, verdict = f"{gate['direction']} {shown(gate['limit'])}", "met" if gate["met"] else "**missed**"
            rows.append((gate["name"], gate["value"], limit, verdict, name))
    return "\n".join([*lines, markdown(("gate", "measured", "limit", "", "benchmark"), rows)])


def when(result: dict[str, Any]) -> str:
    """`2026-01-01, commit abc, load average 0.1 at the start`."""
    return f"{result['date']}, commit {result['commit']}, load average {result['load_average']} at the start"


def section(results: dict[str, Any], name: str) -> str:
    """The table of one benchmark."""
    if name not in results["benchmarks"]:
        return "Not measured yet."
    result = results["benchmarks"][name]
    if result is None:
        return "This benchmark broke: no result."
    return f"{markdown(result['columns'], result['rows'])}\n\n{when(result)}."


def markdown(columns: Any, rows: Any) -> str:
    """A pipe table, the first column to the left, the others to the right."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *([shown(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def before(page: Path, machine_now: str) -> dict[str, Any]:
    """Results that an earlier run left, where they were measured on a machine of the same kind."""
    earlier = json.loads(page.read_text()) if page.exists() else {}
    return dict(earlier["benchmarks"]) if earlier.get("machine") == machine_now else {}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these of {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="small sizes: proves that all of it works")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}: choose of {', '.join(BENCHMARKS)}")
    folder = QUICK_DOCS if options.quick else DOCS
    where = machine()
    results: dict[str, Any] = {"quick": options.quick, "machine": where, "memory_gb": memory_gb(), "benchmarks": {}}
    kept = before(folder / RESULTS, where) if options.names else {}
    for name in BENCHMARKS:
        if options.names and name not in options.names:
            if name in kept:
                results["benchmarks"][name] = kept[name]
            continue
        print(f"\n{name}", flush=True)
        results["benchmarks"][name] = run_benchmark(name, options.quick)
    (folder / RESULTS).parent.mkdir(parents=True, exist_ok=True)
    (folder / RESULTS).write_text(json.dumps(results, indent=2) + "\n")
    (folder / PAGE).write_text(filled((DOCS / PAGE).read_text(), results))
    gates = [gate for result in results["benchmarks"].values() if result for gate in result["gates"]]
    broken = [name for name, result in results["benchmarks"].items() if result is None]
    print(f"\n{'quick run: small sizes, no numbers to quote' if options.quick else 'all gates'}")
    print("\n".join(gate_line(gate) for gate in gates))
    print(f"written: {folder / RESULTS}, {folder / PAGE}")
    if broken:
        print("broken: " + ", ".join(broken), file=sys.stderr)
        return 2
    return 0 if all(gate["met"] for gate in gates) else 1


if __name__ == "__main__":
    sys.exit(main())
