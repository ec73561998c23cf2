"""Small made-up lesions for tests of models: labels that can be seen in the pictures, files as assets write them."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mm_assets.pigmentation.datasets import TrainingFiles
from mm_assets.pigmentation.schema import LESION_SCHEMA, SPLIT_SCHEMA, record_id
from mm_assets.pigmentation.severity import severity_of

BANDS = (500.0, 600.0, 700.0, 800.0)
PX = 24


def lesion_rows(n, *, seed=0, lacking=0.2):
    """LESION_SCHEMA rows: the darker the middle of a picture, the higher its score; some lack optional pictures."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        score = float(rng.random())
        row = {
            "record_id": record_id(f"L{i}", 1), "patient_id": f"P{i // 2}", "lesion_id": f"L{i}", "visit": 1,
            "score": score, "label_source": "synthetic", "severity": severity_of(score), "ita_deg": 30.0,
            "tone": "intermediate", "tone_source": "manifest", "diagnosis": None, "official_split": None,
            "clinical": jpeg(photograph(score, rng)),
            "dermoscopy": jpeg(photograph(score, rng)) if rng.random() >= lacking else None,
            "multispectral": cube(score, rng).tobytes() if rng.random() >= lacking else None,
        }  # fmt: skip
        rows.append(row)
    return rows


def photograph(score, rng, px=PX):
    """uint8 [px, px, 3]."""
    values = np.full((px, px, 3), 200.0) + rng.normal(0, 3, (px, px, 3))
    values[px // 4 : -px // 4, px // 4 : -px // 4] -= 150 * score
    return values.clip(0, 255).astype(np.uint8)


def cube(score, rng, px=PX):
    """float16 [px, px, 4], reflectance."""
    values = np.full((px, px, len(BANDS)), 0.6) + rng.normal(0, 0.01, (px, px, len(BANDS)))
    values[px // 4 : -px // 4, px // 4 : -px // 4] -= 0.5 * score
    return values.astype(np.float16)


def jpeg(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def write_files(folder, rows, parts=(0.6, 0.2, 0.2), *, group=16, **captures):
    """TrainingFiles of rows; the split goes by patient, in order."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = TrainingFiles(folder / "lesions.parquet", folder / "split.parquet", folder / "captures.json")
    pq.write_table(pa.Table.from_pylist(rows, schema=LESION_SCHEMA), files.lesions, row_group_size=group)
    patients = sorted({row["patient_id"] for row in rows}, key=lambda name: int(name[1:]))
    bounds = np.cumsum(np.array(parts) * len(patients)).round().astype(int)
    names = ("train", "validate", "test")
    part = {p: names[int(np.searchsorted(bounds, i, side="right"))] for i, p in enumerate(patients) if i < bounds[-1]}
    split = [
        {"record_id": row["record_id"], "patient_id": row["patient_id"], "split": part[row["patient_id"]]}
        for row in rows
        if row["patient_id"] in part and row["score"] is not None
    ]
    pq.write_table(pa.Table.from_pylist(split, schema=SPLIT_SCHEMA), files.split)
    facts = {"stored_px": PX, "cube_px": PX, "multispectral": "cube", "wavelengths_nm": list(BANDS), **captures}
    files.captures.write_text(json.dumps(facts))
    return files
