"""What the asset `source` measures on its data set, shows of it, and when a published set is used again.

Belongs here: from files of a data set to plain values. Does not belong here: making the set (`synthetic/`,
`xray_source.py`), and judging what was measured (the wing's checks).
"""

import io
from collections import Counter, defaultdict
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.cloud_vision.schema import CLASSES, IMAGE_HOLDER, SPLITS
from mm_assets.cloud_vision.synthetic.around_xrays import TablesConfig
from mm_assets.cloud_vision.synthetic.dataset import XrayDataConfig
from mm_assets.cloud_vision.synthetic.law import PlantedLaw
from resources.artifact_record import Artifact, ArtifactMissing
from resources.artifacts import ArtifactStore

DATA = "data"  # folder of the data set inside the artifact
TRUTH = f"{DATA}/truth/records.parquet"
# Views that do not depend on how well a film tells the class, which the law knows of drawn films alone.
TABLE_VIEWS = ("org2", "tables_only", "chance", "standard_error")

_FOLDS = 5
_OUTLINE_PX = 7  # on the film; about one on its thumbnail


def published_set(store: ArtifactStore, noted: dict[str, Any]) -> Artifact | None:
    """The current source artifact when it is the drawn set of exactly these settings and no file of it is lost."""
    try:
        artifact = store.current("cloud_vision", "source")
    except ArtifactMissing:
        return None
    there = {info.path: info.size for info in store.objects.list(artifact.folder)}
    whole = all(there.get(f"{artifact.folder}/{file.path}") == file.bytes for file in artifact.files)
    return artifact if artifact.synthetic and whole and store.read_json(artifact, "source.json") == noted else None


def noted_settings(config: XrayDataConfig | TablesConfig, **noted: Any) -> dict[str, Any]:
    """`source.json`: what is known of a data set beside its files. noted: `kind`, generator or images, and what tells
    the X-rays apart: the generator's version, or the URL and side of the real ones."""
    knobs = asdict(config)
    knobs.pop("jobs", None)
    law = {name: knobs.pop(name) for name in ("design", "difficulty")}
    return {"generator": None, **noted, **law, "config": knobs}


def film_statistics(data: Path, *, workers: int) -> dict[str, Any]:
    """StatisticsAudit of the X-rays of train, and `exposure_gap` between those of test and shifted.

    What cannot be measured on so few X-rays is None. data: folder of a data set.
    """
    import pyarrow.parquet as pq

    from mm_assets.cloud_vision.film_statistics import class_from_statistics, exposure_gap
    from resources.compute import map_items

    truth = pq.read_table(data / "truth" / "records.parquet", columns=["split", "label", "image"])
    truth = truth.filter(pc.is_valid(truth["image"]))
    paths = [data / IMAGE_HOLDER / name for name in truth["image"].to_pylist()]
    measured = map_items(_statistics_of, paths, workers=workers, kind="thread", desc="grey levels")
    statistics, split = np.array(list(measured)), np.array(truth["split"].to_pylist())
    labels = truth["label"].to_numpy()[split == "train"]
    audit: dict[str, Any] = {"films": len(labels), "logistic": None, "boosting": None, "chance": None}
    audit["standard_error"] = None
    if len(labels) and min(Counter(labels.tolist()).values()) >= _FOLDS:
        audit = asdict(class_from_statistics(statistics[split == "train"], labels, folds=_FOLDS))
    test, shifted = statistics[split == "test"], statistics[split == "shifted"]
    return audit | {"exposure_gap": exposure_gap(test, shifted) if min(len(test), len(shifted)) > 1 else None}


def _statistics_of(path: Path) -> np.ndarray:
    from PIL import Image

    from mm_assets.cloud_vision.film_statistics import intensity_statistics

    with Image.open(path) as film:
        return intensity_statistics(np.asarray(film.convert("L")))


def table_ceilings(law: PlantedLaw, labels: list[int]) -> dict[str, float | None]:
    """Accuracy ceilings around real X-rays with these labels: None where they would depend on the films."""
    from mm_assets.cloud_vision.ceilings import accuracy_ceilings

    counts = np.bincount(labels, minlength=len(CLASSES))
    found = accuracy_ceilings(replace(law, prior=counts / counts.sum()))
    return {name: value if name in TABLE_VIEWS else None for name, value in found.items()}


def record_counts(truth: pa.Table) -> dict[str, dict[str, int]]:
    """Records of each split: all, at both organisations, X-rays, and of each class at both. truth: TRUTH_SCHEMA."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in truth.select(["split", "label", "in_org2", "in_org3"]).to_pylist():
        common = row["in_org2"] and row["in_org3"]
        counts[row["split"]].update(
            {"records": 1, "common": int(common), "X-rays": int(row["in_org3"]), CLASSES[row["label"]]: int(common)}
        )
    return {split: dict(counts[split]) for split in SPLITS if split in counts}


def some_films(store: ArtifactStore, artifact: Artifact) -> list[tuple[bytes, str]]:
    """(picture, caption) of a drawn film of each class and pattern, its lesion outlined; no real X-ray is shown."""
    if not artifact.synthetic:
        return []
    truth = store.read_table(artifact, TRUTH, ["label", "pattern", "severity", "image", "mask"])
    shown: dict[tuple[int, str], tuple[bytes, str]] = {}
    for row in truth.filter(pc.is_valid(truth["image"])).to_pylist():
        key = row["label"], row["pattern"]
        if key not in shown:
            film = store.local_file(artifact, f"{DATA}/{IMAGE_HOLDER}/{row['image']}").read_bytes()
            severity = f", severity {row['severity']:.2f}" if row["mask"] else ""
            caption = f"{CLASSES[row['label']]}: {row['pattern']}{severity}"
            shown[key] = (outlined(film, row["mask"]) if row["mask"] else film, caption)
    return [shown[key] for key in sorted(shown)]


def outlined(film: bytes, mask: bytes) -> bytes:
    """An encoded grey film with a white line around its lesion, as PNG; mask: encoded, of any size."""
    from PIL import Image, ImageChops, ImageFilter

    with Image.open(io.BytesIO(film)) as picture, Image.open(io.BytesIO(mask)) as lesion:
        inside = lesion.convert("L").resize(picture.size, Image.Resampling.NEAREST)
        line = ImageChops.subtract(inside.filter(ImageFilter.MaxFilter(_OUTLINE_PX)), inside)
        drawn = picture.convert("L")
        drawn.paste(255, mask=line)
        buffer = io.BytesIO()
        drawn.save(buffer, "PNG")
        return buffer.getvalue()
