"""The evaluation on planted predictions: what it measures, what it chooses where, and what it refuses."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mm_assets.learning import calibration
from mm_assets.learning.metrics import MetricInputError, sigmoid
from mm_assets.mimic.evaluation import DEFAULT_THRESHOLD, Evaluation, EvaluationSettings, age_bands, evaluate
from mm_assets.mimic.evaluation_figures import figures
from mm_assets.mimic.predictions import SplitPredictions
from mm_assets.mimic.schema import LABELS

SETTINGS = EvaluationSettings(replicates=100)
# How well each variant sees the planted finding; image is the best single one.
SIGNAL = {"image": 1.0, "text": 0.7, "tabular": 0.4, "concat": 1.6, "fused": 2.2, "pooled3": 1.3}
ABSENT = LABELS.index("Fracture")  # no positives on test
UNTUNED = LABELS.index("Pleural Other")  # no positives on validate


def split(n: int, seed: int, first_patient: int, seeds: tuple[int, ...]) -> SplitPredictions:
    rng = np.random.default_rng(seed)
    prevalence = np.linspace(0.1, 0.4, len(LABELS))
    targets = (rng.random((n, len(LABELS))) < prevalence).astype(float)
    logits = {
        (variant, s): SIGNAL[variant] * targets + rng.normal(size=targets.shape) * (1 + 0.02 * s)
        for variant in SIGNAL
        for s in seeds
    }
    patients = first_patient + rng.integers(0, n * 3 // 4, n)
    return SplitPredictions(logits, targets, rng.random(targets.shape) < 0.95, patients)


def example(seeds: tuple[int, ...] = (0,)) -> tuple[SplitPredictions, SplitPredictions]:
    validate, test = split(300, 1, 10_000, seeds), split(400, 2, 20_000, seeds)
    validate.targets[:, UNTUNED] = 0
    test.targets[:, ABSENT] = 0
    return validate, test


def run(validate: SplitPredictions, test: SplitPredictions, seeds: tuple[int, ...] = (0,), **knobs) -> Evaluation:
    n = len(test.patients)
    return evaluate(
        validate,
        test,
        subgroups={"sex": ["F", "M"] * (n // 2), "age_band": age_bands([30.0] * (n - 1) + [None])},
        dropped={
            (modality, s): test.logits[("concat", s)] * 0.5 for modality in ("image", "text", "tabular") for s in seeds
        },
        settings=replace(SETTINGS, **knobs),
    )


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return run(*example())


def test_headline_orders_the_variants_as_planted_and_the_gain_excludes_zero(evaluation: Evaluation) -> None:
    h = evaluation.headline
    assert h["macro_auroc_tabular"] < h["macro_auroc_text"] < h["macro_auroc_image"] < h["macro_auroc"]
    assert h["best_single"] == "image"
    assert h["gain_over_best_single"] == pytest.approx(h["macro_auroc"] - h["macro_auroc_image"])
    assert 0 < h["gain_ci_low"] < h["gain_over_best_single"] < h["gain_ci_high"]
    assert h["gain_within"] <= h["gain_over_best_single"] + 1e-12
    assert h["gain_within_ci_low"] <= h["gain_ci_low"] + 1e-12
    assert h["macro_auroc_ci_low"] < h["macro_auroc"] < h["macro_auroc_ci_high"]


def test_labels_without_both_classes_are_listed_and_not_averaged(evaluation: Evaluation) -> None:
    assert evaluation.headline["labels_not_evaluated"] == "Fracture"
    assert evaluation.headline["n_labels_evaluated"] == 13
    rows = {row["label"]: row for row in evaluation.per_label.to_pylist()}
    assert rows["Fracture"]["auroc"] is None and rows["Fracture"]["n_pos"] == 0
    assert rows["Fracture"]["few_positives"] is True
    defined = [row["auroc"] for row in rows.values() if row["auroc"] is not None]
    assert evaluation.headline["released_macro_auroc"] == pytest.approx(np.mean(defined))
    without = [row["auroc"] for name, row in rows.items() if row["auroc"] is not None and name != "No Finding"]
    assert evaluation.headline["macro_auroc_without_no_finding"] == pytest.approx(np.mean(without))


def test_a_label_validate_cannot_tune_is_served_at_the_default_and_says_so(evaluation: Evaluation) -> None:
    assert evaluation.thresholds["Pleural Other"] == DEFAULT_THRESHOLD
    assert evaluation.headline["labels_without_threshold"] == "Pleural Other"
    rows = {row["label"]: row for row in evaluation.per_label.to_pylist()}
    assert rows["Pleural Other"]["threshold_chosen"] is False
    assert rows["Edema"]["threshold_chosen"] is True
    assert all(0 <= t <= 1 for t in evaluation.thresholds.values())


def test_calibration_lowers_error_and_is_fitted_on_validate_alone() -> None:
    validate, test = example()
    found = run(validate, test)
    assert found.headline["ece_after"] < found.headline["ece_before"]
    assert found.headline["brier_after"] < found.headline["brier_before"]
    methods = {row["method"]: row for row in found.calibration_methods.to_pylist()}
    assert [name for name, row in methods.items() if row["used"]] == ["temperature_and_shift"]
    assert methods["none"]["ece"] == found.headline["ece_before"]
    other_test = replace(test, targets=test.targets[::-1].copy())
    again = run(validate, other_test)
    assert again.calibration == found.calibration
    assert again.thresholds == found.thresholds


def test_best_single_is_chosen_on_validate_even_when_test_disagrees() -> None:
    validate, test = example()
    swapped = {**test.logits, ("image", 0): test.logits[("text", 0)], ("text", 0): test.logits[("image", 0)]}
    found = run(validate, replace(test, logits=swapped))
    assert found.headline["best_single"] == "image"
    assert found.headline["gain_within"] < found.headline["gain_over_best_single"]


def test_several_seeds_are_averaged_and_the_released_one_is_best_on_validate() -> None:
    seeds = (0, 1, 2)
    validate, test = example(seeds)
    validate.logits[("fused", 1)][:] += 2 * validate.targets
    found = run(validate, test, seeds)
    row = next(r for r in found.ablation.to_pylist() if r["variant"] == "fused")
    assert row["n_seeds"] == 3 and row["macro_auroc_sd"] > 0
    assert found.released_seed == 1
    single = [run(_only(validate, s), _only(test, s), (s,)).headline["macro_auroc"] for s in seeds]
    assert found.headline["macro_auroc"] == pytest.approx(np.mean(single))


def _only(predictions: SplitPredictions, seed: int) -> SplitPredictions:
    return replace(predictions, logits={key: z for key, z in predictions.logits.items() if key[1] == seed})


def test_result_does_not_depend_on_row_order_and_is_reproducible(evaluation: Evaluation) -> None:
    validate, test = example()
    order = np.random.default_rng(0).permutation(len(test.patients))
    shuffled = SplitPredictions(
        {key: z[order] for key, z in test.logits.items()},
        test.targets[order],
        test.mask[order],
        test.patients[order],
    )
    n = len(order)
    again = evaluate(
        validate,
        shuffled,
        subgroups={"sex": np.array(["F", "M"] * (n // 2))[order].tolist()},
        dropped={},
        settings=SETTINGS,
    )
    for name, value in evaluation.headline.items():
        if isinstance(value, float):
            assert again.headline[name] == pytest.approx(value, abs=1e-9), name


def test_subgroups_name_their_size_and_their_interval(evaluation: Evaluation) -> None:
    rows = {(r["column"], r["value"]): r for r in evaluation.subgroups.to_pylist()}
    assert rows[("sex", "F")]["n_test"] + rows[("sex", "M")]["n_test"] == 400
    female = rows[("sex", "F")]
    assert female["macro_auroc_low"] < female["macro_auroc"] < female["macro_auroc_high"]
    assert 0 < female["false_positive_rate"] < female["sensitivity"] < 1
    # One study has no ranking: listed with its size, without a number.
    unknown = rows[("age_band", "unknown")]
    assert (unknown["n_test"], unknown["n_labels"], unknown["macro_auroc"]) == (1, 0, None)


def test_dropping_a_modality_is_compared_with_the_complete_model(evaluation: Evaluation) -> None:
    rows = {row["dropped"]: row for row in evaluation.missing_modality.to_pylist()}
    assert list(rows) == ["nothing", "image", "tabular", "text"]
    assert rows["nothing"]["difference"] is None
    assert rows["nothing"]["macro_auroc"] == pytest.approx(evaluation.headline["macro_auroc"])
    assert rows["image"]["difference_high"] < 0


def test_json_is_strict_and_serves_a_probability_with_its_interval(evaluation: Evaluation) -> None:
    stored = json.loads(json.dumps(evaluation.as_json(), allow_nan=False))
    spec = stored["calibration"]
    probability = calibration.calibrated(spec, np.zeros(len(LABELS)))[0]
    low, high, n = calibration.interval_for(spec, LABELS[0], float(probability))
    assert 0 <= low <= high <= 1 and n >= 20
    assert stored["headline"]["macro_auroc_sd"] is None


def test_raw_probabilities_are_kept_when_no_calibration_is_asked_for() -> None:
    validate, test = example()
    found = run(validate, test, calibration="none")
    logits = test.logits[("fused", 0)]
    np.testing.assert_allclose(calibration.calibrated(found.calibration, logits), sigmoid(logits))
    assert found.headline["ece_after"] == found.headline["ece_before"]


def test_bad_predictions_are_refused_with_what_to_do() -> None:
    validate, test = example()
    with pytest.raises(MetricInputError, match="split by patient"):
        run(replace(validate, patients=np.full(300, test.patients[0])), test)
    with pytest.raises(MetricInputError, match="'text'; train it"):
        keep = [key for key in test.logits if key[0] != "text"]
        run(
            replace(validate, logits={k: validate.logits[k] for k in keep}),
            replace(test, logits={k: test.logits[k] for k in keep}),
        )
    with pytest.raises(MetricInputError, match="different variants"):
        run(validate, replace(test, logits={k: z for k, z in test.logits.items() if k[0] != "pooled3"}))
    with pytest.raises(MetricInputError, match="both classes on the validate"):
        run(replace(validate, mask=np.zeros_like(validate.mask)), test)
    with pytest.raises(MetricInputError, match="lack a seed"):
        evaluate(validate, test, subgroups={}, dropped={("image", 5): test.logits[("fused", 0)]}, settings=SETTINGS)
    with pytest.raises(MetricInputError, match="subgroup column 'sex'"):
        evaluate(validate, test, subgroups={"sex": ["F"]}, dropped={}, settings=SETTINGS)


def test_age_bands_cover_the_edges_and_the_unknown() -> None:
    assert age_bands([39.9, 40, 65, 65.1, None, float("nan")]) == [
        "<40",
        "40-65",
        "40-65",
        ">65",
        "unknown",
        "unknown",
    ]


def test_every_figure_is_a_small_png(evaluation: Evaluation) -> None:
    drawn = figures(evaluation, example()[1])
    assert set(drawn) == {"ablation", "gain", "auroc_per_label", "reliability", "roc", "pr", "confusion"}
    for name, png in drawn.items():
        assert png.startswith(b"\x89PNG") and len(png) <= 50_000, name
