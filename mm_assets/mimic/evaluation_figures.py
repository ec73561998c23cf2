"""The figures of an evaluation, by name, as PNG bytes for the asset page.

Belongs here: which figure shows which numbers. Does not belong here: how a figure is drawn
(learning/plots.py).
"""

import numpy as np

from mm_assets.learning import calibration, metrics, plots
from mm_assets.mimic.evaluation import Evaluation
from mm_assets.mimic.evaluation_tables import POOLED_ECE_BINS
from mm_assets.mimic.predictions import HEADLINE_VARIANT, SplitPredictions


def figures(evaluation: Evaluation, test: SplitPredictions) -> dict[str, bytes]:
    """``ablation, gain, auroc_per_label, reliability, roc, pr, confusion``: name -> PNG.

    ``test`` holds the predictions that ``evaluation`` was made from.
    """
    labels = evaluation.calibration["labels"]
    logits = test.logits[(HEADLINE_VARIANT, evaluation.released_seed)]
    raw, probabilities = metrics.sigmoid(logits), calibration.calibrated(evaluation.calibration, logits)
    thresholds = np.array([evaluation.thresholds[label] for label in labels])
    known = test.mask
    areas = metrics.per_label(metrics.auroc, probabilities, test.targets, known)
    precisions = metrics.per_label(metrics.average_precision, probabilities, test.targets, known)
    ablation, per_label = evaluation.ablation.to_pylist(), evaluation.per_label.to_pylist()
    best_single = evaluation.headline["best_single"]
    counts = metrics.confusion_counts(probabilities, test.targets, known, thresholds)
    return {
        "ablation": plots.bar_table(
            [
                _bar(row, "variant", "macro_auroc", "best single on validate" if row["best_single"] else "")
                for row in ablation
            ],
            title="Test split, every variant",
            xlabel="macro AUROC, 95 % interval over patients",
            reference=0.5,
        ),
        "gain": plots.bar_table(
            [_bar(row, "variant", "difference") for row in ablation if not row["best_single"]],
            title=f"Difference to {best_single} alone",
            xlabel="macro AUROC, paired 95 % interval",
            reference=0.0,
        ),
        "auroc_per_label": plots.bar_table(
            [
                _bar(
                    row,
                    "label",
                    "auroc",
                    f"{row['n_pos']} positives" + (" !" if row["few_positives"] else ""),
                )
                for row in per_label
            ],
            title="Released model, per label (! few positives)",
            xlabel="AUROC, 95 % interval over patients",
            reference=0.5,
        ),
        "reliability": plots.reliability_diagram(
            {
                "before calibration": metrics.reliability_bins(raw[known], test.targets[known], POOLED_ECE_BINS),
                "after calibration": metrics.reliability_bins(
                    probabilities[known], test.targets[known], POOLED_ECE_BINS
                ),
            },
            title="Test split, all labels",
        ),
        "roc": plots.roc_grid(probabilities, test.targets, known, labels, areas),
        "pr": plots.pr_grid(probabilities, test.targets, known, labels, precisions),
        "confusion": plots.confusion_grid(counts, labels),
    }


def _bar(row: dict, name: str, value: str, note: str = "") -> plots.Bar:
    low, middle, high = (
        float("nan") if row[column] is None else row[column] for column in (f"{value}_low", value, f"{value}_high")
    )
    return plots.Bar(row[name], middle, low, high, note)
