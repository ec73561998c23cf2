"""The rows of every evaluation table, as the card and the asset page show them.

Belongs here: which numbers stand in a row. Does not belong here: what is chosen on validate (evaluation.py).
A number that is not defined is null. Every ``*_low`` and ``*_high`` is a 95 % interval of the patient bootstrap.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mm_assets.learning import bootstrap
from mm_assets.learning import regression_metrics as rm
from mm_assets.learning.conformal import Conformal
from mm_assets.learning.metrics import Array, BoolArray
from mm_assets.pigmentation.deletion import DeletionCurves
from mm_assets.pigmentation.predictions import HEADLINE_VARIANT, EvaluationInputs, Key, SplitScores
from mm_assets.pigmentation.schema import DERIVED_LABEL_SOURCES, REQUIRED_MODALITY, SEVERITIES, TONES, UNKNOWN_TONE
from mm_assets.pigmentation.severity import Thresholds, severity_ranks

ALL_TONES = "all"
LEAST_PER_TONE = 100  # lesions on test; below, a tone's error says little
Row = dict[str, Any]
Ranks = npt.NDArray[np.int64]


def _columns(kind: pa.DataType, *names: str) -> list[pa.Field]:
    return [pa.field(name, kind) for name in names]


def _with_interval(*names: str) -> list[str]:
    return [column for name in names for column in (name, f"{name}_low", f"{name}_high")]


TEXT, COUNT, NUMBER, FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
# By subset the limits of agreement, each with an interval, have a table for themselves; by tone they stand here.
SHOWN_METRICS = ("mae", "mse", "rmse", "r2", "spearman", "icc", "kappa", "bias")
TONE_METRICS = (*SHOWN_METRICS, "limits_low", "limits_high")
SCHEMAS = {
    "subsets": pa.schema(
        [
            *_columns(TEXT, "variant", "subset"),
            *_columns(COUNT, "n_seeds", "n_test", "n_available"),
            *_columns(NUMBER, *_with_interval(*SHOWN_METRICS), "mae_sd", "share_of_mean"),
            *_columns(NUMBER, *_with_interval("difference", "mae_available")),
        ]
    ),
    "tones": pa.schema(
        [
            *_columns(TEXT, "predictor", "subset", "tone"),
            *_columns(COUNT, "n_test", "n_lesions", "n_patients"),
            *_columns(FLAG, "few"),
            *_columns(NUMBER, *_with_interval(*TONE_METRICS, "coverage")),
        ]
    ),
    "baselines": pa.schema(
        [
            *_columns(TEXT, "baseline"),
            *_columns(COUNT, "n_test"),
            *_columns(NUMBER, *_with_interval(*SHOWN_METRICS, "difference")),
        ]
    ),
    "severity": pa.schema([*_columns(TEXT, "subset", "true", "predicted"), *_columns(COUNT, "n_test")]),
    "coverage": pa.schema(
        [
            *_columns(TEXT, "subset", "tone"),
            *_columns(COUNT, "n_validate", "n_test"),
            *_columns(FLAG, "scaled"),
            *_columns(NUMBER, "level", *_with_interval("coverage"), "mean_width"),
        ]
    ),
    "bland_altman": pa.schema(
        [
            *_columns(TEXT, "subset"),
            *_columns(COUNT, "n_test"),
            *_columns(NUMBER, *_with_interval("bias", "limits_low", "limits_high"), "difference_sd"),
        ]
    ),
    "label_sources": pa.schema(
        [
            *_columns(TEXT, "label_source"),
            *_columns(FLAG, "derived"),
            *_columns(COUNT, "n_test"),
            *_columns(NUMBER, *_with_interval("mae")),
        ]
    ),
    "deletion": pa.schema(_columns(NUMBER, "share_hidden", "attended_first", "random_order")),
}  # fmt: skip


def bounds(values: Array, name: str) -> dict[str, float]:
    """``{name_low, name_high}``: the percentile interval of [R] replicates."""
    interval = bootstrap.percentile_interval(values)
    return {f"{name}_low": interval.low, f"{name}_high": interval.high}


def headlined(row: Mapping[str, Any], column: str, name: str) -> Row:
    """``{name, name_ci_low, name_ci_high}`` of a row's column: how a headline names an interval."""
    return {name: row[column], f"{name}_ci_low": row[f"{column}_low"], f"{name}_ci_high": row[f"{column}_high"]}


def spread(estimates: Mapping[str, float], replicates: Mapping[str, Array], names: Sequence[str]) -> Row:
    """Each named metric with its interval."""
    row: Row = {}
    for name in names:
        row |= {name: estimates[name], **bounds(replicates[name], name)}
    return row


