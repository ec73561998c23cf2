"""The figures of an evaluation, by name, as PNG bytes: two are files of the artifact, all are on the asset page.

Belongs here: which figure shows which numbers. Does not belong here: how a figure is drawn (learning/plots.py,
regression_plots.py).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mm_assets.learning import plots, regression_plots
from mm_assets.pigmentation.evaluation import Evaluation
from mm_assets.pigmentation.predictions import HEADLINE_VARIANT, EvaluationInputs
from mm_assets.pigmentation.schema import SEVERITIES
from mm_assets.pigmentation.severity import severity_ranks


def figures(evaluation: Evaluation, inputs: EvaluationInputs) -> dict[str, bytes]:
    """``score_distribution, severity_distribution, subsets, tones, bland_altman`` and, where tried, ``deletion``.

    ``inputs`` are those that ``evaluation`` was made from.
    """
    test, thresholds = inputs.test, evaluation.settings.thresholds
    tables = {name: table.to_pylist() for name, table in evaluation.tables.items()}
    counts = {
        name: np.bincount(severity_ranks(values, thresholds), minlength=len(SEVERITIES)).tolist()
        for name, values in (("labelled", test.targets), ("predicted", evaluation.served))
    }
    limits = next(row for row in tables["bland_altman"] if row["subset"] == inputs.every)
    use = test.available(inputs.every)
    released = test.scores[HEADLINE_VARIANT, evaluation.released_seed, inputs.every]
    found = {
        "score_distribution": regression_plots.score_histograms(
            {"labelled": test.targets, "predicted": evaluation.served},
            title="Pigmentation scores, test split",
            xlabel="score",
            marks={"Moderate": thresholds.mild, "Severe": thresholds.moderate},
        ),
        "severity_distribution": regression_plots.grouped_counts(
            SEVERITIES, counts, title="Severity, test split", xlabel="severity of the score shown"
        ),
        "subsets": plots.bar_table(
            [
                *(_bar(row, f"{row['variant']}: {_short(row['subset'])}") for row in tables["subsets"]),
                *(_bar(row, row["baseline"].replace("_", " ")) for row in tables["baselines"]),
            ],
            title=f"Test records with every picture (n = {int(use.sum()):,})",
            xlabel="mean absolute error, 95 % interval over patients",
        ),
        "tones": plots.bar_table(
            [
                _bar(row, row["tone"], f"n = {row['n_lesions']}" + (" !" if row["few"] else ""))
                for row in tables["tones"]
                if (row["predictor"], row["subset"]) == (HEADLINE_VARIANT, inputs.every)
            ],
            title="Released model by skin tone (! few lesions)",
            xlabel="mean absolute error, 95 % interval over patients",
        ),
        "bland_altman": regression_plots.bland_altman_plot(
            test.targets[use],
            released[use],
            (_number(limits["bias"]), _number(limits["limits_low"]), _number(limits["limits_high"])),
            title="Agreement with the label, every picture",
        ),
    }
    if tables["deletion"]:
        hidden = [row["share_hidden"] for row in tables["deletion"]]
        found["deletion"] = regression_plots.line_chart(
            {
                name.replace("_", " "): (hidden, [row[name] for row in tables["deletion"]])
                for name in ("attended_first", "random_order")
            },
            title=f"Hiding places, {evaluation.headline['n_deletion']} test records",
            xlabel="share of places hidden",
            ylabel="mean change of the score",
        )
    return found


def _bar(row: Mapping[str, Any], name: str, note: str = "") -> plots.Bar:
    return plots.Bar(name, _number(row["mae"]), _number(row["mae_low"]), _number(row["mae_high"]), note)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _short(subset: str) -> str:
    return subset.replace("dermoscopy", "derm.").replace("multispectral", "multisp.").replace("+", " + ")
