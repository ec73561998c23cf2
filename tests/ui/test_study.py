"""A study names the code that it began on, and says so when that changed while it ran."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from ui import demo, running, study


def measured_on(monkeypatch: pytest.MonkeyPatch, folder: Path, *states: tuple[str, str]) -> str:
    """The commit noted by a study that finds `states` of the code before and after its run."""
    seen = iter(states)
    report = SimpleNamespace(succeeded=True)
    monkeypatch.setattr(study, "code_state", lambda: next(seen))
    monkeypatch.setattr(study, "results_of", lambda wing, house, *, seconds, measured_on: {"commit": measured_on})
    monkeypatch.setattr(study, "write_readme_table", lambda wing, results: None)
    monkeypatch.setattr(study, "RESULTS", folder)
    monkeypatch.setattr(running, "run_selection", lambda selection, house: report)
    monkeypatch.setattr(demo, "print_run", lambda report: None)
    return json.loads(study.run_study("pigmentation").read_text())["commit"]


@pytest.mark.parametrize(
    ("before", "after", "noted"),
    [
        (("abc", ""), ("abc", ""), "abc"),
        (("abc", "x"), ("abc", "x"), "abc with changes"),
        (("abc", ""), ("def", ""), "abc, changed meanwhile"),
        (("abc", "x"), ("abc", "y"), "abc with changes, changed meanwhile"),
    ],
)
def test_the_commit_is_that_of_the_beginning(
    before: tuple[str, str], after: tuple[str, str], noted: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert measured_on(monkeypatch, tmp_path, before, after) == noted


def test_the_commit_of_now_needs_no_beginning() -> None:
    assert study.commit(study.code_state()) == study.commit()
