"""The committed results say what was promised, and the README shows them, all of them and nothing else."""

import json
import re
from pathlib import Path

import pytest

from ui.study import README, RESULTS, readme_table
from ui.wings import wings

NOT_MEASURED = "Not measured yet."


@pytest.mark.parametrize("wing", wings())
def test_readme_table_is_generated_from_the_committed_results(wing: str) -> None:
    text, results = README.read_text(encoding="utf-8"), RESULTS / f"{wing}.json"
    assert text.count(f"<!-- results:{wing} -->") == text.count(f"<!-- /results:{wing} -->") == 1
    _, _, rest = text.partition(f"<!-- results:{wing} -->")
    shown, _, _ = rest.partition(f"<!-- /results:{wing} -->")
    measured = readme_table(json.loads(results.read_text())) if results.exists() else NOT_MEASURED
    assert shown.strip() == measured.strip()


def test_the_study_shows_the_planted_gain_over_three_seeds() -> None:
    results = json.loads((RESULTS / "mimic.json").read_text())
    head = results["headline"]
    assert results["synthetic"] is True
    # Below this the findings planted in film, text and vital signs would not be complementary.
    assert head["gain_over_best_single"] >= 0.05
    assert head["gain_ci_low"] > 0
    assert head["n_seeds"] == 3 and len(results["training"]["knobs"]["seed"]) == 3


def test_the_skin_study_survives_missing_images_and_serves_every_tone() -> None:
    results = json.loads((RESULTS / "pigmentation.json").read_text())
    head = results["headline"]
    assert results["synthetic"] is True
    assert head["mae_all"] <= 0.25 * head["mae_predict_mean"]
    assert head["mae_clinical_only"] <= 0.30 * head["mae_predict_mean"]
    # From the photograph alone, as the hand-made measure.
    assert head["gain_over_delta_melanin_ci_low"] > 0
    assert head["least_tone_n"] >= 100 and head["worst_tone_ratio"] <= 1.5
    assert head["n_seeds"] == 3 and len(results["training"]["knobs"]["seed"]) == 3


def test_readme_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README.read_text(encoding="utf-8")):
        assert (README.parent / target).exists(), target
    assert Path(README.parent / "docs").is_dir()
