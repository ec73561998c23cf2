"""What the trained variants are worth on the test split, with the thresholds and calibration they serve.

Belongs here: which numbers the wing reports, over which rows and against which comparison.
Does not belong here: the metrics themselves (learning/metrics.py, bootstrap.py, calibration.py) and
thresholds of acceptance (checks).

Rules:
- Validate chooses, test measures. Chosen on validate: the best single modality, the released seed,
  thresholds, calibration. Nothing is chosen on test.
- Several seeds: every metric is computed per seed and then averaged (logits are never averaged, because one
  seed's model is released, not an ensemble); ``macro_auroc_sd`` is the spread over seeds. The per-label,
  subgroup and calibration numbers are those of the released seed.
- Intervals are 95 % percentile intervals of a bootstrap over patients. All variants, seeds and subgroups
  share the same draws, so differences are paired. They hold the trained models fixed.
- A label without both classes on test is listed and enters no average.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mm_assets.learning import bootstrap, calibration, metrics
from mm_assets.learning.calibration import Method
from mm_assets.learning.metrics import Array, BoolArray, MetricInputError
from mm_assets.mimic import evaluation_tables as tables
from mm_assets.mimic.predictions import (
    HEADLINE_VARIANT,
    SplitPredictions,
    check_splits,
    label_values,
    macro_auroc,
    mean_macro_auroc,
    variants,
)
from mm_assets.mimic.schema import LABELS, NO_FINDING, SINGLE_MODALITIES

# Served for a label that validate has no positives of; on a calibrated scale "more likely than not".
DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class EvaluationSettings:
    """Knobs of an evaluation."""

    replicates: int = 1000  # of the bootstrap
    seed: int = 0  # of the bootstrap
    calibration: Method = "temperature_and_shift"
    few_positives: int = 10  # labels with fewer test positives are marked


@dataclass(frozen=True)
class Evaluation:
    """Everything that the tables, the card, the released bundle and ``mm status`` show."""

    headline: dict[str, float | int | str | None]
    per_label: pa.Table
    ablation: pa.Table
    subgroups: pa.Table
    missing_modality: pa.Table
    calibration_methods: pa.Table
    released_seed: int
    thresholds: dict[str, float]
    calibration: dict[str, Any]  # spec of learning/calibration.py with its intervals
    settings: EvaluationSettings

    def as_json(self) -> dict[str, Any]:
        """What is not a table, as plain JSON without NaN."""
        return {
            "headline": self.headline,
            "released_seed": self.released_seed,
            "thresholds": self.thresholds,
            "calibration": self.calibration,
            "settings": asdict(self.settings),
        }


def evaluate(
    validate: SplitPredictions,
    test: SplitPredictions,
    *,
    subgroups: Mapping[str, Sequence[str]],
    dropped: Mapping[tuple[str, int], Array],
    settings: EvaluationSettings,
    labels: Sequence[str] = LABELS,
) -> Evaluation:
    """Evaluate all variants.

    ``subgroups``: column -> group of each test study [N]. ``dropped``: (modality, seed) -> test logits [N, L]
    of the fused model without that modality. Raises MetricInputError when splits share patients, when a
    variant is missing in one of them, or when an array does not fit.
    """
    check_splits(validate, test, labels)
    seeds = sorted({seed for variant, seed in test.logits if variant == HEADLINE_VARIANT})
    released_seed = max(seeds, key=lambda seed: (macro_auroc(validate, (HEADLINE_VARIANT, seed), labels), -seed))
    released = (HEADLINE_VARIANT, released_seed)
    best_single = max(SINGLE_MODALITIES, key=lambda variant: mean_macro_auroc(validate, variant, labels))

    resamples = bootstrap.draw_patients(test.patients, settings.replicates, settings.seed)
    replicates = {
        key: bootstrap.replicate_metrics(logits, test.targets, test.mask, resamples)
        for key, logits in sorted(test.logits.items())
    }
    evaluated = metrics.both_classes(test.targets, test.mask)
    macros = {
        variant: np.mean(
            [bootstrap.mean_over_labels(r.auroc, evaluated) for (v, _), r in replicates.items() if v == variant],
            axis=0,
        )
        for variant in variants(test)
    }
    ablation = tables.ablation_rows(test, replicates, macros, evaluated, best_single, labels)
    spec, methods = _calibrate(validate, test, released, settings.calibration, labels, evaluated)
    tuned = metrics.threshold_by_f1(
        calibration.calibrated(spec, validate.logits[released]), validate.targets, validate.mask
    )
    thresholds = np.where(np.isfinite(tuned), tuned, DEFAULT_THRESHOLD)
    probabilities = calibration.calibrated(spec, test.logits[released])
    per_label = tables.per_label_rows(
        test,
        released,
        probabilities,
        replicates[released],
        thresholds,
        np.isfinite(tuned),
        settings.few_positives,
        labels,
    )
    missing = tables.missing_modality_rows(test, dropped, resamples, macros[HEADLINE_VARIANT], evaluated, labels)
    subgroup = tables.subgroup_rows(test, released, probabilities, subgroups, thresholds, resamples, labels)
    uncalibrated, used = methods[0], next(row for row in methods if row["used"])
    headline = {
        **_headline(ablation, macros, best_single),
        **_released_headline(test, released, replicates[released], evaluated, labels),
        **{f"{name}_before": uncalibrated[name] for name in ("ece", "ece_pooled", "brier")},
        **{f"{name}_after": used[name] for name in ("ece", "ece_pooled", "brier")},
        "calibration": settings.calibration,
        "n_validate": len(validate.patients),
        "n_few_positives": sum(row["few_positives"] for row in per_label),
        "labels_without_threshold": _names(labels, ~np.isfinite(tuned)),
    }
    return Evaluation(
        headline=tables.without_nan(headline),
        per_label=tables.table(per_label, tables.PER_LABEL_SCHEMA),
        ablation=tables.table(ablation, tables.ABLATION_SCHEMA),
        subgroups=tables.table(subgroup, tables.SUBGROUP_SCHEMA),
        missing_modality=tables.table(missing, tables.MISSING_SCHEMA),
        calibration_methods=tables.table(methods, tables.CALIBRATION_SCHEMA),
        released_seed=released_seed,
        thresholds=dict(zip(labels, thresholds.tolist(), strict=True)),
        calibration=spec,
        settings=settings,
    )


def age_bands(ages: Iterable[float | None]) -> list[str]:
    """Age in years -> "<40", "40-65", ">65" or "unknown" (None or NaN)."""
    return [
        "unknown" if age is None or np.isnan(age) else "<40" if age < 40 else "40-65" if age <= 65 else ">65"
        for age in ages
    ]


def _headline(
    ablation: Sequence[Mapping[str, Any]], macros: Mapping[str, Array], best_single: str
) -> dict[str, float | int | str | None]:
    """Seed averages of the fused model, of every variant, and the gain over the best single modality.

    ``gain_over_best_single`` compares with the modality that was best on validate; ``gain_within`` with the
    one that is best on test, chosen anew inside each replicate, which is the stricter comparison.
    """
    of = {row["variant"]: row for row in ablation}
    fused = of[HEADLINE_VARIANT]
    single_replicates = np.max([macros[variant] for variant in SINGLE_MODALITIES], axis=0)
    within = tables.bounds(macros[HEADLINE_VARIANT] - single_replicates, "gain_within_ci")
    return {
        "macro_auroc": fused["macro_auroc"],
        "macro_auroc_ci_low": fused["macro_auroc_low"],
        "macro_auroc_ci_high": fused["macro_auroc_high"],
        "macro_auroc_sd": fused["macro_auroc_sd"],
        "macro_auprc": fused["macro_auprc"],
        **{f"macro_auroc_{row['variant']}": row["macro_auroc"] for row in ablation if row is not fused},
        "best_single": best_single,
        "gain_over_best_single": fused["difference"],
        "gain_ci_low": fused["difference_low"],
        "gain_ci_high": fused["difference_high"],
        "gain_within": fused["macro_auroc"] - max(of[variant]["macro_auroc"] for variant in SINGLE_MODALITIES),
        **within,
        "n_seeds": fused["n_seeds"],
    }


def _released_headline(
    test: SplitPredictions,
    released: tuple[str, int],
    replicates: bootstrap.Replicates,
    evaluated: BoolArray,
    labels: Sequence[str],
) -> dict[str, float | int | str | None]:
    areas = label_values(metrics.auroc, test, test.logits[released])
    return {
        "released_seed": released[1],
        "released_macro_auroc": metrics.macro(areas, labels).value,
        **tables.bounds(bootstrap.mean_over_labels(replicates.auroc, evaluated), "released_macro_auroc_ci"),
        "macro_auroc_without_no_finding": metrics.macro(areas, labels, leave_out=(NO_FINDING,)).value,
        "n_test": len(test.patients),
        "n_patients_test": int(np.unique(test.patients).size),
        "n_labels_evaluated": int(evaluated.sum()),
        "labels_not_evaluated": _names(labels, ~evaluated),
    }


def _calibrate(
    validate: SplitPredictions,
    test: SplitPredictions,
    released: tuple[str, int],
    used: Method,
    labels: Sequence[str],
    evaluated: BoolArray,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The spec in use, fitted on validate, and what every method does to the error on test ("none" first)."""
    rows, chosen = [], None
    for method in calibration.METHODS:
        spec = calibration.fit_scaling(validate.logits[released], validate.targets, validate.mask, labels, method)
        p = calibration.calibrated(spec, test.logits[released])
        temperatures = list(spec["temperature"].values())
        rows.append(
            {
                "method": method,
                "used": method == used,
                "ece": float(np.mean(label_values(metrics.expected_calibration_error, test, p)[evaluated])),
                "ece_pooled": metrics.expected_calibration_error(
                    p[test.mask], test.targets[test.mask], tables.POOLED_ECE_BINS
                ),
                "brier": float(np.mean(label_values(metrics.brier, test, p)[evaluated])),
                "temperature": temperatures[0] if len(set(temperatures)) == 1 else None,
            }
        )
        if method == used:
            chosen = spec
    if chosen is None:
        raise MetricInputError(f"unknown calibration method {used!r}; choose one of {', '.join(calibration.METHODS)}")
    on_validate = calibration.calibrated(chosen, validate.logits[released])
    chosen["intervals"] = calibration.fit_intervals(on_validate, validate.targets, validate.mask, labels)
    return chosen, rows


def _names(labels: Sequence[str], chosen: BoolArray) -> str:
    return ", ".join(label for label, yes in zip(labels, chosen, strict=True) if yes)
