"""The committed results say what was promised, and the README shows them, all of them and nothing else."""

import json
import re
from pathlib import Path

from ui.study import README, RESULTS, readme_table


def test_readme_table_is_generated_from_the_committed_results() -> None:
    text = README.read_text(encoding="utf-8")
    for wing in ("mimic",):
        _, _, rest = text.partition(f"<!-- results:{wing} -->")
        shown, _, _ = rest.partition(f"<!-- /results:{wing} -->")
        results = json.loads((RESULTS / f"{wing}.json").read_text())
        assert shown.strip() == readme_table(results).strip()


def test_the_study_shows_the_planted_gain_over_three_seeds() -> None:
    results = json.loads((RESULTS / "mimic.json").read_text())
    head = results["headline"]
    assert results["synthetic"] is True
    # Below this the findings planted in film, text and vital signs would not be complementary.
    assert head["gain_over_best_single"] >= 0.05
    assert head["gain_ci_low"] > 0
    assert head["n_seeds"] == 3 and len(results["training"]["knobs"]["seed"]) == 3


def test_readme_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README.read_text(encoding="utf-8")):
        assert (README.parent / target).exists(), target
    assert Path(README.parent / "docs").is_dir()
