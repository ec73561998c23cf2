"""What the joint network is worth beside each party alone, a model with all columns, and the best that was possible.

Belongs here: which numbers the wing reports, over which records and against which comparison. Does not belong here:
table rows (evaluation_tables.py), the attack and its verdict (label_leak.py), figures and the card.

Rules:
- Validate chooses, test measures. Chosen on validate: the served seed (least cross-entropy of the joint network), its
  temperature, and (label_leak.judge) the defence that the verdict names.
- Several seeds: a metric is computed per seed and then averaged (answers are never averaged, because one seed's network
  is served, not an ensemble). Confusions and the accuracies told with an answer are those of the served seed.
- A ceiling is the accuracy of who knows the planted law; with a film in it, of who reads films without error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from mm_assets.cloud_vision import evaluation_tables as tables
from mm_assets.cloud_vision.pooled_model import POOLED
from mm_assets.cloud_vision.predictions import SplitAnswers, cross_entropy, softmax_temperature
from mm_assets.cloud_vision.train_job import ALONE, JOINT
from resources.errors import MendableError

OTHERS = (*ALONE, POOLED)  # what the joint network is compared with
NO_DEFENCE = "none"
# Split -> model -> its name in ceilings.json.
_CEILINGS = {
    "test": {JOINT: "joint", POOLED: "joint", "org2": "org2", "org3": "org3", "image_only": "image_only"},
    "shifted": {JOINT: "shifted_joint", POOLED: "shifted_joint"},
}


class NothingToJudge(MendableError):
    """There are no test records, or a network that the report needs did not answer them."""


@dataclass(frozen=True)
class EvaluationSettings:
    """Knobs of an evaluation: replicates and seed of the bootstrap."""

    replicates: int = 1000
    seed: int = 0


@dataclass(frozen=True, eq=False)
class EvaluationInputs:
    """What was measured before, as plain values.

    answers: split -> answers of every network. ceilings: `ceilings.json`. misalignment, leak: rows of both audits.
    verdict: `leak.json`. carried: seed -> bytes of the joint training, see `training.json`.
    """

    answers: Mapping[str, SplitAnswers]
    ceilings: Mapping[str, float | None]
    misalignment: Sequence[Mapping[str, Any]]
    leak: Sequence[Mapping[str, Any]]
    verdict: Mapping[str, Any]
    carried: Mapping[str, Mapping[str, Any]]
    split_minus_central: float


@dataclass(frozen=True)
class Evaluation:
    """Everything that the tables, the card, the released bundle and ``mm status`` show."""

    headline: dict[str, float | int | str | None]
    tables: dict[str, pa.Table]  # models, confusion, leak, misalignment, gains
    served_seed: int
    temperature: float  # of the served joint network
    served: dict[str, dict[str, float]]  # network -> accuracy on test with the served seed: value, low, high
    verdict: dict[str, Any]
    carried: dict[str, Any]  # of the served seed's training
    settings: EvaluationSettings

    def as_json(self) -> dict[str, Any]:
        """What is not a table, as plain JSON without NaN."""
        return {
            "headline": self.headline,
            "served_seed": self.served_seed,
            "temperature": self.temperature,
            "served": self.served,
            "verdict": self.verdict,
            "carried": self.carried,
            "settings": asdict(self.settings),
        }


def evaluate(inputs: EvaluationInputs, settings: EvaluationSettings) -> Evaluation:
    """Judge every network on every held-out split. Raises NothingToJudge."""
    answers = inputs.answers
    missing = [name for name in (JOINT, *OTHERS) if "test" not in answers or not answers["test"].seeds(name)]
    if missing or "validate" not in answers:
        raise NothingToJudge(
            f"no answers of {', '.join(missing) or 'validate'} to held-out records: give every split some records in "
            "common, then run `mm materialize cloud_vision/model`"
        )
    seed = served_seed(answers["validate"])
    temperature = softmax_temperature(answers["validate"].logits[JOINT, seed], answers["validate"].labels)
    judged = {name: found for name, found in answers.items() if name != "validate"}
    benches = {name: tables.Bench(found, settings.replicates, settings.seed) for name, found in judged.items()}
    models = [
        {**bench.row(model), "split": split, "ceiling": inputs.ceilings.get(_CEILINGS.get(split, {}).get(model, ""))}
        for split, bench in benches.items()
        for model in (JOINT, *OTHERS)
    ]
    test = benches["test"]
    gains = [{"over": other, **test.gain(JOINT, other)} for other in OTHERS]
    confusions = [row for split, found in judged.items() for row in tables.confusion_rows(found, (JOINT, seed), split)]
    leak, misalignment = tables.leak_rows(inputs.leak), tables.misalignment_rows(inputs.misalignment)
    carried = dict(inputs.carried[str(seed)])
    served = {name: test.accuracy((name, seed)) for name in (JOINT, *ALONE)}
    served[POOLED] = test.accuracy((POOLED, answers["test"].seeds(POOLED)[0]))
    headline = {
        **_accuracies(models, inputs.ceilings),
        **{f"gain_over_{row['over']}{end}": row[key] for row in gains for end, key in _ENDS.items()},
        **_leak(leak, inputs.verdict),
        **{f"misaligned_{round(100 * row['share'])}": row["accuracy"] for row in misalignment},
        "wire_bytes_per_epoch": int(carried["bytes_per_epoch"]),
        "validation_bytes_per_epoch": int(carried["validation_bytes_per_epoch"]),
        "split_minus_central": inputs.split_minus_central,
        "served_seed": seed,
        **{f"accuracy_served{end}": served[JOINT][key] for end, key in _ENDS.items()},
        "temperature": temperature,
        "n_test": len(answers["test"].labels),
        "n_shifted": len(answers["shifted"].labels) if "shifted" in answers else 0,
        "n_seeds": len(answers["test"].seeds(JOINT)),
    }
    return Evaluation(
        headline={name: None if value != value else value for name, value in headline.items()},
        tables={
            "models": pa.Table.from_pylist(models, schema=tables.MODELS_SCHEMA),
            "gains": pa.Table.from_pylist(gains),
            "confusion": pa.Table.from_pylist(confusions, schema=tables.CONFUSION_SCHEMA),
            "leak": pa.Table.from_pylist(leak, schema=tables.LEAK_SCHEMA),
            "misalignment": pa.Table.from_pylist(misalignment),
        },
        served_seed=seed,
        temperature=temperature,
        served=served,
        verdict=dict(inputs.verdict),
        carried=carried,
        settings=settings,
    )


def served_seed(validate: SplitAnswers) -> int:
    """The seed whose joint network has the least cross-entropy on validate; the lowest of equals."""
    seeds = validate.seeds(JOINT)
    return min(seeds, key=lambda seed: (cross_entropy(validate.logits[JOINT, seed], validate.labels), seed))


_ENDS = {"": "value", "_ci_low": "low", "_ci_high": "high"}


def _accuracies(models: Sequence[Mapping[str, Any]], ceilings: Mapping[str, float | None]) -> dict[str, float | None]:
    """Accuracies on test with their intervals, the joint network's other metrics and its shifted test, and ceilings."""
    of = {(row["model"], row["split"]): row for row in models}
    found: dict[str, float | None] = {}
    named = {f"accuracy_{model}": of[model, "test"] for model in (JOINT, *OTHERS)}
    if (JOINT, "shifted") in of:
        named["accuracy_shifted"] = of[JOINT, "shifted"]
    for name, row in named.items():
        found |= {name: row["accuracy"], f"{name}_ci_low": row["accuracy_low"], f"{name}_ci_high": row["accuracy_high"]}
    found.setdefault("accuracy_shifted", None)
    joint = of[JOINT, "test"]
    return {
        **found,
        "macro_f1_joint": joint["macro_f1"],
        "auroc_joint": joint["auroc"],
        "accuracy_ceiling": ceilings["joint"],
        "accuracy_ceiling_shifted": ceilings["shifted_joint"],
        **{f"accuracy_ceiling_{name}": ceilings[name] for name in ALONE},
    }


def _leak(rows: Sequence[Mapping[str, Any]], verdict: Mapping[str, Any]) -> dict[str, float | int | str | None]:
    """The undefended leak, and that of the defence that counts or came nearest to it."""
    of = {row["defence"]: row for row in rows}
    undefended, chosen = of[NO_DEFENCE], of[verdict["defence"]]
    return {
        "leak_accuracy": undefended["leak"],
        "leak_accuracy_defended": chosen["leak"],
        "leak_guess": verdict["guess"],
        "leak_random_labels": undefended["leak_random_labels"],
        "leak_random_labels_defended": chosen["leak_random_labels"],
        "leak_defence": verdict["defence"],
        "leak_reached": int(verdict["reached"]),
        "accuracy_undefended": undefended["accuracy"],
        "accuracy_defended": chosen["accuracy"],
    }
