"""How the two parties train the split network: each side, from the party's own features to its part of the weights.

Belongs here: what each reads, builds, and writes. Does not belong here: the training itself (split_training.py),
processes (party_process.py), what the weights are published as (model_assets.py).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch._dynamo  # noqa: TID253  (for seconds, by the first optimiser: here the parties do so at the same time)

from mm_assets.cloud_vision.parties import PartyAccess
from mm_assets.cloud_vision.party_exchange import TRAIN, Answering, wire_counts
from mm_assets.cloud_vision.party_steps import Org2Rows, Org3Rows, SplitKnobs
from mm_assets.cloud_vision.party_work import FEATURES, FEATURES_JSON, WING
from mm_assets.cloud_vision.schema import IMAGE_HOLDER, LABEL_HOLDER
from mm_assets.cloud_vision.split_model import TOP, SplitConfig, build_org2, build_org3, build_top
from mm_assets.cloud_vision.split_training import Org2Party, Org3Party
from mm_assets.cloud_vision.wire import Wire, routed

LOGITS = "logits.safetensors"
PREDICTED = ("validate", "test", "shifted")


def training_message(
    config: SplitConfig,
    knobs: SplitKnobs,
    *,
    versions: Mapping[str, str],
    rows: Mapping[str, np.ndarray],
    folder: Path,
) -> dict[str, Any]:
    """What both parties are asked; plain values, and no row of a table among them.

    ``versions``: "org2" and "org3" -> version of that party's features artifact. ``rows``: every split of SPLITS ->
    positions in the common ids. ``folder``: where both parties write; it is made.
    """
    return {
        "task": TRAIN,
        "architecture": config.to_json(),
        "knobs": asdict(knobs),
        "versions": dict(versions),
        "rows": {name: [int(row) for row in found] for name, found in rows.items()},
        "folder": str(folder),
    }


def answering(access: PartyAccess, job: Mapping[str, Any]) -> Answering:
    """The image holder's side: at the end, in peace, it writes ``org3.safetensors``. Raises ArtifactMissing."""
    tensors, digest = _own_features(access, job)
    data = Org3Rows(tensors["pixels"], tensors["features"], digest)
    config, seed = SplitConfig.from_dict(job["architecture"]), job["knobs"]["seed"]
    party = Org3Party(build_org3(config, seed), data)
    return Answering(
        routed({TRAIN: party.handle}), lambda: _write(party.bottom.state_dict(), Path(job["folder"]), IMAGE_HOLDER)
    )


def driven(access: PartyAccess, job: Mapping[str, Any], wire: Wire) -> dict[str, Any]:
    """The label holder's side: writes ``org2.safetensors``, ``top.safetensors`` and ``logits.safetensors`` (float32
    [n, classes] of validate, test and shifted). Returns ``curves``, ``best_epoch``, ``wire_bytes_per_epoch`` and
    ``validation_bytes_per_epoch`` as SplitRun, and ``counts``: see ``wire_counts``.

    Raises Misaligned, OutOfStep, WireError, ArtifactMissing.
    """
    from safetensors.numpy import save_file

    tensors, digest = _own_features(access, job)
    config, knobs = SplitConfig.from_dict(job["architecture"]), SplitKnobs(**job["knobs"])
    data = Org2Rows(tensors["features"], tensors["labels"], digest)
    party = Org2Party(build_org2(config, knobs.seed), build_top(config, knobs.seed), data)
    rows = {name: np.array(found, np.int64) for name, found in job["rows"].items()}
    with one_thread():
        run = party.train(wire, rows["train"], rows["validate"], knobs, desc=f"split training, seed {knobs.seed}")
        # Real X-rays may have no shifted split.
        logits = {name: party.predict(wire, rows[name]) for name in PREDICTED if len(rows[name])}
    folder = Path(job["folder"])
    _write(party.bottom.state_dict(), folder, LABEL_HOLDER)
    _write(party.top.state_dict(), folder, TOP)
    save_file(logits, str(folder / LOGITS))
    return {**asdict(run), "counts": wire_counts(wire)}


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside, as the parties' processes have: sums of several may differ in their last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def trained_weights(folder: Path) -> dict[str, Any]:
    """The parts that the parties wrote to a training's folder, under the names of ``CentralModel``'s state."""
    from safetensors.torch import load_file

    return {
        f"{part}.{name}": tensor
        for part in (LABEL_HOLDER, IMAGE_HOLDER, TOP)
        for name, tensor in load_file(str(_weights_file(folder, part))).items()
    }


def _own_features(access: PartyAccess, job: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], str]:
    from safetensors.numpy import load_file

    store = access.artifacts()
    artifact = store.open_version(WING, f"{access.party}_features", job["versions"][access.party])
    return load_file(store.local_file(artifact, FEATURES)), str(store.read_json(artifact, FEATURES_JSON)["digest"])


def _write(state: Mapping[str, Any], folder: Path, part: str) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: state[name].contiguous() for name in sorted(state)}, str(_weights_file(folder, part)))


def _weights_file(folder: Path, part: str) -> Path:
    return folder / f"{part}.safetensors"
