"""What the released pigmentation model says about itself.

Belongs here: the wording, and which of the evaluation's numbers stand where.
Does not belong here: computing a number (evaluation.py), measuring a latency (benchmarks, release) and the form of a
card (learning/cards.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mm_assets.learning.cards import (
    UNDEFINED,
    Section,
    bullets,
    markdown_table,
    render_card,
    upstream_table,
    with_interval,
)
from mm_assets.learning.provenance import DISCLAIMER
from mm_assets.pigmentation.baselines import DELTA_MELANIN, LESION_LIGHTNESS, PREDICT_MEAN
from mm_assets.pigmentation.case import MODALITY_NAMES
from mm_assets.pigmentation.evaluation import Evaluation
from mm_assets.pigmentation.evaluation_tables import ALL_TONES
from mm_assets.pigmentation.predictions import HEADLINE_VARIANT
from mm_assets.pigmentation.schema import DERIVED_LABEL_SOURCES, REQUIRED_MODALITY

SYNTHETIC_NOTICE = (
    "**SYNTHETIC DATA.** The model was trained and tested on images rendered from skin optics, with a severity that "
    "the renderer knows. No number below says anything about patients."
)
DERIVED_NOTICE = (
    "**DERIVED LABELS.** Some labels were computed from pixels. Agreement with them shows that a formula was learned: "
    "it is no clinical truth, and no number below that includes them may be quoted as one."
)
SOURCES = {
    "rater": "scored by a person",
    "mMASI/24": "modified melasma area and severity index, divided by its largest value 24",
    "derived_delta_melanin": "computed from pixels (melanin index over the skin around it): not clinical truth",
    "synthetic": "known to the renderer: area-weighted melanin in excess of the subject's own skin",
}
BASELINE_NAMES = {
    PREDICT_MEAN: "mean label of train",
    DELTA_MELANIN: "melanin index over the skin around it x area, from the photograph",
    LESION_LIGHTNESS: "lightness of the lesion (unfair: dark skin is dark without a lesion)",
}


@dataclass(frozen=True)
class ComputeRow:
    """One measured cost of answering a case."""

    what: str  # such as "one case with three images"
    device: str
    runtime: str
    milliseconds: float
    memory_mb: float | None = None


@dataclass(frozen=True)
class CardFacts:
    """What the card needs to know besides the evaluation."""

    synthetic: bool
    upstream: Mapping[str, str]  # "pigmentation/model" -> version
    records: Mapping[str, int]  # split -> number of records
    label_sources: Mapping[str, int]  # of the labelled records of every split
    tone_sources: Mapping[str, int]  # likewise: manifest or image
    inputs: Mapping[str, str]  # modality -> what is read, such as "12 bands from 450 to 950 nm"
    encoder: str  # name and start of each modality's encoder
    parameters: Mapping[str, int]  # part of the network -> count
    compute: Sequence[ComputeRow] = ()


def model_card(evaluation: Evaluation, facts: CardFacts) -> str:
    """Markdown; equal numbers give equal bytes."""
    tables = {name: table.to_pylist() for name, table in evaluation.tables.items()}
    return render_card(
        f"Pigmentation severity from {_listed([f'a {_image(name)}' for name in facts.inputs])}",
        {
            "tags": ["dermatology", "multimodal", "regression"],
            "synthetic_data": facts.synthetic,
            "derived_labels": _derived(facts),
            "modalities": list(facts.inputs),
        },
        [
            Section("Intended use", _intended_use(facts)),
            Section("Data", _data(evaluation, facts)),
            Section("Labels", _labels(tables["label_sources"], facts)),
            Section("Result", _result(evaluation)),
            Section("Modalities", _modalities(tables["subsets"])),
            Section("Without a network", _baselines(tables["baselines"])),
            Section("Fairness", _fairness(evaluation, tables, facts)),
            Section("Severity", _severity(evaluation, tables["severity"])),
            Section("Intervals", _intervals(evaluation, tables["coverage"])),
            Section("Attention", _attention(evaluation)),
            Section("Compute", _compute(facts)),
            Section("Limits", _limits(facts)),
            Section("Provenance", upstream_table(facts.upstream)),
        ],
    )


def _derived(facts: CardFacts) -> bool:
    return any(facts.label_sources.get(source) for source in DERIVED_LABEL_SOURCES)


def _intended_use(facts: CardFacts) -> str:
    notices = [SYNTHETIC_NOTICE] * facts.synthetic + [DERIVED_NOTICE] * _derived(facts)
    return "\n\n".join(
        [
            *notices,
            f"**{DISCLAIMER}**",
            f"Research on grading hyperpigmentation of one lesion from {_asked_for(facts)}. Not for diagnosis, for "
            "telling benign from malignant, for choosing a treatment, or for comparing persons.",
        ]
    )


def _asked_for(facts: CardFacts) -> str:
    optional = [f"a {_image(name)}" for name in facts.inputs if name != REQUIRED_MODALITY]
    required = f"a {_image(REQUIRED_MODALITY)} of it"
    return f"{required} and, where there is one, {_listed(optional)}" if optional else required


def _image(modality: str) -> str:
    return MODALITY_NAMES.get(modality, f"{modality} image")


def _listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def _data(evaluation: Evaluation, facts: CardFacts) -> str:
    h = evaluation.headline
    sizes = ", ".join(f"{split} {n:,}" for split, n in facts.records.items())
    return bullets(
        [
            f"Source: {'synthetic, rendered from skin optics' if facts.synthetic else 'the configured image set'}.",
            f"Records (a lesion at a visit): {sizes}; splits share no patient.",
            f"Test: {h['n_test']:,} labelled records of {h['n_patients_test']:,} patients; {h['n_test_complete']:,} "
            "have every image.",
            *(f"Reads {name}: {what}." for name, what in facts.inputs.items()),
            f"Encoder of each image: {facts.encoder}.",
        ]
    )


def _labels(rows: Sequence[Mapping[str, Any]], facts: CardFacts) -> str:
    error = {row["label_source"]: row for row in rows}
    shown = [
        (source, SOURCES.get(source, "not described"), f"{n:,}", _interval(error.get(source, {}), "mae"))
        for source, n in sorted(facts.label_sources.items())
    ]
    header = ("label source", "what it is", "records, all splits", "mean absolute error on test")
    return markdown_table(header, shown)


def _result(evaluation: Evaluation) -> str:
    h: Mapping[str, Any] = evaluation.headline
    rows = [
        ("Mean absolute error, every image", _headline(h, "mae_all")),
        ("Mean absolute error, clinical photograph alone", _headline(h, "mae_clinical_only")),
        ("Mean absolute error of predicting the mean", h["mae_predict_mean"]),
        ("Gain over the mean, every image", _headline(h, "gain_over_mean", signed=True)),
        ("Gain over the melanin index, photograph alone", _headline(h, "gain_over_delta_melanin", signed=True)),
        ("Gain over the melanin index, every image", _headline(h, "gain_over_delta_melanin_all", signed=True)),
        ("R2, every image", h["r2_all"]),
        ("Spearman correlation, every image", h["spearman_all"]),
        ("ICC(2,1) with the label, every image", h["icc_all"]),
        ("Weighted kappa of the severities, every image", h["kappa_all"]),
        ("Mean absolute error as served, each record with the images it has", h["mae_as_served"]),
    ]
    seeds = "one training seed" if h["n_seeds"] == 1 else f"the mean of {h['n_seeds']} training seeds"
    return (
        f"{markdown_table(('measure', 'test split'), rows)}\n\n"
        f"Scores run from 0 to 1. Over the {h['n_test_complete']:,} test records that have every image, {seeds}; 95 % "
        f"intervals from {evaluation.settings.replicates:,} draws of patients. Released: seed {h['released_seed']}, "
        f"with a mean absolute error of {h['released_mae']:.3f}."
    )


def _modalities(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = [
        (
            row["variant"],
            row["subset"].replace("+", " + "),
            _interval(row, "mae"),
            None if row["share_of_mean"] is None else f"{row['share_of_mean']:.0%}",
            _interval(row, "difference", signed=True),
            row["spearman"],
            row["icc"],
            row["mae_sd"],
        )
        for row in rows
    ]
    header = (
        "variant", "images", "mean absolute error", "of the mean's", "difference to fused, every image", "Spearman",
        "ICC", "spread over seeds",
    )  # fmt: skip
    variants = dict.fromkeys(row["variant"] for row in rows)
    ahead = [name for name in variants if _best_of(rows, name) < _best_of(rows, HEADLINE_VARIANT)]
    note = (
        f"\n\nWith every image, {' and '.join(ahead)} made the smaller error: the attention of `{HEADLINE_VARIANT}` "
        "earns its place where images are missing, not here."
        if ahead
        else ""
    )
    return (
        markdown_table(header, shown)
        + "\n\n`fused` attends over places in all images and was trained with images hidden, `pooled` is the original "
        "design with one token per image, `concat` joins the images without attention." + note
    )


def _best_of(rows: Sequence[Mapping[str, Any]], variant: str) -> float:
    """Error with every image: the rows of a variant go from one image to all."""
    return [row["mae"] for row in rows if row["variant"] == variant][-1]


def _baselines(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = [
        (
            BASELINE_NAMES.get(row["baseline"], row["baseline"]),
            _interval(row, "mae"),
            row["spearman"],
            _interval(row, "difference", signed=True),
        )
        for row in rows
    ]
    header = ("measure", "mean absolute error", "Spearman", "model from the photograph alone less this")
    return f"{markdown_table(header, shown)}\n\nEach is calibrated on train by a monotone curve."


def _fairness(evaluation: Evaluation, tables: Mapping[str, Sequence[Mapping[str, Any]]], facts: CardFacts) -> str:
    h: Mapping[str, Any] = evaluation.headline
    subsets = [row["subset"] for row in tables["subsets"] if row["variant"] == HEADLINE_VARIANT]
    everything = subsets[-1]
    shown = [
        (
            row["predictor"].replace("_", " "),
            row["subset"].replace("+", " + "),
            row["tone"] + (" *" if row["few"] else ""),
            row["n_test"],
            row["n_lesions"],
            _interval(row, "mae"),
            row["r2"],
            row["icc"],
            _interval(row, "bias", signed=True),
            _interval(row, "coverage"),
        )
        for row in tables["tones"]
        if (row["predictor"] == HEADLINE_VARIANT and row["subset"] in (everything, REQUIRED_MODALITY))
        or row["predictor"] in (DELTA_MELANIN, LESION_LIGHTNESS)
    ]
    header = (
        "predictor", "images", "skin tone (ITA class)", "records", "lesions", "mean absolute error", "R2", "ICC",
        "bias", "share in interval",
    )  # fmt: skip
    if h["worst_tone_ratio"] is None:
        ratio = "Too few skin tones have enough lesions to compare the worst with the best."
    else:
        ratio = (
            f"Worst over best skin tone, every image: {_headline(h, 'worst_tone_ratio')} ({h['worst_tone']} over "
            f"{h['best_tone']}, of {h['n_tones_judged']} tones)."
        )
    told = {"manifest": "given by the manifest", "image": "estimated from the photograph"}
    origins = ", ".join(f"{told.get(name, name)} {n:,}" for name, n in sorted(facts.tone_sources.items()))
    return (
        f"{ratio}\n\n{markdown_table(header, shown)}\n\nWhere the tones come from, records of all splits: {origins}."
        f"\n\n\\* fewer than {evaluation.settings.least_tone_lesions} "
        "lesions: listed, not judged. Bias below 0: lesions are scored too mild. The lightness of a lesion is shown "
        "because it is the measure that a tone-blind reading of a photograph amounts to."
    )


def _severity(evaluation: Evaluation, rows: Sequence[Mapping[str, Any]]) -> str:
    thresholds = evaluation.settings.thresholds
    everything = rows[-1]["subset"]
    called = list(dict.fromkeys(row["predicted"] for row in rows))
    of = {(row["true"], row["predicted"]): row["n_test"] for row in rows if row["subset"] == everything}
    shown = [(true, *(of[true, name] for name in called)) for true in called]
    return (
        f"Mild to {thresholds.mild:g}, Moderate above it to {thresholds.moderate:g}, Severe above that, of the score "
        "rounded to three digits as it is shown. Every image:\n\n"
        + markdown_table(("labelled", *(f"predicted {name}" for name in called)), shown)
    )


def _intervals(evaluation: Evaluation, rows: Sequence[Mapping[str, Any]]) -> str:
    shown = [
        (row["subset"].replace("+", " + "), row["n_validate"], _interval(row, "coverage"), row["mean_width"])
        for row in rows
        if row["tone"] == ALL_TONES
    ]
    name = next(reversed(evaluation.conformal.values())).name
    header = ("images", "records it was fitted on", "share of test records within", "mean width")
    return f"Beside a score stands the {name}.\n\n{markdown_table(header, shown)}"


def _attention(evaluation: Evaluation) -> str:
    h: Mapping[str, Any] = evaluation.headline
    if h["deletion_gain"] is None:
        return "Whether the attention maps say where the model looks was not tried."
    return (
        f"Hiding the most attended places first changes the score by {_headline(h, 'deletion_gain', signed=True)} more "
        f"on the way than hiding places at random, over {h['n_deletion']} test records. An interval that reaches 0 "
        "means that the maps should not be read as a reason; one above it that they point at what moves the score, as "
        "any map that follows pigment does."
    )


def _compute(facts: CardFacts) -> str:
    parts = markdown_table(("part", "parameters"), [(part, f"{n:,}") for part, n in facts.parameters.items()])
    if not facts.compute:
        return f"{parts}\n\nLatency depends on the machine: it is measured at release and shown with the asset."
    rows = [(row.what, row.device, row.runtime, f"{row.milliseconds:.1f}", row.memory_mb) for row in facts.compute]
    return f"{parts}\n\n{markdown_table(('what', 'device', 'runtime', 'ms', 'memory, MB'), rows)}"


def _limits(facts: CardFacts) -> str:
    lines = [
        "One lesion per image, near its middle; other conditions than hyperpigmentation were not labelled.",
        "The skin tone of a photograph is only as good as its light: classes estimated from pixels are coarse.",
        "Intervals between brackets hold the trained model fixed: they show the choice of patients, not of training "
        "runs.",
        "Nothing is known about cameras, lights, clinics and ages outside of the data.",
    ]
    if facts.synthetic:
        lines.insert(0, "Trained on rendered skin: a real photograph is outside of what it has seen.")
    return bullets(lines)


def _interval(row: Mapping[str, Any], name: str, *, signed: bool = False) -> str:
    if row.get(name) is None:
        return UNDEFINED
    return with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"], signed=signed)


def _headline(h: Mapping[str, Any], name: str, *, signed: bool = False) -> str:
    return with_interval(h[name], h[f"{name}_ci_low"], h[f"{name}_ci_high"], signed=signed)
