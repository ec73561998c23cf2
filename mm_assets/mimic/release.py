"""The folder of a released model, put together from what the earlier assets published.

Belongs here: which file of the release comes from where. Does not belong here: training, judging, and answering
(`predictor.py`, which reads the folder).
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.learning.bundle import save_bundle
from mm_assets.learning.runs import CONFIG, WEIGHTS
from mm_assets.mimic.out_of_domain import fit_reference
from mm_assets.mimic.preprocessing import Preprocessing, RetrievalInput, TextInput, VisionInput
from mm_assets.mimic.published import image_encoder, phase1_settings, training_files
from mm_assets.mimic.release_rule import release_refusal
from mm_assets.mimic.schema import CLINICAL_FEATURES, LABELS, VITALS
from mm_assets.mimic.train_job import feature_files
from mm_assets.records.staleness import StaleInputs, require_made_from
from mm_assets.records.token_shards import sharded_rows
from resources.artifacts import ArtifactStore
from resources.errors import MendableError

RELEASED_VARIANT = "fused"
# Cases offered on the page, by the label they show.
EXAMPLE_LABELS = ("No Finding", "Pneumothorax", "Edema", "Pneumonia", "Fracture", "Support Devices")


class NotReleasable(MendableError):
    """The evaluation does not allow a release."""


def write_release(store: ArtifactStore, folder: Path, upstream: Mapping[str, str]) -> str:
    """Write the bundle, the knowledge base and the examples into `folder`; returns the model card."""
    from safetensors.torch import load_file

    judged, trained = store.current("mimic", "evaluation"), store.current("mimic", "model")
    base = store.current("mimic", "knowledge_base")
    text = store.current("mimic", "text_features")
    require_made_from(store, judged, "mimic/model", "mimic/phase3")
    require_made_from(store, trained, "mimic/text_features", "mimic/image_features", "mimic/knowledge_base")
    if refusal := release_refusal(judged.metrics):
        raise NotReleasable(f"the model is not released: {refusal}; look at mimic/evaluation, then train again")
    result = store.read_json(judged, "evaluation.json")
    chosen = f"{RELEASED_VARIANT}-{result['released_seed']}"
    card = store.local_file(judged, "card.md").read_text(encoding="utf-8")
    calibration = result["calibration"]
    spec: dict[str, Any] = {
        "wing": "mimic",
        "architecture": json.loads(store.local_file(trained, f"{chosen}/{CONFIG}").read_bytes()),
        "preprocessing": preprocessing(store).model_dump(),
        "labels": list(LABELS),
        "thresholds": result["thresholds"],
        "temperature": calibration["temperature"],
        "calibration": calibration,
        "out_of_domain": film_reference(store),
        "metrics": result["headline"],
        "upstream": dict(upstream),
        "synthetic": judged.synthetic,
        "variant": RELEASED_VARIANT,
        "seed": result["released_seed"],
    }
    save_bundle(folder, load_file(str(store.local_file(trained, f"{chosen}/{WEIGHTS}"))), spec, card)
    for name in ("passages.parquet", "index.faiss"):
        shutil.copyfile(store.local_file(base, name), folder / name)
    # As the model reads them: the passages' own tokens, pooled, not the embeddings of the search.
    shutil.copyfile(store.local_file(text, "passages.safetensors"), folder / "embeddings.safetensors")
    write_examples(store, folder)
    return card


def preprocessing(store: ArtifactStore) -> Preprocessing:
    """How a case becomes the tensors the model was trained on, read from what phase 1, 2 and the features noted."""
    vision = image_encoder(store)
    notes = store.read_json(store.current("mimic", "phase2"), "text.json")
    kept = store.read_json(store.current("mimic", "text_features"), "encoder.json")
    # Queries are embedded as the passages were, whichever encoder reads the notes.
    embedder = store.read_json(store.current("mimic", "knowledge_base"), "encoder.json")
    films = phase1_settings(store)
    return Preprocessing(
        vision=VisionInput(
            **read_by("mimic/image_features", vision),
            transform=vision["transform"],
            stored_px=films["image_size"],
            resize_mode=films["resize_mode"],
            quality_mode=films["quality_mode"],
            grid=vision["grid"],
        ),
        text=TextInput(
            **read_by("mimic/text_features", kept), note_cap=notes["note_tokens"], kept_tokens=kept["max_tokens"]
        ),
        retrieval=RetrievalInput(**read_by("mimic/knowledge_base", embedder), passages=notes["k"]),
        clinical=CLINICAL_FEATURES,
    )


def read_by(asset: str, noted: Mapping[str, Any]) -> dict[str, Any]:
    """Name and weights of an encoder out of an asset's `encoder.json`. Raises StaleInputs for one without weights."""
    if "weights_digest" not in noted:
        raise StaleInputs(f"{asset} does not note the weights of its encoder: run `mm materialize {asset}`")
    return {name: noted[name] for name in ("encoder", "weights_digest")}


def film_reference(store: ArtifactStore) -> dict[str, Any]:
    """Moments of the training films' mean tokens, for the out-of-domain warning."""
    files = feature_files(training_files(store).image)
    records = store.read_table(store.current("mimic", "phase3"), "records.parquet", ["study_id", "split"])
    means = {}
    for split in ("train", "validate"):
        studies = records.filter(pc.equal(records["split"], split))["study_id"].to_numpy()
        rows = sharded_rows(studies, files.index, files.shards, "tokens")
        parts = np.array_split(np.flatnonzero(rows.present), max(1, len(studies) // 512))
        means[split] = np.concatenate([rows.take(part).astype(np.float32).mean(1) for part in parts])
    return fit_reference(means["train"], means["validate"]).model_dump()


def write_examples(store: ArtifactStore, folder: Path) -> None:
    """`examples.json` and its films from the test split: only from synthetic data, never a patient's."""
    records = store.current("mimic", "phase3")
    examples = []
    if records.synthetic:
        table = store.read_table(records, "records.parquet").filter(pc.field("split") == "test").sort_by("study_id")
        for label in EXAMPLE_LABELS:
            shown = table.filter(pc.field(label) == 1)
            if shown.num_rows:
                examples.append(example(store, folder, label, shown.slice(0, 1).to_pylist()[0]))
    (folder / "examples.json").write_text(json.dumps(examples, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def example(store: ArtifactStore, folder: Path, label: str, row: dict[str, Any]) -> dict[str, Any]:
    """One case as `predictor.read_examples` reads it; its film is copied beside."""
    part = store.current("mimic", "phase1", row["directory"])
    film = store.read_table(part, "records.parquet", ["study_id", "image"])
    jpeg = film.filter(pc.equal(film["study_id"], pa.scalar(row["study_id"])))["image"][0].as_py()
    name = f"examples/{label.lower().replace(' ', '_')}.jpg"
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(jpeg)
    measured = {
        key: round(float(row[key]), 1)
        for key in (*VITALS, "pain", "age", "minutes_since_arrival")
        if row[key] is not None and np.isfinite(row[key])
    }
    whole = {"acuity": row["acuity"], "arrived_by_ambulance": row["arrived_by_ambulance"]}
    return {
        "title": f"{label} (synthetic)",
        "image": name,
        "complaint": row["chief_complaint"] or "",
        "history": row["history"] or "",
        "view": row["view"],
        "sex": row["gender"],
        **measured,
        **{key: int(value) for key, value in whole.items() if value is not None and np.isfinite(value)},
    }
