"""What the released split model says about itself.

Belongs here: the wording, and which of the evaluation's numbers stand where. Does not belong here: computing a number
(evaluation.py) and the form of a card (learning/cards.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mm_assets.cloud_vision.evaluation import NO_DEFENCE, Evaluation
from mm_assets.cloud_vision.label_leak import ACCURACY_COST, LEAK_MARGIN
from mm_assets.cloud_vision.schema import CLASSES, ORG2_FEATURES, ORG3_FEATURES
from mm_assets.cloud_vision.train_job import JOINT
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

SYNTHETIC_NOTICE = (
    "**SYNTHETIC DATA.** The X-rays, features and labels that the model was trained and tested on were made by a "
    "program. No number below says anything about patients."
)
TABLES_NOTICE = (
    "**SYNTHETIC TABLES.** The X-rays are real, the ten features were made up to fit their labels, and so was who "
    "holds which record. What the features add says nothing about patients."
)
MODELS = {
    JOINT: "both organisations, split training",
    "org2": "organisation 2 alone (its features)",
    "org3": "organisation 3 alone (X-ray and its features), given the labels",
    "image_only": "the X-ray alone, given the labels",
    "pooled": "all columns in one place: frozen image features and boosted trees",
}


@dataclass(frozen=True)
class CardFacts:
    """What the card needs to know besides the evaluation.

    synthetic: of the X-rays; the tables always are. records: split -> common records. sizes: ids of org2, org3 and
    common. parameters: of the joint network.
    """

    synthetic: bool
    upstream: Mapping[str, str]
    records: Mapping[str, int]
    sizes: Mapping[str, int]
    alignment_bytes: int
    architecture: Mapping[str, Any]
    parameters: int
    epochs: int
    wire: str


def model_card(evaluation: Evaluation, facts: CardFacts) -> str:
    """Markdown; equal numbers give equal bytes."""
    tables = {name: table.to_pylist() for name, table in evaluation.tables.items()}
    return render_card(
        "Chest X-ray and table classes, trained across two organisations",
        {
            "tags": ["chest-x-ray", "split-learning", "vertical-federated-learning"],
            "synthetic_data": facts.synthetic,
            "synthetic_tables": True,
            "classes": list(CLASSES),
        },
        [
            Section("Intended use", _intended_use(facts)),
            Section("Who held what", _held(facts)),
            Section("What crossed", _crossed(evaluation, facts)),
            Section("Result", _result(evaluation, tables)),
            Section("Confusion", _confusion(evaluation, tables["confusion"])),
            Section("Labels that leak", _leak(evaluation, tables["leak"])),
            Section("Alignment", _alignment(tables["misalignment"])),
            Section("Limits", _limits(facts)),
            Section("Provenance", upstream_table(facts.upstream)),
        ],
    )


def leak_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Accuracy against leak, a row per defence; rows of evaluation_tables.leak_rows."""
    header = (
        "defence", "accuracy on validate", "accuracy on test", "labels read", "could be guessed",
        "labels read, random ones", "epsilon", "seeds",
    )  # fmt: skip
    shown = [
        (
            row["defence"], row["validated"], row["accuracy"], row["leak"], row["guess"], row["leak_random_labels"],
            "unbounded" if row["epsilon"] is None else f"{row['epsilon']:.2f}", row["seeds"],
        )
        for row in rows
    ]  # fmt: skip
    return markdown_table(header, shown)


def _intended_use(facts: CardFacts) -> str:
    return "\n\n".join(
        [
            SYNTHETIC_NOTICE if facts.synthetic else TABLES_NOTICE,
            f"**{DISCLAIMER}**",
            f"Research on training one model of {len(CLASSES)} classes ({', '.join(CLASSES)}) across two organisations "
            "that do not show each other their records. Not for diagnosis.",
        ]
    )


def _held(facts: CardFacts) -> str:
    records = ", ".join(f"{split} {n:,}" for split, n in facts.records.items())
    return bullets(
        [
            f"Organisation 2: the labels and {', '.join(ORG2_FEATURES)}, {facts.sizes['org2']:,} ids. It trained a "
            "bottom network of its features and the top network.",
            f"Organisation 3: the X-rays and {', '.join(ORG3_FEATURES)}, {facts.sizes['org3']:,} ids. It trained a "
            f"bottom network of both ({facts.architecture['encoder']} encoder, {facts.architecture['image_px']} px).",
            f"Records that both hold: {facts.sizes['common']:,} ({records}). Only these were used.",
            f"The whole network: {facts.parameters:,} parameters, {facts.epochs} epochs.",
            "The comparisons below, and this card, were made by an auditor who may read both homes. In life nobody "
            "may, and neither would exist.",
        ]
    )


