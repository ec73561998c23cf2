"""What the trained variants are worth on the test split, for every subset of modalities and every skin tone.

Belongs here: which numbers the wing reports, over which records and against which comparison.
Does not belong here: the metrics themselves (learning/regression_metrics.py, conformal.py), table rows
(evaluation_tables.py) and what a release needs (release_rule.py).

Rules:
- Validate chooses, test measures. Chosen on validate: the released seed and the width of the intervals.
- Numbers that are compared with each other are over the same records: those that have every modality.
- Several seeds: a metric is computed per seed and then averaged (scores are never averaged, because one seed's model
  is released, not an ensemble). Tones, severities, coverage, metrics.csv and the error that is told with an answer
  are those of the released seed.
- Intervals are 95 % percentile intervals of a bootstrap over patients with the same draws everywhere, so differences
  are paired. They hold the trained models fixed.
- The worst and the best tone are chosen by their errors on test among those with enough lesions; the interval is that
  of the ratio of these two, which the choice makes a little too high rather than too low.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mm_assets.learning.conformal import LEVEL, Conformal, fit_conformal
from mm_assets.learning.metrics import Array, BoolArray
from mm_assets.pigmentation import evaluation_tables as tables
from mm_assets.pigmentation.baselines import DELTA_MELANIN, PREDICT_MEAN
from mm_assets.pigmentation.deletion import DeletionCurves
from mm_assets.pigmentation.predictions import HEADLINE_VARIANT, EvaluationInputs, Key, SplitScores, check_inputs
from mm_assets.pigmentation.schema import DERIVED_LABEL_SOURCES, REQUIRED_MODALITY, TONES, VARIANTS
from mm_assets.pigmentation.severity import DEFAULT_THRESHOLDS, Thresholds, severity_of, shown_score

CSV_COLUMNS = (
    "record_id", "modalities", "target", "score", "severity_true", "severity_predicted", "abs_error",
    "interval_low", "interval_high",
)  # fmt: skip


@dataclass(frozen=True)
class EvaluationSettings:
    """Knobs of an evaluation."""

    replicates: int = 1000  # of the bootstrap
    seed: int = 0  # of the bootstrap
    thresholds: Thresholds = DEFAULT_THRESHOLDS
    level: float = LEVEL  # of the conformal intervals
    least_tone_lesions: int = tables.LEAST_PER_TONE  # a skin tone with fewer is listed and not judged


@dataclass(frozen=True)
class Evaluation:
    """Everything that the tables, the card, the released bundle and ``mm status`` show."""

    headline: dict[str, float | int | str | None]
    tables: dict[str, pa.Table]
    conformal: dict[str, Conformal]  # subset -> interval of the released model
    released_seed: int
    errors: dict[str, dict[str, float]]  # subset -> error of the released model with its interval: told with an answer
    metrics_csv: str  # one line per test record, as the released model answers it with the pictures it has
    served: Array  # [N] those scores
    settings: EvaluationSettings

    def as_json(self) -> dict[str, Any]:
        """What is not a table, as plain JSON without NaN."""
        return {
            "headline": self.headline,
            "released_seed": self.released_seed,
            "thresholds": self.settings.thresholds.as_json(),
            "conformal": {subset: fitted.as_json() for subset, fitted in self.conformal.items()},
            "errors": self.errors,
            "settings": asdict(self.settings),
        }


def evaluate(
    inputs: EvaluationInputs, settings: EvaluationSettings, deletion: DeletionCurves | None = None
) -> Evaluation:
    """Evaluate all variants, subsets and baselines.

    ``deletion``: curves of the released model, where they were drawn. Raises MetricInputError when splits share
    patients, when the headline variant or a subset is missing, or when an array does not fit.
    """
    check_inputs(inputs)
    test, every = inputs.test, inputs.every
    released_seed = best_seed(inputs)
    keys = {subset: (HEADLINE_VARIANT, released_seed, subset) for subset in inputs.subsets}
    conformal = {subset: _fit(inputs.validate, key, settings.level) for subset, key in keys.items()}
    bench = tables.Bench(test, settings.thresholds, settings.replicates, settings.seed)
    complete = test.available(every)
    variants = [variant for variant in VARIANTS if inputs.seeds(variant)]
    baselines = tables.baseline_rows(bench, inputs, keys[REQUIRED_MODALITY])
    mean_mae = next(row["mae"] for row in baselines if row["baseline"] == PREDICT_MEAN)
    rows = {
        "subsets": tables.subset_rows(bench, inputs, variants, mean_mae),
        "tones": tables.tone_rows(bench, inputs, released_seed, conformal, settings.least_tone_lesions),
        "baselines": baselines,
        "severity": tables.severity_rows(inputs, released_seed, settings.thresholds),
        "coverage": tables.coverage_rows(bench, inputs, released_seed, conformal),
        "bland_altman": tables.bland_altman_rows(bench, inputs, released_seed),
        "deletion": tables.deletion_rows(deletion),
    }
    served, subset_of = as_served(inputs, keys)
    rows["label_sources"] = tables.label_source_rows(bench, test, served)
    inside = tables.covered(test, keys[every], conformal[every])
    headline = {
        **_errors(rows["subsets"], baselines, every),
        **_gains(bench, inputs),
        **_tone_ratio(bench, rows["tones"], test.scores[keys[every]], every),
        **tables.headlined(bench.mean(inside, complete, "mean"), "mean", "coverage90"),
        "released_seed": released_seed,
        "released_mae": float(np.abs(test.scores[keys[every]] - test.targets)[complete].mean()),
        "mae_as_served": float(np.abs(served - test.targets).mean()),
        **_deletion(deletion, settings),
        "n_test": len(test.record_ids),
        "n_test_complete": int(complete.sum()),
        "n_patients_test": int(np.unique(test.patients).size),
        "n_seeds": len(inputs.seeds()),
        "label_sources": _counted(test.label_sources),
        "derived_labels": int(np.isin(test.label_sources, DERIVED_LABEL_SOURCES).sum()),
    }
    return Evaluation(
        headline=tables.without_nan(headline),
        tables={name: tables.table(name, found) for name, found in rows.items()},
        conformal=conformal,
        released_seed=released_seed,
        errors={subset: _released_error(bench, test.scores[key], complete) for subset, key in keys.items()},
        metrics_csv=_metrics_csv(test, served, subset_of, keys, conformal, settings.thresholds),
        served=served,
        settings=settings,
    )


def best_seed(inputs: EvaluationInputs) -> int:
    """The seed of the headline variant with the least error on validate with every modality; the lowest of equals."""
    validate = inputs.validate
    complete = validate.available(inputs.every)

    def error(seed: int) -> float:
        scores = validate.scores[HEADLINE_VARIANT, seed, inputs.every]
        return float(np.abs(scores - validate.targets)[complete].mean())

    return min(inputs.seeds(), key=lambda seed: (error(seed), seed))


def as_served(inputs: EvaluationInputs, keys: Mapping[str, Key]) -> tuple[Array, list[str]]:
    """The released model's answer to each test record from all the pictures it has: scores [N], subsets [N]."""
    scores = np.full(len(inputs.test.record_ids), np.nan)
    chosen = [""] * scores.size
    for subset in inputs.subsets:  # smallest first, so that the largest stays
        for k in np.flatnonzero(inputs.test.available(subset)):
            scores[k], chosen[k] = inputs.test.scores[keys[subset]][k], subset
    return scores, chosen