class Bench:
    """The test split with its severity ranks and its draws of patients: what every row is computed against."""

    def __init__(self, split: SplitScores, thresholds: Thresholds, replicates: int, seed: int) -> None:
        self.split, self.thresholds = split, thresholds
        self.ranks: Ranks = np.array(severity_ranks(split.targets, thresholds))
        self.resamples = bootstrap.draw_patients(split.patients, replicates, seed)

    def agreement(self, scores: Array, rows: BoolArray) -> tuple[dict[str, float], dict[str, Array]]:
        """Every metric of ``scores`` [N] over ``rows`` [N], and its replicates."""
        truth, predicted = self.split.targets[rows], scores[rows]
        ranks = self.ranks[rows], np.array(severity_ranks(predicted, self.thresholds))
        resamples = bootstrap.take_rows(self.resamples, rows)
        return rm.agreement(truth, predicted, *ranks), rm.replicate_agreement(truth, predicted, resamples, *ranks)

    def mean(self, values: npt.ArrayLike, rows: BoolArray, name: str) -> Row:
        """The mean of [N] values over ``rows`` with its interval; null where there are no rows."""
        chosen = np.asarray(values, dtype=np.float64)[rows]
        if not chosen.size:
            return {}
        replicates = rm.replicate_mean(chosen, bootstrap.take_rows(self.resamples, rows))
        return {name: float(chosen.mean()), **bounds(replicates, name)}

    def error_replicates(self, scores: Array, rows: BoolArray) -> Array:
        """Mean absolute error over ``rows`` in every replicate, [R]."""
        errors = np.abs(scores - self.split.targets)[rows]
        return rm.replicate_mean(errors, bootstrap.take_rows(self.resamples, rows))


def subset_rows(bench: Bench, inputs: EvaluationInputs, variants: Sequence[str], mean_mae: float) -> list[Row]:
    """One row per variant and subset, averaged over seeds, on the records that have every modality.

    So rows differ in what the model was shown, not in who was photographed how; ``mae_available`` is over all records
    that have the subset. ``difference``: paired, to the headline variant with every modality.
    """
    complete = inputs.test.available(inputs.every)
    rows, maes = [], {}
    for variant in variants:
        for subset in inputs.subsets:
            keys = [(variant, seed, subset) for seed in inputs.seeds(variant)]
            keys = [key for key in keys if key in inputs.test.scores]
            if not keys:
                continue
            found = [bench.agreement(inputs.test.scores[key], complete) for key in keys]
            estimates = {name: float(np.mean([e[name] for e, _ in found])) for name in SHOWN_METRICS}
            replicates = {name: np.mean([r[name] for _, r in found], axis=0) for name in SHOWN_METRICS}
            maes[variant, subset] = estimates["mae"], replicates["mae"]
            by_seed = [e["mae"] for e, _ in found]
            rows.append(
                {
                    "variant": variant,
                    "subset": subset,
                    "n_seeds": len(keys),
                    "n_test": int(complete.sum()),
                    "n_available": int(inputs.test.available(subset).sum()),
                    **spread(estimates, replicates, SHOWN_METRICS),
                    "mae_sd": float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else None,
                    "share_of_mean": estimates["mae"] / mean_mae if mean_mae > 0 else None,
                    **_mae_available(bench, inputs, keys, subset),
                }
            )
    reference, of_reference = maes[HEADLINE_VARIANT, inputs.every]
    for row in rows:
        key = row["variant"], row["subset"]
        if key != (HEADLINE_VARIANT, inputs.every):
            estimate, replicated = maes[key]
            row |= {"difference": estimate - reference, **bounds(replicated - of_reference, "difference")}
    return rows


def _mae_available(bench: Bench, inputs: EvaluationInputs, keys: Sequence[Key], subset: str) -> Row:
    rows = inputs.test.available(subset)
    errors = np.mean([np.abs(inputs.test.scores[key] - inputs.test.targets) for key in keys], axis=0)
    return bench.mean(errors, rows, "mae_available")


def baseline_rows(bench: Bench, inputs: EvaluationInputs, released: Key) -> list[Row]:
    """One row per baseline on the complete records; ``difference``: the released model from the photograph alone less
    the baseline, paired, below 0 where the model is better."""
    complete = inputs.test.available(inputs.every)
    model = inputs.test.scores[released]
    rows = []
    for name, scores in inputs.test.baselines.items():
        estimates, replicates = bench.agreement(scores, complete)
        gap = np.abs(model - inputs.test.targets) - np.abs(scores - inputs.test.targets)
        row = {"baseline": name, "n_test": int(complete.sum()), **spread(estimates, replicates, SHOWN_METRICS)}
        rows.append({**row, **bench.mean(gap, complete, "difference")})
    return rows


