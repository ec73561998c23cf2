"""A whole synthetic data set: images, manifest, and the answer key that only tests read.

Belongs here: sizes and knobs, folders, files, the report. Does not belong here: who has which lesions (cohort), how
they look (maps, captures), what is spoilt (traps).

Layout below the target: `images/<modality>/<capture_id>.jpg` (`.npz` for multispectral: `cube`, float16 [H, W, B],
reflectance from 0 to 1, and `wavelengths_nm`, float32 [B]), `manifest.parquet`, and beside it `truth.parquet` and
`traps.parquet`.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mm_assets.pigmentation.schema import MANIFEST_SCHEMA, MODALITIES, SEVERITIES, TONES
from mm_assets.pigmentation.severity import severity_of
from mm_assets.pigmentation.synthetic.captures import clinical_picture, dermoscopy_picture, reflectance_cube
from mm_assets.pigmentation.synthetic.cohort import PlannedRecord, plan_cohort
from mm_assets.pigmentation.synthetic.maps import draw_maps
from mm_assets.pigmentation.synthetic.optics import WAVELENGTHS_NM
from mm_assets.pigmentation.synthetic.traps import TRAPS, Row, plant_traps
from resources.compute import map_items
from resources.errors import MendableError

# Raised with every change that changes bytes: a published tree of the same settings and version is not drawn again.
GENERATOR_VERSION = 1

TRUTH_SCHEMA = pa.schema(
    [
        ("record_id", pa.string()),
        ("patient_id", pa.string()),
        ("score", pa.float32()),  # maps.severity_score(area_fraction * mean_excess)
        ("background_melanin", pa.float32()),  # volume fraction
        ("background_ita", pa.float32()),  # degrees, under balanced light
        ("area_fraction", pa.float32()),  # of the field
        ("mean_excess", pa.float32()),  # of melanin over the background, inside the lesion
        ("tone", pa.string()),
    ]
)
TRAP_SCHEMA = pa.schema([(name, pa.string()) for name in ("capture_id", "lesion_id", "kind", "expected")])

_JPEG_QUALITY = {"clinical": 92, "dermoscopy": 95}
_README = """SYNTHETIC DATA

