"""What all benchmarks share: their options, their gates, and the shape of their result.

Belongs here: reading `--quick` and `--json`, judging gates, printing and writing a result. Does not belong here:
what is measured (one file each) and the page of all results (run_all.py).

A result: {"quick", "numbers" (name -> value), "columns" and "rows" (the table to show), "gates" (name, value,
limit, direction, met)}. The exit code is 1 when a gate is missed.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Gate:
    """A number that must reach, or must not exceed, its limit."""

    name: str
    value: float
    direction: Literal["at least", "at most"]
    limit: float

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.direction == "at least" else self.value <= self.limit


def parse_options(description: str | None) -> argparse.Namespace:
    """`quick`: bool, small sizes that prove the benchmark runs; `json`: where to write the result, or None."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: proves that it runs, not how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result here as well")
    return parser.parse_args()


def finish(
    options: argparse.Namespace,
    *,
    numbers: dict[str, Any],
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    gates: Sequence[Gate] = (),
) -> int:
    """Print the result, write it where the options say, return the exit code."""
    if options.quick:
        print("quick run: small sizes, no numbers to quote")
    print(aligned(columns, rows))
    for gate in gates:
        print(gate_line(asdict(gate) | {"met": gate.met}))
    if options.json:
        result = {
            "quick": options.quick,
            "numbers": numbers,
            "columns": list(columns),
            "rows": [list(row) for row in rows],
            "gates": [asdict(gate) | {"met": gate.met} for gate in gates],
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if all(gate.met for gate in gates) else 1


def aligned(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """The table as text, the first column to the left, the others to the right."""
    table = [list(columns), *([shown(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(columns))]
    lines = []
    for row in table:
        cells = [cell.rjust(width) for cell, width in zip(row, widths)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells[1:]]))
    return "\n".join(lines)


def gate_line(gate: dict[str, Any]) -> str:
    """One gate of a result as text."""
    verdict = "met" if gate["met"] else "MISSED"
    return f"{verdict:6}  {gate['name']}: {shown(gate['value'])} ({gate['direction']} {shown(gate['limit'])})"


def shown(cell: Any) -> str:
    """A cell as people read it: three to four digits of a fraction, thousands separated."""
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.4g}"
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    return str(cell)
