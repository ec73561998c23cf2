"""The original system's `config.yaml`, read as it is: its keys become this project's settings and knobs.

Belongs here: the mapping of names, and telling what has no counterpart. Does not belong here: reading files and running
anything.
"""

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, TypedDict

from resources.errors import MendableError

# Where the original kept its pictures below one root, which is what the layout `folders` reads.
CLINICAL_TAIL, DERMOSCOPY_TAIL = ("clinical", "images"), ("dermoscopy", "images")
MODEL = "pigmentation/model"


class OriginalConfigError(MendableError):
    """A key or value of an original configuration that means nothing here."""


class OriginalRun(TypedDict):
    """``env``: variables of resources.settings; ``config``: knobs per asset; ``notes``: what was left out and why."""

    env: dict[str, str]
    config: dict[str, dict[str, Any]]
    notes: list[str]


def is_original(values: Mapping[str, Any]) -> bool:
    """True for a file whose top keys are the original's sections."""
    return bool(values) and set(values) <= {"dataset", "training", "model", "device"}


def run_config(values: Mapping[str, Any]) -> OriginalRun:
    """Settings and knobs for a parsed `config.yaml`. Raises OriginalConfigError, naming every key it does not know."""
    flat = _flat(values)
    unknown = sorted(set(flat) - {*_PATHS, *_KNOBS, *_SETTINGS, SAVE_PATH})
    if unknown:
        known = ", ".join(sorted({*_PATHS, *_KNOBS, *_SETTINGS, SAVE_PATH}))
        raise OriginalConfigError(f"{', '.join(unknown)}: no such key in the original configuration; it has {known}")
    env = _root({key: value for key, value in flat.items() if key in _PATHS})
    knobs = {}
    for key, (name, read) in _KNOBS.items():
        if key in flat:
            knobs[name] = read(key, flat[key])
    for key, (name, as_text) in _SETTINGS.items():
        if key in flat:
            env[name] = as_text(key, flat[key])
    notes = []
    if SAVE_PATH in flat:
        notes.append(f"{SAVE_PATH} is not used: a trained model is published below MM_HOME/pigmentation/released_model")
    return {"env": env, "config": {MODEL: knobs} if knobs else {}, "notes": notes}


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    flat = {}
    for section, content in values.items():
        if isinstance(content, Mapping):
            flat.update({f"{section}.{key}": value for key, value in content.items()})
        else:
            flat[str(section)] = content
    return flat


def _root(paths: Mapping[str, Any]) -> dict[str, str]:
    """The root that both folders share; the original allowed two, and its pairs were drawn at random."""
    roots = {}
    for key, tail in _PATHS.items():
        if key not in paths:
            continue
        parts = PurePosixPath(str(paths[key]).rstrip("/")).parts
        if parts[-2:] != tail:
            raise OriginalConfigError(f"{key} is {paths[key]!r}: it must end in {'/'.join(tail)}, below one root")
        roots[key] = str(PurePosixPath(*parts[:-2])) if parts[:-2] else "."
    if len(set(roots.values())) > 1:
        told = ", ".join(f"{key} below {root}" for key, root in roots.items())
        raise OriginalConfigError(f"pictures of one lesion must lie below one root ({told}): move them together")
    if not roots:
        return {}
    return {"MM_PIGMENTATION_URL": next(iter(roots.values())), "MM_PIGMENTATION_LAYOUT": "folders"}


def _whole(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise OriginalConfigError(f"{key} is {value!r}: give a whole number from 1")
    return value


def _positive(key: str, value: Any) -> float:
    try:
        number = float(value)  # YAML reads 1e-4 as text
    except (TypeError, ValueError):
        number = 0.0
    if isinstance(value, bool) or not 0 < number < float("inf"):
        raise OriginalConfigError(f"{key} is {value!r}: give a number above 0")
    return number


def _workers(key: str, value: Any) -> str:
    # The original's 0 meant: in the process itself.
    return "1" if value == 0 and not isinstance(value, bool) else str(_whole(key, value))


def _device(key: str, value: Any) -> str:
    if not isinstance(value, bool):
        raise OriginalConfigError(f"{key} is {value!r}: give true or false")
    return "auto" if value else "cpu"


SAVE_PATH = "training.save_path"
_PATHS = {"dataset.clinical_path": CLINICAL_TAIL, "dataset.dermoscopy_path": DERMOSCOPY_TAIL}
_KNOBS: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "training.batch_size": ("batch_size", _whole),
    "training.epochs": ("epochs", _whole),
    "training.learning_rate": ("learning_rate", _positive),
    "model.attention_heads": ("attention_heads", _whole),
}
_SETTINGS: dict[str, tuple[str, Callable[[str, Any], str]]] = {
    "training.num_workers": ("MM_WORKERS", _workers),
    "device.use_gpu": ("MM_DEVICE", _device),
}