def csv_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV_COLUMNS with one line per row."""
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def csv_row(record: str, subset: str, target: float, score: float, thresholds: Thresholds) -> dict[str, Any]:
    """One record's line: scores as shown, with the severity of the number shown; the error is that before rounding."""
    return {
        "record_id": record,
        "modalities": subset,
        "target": shown_score(target),
        "score": shown_score(score),
        "severity_true": severity_of(target, thresholds),
        "severity_predicted": severity_of(score, thresholds),
        "abs_error": round(abs(float(score) - float(target)), 6),
    }


def _metrics_csv(
    test: SplitScores,
    served: Array,
    subset_of: Sequence[str],
    keys: Mapping[str, Key],
    conformal: Mapping[str, Conformal],
    thresholds: Thresholds,
) -> str:
    rows = []
    for k, (record, subset) in enumerate(zip(test.record_ids, subset_of, strict=True)):
        fitted = conformal[subset]
        sigma = float(test.sigmas[keys[subset]][k]) if fitted.scaled else None
        low, high = fitted.interval(float(served[k]), sigma)
        row = csv_row(record, subset, float(test.targets[k]), float(served[k]), thresholds)
        rows.append({**row, "interval_low": shown_score(low), "interval_high": shown_score(high)})
    return csv_of(rows)


def _fit(validate: SplitScores, key: Key, level: float) -> Conformal:
    scores = validate.scores[key]
    use = np.isfinite(scores)
    sigma = validate.sigmas[key][use] if key in validate.sigmas else None
    return fit_conformal(validate.targets[use], scores[use], sigma, level)


