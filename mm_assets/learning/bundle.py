"""A model as a folder: ``model.safetensors``, ``model.json``, ``card.md``. One writer, one loader.

Belongs here: the folder's layout and what its specification must hold. Does not belong here: building a
network from the specification (each wing's model module) and deciding that a model may be released.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from resources.errors import MendableError

WEIGHTS, SPEC, CARD = "model.safetensors", "model.json", "card.md"

# Key -> types its value may have.
REQUIRED: dict[str, tuple[type, ...]] = {
    "wing": (str,),
    "architecture": (dict,),
    "preprocessing": (dict,),
    "upstream": (dict,),
    "metrics": (dict,),
    "synthetic": (bool,),
}
# What a model of labels has beside, and a model of one number need not have. Where there are ``labels``, the others
# hold a value per label, or one for all.
OPTIONAL: dict[str, tuple[type, ...]] = {
    "labels": (list,),
    "thresholds": (dict, list),
    "temperature": (dict, list, float, int),
}


class BundleIncomplete(MendableError):
    """A model folder lacks a file or a key, or holds a value of the wrong kind."""


@dataclass(frozen=True)
class Bundle:
    """A loaded model folder: specification, weights by name (on the CPU) and the model card's text."""

    spec: dict[str, Any]
    state_dict: dict[str, torch.Tensor]
    card: str


def require_keys(spec: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Raise BundleIncomplete naming the first of the keys that is not there."""
    for key in keys:
        if key not in spec:
            raise BundleIncomplete(f"the model specification lacks '{key}': release the model again")


def check_spec(spec: Mapping[str, Any]) -> None:
    """Raise BundleIncomplete unless every required key is there, each key has its type, and all labels have theirs."""
    require_keys(spec, REQUIRED)
    for key, kinds in {**REQUIRED, **OPTIONAL}.items():
        if key in spec and not isinstance(spec[key], kinds):
            raise BundleIncomplete(
                f"'{key}' of the model specification is a {type(spec[key]).__name__}, not a "
                f"{' or '.join(kind.__name__ for kind in kinds)}: release the model again"
            )
    labels = spec.get("labels")
    if labels is None:
        return
    if not labels or len(set(labels)) != len(labels):
        raise BundleIncomplete("'labels' of the model specification must be distinct names: release the model again")
    for key in ("thresholds", "temperature"):
        value = spec.get(key)
        wrong_names = isinstance(value, dict) and set(value) != set(labels)
        wrong_count = isinstance(value, list) and len(value) != len(labels)
        if wrong_names or wrong_count:
            raise BundleIncomplete(f"'{key}' does not name every label exactly once: release the model again")


def save_bundle(folder: Path, state_dict: Mapping[str, torch.Tensor], spec: Mapping[str, Any], card_md: str) -> None:
    """Write the three files into ``folder``; equal contents give equal bytes. Raises BundleIncomplete."""
    from safetensors.torch import save_file

    check_spec(spec)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: state_dict[name].detach().cpu().contiguous() for name in sorted(state_dict)}
    save_file(weights, str(folder / WEIGHTS))
    (folder / SPEC).write_text(json.dumps(spec, sort_keys=True, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    (folder / CARD).write_text(card_md, encoding="utf-8")


def load_bundle(folder: Path) -> Bundle:
    """Read a model folder. Raises BundleIncomplete, naming the file or key that is missing."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    for name in (WEIGHTS, SPEC, CARD):
        if not (folder / name).is_file():
            raise BundleIncomplete(f"{folder} has no {name}: release the model again")
    try:
        spec = json.loads((folder / SPEC).read_text(encoding="utf-8"))
        state_dict = load_file(str(folder / WEIGHTS))
    except (json.JSONDecodeError, SafetensorError) as error:
        raise BundleIncomplete(f"{folder} is damaged ({error}): release the model again") from error
    check_spec(spec)
    return Bundle(spec, state_dict, (folder / CARD).read_text(encoding="utf-8"))
