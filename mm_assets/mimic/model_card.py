"""What the released chest model says about itself.

Belongs here: the wording, and which of the evaluation's numbers stand where.
Does not belong here: computing a number (evaluation.py) and the form of a card (learning/cards.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mm_assets.learning.cards import Section, bullets, markdown_table, render_card, upstream_table, with_interval
from mm_assets.learning.provenance import DISCLAIMER
from mm_assets.mimic.evaluation import Evaluation

SYNTHETIC_NOTICE = (
    "**SYNTHETIC DATA.** The model was trained and tested on generated films, vital signs and complaints in "
    "the layout of MIMIC-CXR-JPG and MIMIC-IV-ED. No number below says anything about patients."
)


@dataclass(frozen=True)
class CardFacts:
    """What the card needs to know besides the evaluation."""

    synthetic: bool
    upstream: Mapping[str, str]  # "mimic/phase3" -> version
    studies: Mapping[str, int]  # split -> number of studies
    encoders: Mapping[str, str]  # "image" -> name and source of the frozen encoder
    n_parameters: int  # trained
    label_policy: str  # how blank and uncertain labels were read


def model_card(evaluation: Evaluation, facts: CardFacts) -> str:
    """Markdown; equal numbers give equal bytes."""
    return render_card(
        "Enhanced MDF-Net: findings on a chest film from film, complaint and vital signs",
        {
            "tags": ["chest-x-ray", "multimodal", "multi-label-classification"],
            "synthetic_data": facts.synthetic,
            "labels": list(evaluation.calibration["labels"]),
        },
        [
            Section("Intended use", _intended_use(facts)),
            Section("Data", _data(evaluation, facts)),
            Section("Result", _result(evaluation)),
            Section("Modalities", _ablation(evaluation)),
            Section("Labels", _labels(evaluation)),
            Section("Subgroups", _subgroups(evaluation)),
            Section("Calibration", _calibration(evaluation)),
            Section("Limits", _limits(evaluation, facts)),
            Section("Provenance", upstream_table(facts.upstream)),
        ],
    )


def _intended_use(facts: CardFacts) -> str:
    notice = f"{SYNTHETIC_NOTICE}\n\n" if facts.synthetic else ""
    return (
        f"{notice}**{DISCLAIMER}**\n\n"
        "Research on combining a frontal chest film with what is known in the emergency department before "
        "the film is read. Not for triage, diagnosis or treatment, nor for other views or children."
    )


def _data(evaluation: Evaluation, facts: CardFacts) -> str:
    kind = "synthetic, generated in the published layout" if facts.synthetic else "MIMIC-CXR-JPG and MIMIC-IV-ED"
    sizes = ", ".join(f"{split} {n:,}" for split, n in facts.studies.items())
    return bullets(
        [
            f"Source: {kind}.",
            f"Studies: {sizes}; splits share no patient.",
            f"Patients in test: {evaluation.headline['n_patients_test']:,}.",
            "Inputs hold only what was recorded before the film; words that give a finding away are removed.",
            f"Labels: {facts.label_policy}",
            *(f"Frozen {modality} encoder: {name}." for modality, name in facts.encoders.items()),
            f"Trained parameters: {facts.n_parameters:,}.",
        ]
    )


def _result(evaluation: Evaluation) -> str:
    h: Mapping[str, Any] = evaluation.headline
    rows = [
        (
            "Macro AUROC, released model",
            with_interval(
                h["released_macro_auroc"], h["released_macro_auroc_ci_low"], h["released_macro_auroc_ci_high"]
            ),
        ),
        ("Macro AUROC without No Finding", h["macro_auroc_without_no_finding"]),
        (
            f"Gain over {h['best_single']} alone (best single on validate)",
            with_interval(h["gain_over_best_single"], h["gain_ci_low"], h["gain_ci_high"], signed=True),
        ),
        (
            "Gain over the best single modality of each replicate",
            with_interval(h["gain_within"], h["gain_within_ci_low"], h["gain_within_ci_high"], signed=True),
        ),
        ("Calibration error (ECE) before and after", f"{h['ece_before']:.3f}, {h['ece_after']:.3f}"),
        ("Brier score before and after", f"{h['brier_before']:.3f}, {h['brier_after']:.3f}"),
    ]
    note = (
        f"{h['n_test']:,} test studies, {h['n_labels_evaluated']} labels averaged, "
        f"{_seeds(h['n_seeds'])}, 95 % intervals from {evaluation.settings.replicates:,} draws of patients."
    )
    left_out = h["labels_not_evaluated"]
    return f"{markdown_table(('measure', 'test split'), rows)}\n\n{note}" + (
        f" Without both classes on test and therefore in no average: {left_out}." if left_out else ""
    )


def _ablation(evaluation: Evaluation) -> str:
    rows = [
        (
            row["variant"],
            with_interval(row["macro_auroc"], row["macro_auroc_low"], row["macro_auroc_high"]),
            with_interval(row["macro_auprc"], row["macro_auprc_low"], row["macro_auprc_high"]),
            with_interval(row["difference"], row["difference_low"], row["difference_high"], signed=True),
            row["macro_auroc_sd"],
        )
        for row in evaluation.ablation.to_pylist()
    ]
    missing = [
        (
            row["dropped"],
            with_interval(row["macro_auroc"], row["macro_auroc_low"], row["macro_auroc_high"]),
            with_interval(row["difference"], row["difference_low"], row["difference_high"], signed=True),
        )
        for row in evaluation.missing_modality.to_pylist()
    ]
    header = (
        "variant", "macro AUROC", "macro AUPRC",
        f"difference to {evaluation.headline['best_single']}", "spread over seeds",
    )  # fmt: skip
    return (
        markdown_table(header, rows)
        + "\n\nThe fused model with a modality missing at test time:\n\n"
        + markdown_table(("missing", "macro AUROC", "difference"), missing)
    )


def _labels(evaluation: Evaluation) -> str:
    few = evaluation.settings.few_positives
    rows = [
        (
            row["label"] + (" *" if row["few_positives"] else ""),
            f"{row['n_pos']} of {row['n_test']}",
            with_interval(row["auroc"], row["auroc_low"], row["auroc_high"]),
            with_interval(row["auprc"], row["auprc_low"], row["auprc_high"]),
            row["prevalence"],
            f"{row['threshold']:.3f}" + ("" if row["threshold_chosen"] else " (default)"),
            row["f1"],
            row["sensitivity"],
            row["specificity"],
        )
        for row in evaluation.per_label.to_pylist()
    ]
    header = (
        "label", "positive", "AUROC", "AUPRC", "prevalence", "threshold", "F1", "sensitivity", "specificity",
    )  # fmt: skip
    return (
        f"{markdown_table(header, rows)}\n\n\\* fewer than {few} positives on test: read the interval, not "
        "the value. Thresholds maximise F1 on validate."
    )


def _subgroups(evaluation: Evaluation) -> str:
    rows = [
        (
            f"{row['column']}: {row['value']}",
            row["n_test"],
            row["n_labels"],
            with_interval(row["macro_auroc"], row["macro_auroc_low"], row["macro_auroc_high"]),
            row["sensitivity"],
            row["false_positive_rate"],
            row["ece"],
        )
        for row in evaluation.subgroups.to_pylist()
    ]
    header = (
        "group",
        "studies",
        "labels averaged",
        "macro AUROC",
        "sensitivity",
        "false positive rate",
        "ECE",
    )
    return (
        f"{markdown_table(header, rows)}\n\n"
        "Groups average over the labels with both classes inside the group: small groups are not comparable."
    )


def _calibration(evaluation: Evaluation) -> str:
    rows = [
        (row["method"] + (" (used)" if row["used"] else ""), row["ece"], row["ece_pooled"], row["brier"])
        for row in evaluation.calibration_methods.to_pylist()
    ]
    header = ("fitted on validate", "ECE, mean of labels", "ECE, all labels pooled", "Brier")
    name = evaluation.calibration["intervals"]["name"]
    return f"{markdown_table(header, rows)}\n\nThe interval beside a probability is the {name}."


def _limits(evaluation: Evaluation, facts: CardFacts) -> str:
    labels = f"{evaluation.headline['n_few_positives']} labels have fewer than {evaluation.settings.few_positives}"
    lines = [
        "Labels were read from reports by a program, not from films by radiologists.",
        "Frontal films of adults in an emergency department; AP and PA differ in how ill the patients are.",
        f"{labels} positives on test.",
        "Intervals hold the trained model fixed: they show the choice of patients, not of training runs.",
        "One hospital; nothing is known about other scanners, countries or times.",
    ]
    if facts.synthetic:
        lines.insert(0, "Trained on synthetic films: a real film is outside of what it has seen.")
    return bullets(lines)


def _seeds(n: int) -> str:
    return "one training seed" if n == 1 else f"{n} training seeds"