def _crossed(evaluation: Evaluation, facts: CardFacts) -> str:
    h: Mapping[str, Any] = evaluation.headline
    kinds = [
        (f"{row['sender']} to {row['receiver']}", row["kind"], f"{row['messages']:,}", f"{row['bytes']:,}")
        for row in evaluation.carried["counts"]
    ]
    places = "over HTTP between two processes" if facts.wire == "http" else "inside one process, as bytes all the same"
    return (
        f"Finding the common ids took {facts.alignment_bytes:,} bytes. A training epoch took "
        f"{h['wire_bytes_per_epoch']:,} bytes both ways and its validation {h['validation_bytes_per_epoch']:,}, "
        f"{places}. Of records, embeddings of {facts.architecture['embedding']} numbers crossed one way and their "
        "gradients the other; no feature, X-ray or label did.\n\n"
        f"{markdown_table(('direction', 'message', 'messages', 'bytes'), kinds)}\n\n"
        "Largest difference of a weight to the same network trained in one place: "
        f"{h['split_minus_central']:g}."
    )


def _result(evaluation: Evaluation, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    h: Mapping[str, Any] = evaluation.headline
    shown = [
        (
            MODELS[row["model"]], row["split"], _interval(row, "accuracy"), row["ceiling"], _interval(row, "macro_f1"),
            _interval(row, "auroc"), row["accuracy_sd"],
        )
        for row in tables["models"]
    ]  # fmt: skip
    gains = [
        (MODELS[row["over"]], with_interval(row["value"], row["low"], row["high"], signed=True))
        for row in tables["gains"]
    ]
    seeds = "one training seed" if h["n_seeds"] == 1 else f"the mean of {h['n_seeds']} training seeds"
    served = evaluation.served[JOINT]
    return "\n\n".join(
        [
            markdown_table(
                ("who", "split", "accuracy", "best possible", "macro F1", "macro AUROC", "spread over seeds"), shown
            ),
            f"Of {h['n_test']:,} test and {h['n_shifted']:,} shifted records (another exposure, another mix of "
            f"classes), {seeds}; 95 % intervals from {evaluation.settings.replicates:,} draws of records. Best "
            "possible: of who knows the law that the records were drawn from and reads films without error.",
            markdown_table(("accuracy on test, joint less", "difference"), gains),
            f"Served: seed {h['served_seed']}, the least cross-entropy on validate, with an accuracy of "
            f"{with_interval(served['value'], served['low'], served['high'])} and a temperature of "
            f"{evaluation.temperature:.2f}.",
        ]
    )


def _confusion(evaluation: Evaluation, rows: Sequence[Mapping[str, Any]]) -> str:
    of = {(row["label"], row["answered"]): row["n"] for row in rows if row["split"] == "test"}
    shown = [(true, *(of[true, named] for named in CLASSES)) for true in CLASSES]
    table = markdown_table(("labelled", *(f"answered {named}" for named in CLASSES)), shown)
    return f"Test records, seed {evaluation.served_seed}:\n\n{table}"


def _leak(evaluation: Evaluation, rows: Sequence[Mapping[str, Any]]) -> str:
    undefended = next(row for row in rows if row["defence"] == NO_DEFENCE)
    return (
        "**The served network was trained without a defence.** Whoever holds the X-rays receives a gradient of each "
        f"train record; sorting their directions into clusters named {undefended['leak']:.1%} of the labels, and "
        f"{undefended['leak_random_labels']:.1%} of labels that have nothing to do with the data.\n\n"
        f"{leak_table(rows)}\n\nVerdict: {evaluation.verdict['text']}. A defence counts within "
        f"{100 * LEAK_MARGIN:.0f} points of what could be guessed and at most {100 * ACCURACY_COST:.0f} points of "
        "accuracy below no defence: validate chooses which is named, and it counts when test agrees. "
        "The attack's best view counts, which an attacker could not know; other attacks may do better."
    )


def _alignment(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = [(f"{row['share']:.0%}", row["accuracy"], row["loss"], row["seeds"]) for row in rows]
    header = ("train rows joined to another record", "accuracy on test", "lost", "seeds")
    return (
        f"{markdown_table(header, shown)}\n\nThe common records were found by private set intersection and are joined "
        "by id; both parties compare a digest of the ids before they train."
    )


def _limits(facts: CardFacts) -> str:
    lines = [
        "Split training keeps raw records at home. It does not by itself keep labels secret, see above, and embeddings "
        "may tell something of X-rays.",
        "The sizes of both id sets are known to both organisations, and a small space of ids can be tried out.",
        "Intervals hold the trained networks fixed: they show the choice of records, not of training runs.",
        "An answer needs both organisations; with one of them missing there is none.",
    ]
    if facts.synthetic:
        lines.insert(0, "Trained on drawn films: a real X-ray is outside of what it has seen.")
    return bullets(lines)


def _interval(row: Mapping[str, Any], name: str) -> str:
    if row.get(name) is None:
        return UNDEFINED
    return with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"])
