"""The evaluation on planted predictions: what it measures, what it chooses where, and what it refuses."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skin_scores import SUBSETS, example

from mm_assets.learning import regression_metrics as rm
from mm_assets.learning.metrics import MetricInputError
from mm_assets.pigmentation.deletion import DeletionCurves
from mm_assets.pigmentation.evaluation import Evaluation, EvaluationSettings, csv_of, csv_row, evaluate
from mm_assets.pigmentation.evaluation_figures import figures
from mm_assets.pigmentation.predictions import EvaluationInputs, SplitScores
from mm_assets.pigmentation.schema import SEVERITIES, TONES
from mm_assets.pigmentation.severity import DEFAULT_THRESHOLDS, Thresholds, severity_of, shown_score

EVERY = SUBSETS[-1]
SETTINGS = EvaluationSettings(replicates=100)
SHARES = np.linspace(0, 1, 11)
DELETION = DeletionCurves(SHARES, np.sqrt(SHARES)[None].repeat(8, 0), SHARES[None].repeat(8, 0), np.arange(8))


def rows(evaluation: Evaluation, name: str) -> list[dict]:
    return evaluation.tables[name].to_pylist()


@pytest.fixture(scope="module")
def inputs() -> EvaluationInputs:
    return example()


@pytest.fixture(scope="module")
def evaluation(inputs: EvaluationInputs) -> Evaluation:
    return evaluate(inputs, SETTINGS, DELETION)


def with_test(inputs: EvaluationInputs, **changes) -> EvaluationInputs:
    return replace(inputs, test=replace(inputs.test, **changes))


def test_the_headline_orders_what_was_planted(evaluation: Evaluation) -> None:
    h = evaluation.headline
    assert h["mae_all"] < h["mae_clinical_only"] < h["mae_delta_melanin"] < h["mae_predict_mean"]
    assert h["mae_clinical_only"] < h["mae_seed_variant_clinical_only"]
    assert h["mae_concat_all"] > h["mae_all"]
    for name in ("mae_all", "mae_clinical_only", "gain_over_mean", "gain_over_delta_melanin", "coverage90"):
        assert h[f"{name}_ci_low"] < h[name] < h[f"{name}_ci_high"], name
    assert h["gain_over_mean"] == pytest.approx(h["mae_predict_mean"] - h["mae_all"])
    assert h["gain_over_delta_melanin"] == pytest.approx(h["mae_delta_melanin"] - h["mae_clinical_only"])
    assert h["r2_all"] > 0.98 and h["icc_all"] > 0.98 and h["kappa_all"] > 0.9
    assert h["deletion_gain"] == pytest.approx(2 / 3 - 1 / 2, abs=0.01) and h["n_deletion"] == 8
    assert h["label_sources"] == "synthetic 720" and h["derived_labels"] == 0
    assert (h["n_test"], h["n_patients_test"], h["n_seeds"]) == (720, 360, 1)


def test_compared_numbers_are_over_the_records_with_every_picture(
    inputs: EvaluationInputs, evaluation: Evaluation
) -> None:
    test = inputs.test
    complete = np.isfinite(test.scores["fused", 0, EVERY])
    assert 0 < complete.sum() < len(complete) == evaluation.headline["n_test"]
    assert {row["n_test"] for row in rows(evaluation, "subsets")} == {int(complete.sum())}
    errors = np.abs(test.scores["fused", 0, "clinical"] - test.targets)
    assert evaluation.headline["mae_clinical_only"] == pytest.approx(errors[complete].mean())
    row = next(r for r in rows(evaluation, "subsets") if (r["variant"], r["subset"]) == ("fused", "clinical"))
    assert row["mae_available"] == pytest.approx(errors.mean()) and row["n_available"] == 720
    assert row["share_of_mean"] == pytest.approx(row["mae"] / evaluation.headline["mae_predict_mean"])
    assert [(r["variant"], r["subset"]) for r in rows(evaluation, "subsets")][:4] == [("fused", s) for s in SUBSETS]


def test_tones_with_few_records_are_listed_and_not_judged(inputs: EvaluationInputs, evaluation: Evaluation) -> None:
    h = evaluation.headline
    of_model = [r for r in rows(evaluation, "tones") if (r["predictor"], r["subset"]) == ("fused", EVERY)]
    assert [row["tone"] for row in of_model] == list(TONES)
    judged = {row["tone"]: row["mae"] for row in of_model if not row["few"]}
    assert h["least_tone_n"] == min(row["n_test"] for row in of_model)
    assert h["n_tones_judged"] == len(judged) < len(TONES)
    assert h["worst_tone_ratio"] == pytest.approx(max(judged.values()) / min(judged.values()))
    assert h["worst_tone_ratio_ci_low"] < h["worst_tone_ratio"] < h["worst_tone_ratio_ci_high"]
    strict = evaluate(inputs, replace(SETTINGS, least_tone_lesions=10_000)).headline
    assert strict["worst_tone_ratio"] is None and strict["n_tones_judged"] == 0
    unknown = evaluate(with_test(inputs, tones=np.array(["unknown"] * 720)), SETTINGS)
    assert unknown.headline["least_tone_n"] == 0
    assert {row["tone"] for row in rows(unknown, "tones")} == {"unknown"}


def test_visits_of_one_lesion_are_one_lesion(inputs: EvaluationInputs) -> None:
    """Twice as many records of the same lesions make no tone judged."""
    test = inputs.test
    # Records k and k + 6 have one tone and become two visits of one lesion.
    visits = [f"{12 * (k // 12) + k % 6}@{k % 12 // 6 + 1}" for k in range(len(test.record_ids))]
    found = evaluate(with_test(inputs, record_ids=visits), replace(SETTINGS, least_tone_lesions=61))
    rows_of = [r for r in rows(found, "tones") if (r["predictor"], r["subset"]) == ("fused", "clinical")]
    assert all(r["n_test"] == 120 and r["n_lesions"] == 60 and r["few"] for r in rows_of)
    assert found.headline["least_tone_n"] <= 60 and found.headline["n_tones_judged"] == 0


def test_every_tone_has_the_metrics_of_the_subsets(inputs: EvaluationInputs, evaluation: Evaluation) -> None:
    test = inputs.test
    dark = next(r for r in rows(evaluation, "tones") if (r["tone"], r["subset"]) == ("dark", EVERY))
    use = (test.tones == "dark") & test.available(EVERY)
    truth, predicted = test.targets[use], test.scores["fused", 0, EVERY][use]
    expected = rm.agreement(truth, predicted)
    for name in ("mae", "mse", "rmse", "r2", "spearman", "icc", "bias", "limits_low", "limits_high"):
        assert dark[name] == pytest.approx(expected[name]), name
    assert 0.8 < dark["kappa"] <= 1
    for name in ("mae", "r2", "icc", "kappa", "limits_low", "limits_high", "coverage"):
        assert dark[f"{name}_low"] <= dark[name] <= dark[f"{name}_high"], name


def test_a_model_that_is_worse_on_dark_skin_shows_it(inputs: EvaluationInputs) -> None:
    key = ("fused", 0, EVERY)
    test = inputs.test
    off = np.where(test.tones == "dark", 0.1, 0.0)
    biased = {**test.scores, key: np.clip(test.scores[key] - off, 0, 1)}
    found = evaluate(with_test(inputs, scores=biased), replace(SETTINGS, least_tone_lesions=50))
    assert found.headline["worst_tone"] == "dark" and found.headline["worst_tone_ratio_ci_low"] > 1.5
    dark = next(r for r in rows(found, "tones") if (r["tone"], r["subset"]) == ("dark", EVERY))
    assert dark["bias_high"] < 0 and dark["coverage"] < 0.5


def test_coverage_is_near_the_level_and_the_width_is_chosen_on_validate(
    inputs: EvaluationInputs, evaluation: Evaluation
) -> None:
    assert 0.8 < evaluation.headline["coverage90"] < 0.98
    overall = [row for row in rows(evaluation, "coverage") if row["tone"] == "all"]
    assert [row["subset"] for row in overall] == SUBSETS == list(evaluation.conformal)
    assert all(row["scaled"] for row in overall)
    assert overall[0]["mean_width"] > overall[-1]["mean_width"]
    other = evaluate(with_test(inputs, targets=inputs.test.targets[::-1].copy()), SETTINGS)
    assert other.conformal == evaluation.conformal
    plain = evaluate(example(spread=False), SETTINGS)
    assert not any(fitted.scaled for fitted in plain.conformal.values())
    assert 0.8 < plain.headline["coverage90"] < 0.98


def test_several_seeds_are_averaged_and_the_released_one_is_best_on_validate() -> None:
    inputs = example(seeds=(0, 1, 2))
    key = ("fused", 2, EVERY)
    close = inputs.validate.targets * 0.9 + inputs.validate.scores[key] * 0.1
    better = replace(inputs.validate, scores={**inputs.validate.scores, key: close})
    found = evaluate(replace(inputs, validate=better), SETTINGS)
    assert found.released_seed == 2 == found.headline["released_seed"]
    complete = inputs.test.available(EVERY)
    each = [np.abs(inputs.test.scores["fused", s, EVERY] - inputs.test.targets)[complete].mean() for s in (0, 1, 2)]
    assert found.headline["mae_all"] == pytest.approx(np.mean(each))
    assert found.headline["released_mae"] == pytest.approx(each[2])
    told = found.as_json()["errors"]
    assert list(told) == SUBSETS and told[EVERY]["value"] == pytest.approx(each[2]) != pytest.approx(np.mean(each))
    assert told[EVERY]["low"] < each[2] < told[EVERY]["high"]
    row = next(r for r in rows(found, "subsets") if (r["variant"], r["subset"]) == ("fused", EVERY))
    assert row["n_seeds"] == 3 and row["mae_sd"] == pytest.approx(np.std(each, ddof=1))


def test_severity_table_counts_every_record_once(inputs: EvaluationInputs, evaluation: Evaluation) -> None:
    counted = [row for row in rows(evaluation, "severity") if row["subset"] == "clinical"]
    assert len(counted) == len(SEVERITIES) ** 2 and sum(row["n_test"] for row in counted) == 720
    strict = evaluate(inputs, replace(SETTINGS, thresholds=Thresholds(0.1, 0.2)))
    severe = sum(row["n_test"] for row in rows(strict, "severity") if row["true"] == "Severe") / len(SUBSETS)
    assert severe > 400


def test_metrics_csv_has_a_line_per_record_as_served(inputs: EvaluationInputs, evaluation: Evaluation) -> None:
    lines = list(csv.DictReader(io.StringIO(evaluation.metrics_csv)))
    assert [line["record_id"] for line in lines] == list(inputs.test.record_ids)
    assert {line["modalities"] for line in lines} == set(SUBSETS) - {"clinical"}
    for k, line in enumerate(lines):
        score = inputs.test.scores["fused", 0, line["modalities"]][k]
        assert float(line["score"]) == shown_score(score)
        assert line["severity_predicted"] == severity_of(score) == severity_of(float(line["score"]))
        assert float(line["interval_low"]) <= float(line["score"]) <= float(line["interval_high"])
    errors = [float(line["abs_error"]) for line in lines]
    assert np.mean(errors) == pytest.approx(evaluation.headline["mae_as_served"], abs=1e-6)


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_label_written_is_that_of_the_number_written(target: float, score: float) -> None:
    """The same function labels a served answer, so service and evaluation agree for every score."""
    line = next(csv.DictReader(io.StringIO(csv_of([csv_row("r", "clinical", target, score, DEFAULT_THRESHOLDS)]))))
    assert line["severity_predicted"] == severity_of(float(line["score"])) == severity_of(score)
    assert line["severity_true"] == severity_of(target)


def test_derived_labels_are_counted_and_marked(inputs: EvaluationInputs) -> None:
    sources = np.array(["rater", "derived_delta_melanin"] * 360)
    found = evaluate(with_test(inputs, label_sources=sources), SETTINGS)
    assert found.headline["derived_labels"] == 360
    assert {row["label_source"]: row["derived"] for row in rows(found, "label_sources")} == {
        "rater": False, "derived_delta_melanin": True,
    }  # fmt: skip


def test_everything_is_plain_json_without_nan(evaluation: Evaluation, inputs: EvaluationInputs) -> None:
    assert json.loads(json.dumps(evaluation.as_json(), allow_nan=False)) == evaluation.as_json()
    again = evaluate(inputs, SETTINGS, DELETION)
    assert again.as_json() == evaluation.as_json() and again.tables == evaluation.tables
    assert evaluate(inputs, SETTINGS).headline["deletion_gain"] is None


def test_only_the_headline_variant_is_needed(inputs: EvaluationInputs) -> None:
    def alone(split: SplitScores) -> SplitScores:
        return replace(split, scores={key: value for key, value in split.scores.items() if key[0] == "fused"})

    found = evaluate(EvaluationInputs(alone(inputs.validate), alone(inputs.test)), SETTINGS)
    assert found.headline["mae_concat_all"] is None and found.headline["mae_seed_variant_clinical_only"] is None
    assert found.headline["mae_all"] is not None


def test_a_set_without_one_modality_is_evaluated_without_it(inputs: EvaluationInputs) -> None:
    two = ("clinical", "dermoscopy")
    names = {"clinical", "clinical+dermoscopy"}

    def reduced(split: SplitScores) -> SplitScores:
        return replace(split, scores={key: value for key, value in split.scores.items() if key[2] in names})

    found = evaluate(EvaluationInputs(reduced(inputs.validate), reduced(inputs.test), two), SETTINGS)
    assert set(found.conformal) == names
    assert found.headline["n_test_complete"] == 630


def test_a_split_without_a_whole_record_says_what_to_add(inputs: EvaluationInputs) -> None:
    none = {k: np.full(len(v), np.nan) if k[2] == EVERY else v for k, v in inputs.test.scores.items()}
    with pytest.raises(MetricInputError, match="add records that have every image"):
        evaluate(with_test(inputs, scores=none), SETTINGS)


def test_inputs_that_would_mislead_are_refused(inputs: EvaluationInputs) -> None:
    test = inputs.test
    shared = test.patients.copy()
    shared[:3] = inputs.validate.patients[0]
    gap = test.scores["pooled", 0, EVERY].copy()
    gap[np.isfinite(gap).nonzero()[0][0]] = np.nan
    missing = {key: value for key, value in test.scores.items() if key != ("fused", 0, "clinical")}
    no_fused = {key: value for key, value in test.scores.items() if key[0] != "fused"}
    for change, message in (
        ({"patients": shared}, "split by patient"),
        ({"scores": {**test.scores, ("pooled", 0, EVERY): gap}}, "diverged"),
        ({"scores": missing}, "predict both again"),
        ({"targets": test.targets + 0.5}, "outside 0 to 1"),
        ({"tones": test.tones[:-1]}, "predict again"),
        ({"baselines": {}}, "measure it before evaluating"),
        ({"baselines": {**test.baselines, "delta_melanin": test.targets * np.nan}}, "for every record"),
    ):
        with pytest.raises(MetricInputError, match=message):
            evaluate(with_test(inputs, **change), SETTINGS)
    validate = {key: value for key, value in inputs.validate.scores.items() if key[0] != "fused"}
    with pytest.raises(MetricInputError, match="no predictions of 'fused'"):
        evaluate(EvaluationInputs(replace(inputs.validate, scores=validate), replace(test, scores=no_fused)), SETTINGS)


def test_every_figure_is_a_small_png(evaluation: Evaluation, inputs: EvaluationInputs) -> None:
    drawn = figures(evaluation, inputs)
    assert {"score_distribution", "severity_distribution", "subsets", "tones", "bland_altman", "deletion"} == set(drawn)
    for name, png in drawn.items():
        with Image.open(io.BytesIO(png)) as image:
            assert image.format == "PNG", name
        assert len(png) <= 50_000, name
    assert "deletion" not in figures(evaluate(inputs, SETTINGS), inputs)