def _released_error(bench: tables.Bench, scores: Array, complete: BoolArray) -> dict[str, float]:
    """Mean absolute error of the model that is served: not of the average over the seeds."""
    row = bench.mean(np.abs(scores - bench.split.targets), complete, "mae")
    return {"value": row["mae"], "low": row["mae_low"], "high": row["mae_high"]}


def _errors(
    subsets: Sequence[Mapping[str, Any]], baselines: Sequence[Mapping[str, Any]], every: str
) -> dict[str, float | None]:
    """Mean absolute errors of what is compared, over the records that have every modality."""
    model = {(row["variant"], row["subset"]): row for row in subsets}
    best = model[HEADLINE_VARIANT, every]
    return {
        **tables.headlined(best, "mae", "mae_all"),
        **tables.headlined(model[HEADLINE_VARIANT, REQUIRED_MODALITY], "mae", "mae_clinical_only"),
        **{f"mae_{row['baseline']}": row["mae"] for row in baselines},
        "mae_seed_variant_clinical_only": model.get(("pooled", REQUIRED_MODALITY), {}).get("mae"),
        "mae_seed_variant_all": model.get(("pooled", every), {}).get("mae"),
        "mae_concat_all": model.get(("concat", every), {}).get("mae"),
        "mae_concat_clinical_only": model.get(("concat", REQUIRED_MODALITY), {}).get("mae"),
        **{f"{name}_all": best[name] for name in ("r2", "spearman", "icc", "kappa")},
    }


def _gains(bench: tables.Bench, inputs: EvaluationInputs) -> dict[str, float | None]:
    """How much lower the model's error is, paired and averaged over seeds: with every modality than the mean's; from
    the photograph alone, and with every modality, than the hand-made measure's of the photograph."""
    test = inputs.test
    complete = test.available(inputs.every)
    found: dict[str, float | None] = {}
    for name, baseline, subset in (
        ("gain_over_mean", PREDICT_MEAN, inputs.every),
        ("gain_over_delta_melanin", DELTA_MELANIN, REQUIRED_MODALITY),
        ("gain_over_delta_melanin_all", DELTA_MELANIN, inputs.every),
    ):
        scores = [test.scores[HEADLINE_VARIANT, seed, subset] for seed in inputs.seeds()]
        errors = np.mean([np.abs(s - test.targets) for s in scores], axis=0)
        gain = np.abs(test.baselines[baseline] - test.targets) - errors
        found |= tables.headlined(bench.mean(gain, complete, "mean"), "mean", name)
    return found


def _tone_ratio(
    bench: tables.Bench, tones: Sequence[Mapping[str, Any]], scores: Array, every: str
) -> dict[str, float | int | str | None]:
    """Error of the worst skin tone over that of the best, for the released model with every modality."""
    of_model = {row["tone"]: row for row in tones if (row["predictor"], row["subset"]) == (HEADLINE_VARIANT, every)}
    least = min(of_model[tone]["n_lesions"] if tone in of_model else 0 for tone in TONES)
    judged = {tone: of_model[tone]["mae"] for tone in TONES if tone in of_model and not of_model[tone]["few"]}
    found: dict[str, float | int | str | None] = dict.fromkeys(
        ("worst_tone", "best_tone", "worst_tone_ratio", "worst_tone_ratio_ci_low", "worst_tone_ratio_ci_high")
    )
    found |= {"least_tone_n": least, "n_tones_judged": len(judged)}
    if len(judged) < 2 or min(judged.values()) == 0:
        return found
    worst, best = max(judged, key=lambda tone: judged[tone]), min(judged, key=lambda tone: judged[tone])
    here = np.isfinite(scores)
    above, below = (bench.error_replicates(scores, here & (bench.split.tones == tone)) for tone in (worst, best))
    with np.errstate(invalid="ignore", divide="ignore"):
        limits = tables.bounds(above / below, "worst_tone_ratio_ci")
    return {**found, "worst_tone": worst, "best_tone": best, "worst_tone_ratio": judged[worst] / judged[best], **limits}


def _deletion(curves: DeletionCurves | None, settings: EvaluationSettings) -> dict[str, float | int | None]:
    if curves is None:
        return {"deletion_gain": None, "deletion_gain_ci_low": None, "deletion_gain_ci_high": None, "n_deletion": 0}
    limits = tables.bounds(curves.gain_replicates(settings.replicates, settings.seed), "deletion_gain_ci")
    return {"deletion_gain": curves.gain, **limits, "n_deletion": len(curves.patients)}


def _counted(names: Iterable[str]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(Counter(map(str, names)).items()))
