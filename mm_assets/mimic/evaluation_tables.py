"""The rows of every evaluation table, as the released model's card and the asset page show them.

Belongs here: which numbers stand in a row. Does not belong here: what is chosen on validate (evaluation.py).
A number that is not defined is null. Every ``*_low`` and ``*_high`` is a 95 % interval of the patient
bootstrap.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mm_assets.learning import bootstrap, metrics
from mm_assets.learning.metrics import Array, BoolArray, MetricInputError
from mm_assets.mimic.predictions import (
    HEADLINE_VARIANT,
    SplitPredictions,
    label_values,
    macro_auroc,
    mean_macro_auroc,
    of_variant,
    variants,
)

# Calibration error over all labels together: more rows than one label has, so finer bins.
POOLED_ECE_BINS = 15


def _columns(kind: pa.DataType, *names: str) -> list[pa.Field]:
    return [pa.field(name, kind) for name in names]


def _with_interval(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


TEXT, COUNT, NUMBER, FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
PER_LABEL_SCHEMA = pa.schema(
    [
        *_columns(TEXT, "label"),
        *_columns(COUNT, "n_test", "n_pos"),
        *_columns(FLAG, "few_positives"),
        *_columns(NUMBER, "prevalence", *_with_interval("auroc"), *_with_interval("auprc")),
        *_columns(NUMBER, "threshold", "f1", "sensitivity", "specificity"),
        *_columns(NUMBER, "ece_before", "ece", "brier_before", "brier"),
        *_columns(FLAG, "threshold_chosen"),
    ]
)
ABLATION_SCHEMA = pa.schema(
    [
        *_columns(TEXT, "variant"),
        *_columns(COUNT, "n_seeds"),
        *_columns(FLAG, "best_single"),
        *_columns(NUMBER, *_with_interval("macro_auroc"), "macro_auroc_sd"),
        *_columns(NUMBER, *_with_interval("macro_auprc"), *_with_interval("difference")),
    ]
)
SUBGROUP_SCHEMA = pa.schema(
    [
        *_columns(TEXT, "column", "value"),
        *_columns(COUNT, "n_test", "n_patients", "n_labels"),
        *_columns(NUMBER, *_with_interval("macro_auroc"), "sensitivity", "false_positive_rate", "ece"),
    ]
)
MISSING_SCHEMA = pa.schema(
    [
        *_columns(TEXT, "dropped"),
        *_columns(NUMBER, *_with_interval("macro_auroc"), *_with_interval("difference")),
    ]
)
CALIBRATION_SCHEMA = pa.schema(
    [
        *_columns(TEXT, "method"),
        *_columns(FLAG, "used"),
        *_columns(NUMBER, "ece", "ece_pooled", "brier", "temperature"),
    ]
)


def bounds(values: Array, name: str) -> dict[str, float]:
    """``{name_low, name_high}``: the percentile interval of [R] replicates."""
    interval = bootstrap.percentile_interval(values)
    return {f"{name}_low": interval.low, f"{name}_high": interval.high}


def ablation_rows(
    test: SplitPredictions,
    replicates: Mapping[tuple[str, int], bootstrap.Replicates],
    macros: Mapping[str, Array],
    evaluated: BoolArray,
    best_single: str,
    labels: Sequence[str],
) -> list[dict[str, Any]]:
    """One row per variant, averaged over its seeds, with the paired difference to the best single."""
    rows: list[dict[str, Any]] = []
    for variant in variants(test):
        keys = of_variant(test, variant)
        areas = [macro_auroc(test, key, labels) for key in keys]
        precision = [
            metrics.macro(label_values(metrics.average_precision, test, test.logits[key]), labels).value for key in keys
        ]
        precision_replicates = np.mean(
            [bootstrap.mean_over_labels(replicates[key].average_precision, evaluated) for key in keys], axis=0
        )
        rows.append(
            {
                "variant": variant,
                "n_seeds": len(keys),
                "best_single": variant == best_single,
                "macro_auroc": float(np.mean(areas)),
                **bounds(macros[variant], "macro_auroc"),
                "macro_auroc_sd": float(np.std(areas, ddof=1)) if len(areas) > 1 else None,
                "macro_auprc": float(np.mean(precision)),
                **bounds(precision_replicates, "macro_auprc"),
            }
        )
    reference = next(row["macro_auroc"] for row in rows if row["best_single"])
    for row in rows:
        if not row["best_single"]:
            row["difference"] = row["macro_auroc"] - reference
            row.update(bounds(macros[row["variant"]] - macros[best_single], "difference"))
    return rows


def per_label_rows(
    test: SplitPredictions,
    released: tuple[str, int],
    probabilities: Array,
    replicates: bootstrap.Replicates,
    thresholds: Array,
    threshold_chosen: BoolArray,
    few_positives: int,
    labels: Sequence[str],
) -> list[dict[str, Any]]:
    """One row per label for the released seed; ``threshold_chosen`` [L]: is the threshold tuned."""
    raw = metrics.sigmoid(test.logits[released])
    counts = metrics.confusion_counts(probabilities, test.targets, test.mask, thresholds)
    columns = {
        "auroc": label_values(metrics.auroc, test, probabilities),
        "auprc": label_values(metrics.average_precision, test, probabilities),
        **metrics.rates(counts),
        "threshold": thresholds,
        "ece_before": label_values(metrics.expected_calibration_error, test, raw),
        "ece": label_values(metrics.expected_calibration_error, test, probabilities),
        "brier_before": label_values(metrics.brier, test, raw),
        "brier": label_values(metrics.brier, test, probabilities),
    }
    rows = []
    for k, label in enumerate(labels):
        n_test, n_pos = int(test.mask[:, k].sum()), int(counts[k, 0] + counts[k, 2])
        rows.append(
            {
                "label": label,
                "n_test": n_test,
                "n_pos": n_pos,
                "few_positives": n_pos < few_positives,
                "prevalence": n_pos / n_test if n_test else None,
                **{name: float(values[k]) for name, values in columns.items()},
                **bounds(replicates.auroc[:, k], "auroc"),
                **bounds(replicates.average_precision[:, k], "auprc"),
                "threshold_chosen": bool(threshold_chosen[k]),
            }
        )
    return rows


def subgroup_rows(
    test: SplitPredictions,
    released: tuple[str, int],
    probabilities: Array,
    subgroups: Mapping[str, Sequence[str]],
    thresholds: Array,
    resamples: bootstrap.Resamples,
    labels: Sequence[str],
) -> list[dict[str, Any]]:
    """One row per group; averages run over the labels with both classes in the group (``n_labels``)."""
    rows = []
    for column, groups in subgroups.items():
        values = np.asarray(groups, dtype=object)
        if values.shape != (len(test.patients),):
            raise MetricInputError(f"subgroup column '{column}' has {values.size} rows, not {len(test.patients)}")
        for value in sorted({str(v) for v in values}):
            rows_in = np.array([str(v) == value for v in values])
            y, known, p = test.targets[rows_in], test.mask[rows_in], probabilities[rows_in]
            use = metrics.both_classes(y, known)
            found = metrics.rates(metrics.confusion_counts(p, y, known, thresholds))
            replicates = bootstrap.replicate_metrics(
                test.logits[released][rows_in], y, known, bootstrap.take_rows(resamples, rows_in)
            )
            rows.append(
                {
                    "column": column,
                    "value": value,
                    "n_test": int(rows_in.sum()),
                    "n_patients": int(np.unique(test.patients[rows_in]).size),
                    "n_labels": int(use.sum()),
                    "macro_auroc": metrics.macro(metrics.per_label(metrics.auroc, p, y, known), labels).value,
                    **bounds(bootstrap.mean_over_labels(replicates.auroc, use), "macro_auroc"),
                    "sensitivity": _mean(found["sensitivity"][use]),
                    "false_positive_rate": _mean(1 - found["specificity"][use]),
                    "ece": metrics.expected_calibration_error(p[known], y[known], POOLED_ECE_BINS),
                }
            )
    return rows


def missing_modality_rows(
    test: SplitPredictions,
    dropped: Mapping[tuple[str, int], Array],
    resamples: bootstrap.Resamples,
    complete: Array,
    evaluated: BoolArray,
    labels: Sequence[str],
) -> list[dict[str, Any]]:
    """The fused model complete (its replicates [R]) and with one modality dropped at test time."""
    reference = mean_macro_auroc(test, HEADLINE_VARIANT, labels)
    rows: list[dict[str, Any]] = [{"dropped": "nothing", "macro_auroc": reference, **bounds(complete, "macro_auroc")}]
    fused_seeds = {seed for _, seed in of_variant(test, HEADLINE_VARIANT)}
    for modality in sorted({name for name, _ in dropped}):
        by_seed = {seed: logits for (name, seed), logits in sorted(dropped.items()) if name == modality}
        if set(by_seed) != fused_seeds:
            raise MetricInputError(
                f"predictions without '{modality}' lack a seed of the fused model; predict them again"
            )
        areas = [metrics.macro(label_values(metrics.auroc, test, z), labels).value for z in by_seed.values()]
        values = np.mean(
            [
                bootstrap.mean_over_labels(
                    bootstrap.replicate_metrics(z, test.targets, test.mask, resamples).auroc, evaluated
                )
                for z in by_seed.values()
            ],
            axis=0,
        )
        rows.append(
            {
                "dropped": modality,
                "macro_auroc": float(np.mean(areas)),
                **bounds(values, "macro_auroc"),
                "difference": float(np.mean(areas)) - reference,
                **bounds(values - complete, "difference"),
            }
        )
    return rows


def table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """A table where what is not defined is null, never NaN."""
    return pa.Table.from_pylist([without_nan(row) for row in rows], schema=schema)


def without_nan(row: Mapping[str, Any]) -> dict[str, Any]:
    """The same values with None for NaN, as JSON and Parquet's null need it."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}


def _mean(values: Array) -> float:
    return float(np.mean(values)) if values.size else float("nan")