Every lesion, image and label below this folder was made by a program, from the physics of light in skin. Nothing here
comes from any person. The label of a record is the area-weighted excess of melanin over the skin around it.
"""


class TreeExists(MendableError):
    """The target already holds a tree."""


@dataclass(frozen=True)
class SkinTreeConfig:
    """Size and knobs of a tree.

    patients: without those of the traps. rgb_px and cube_px: sides of pictures and cubes. bands: their wavelengths in
    nm, rising. jobs: processes that draw; they do not change a byte. traps: one more patient for each of `traps.TRAPS`.
    """

    patients: int
    rgb_px: int = 160
    cube_px: int = 56
    bands: tuple[float, ...] = WAVELENGTHS_NM
    seed: int = 0
    jobs: int = 2
    traps: bool = True

    def __post_init__(self) -> None:
        for name, low, high in (("patients", 1, 99_000), ("rgb_px", 32, 1024), ("cube_px", 16, 512)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must lie between {low} and {high}, not {getattr(self, name)}")
        rising = all(a < b for a, b in zip(self.bands, self.bands[1:]))
        if not self.bands or not rising or self.bands[0] < 400 or self.bands[-1] > 1000:
            raise ValueError(f"bands must rise within 400 to 1000 nm, not {self.bands}")


@dataclass(frozen=True)
class SkinTreeReport:
    """What was written; records and counts without those of the traps."""

    root: Path
    records: int
    lesions: int
    patients: int
    images: int
    image_bytes: int
    per_tone: dict[str, int]
    per_severity: dict[str, int]
    per_modality: dict[str, int]
    traps: int

    def describe(self) -> str:
        """The report as plain text."""

        def listed(counts: dict[str, int]) -> str:
            return ", ".join(f"{name} {count}" for name, count in counts.items())

        return (
            f"SYNTHETIC tree at {self.root}: {self.records} records of {self.lesions} lesions of {self.patients} "
            f"patients, {self.images} images ({self.image_bytes / 1e6:.0f} MB), {self.traps} traps\n"
            f"Records per tone: {listed(self.per_tone)}\n"
            f"Records per severity: {listed(self.per_severity)}\n"
            f"Records with an image of: {listed(self.per_modality)}"
        )


@dataclass(frozen=True)
class _Drawing:
    folder: Path
    record: PlannedRecord
    config: SkinTreeConfig


@dataclass(frozen=True)
class _Drawn:
    score: float
    area_fraction: float
    mean_excess: float
    paths: dict[str, str]  # per modality, below the folder
    image_bytes: int


def write_tree(folder: Path, config: SkinTreeConfig, *, progress: bool = True) -> SkinTreeReport:
    """Write a synthetic tree below `folder`; the same config gives the same bytes, whatever `jobs`.

    Raises TreeExists when `folder` already holds one.
    """
    if (folder / "images").exists():
        raise TreeExists(f"{folder} already holds a tree: choose another folder or delete this one")
    for modality in MODALITIES:
        (folder / "images" / modality).mkdir(parents=True)
    records = plan_cohort(config.patients, len(TRAPS) if config.traps else 0, config.seed)
    drawn = list(
        map_items(
            _draw_record,
            [_Drawing(folder, record, config) for record in records],
            workers=config.jobs,
            kind="process" if config.jobs > 1 else "inline",
            desc="drawing skin" if progress else None,
        )
    )
    pairs = list(zip(records, drawn, strict=True))
    rows = [row for record, result in pairs if not record.trapped for row in _manifest_rows(record, result)]
    trapped = [_manifest_rows(*pair) for pair in pairs if pair[0].trapped]
    trap_rows, planted = plant_traps(folder, trapped) if config.traps else ([], [])
    _write(folder / "manifest.parquet", rows + trap_rows, MANIFEST_SCHEMA)
    _write(folder / "truth.parquet", [_truth_row(*pair) for pair in pairs], TRUTH_SCHEMA)
    _write(folder / "traps.parquet", planted, TRAP_SCHEMA)
    (folder / "README").write_text(_README)
    return _report(folder, [pair for pair in pairs if not pair[0].trapped], len(trapped))


def _draw_record(drawing: _Drawing) -> _Drawn:
    """Draw and write all images of one record."""
    record, config = drawing.record, drawing.config
    maps = draw_maps(record.plan)
    paths, size = {}, 0
    for number, modality in enumerate(MODALITIES):
        if modality not in record.modalities:
            continue
        rng = np.random.default_rng((*record.seed, number))
        suffix = ".npz" if modality == "multispectral" else ".jpg"
        paths[modality] = f"images/{modality}/{record.capture_id(modality)}{suffix}"
        path = drawing.folder / paths[modality]
        if modality == "multispectral":
            wavelengths = np.array(config.bands, dtype=np.float32)
            np.savez(path, cube=reflectance_cube(maps, rng, config.cube_px, wavelengths), wavelengths_nm=wavelengths)
        else:
            draw = clinical_picture if modality == "clinical" else dermoscopy_picture
            Image.fromarray(draw(maps, rng, config.rgb_px)).save(path, quality=_JPEG_QUALITY[modality])
        size += path.stat().st_size
    return _Drawn(maps.score, maps.area_fraction, maps.mean_excess, paths, size)


def _manifest_rows(record: PlannedRecord, drawn: _Drawn) -> list[Row]:
    return [
        {
            "patient_id": record.patient_id,
            "lesion_id": record.lesion_id,
            "capture_id": record.capture_id(modality),
            "modality": modality,
            "path": path,
            "visit": record.visit,
            "label": float(np.float32(drawn.score)),
            "label_source": "synthetic",
            "ita_deg": record.background_ita,
        }
        for modality, path in drawn.paths.items()
    ]


def _truth_row(record: PlannedRecord, drawn: _Drawn) -> Row:
    return {
        "record_id": record.record_id,
        "patient_id": record.patient_id,
        "score": drawn.score,
        "background_melanin": record.plan.background_melanin,
        "background_ita": record.background_ita,
        "area_fraction": drawn.area_fraction,
        "mean_excess": drawn.mean_excess,
        "tone": record.tone,
    }


def _write(path: Path, rows: list[Row], schema: pa.Schema) -> None:
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def _report(folder: Path, pairs: list[tuple[PlannedRecord, _Drawn]], traps: int) -> SkinTreeReport:
    return SkinTreeReport(
        root=folder,
        records=len(pairs),
        lesions=len({record.lesion_id for record, _ in pairs}),
        patients=len({record.patient_id for record, _ in pairs}),
        images=sum(len(drawn.paths) for _, drawn in pairs),
        image_bytes=sum(drawn.image_bytes for _, drawn in pairs),
        per_tone=_counts(TONES, (record.tone for record, _ in pairs)),
        per_severity=_counts(SEVERITIES, (severity_of(drawn.score) for _, drawn in pairs)),
        per_modality=_counts(MODALITIES, (name for _, drawn in pairs for name in drawn.paths)),
        traps=traps,
    )


def _counts(names: Iterable[str], values: Iterable[str]) -> dict[str, int]:
    counted = Counter(values)
    return {name: counted[name] for name in names}
