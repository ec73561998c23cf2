"""The card shows the evaluation's numbers and says what the model is not."""

import numpy as np
import pytest

from mm_assets.learning.provenance import DISCLAIMER
from mm_assets.mimic.evaluation import Evaluation, EvaluationSettings, evaluate
from mm_assets.mimic.model_card import CardFacts, model_card
from mm_assets.mimic.predictions import SplitPredictions
from mm_assets.mimic.schema import LABELS

FACTS = CardFacts(
    synthetic=True,
    upstream={"mimic/phase3": "abc123", "mimic/model": "def456"},
    studies={"train": 1000, "validate": 120, "test": 160},
    encoders={"image": "efficientnet-lite0 (ImageNet)"},
    n_parameters=1_234_567,
    label_policy="blank is negative, uncertain is masked.",
)


def predictions(n: int, first_patient: int) -> SplitPredictions:
    rng = np.random.default_rng(first_patient)
    targets = (rng.random((n, len(LABELS))) < 0.3).astype(float)
    targets[:, 5] = 0
    signal = {"image": 1.0, "text": 0.5, "tabular": 0.2, "fused": 2.0}
    logits = {(v, 0): s * targets + rng.normal(size=targets.shape) for v, s in signal.items()}
    return SplitPredictions(logits, targets, np.ones_like(targets, bool), first_patient + np.arange(n))


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    validate, test = predictions(120, 1000), predictions(160, 5000)
    return evaluate(
        validate,
        test,
        subgroups={"sex": ["F", "M"] * 80},
        dropped={("image", 0): test.logits[("text", 0)]},
        settings=EvaluationSettings(replicates=50),
    )


def test_card_names_every_label_variant_group_and_version(evaluation: Evaluation) -> None:
    card = model_card(evaluation, FACTS)
    for expected in (*LABELS, "| fused |", "| sex: F |", "| image | ", "abc123", "def456", "1,234,567"):
        assert expected in card, expected
    h = evaluation.headline
    assert f"{h['gain_over_best_single']:+.3f} ({h['gain_ci_low']:+.3f} to {h['gain_ci_high']:+.3f})" in card
    assert "Without both classes on test and therefore in no average: Fracture." in card
    assert "| Fracture * | 0 of 160 | – |" in card
    assert " nan" not in card and "None" not in card


def test_card_says_what_it_is_not_and_where_its_data_come_from(evaluation: Evaluation) -> None:
    card = model_card(evaluation, FACTS)
    assert DISCLAIMER in card and "**SYNTHETIC DATA.**" in card
    real = model_card(evaluation, CardFacts(**{**vars(FACTS), "synthetic": False}))
    assert DISCLAIMER in real and "synthetic" not in real.lower().replace("synthetic_data: false", "")


def test_equal_evaluations_give_equal_cards(evaluation: Evaluation) -> None:
    assert model_card(evaluation, FACTS) == model_card(evaluation, FACTS)
