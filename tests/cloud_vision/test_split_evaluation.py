"""The evaluation on planted answers: what it measures, what it chooses where, and what it refuses."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from mm_assets.cloud_vision.evaluation import EvaluationSettings, NothingToJudge, evaluate
from mm_assets.cloud_vision.evaluation_figures import figures
from mm_assets.cloud_vision.evaluation_tables import Bench
from mm_assets.cloud_vision.model_card import CardFacts, model_card
from mm_assets.cloud_vision.predictions import cross_entropy, probabilities, softmax_temperature
from mm_assets.learning.plots import MAX_BYTES
from tests.cloud_vision.split_answers import CEILINGS, example

SETTINGS = EvaluationSettings(replicates=200)
# What acceptance asks the artifact for.
PROMISED = (
    "accuracy_joint", "accuracy_org2", "accuracy_org3", "accuracy_image_only", "accuracy_pooled", "accuracy_shifted",
    "leak_accuracy", "leak_accuracy_defended", "leak_guess", "wire_bytes_per_epoch",
)  # fmt: skip
FACTS = CardFacts(
    synthetic=True, upstream={"cloud_vision/model": "abc"}, records={"train": 9, "test": 300},
    sizes={"org2": 400, "org3": 410, "common": 309}, alignment_bytes=1234,
    architecture={"encoder": "compact", "image_px": 64, "embedding": 32}, parameters=1000, epochs=3, wire="http",
)  # fmt: skip


@pytest.fixture(scope="module")
def inputs():
    return example()


@pytest.fixture(scope="module")
def evaluation(inputs):
    return evaluate(inputs, SETTINGS)


def models(evaluation):
    return {(row["model"], row["split"]): row for row in evaluation.tables["models"].to_pylist()}


def test_metrics_are_those_of_scikit_learn(inputs, evaluation):
    test = inputs.answers["test"]
    row = models(evaluation)["joint", "test"]
    seeds = [test.logits["joint", seed] for seed in (0, 1)]
    expected = {
        "accuracy": lambda logits: accuracy_score(test.labels, logits.argmax(1)),
        "macro_f1": lambda logits: f1_score(test.labels, logits.argmax(1), average="macro"),
        "auroc": lambda logits: roc_auc_score(test.labels, probabilities(logits), multi_class="ovr"),
    }
    for name, metric in expected.items():
        assert row[name] == pytest.approx(np.mean([metric(logits) for logits in seeds])), name
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"], name


def test_replicates_are_the_metrics_of_the_drawn_records(inputs):
    test = inputs.answers["test"]
    bench, key = Bench(test, 3, 0), ("joint", 0)
    drawn = bench._replicates(key)
    for place in range(3):
        rows = np.repeat(np.arange(len(test.labels)), bench._draws[:, place].astype(int))
        labels, logits = test.labels[rows], test.logits[key][rows]
        assert drawn["accuracy"][place] == pytest.approx(accuracy_score(labels, logits.argmax(1)))
        assert drawn["macro_f1"][place] == pytest.approx(f1_score(labels, logits.argmax(1), average="macro"))
        area = roc_auc_score(labels, probabilities(logits), multi_class="ovr")
        assert drawn["auroc"][place] == pytest.approx(area)


def test_the_headline_has_what_is_promised_and_orders_what_was_planted(evaluation):
    h = evaluation.headline
    assert all(h[name] is not None for name in PROMISED)
    assert h["accuracy_joint"] > h["accuracy_org2"] + 0.15
    assert h["gain_over_org3"] == pytest.approx(h["accuracy_joint"] - h["accuracy_org3"])
    assert h["gain_over_org3_ci_low"] < h["gain_over_org3"] < h["gain_over_org3_ci_high"]
    assert h["accuracy_ceiling"] == CEILINGS["joint"] and h["accuracy_ceiling_org2"] == CEILINGS["org2"]
    assert h["leak_accuracy"] == pytest.approx(0.955)  # the mean of both seeds
    assert h["leak_accuracy_defended"] == pytest.approx(0.575)
    assert h["accuracy_defended"] == pytest.approx(0.79)  # on test, of what validate chose
    assert h["misaligned_50"] == pytest.approx(0.7)
    assert (h["n_test"], h["n_shifted"], h["n_seeds"], h["leak_reached"]) == (300, 120, 2, 1)
    json.dumps(evaluation.as_json(), allow_nan=False)


def test_validate_chooses_the_served_seed_and_test_has_no_say(inputs, evaluation):
    assert evaluation.served_seed == 1
    test = inputs.answers["test"]
    assert evaluation.served["joint"]["value"] == pytest.approx(test.right(("joint", 1)).mean())
    swapped = replace(test, logits={**test.logits, ("joint", 0): 9.0 * np.eye(3)[test.labels]})
    other = evaluate(replace(inputs, answers={**inputs.answers, "test": swapped}), SETTINGS)
    assert (other.served_seed, other.temperature) == (1, evaluation.temperature)
    assert other.headline["accuracy_joint"] > evaluation.headline["accuracy_joint"]


def test_confusions_count_every_test_record_once(evaluation):
    rows = evaluation.tables["confusion"].to_pylist()
    assert {row["seed"] for row in rows} == {1}
    assert sum(row["n"] for row in rows if row["split"] == "test") == 300
    right = sum(row["n"] for row in rows if row["split"] == "test" and row["label"] == row["answered"])
    assert right / 300 == pytest.approx(evaluation.headline["accuracy_served"])


def test_the_temperature_undoes_an_overconfident_network():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3))
    labels = np.array([rng.choice(3, p=share) for share in probabilities(logits)])
    assert softmax_temperature(5.0 * logits, labels) == pytest.approx(5.0, rel=0.1)
    assert cross_entropy(5.0 * logits, labels, 5.0) < cross_entropy(5.0 * logits, labels)


def test_without_a_shifted_set_its_numbers_are_empty(evaluation):
    found = evaluate(example(shifted=False), SETTINGS)
    assert found.headline["accuracy_shifted"] is None and found.headline["n_shifted"] == 0
    assert ("joint", "shifted") in models(evaluation) and ("joint", "shifted") not in models(found)


def test_one_seed_has_no_spread():
    assert models(evaluate(example(seeds=(0,)), SETTINGS))["joint", "test"]["accuracy_sd"] is None


def test_a_network_without_answers_is_named(inputs):
    test = inputs.answers["test"]
    without = replace(test, logits={key: found for key, found in test.logits.items() if key[0] != "org3"})
    with pytest.raises(NothingToJudge, match="no answers of org3"):
        evaluate(replace(inputs, answers={**inputs.answers, "test": without}), SETTINGS)


def test_figures_are_small_pictures(evaluation):
    found = figures(evaluation)
    assert set(found) == {"accuracy", "confusion", "misalignment", "leak"}
    for name, png in found.items():
        assert len(png) <= MAX_BYTES, name
        assert np.asarray(Image.open(io.BytesIO(png)).convert("L")).std() > 5, name


def test_the_card_tells_what_crossed_what_leaks_and_what_is_made_up(evaluation):
    card = model_card(evaluation, FACTS)
    assert "SYNTHETIC DATA" in card and "Not a diagnostic device" in card
    assert "1,000 bytes both ways" in card and "| org2 to org3 | train/backward | 7 | 900 |" in card
    assert "trained without a defence" in card and "named 95.5% of the labels" in card and "found it" in card
    assert "| accuracy on validate | accuracy on test |" in card and "| 0.800 | 0.790 |" in card
    real = model_card(evaluation, replace(FACTS, synthetic=False))
    assert "SYNTHETIC TABLES" in real and "synthetic_tables: true" in real and "SYNTHETIC DATA" not in real
