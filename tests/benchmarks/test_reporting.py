import json
import re
from argparse import Namespace
from importlib.util import find_spec

import pytest

from benchmarks.reporting import Gate, finish, shown
from benchmarks.run_all import BENCHMARKS, DOCS, PAGE, filled


@pytest.mark.parametrize(("direction", "met"), [("at least", False), ("at most", True)])
def test_a_missed_gate_is_printed_written_and_fails(tmp_path, capsys, direction, met) -> None:
    options = Namespace(quick=False, json=tmp_path / "deep" / "result.json")
    gate = Gate("ratio", 14.0, direction, 30.0)
    code = finish(options, numbers={"ratio": 14.0}, columns=("way", "ms"), rows=[("ours", 1.0)], gates=[gate])
    assert code == (0 if met else 1)
    assert ("MISSED" in capsys.readouterr().out) is not met
    assert json.loads(options.json.read_text())["gates"][0]["met"] is met


def test_page_is_refilled_between_its_marks_and_shows_what_was_missed_or_broke() -> None:
    gate = {"name": "ratio", "value": 14.0, "direction": "at least", "limit": 30.0, "met": False}
    linking = {"columns": ["way", "ms"], "rows": [["ours", 1234.5]], "gates": [gate]}
    linking |= {"date": "2026-01-01", "commit": "abc", "load_average": 0.1}
    results = {
        "quick": True, "benchmarks": {"linking": linking, "threads": None}, "machine": "P, 2 cores", "memory_gb": 8
    }  # fmt: skip
    names = ("summary", "linking", "threads", "upload")
    marks = "".join(f"<!-- begin {n} -->\nold\n<!-- end {n} -->\nkept\n" for n in names)
    page = filled(marks, results)
    assert filled(page, results) == page and "old" not in page and page.count("kept") == 4
    assert "2026-01-01, commit abc" in page and "Not measured yet." in page
    assert "| ratio | 14 | at least 30 | **missed** | linking |" in page and "no numbers to quote" in page
    assert "| ours | 1,234 |" in page and "This benchmark broke" in page


def test_every_benchmark_has_a_module_and_a_place_on_the_page() -> None:
    marked = re.findall(r"<!-- begin (\w+) -->\n.*?<!-- end \1 -->", (DOCS / PAGE).read_text(), re.DOTALL)
    assert sorted(marked) == sorted(("summary", *BENCHMARKS))
    assert all(find_spec(f"benchmarks.{name}") for name in BENCHMARKS)


def test_numbers_are_shown_short() -> None:
    assert [shown(value) for value in (0.123456, 16000, 1234.5, "a")] == ["0.1235", "16,000", "1,234", "a"]
