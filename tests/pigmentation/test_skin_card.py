"""The card shows the evaluation's numbers, says what the labels are worth and what the model is not."""

from dataclasses import replace

import numpy as np
import pytest
from skin_scores import example

from mm_assets.learning.provenance import DISCLAIMER
from mm_assets.pigmentation.evaluation import Evaluation, EvaluationSettings, evaluate
from mm_assets.pigmentation.model_card import CardFacts, ComputeRow, model_card
from mm_assets.pigmentation.release_rule import release_refusal
from mm_assets.pigmentation.schema import TONES

FACTS = CardFacts(
    synthetic=True,
    upstream={"pigmentation/model": "abc123", "pigmentation/lesions": "def456"},
    records={"train": 1200, "validate": 240, "test": 720},
    label_sources={"synthetic": 2160},
    tone_sources={"manifest": 2000, "image": 160},
    inputs={"clinical": "sRGB photograph", "multispectral": "12 bands from 450 to 950 nm"},
    encoder="test_resnet, random start",
    parameters={"encoder clinical": 1000, "head": 200, "total": 85_135_343},
)
SETTINGS = EvaluationSettings(replicates=60)


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate(example(), SETTINGS)


def test_the_card_tells_what_it_is_for_and_what_not(evaluation: Evaluation) -> None:
    card = model_card(evaluation, FACTS)
    assert DISCLAIMER in card and "**SYNTHETIC DATA.**" in card and "DERIVED LABELS" not in card
    assert "85,135,343" in card and "12 bands" in card and "abc123" in card
    assert model_card(evaluation, FACTS) == card
    real = model_card(evaluation, replace(FACTS, synthetic=False, label_sources={"rater": 2160}))
    assert DISCLAIMER in real and "SYNTHETIC" not in real and "rendered" not in real


def test_title_and_first_lines_name_the_images_that_are_read(evaluation: Evaluation) -> None:
    title = "# Pigmentation severity from a clinical photograph"
    three = {**FACTS.inputs, "dermoscopy": "sRGB photograph"}
    assert f"{title}, a multispectral image and a dermoscopy image\n" in model_card(
        evaluation, replace(FACTS, inputs=three)
    )
    two = {"clinical": "sRGB photograph", "dermoscopy": "sRGB photograph"}
    card = model_card(evaluation, replace(FACTS, inputs=two))
    assert f"{title} and a dermoscopy image\n" in card
    assert "where there is one, a dermoscopy image." in card
    assert "multispectral" not in card.split("## Data")[0]
    alone = model_card(evaluation, replace(FACTS, inputs={"clinical": "sRGB photograph"}))
    assert f"{title}\n" in alone and "one lesion from a clinical photograph of it. Not" in alone


def test_a_derived_label_is_never_told_as_clinical_truth() -> None:
    inputs = example()
    derived = np.array(["derived_delta_melanin"] * 720)
    found = evaluate(replace(inputs, test=replace(inputs.test, label_sources=derived)), SETTINGS)
    card = model_card(found, replace(FACTS, synthetic=False, label_sources={"derived_delta_melanin": 2160}))
    assert "**DERIVED LABELS.**" in card and "not clinical truth" in card and "derived_labels: true" in card


def test_every_tone_is_in_the_fairness_table_and_few_records_are_marked(evaluation: Evaluation) -> None:
    card = model_card(evaluation, FACTS)
    fairness = card.split("## Fairness")[1].split("## ")[0]
    assert all(f"| {tone}" in fairness for tone in TONES)
    assert "dark *" in fairness and "lesion lightness" in fairness and "Worst over best" in fairness
    assert "estimated from the photograph 160, given by the manifest 2,000" in fairness
    alone = evaluate(example(), replace(SETTINGS, least_tone_lesions=9999))
    assert "Too few skin tones" in model_card(alone, FACTS)


def test_it_says_so_where_another_design_wins() -> None:
    inputs = example()
    key, every = ("concat", 0), "clinical+dermoscopy+multispectral"
    close = inputs.test.scores["fused", 0, every] * 0.5 + inputs.test.targets * 0.5
    found = evaluate(
        replace(inputs, test=replace(inputs.test, scores={**inputs.test.scores, (*key, every): close})), SETTINGS
    )
    assert "concat made the smaller error" in model_card(found, FACTS)


def test_measured_costs_are_shown_where_there_are_any(evaluation: Evaluation) -> None:
    assert "measured at release" in model_card(evaluation, FACTS)
    row = ComputeRow("one case", "CPU, 2 threads", "openvino-bf16", 41.27)
    assert "| one case | CPU, 2 threads | openvino-bf16 | 41.3 | – |" in model_card(
        evaluation, replace(FACTS, compute=[row])
    )


def test_only_a_model_that_beats_the_mean_is_released(evaluation: Evaluation) -> None:
    good = evaluation.headline
    assert release_refusal(good) is None
    weak = {**good, "mae_all": 0.24}
    assert "more than 0.8" in str(release_refusal(weak))
    unsure = {**good, "gain_over_mean_ci_low": -0.001}
    assert "interval of the gain" in str(release_refusal(unsure))
    assert release_refusal({**weak, "n_test_complete": 99}) is None
