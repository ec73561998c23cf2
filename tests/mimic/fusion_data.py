"""A small multimodal data set on disk for the tests of the model, its data and its training."""

import numpy as np

from mm_assets.mimic.datasets import FeatureFiles, MultimodalData, Records, open_multimodal
from mm_assets.mimic.schema import CLINICAL_FEATURES, LABELS
from mm_assets.records.token_shards import write_shard


def multimodal_data(
    folder, n=(96, 32, 32), *, image_dim=20, text_dim=12, patches=4, words=5, passages=6, seed=0
) -> MultimodalData:
    """Records whose labels 0-4 show in the film, 5-9 in the note, 10-13 in the measurements."""
    rng = np.random.default_rng(seed)
    total = sum(n)
    targets = (rng.random((total, len(LABELS))) < 0.4).astype(np.float32)
    image = 0.5 * rng.normal(size=(total, patches, image_dim))
    image[:, 1, :5] += 2 * targets[:, :5]
    text = 0.5 * rng.normal(size=(total, words, text_dim))
    text[:, 2, :5] += 2 * targets[:, 5:10]
    lengths = rng.integers(3, words + 1, total)
    mask = (np.arange(words) < lengths[:, None]).astype(np.uint8)
    clinical = rng.normal(size=(total, len(CLINICAL_FEATURES))).astype(np.float32) * 10 + 80
    clinical[:, :4] += 20 * targets[:, 10:]
    clinical[rng.random(clinical.shape) < 0.05] = np.nan

    half = total // 2
    for name, rows in (("a", slice(0, half)), ("b", slice(half, total))):
        write_shard(folder / f"image-{name}", {"tokens": image[rows].astype(np.float16)})
        write_shard(folder / f"text-{name}", {"tokens": text[rows].astype(np.float16), "mask": mask[rows]})
    write_shard(folder / "passages", {"tokens": rng.normal(size=(passages, text_dim)).astype(np.float16)})
    study_id = 50_000_000 + np.arange(total)
    index = {
        "study_id": study_id,
        "shard": np.array(["a"] * half + ["b"] * (total - half)),
        "row": np.concatenate([np.arange(half), np.arange(total - half)]),
    }
    records = Records(
        study_id=study_id,
        subject_id=10_000_000 + np.arange(total) // 2,
        split=np.repeat(["train", "validate", "test"], n),
        clinical=clinical,
        targets=targets,
        target_mask=rng.random(targets.shape) < 0.95,
        passages=np.where(rng.random((total, 3)) < 0.8, rng.integers(0, passages, (total, 3)), -1).astype(np.int32),
    )
    files = {kind: {name: folder / f"{kind}-{name}" for name in "ab"} for kind in ("image", "text")}
    return open_multimodal(
        records, FeatureFiles(index, files["image"]), FeatureFiles(index, files["text"]), folder / "passages"
    )