def tone_rows(
    bench: Bench, inputs: EvaluationInputs, seed: int, conformal: Mapping[str, Conformal], least: int
) -> list[Row]:
    """Every metric per skin tone: the released model by subset, then the baselines.

    ``few``: fewer than ``least`` lesions, because two visits of one say little more than one.
    """
    test = inputs.test
    predictors: list[tuple[str, str, Array, BoolArray | None]] = []
    for subset in inputs.subsets:
        key = (HEADLINE_VARIANT, seed, subset)
        predictors.append((HEADLINE_VARIANT, subset, test.scores[key], covered(test, key, conformal[subset])))
    predictors += [(name, REQUIRED_MODALITY, scores, None) for name, scores in test.baselines.items()]
    rows = []
    for predictor, subset, scores, inside in predictors:
        for tone in (*TONES, UNKNOWN_TONE):
            use = (test.tones == tone) & np.isfinite(scores)
            if not use.any():
                continue
            estimates, replicates = bench.agreement(scores, use)
            n_lesions = int(np.unique(test.lesions[use]).size)
            rows.append(
                {
                    "predictor": predictor,
                    "subset": subset,
                    "tone": tone,
                    "n_test": int(use.sum()),
                    "n_lesions": n_lesions,
                    "n_patients": int(np.unique(test.patients[use]).size),
                    "few": n_lesions < least,
                    **spread(estimates, replicates, TONE_METRICS),
                    **({} if inside is None else bench.mean(inside, use, "coverage")),
                }
            )
    return rows


def coverage_rows(bench: Bench, inputs: EvaluationInputs, seed: int, conformal: Mapping[str, Conformal]) -> list[Row]:
    """Share of test records within their interval and how wide it is, per subset: all tones, then each."""
    test, rows = inputs.test, []
    for subset in inputs.subsets:
        key, fitted = (HEADLINE_VARIANT, seed, subset), conformal[subset]
        inside = covered(test, key, fitted)
        low, high = fitted.bounds(test.scores[key], test.sigmas.get(key) if fitted.scaled else None)
        for tone in (ALL_TONES, *TONES, UNKNOWN_TONE):
            use = np.isfinite(test.scores[key]) & ((test.tones == tone) | (tone == ALL_TONES))
            if use.any():
                rows.append(
                    {
                        "subset": subset,
                        "tone": tone,
                        "n_validate": fitted.n,
                        "n_test": int(use.sum()),
                        "scaled": fitted.scaled,
                        "level": fitted.level,
                        **bench.mean(inside, use, "coverage"),
                        "mean_width": float((high - low)[use].mean()),
                    }
                )
    return rows


def severity_rows(inputs: EvaluationInputs, seed: int, thresholds: Thresholds) -> list[Row]:
    """How often each true severity was called each severity, per subset, all pairs."""
    rows = []
    for subset in inputs.subsets:
        use = inputs.test.available(subset)
        true = severity_ranks(inputs.test.targets[use], thresholds)
        called = severity_ranks(inputs.test.scores[HEADLINE_VARIANT, seed, subset][use], thresholds)
        counts = np.zeros((len(SEVERITIES), len(SEVERITIES)), dtype=int)
        np.add.at(counts, (true, called), 1)
        rows += [
            {"subset": subset, "true": SEVERITIES[i], "predicted": SEVERITIES[j], "n_test": int(n)}
            for (i, j), n in np.ndenumerate(counts)
        ]
    return rows


def bland_altman_rows(bench: Bench, inputs: EvaluationInputs, seed: int) -> list[Row]:
    """Bias and limits of agreement of the released model per subset, on all records that have it."""
    names, rows = ("bias", "limits_low", "limits_high"), []
    for subset in inputs.subsets:
        use = inputs.test.available(subset)
        estimates, replicates = bench.agreement(inputs.test.scores[HEADLINE_VARIANT, seed, subset], use)
        row = {"subset": subset, "n_test": int(use.sum()), "difference_sd": estimates["difference_sd"]}
        rows.append({**row, **spread(estimates, replicates, names)})
    return rows


def label_source_rows(bench: Bench, test: SplitScores, scores: Array) -> list[Row]:
    """Error of ``scores`` [N] by where the label comes from; derived labels are marked as no clinical truth."""
    return [
        {
            "label_source": str(source),
            "derived": str(source) in DERIVED_LABEL_SOURCES,
            "n_test": int((test.label_sources == source).sum()),
            **bench.mean(np.abs(scores - test.targets), test.label_sources == source, "mae"),
        }
        for source in np.unique(test.label_sources)
    ]


def deletion_rows(curves: DeletionCurves | None) -> list[Row]:
    """The mean curves; none where no model with attention was tried."""
    if curves is None:
        return []
    means = curves.shares, curves.attended.mean(axis=0), curves.random.mean(axis=0)
    return [
        {"share_hidden": float(share), "attended_first": float(first), "random_order": float(random)}
        for share, first, random in zip(*means, strict=True)
    ]


def covered(split: SplitScores, key: Key, fitted: Conformal) -> BoolArray:
    """Which records lie within the interval, [N]; False where the record has no score."""
    return fitted.covered(split.targets, split.scores[key], split.sigmas.get(key) if fitted.scaled else None)


def table(name: str, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """A table of SCHEMAS where what is not defined is null, never NaN."""
    return pa.Table.from_pylist([without_nan(row) for row in rows], schema=SCHEMAS[name])


def without_nan(row: Mapping[str, Any]) -> Row:
    """The same values with None for NaN, as JSON and Parquet's null need it."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
