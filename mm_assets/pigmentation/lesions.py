"""From manifest rows and image files to one record per lesion and visit.

Belongs here: which captures make a record, how each modality is stored, whose skin tone counts, a quarantine row for
every image that is not used, and why colour profiles were not applied. Does not belong here: rules about rows
(`manifest.py`), decoding (`records/color_images.py`, `spectral.py`), normalisation (`inputs.py`).

A record needs its clinical photograph; without a readable one the whole record is quarantined. Any other image that
cannot be read is quarantined alone, and the record goes on without it.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Literal

import pyarrow as pa

from mm_assets.pigmentation.schema import (
    LESION_SCHEMA,
    MODALITIES,
    REJECTED_SCHEMA,
    REQUIRED_MODALITY,
    UNKNOWN_TONE,
    record_id,
)
from mm_assets.pigmentation.severity import DEFAULT_THRESHOLDS, Thresholds, severity_of
from mm_assets.pigmentation.skin_tone import background_ita, tone_of
from mm_assets.pigmentation.spectral import Cube, pseudo_hsl, read_cube, resample_bands, resize_cube
from mm_assets.records.color_images import StoredColor, decode_color, stored_color
from mm_assets.records.unreadable import UnreadableImage
from resources.compute import map_items
from resources.errors import MendableError
from resources.objects import ObjectMissing

Spectral = Literal["cube", "pseudo_hsl"]
Read = Callable[[str], bytes]

SPECTRAL_MODALITY = "multispectral"
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
PSEUDO_HSL_CHANNELS = 4
CUBES_TO_ASK = 8  # for their bands: one odd cube at the beginning must not cost all others
BATCH_ROWS = 64  # pictures in memory at a time

# Reasons a capture is not used, besides those of `records.unreadable.UNREADABLE_REASONS` and of `manifest.py`.
IMAGE_MISSING = "image_missing"
NO_CLINICAL_IMAGE = "no_clinical_image"


class ImagesOutOfReach(MendableError):
    """The images' storage failed; says so without the image's path, which may hold a patient's id."""


@dataclass(frozen=True)
class CaptureSettings:
    """How images are stored: photographs [stored_px, stored_px, 3] as JPEG, the third modality as float16
    [cube_px, cube_px, channels].

    wavelengths_nm: the bands cubes are resampled to, rising; None with `pseudo_hsl`, or where no cube is there to ask.
    """

    stored_px: int
    multispectral: Spectral
    wavelengths_nm: tuple[float, ...] | None
    cube_px: int

    @property
    def channels(self) -> int:
        """Of the third modality as stored; 0 where there is none."""
        if self.multispectral == "pseudo_hsl":
            return PSEUDO_HSL_CHANNELS
        return len(self.wavelengths_nm or ())

    def as_json(self) -> dict[str, Any]:
        """`captures.json`: the settings, and how the bytes of the third modality are to be read."""
        return asdict(self) | {
            "wavelengths_nm": list(self.wavelengths_nm) if self.wavelengths_nm is not None else None,
            "cube_shape": [self.cube_px, self.cube_px, self.channels],
            "cube_dtype": "float16",
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "CaptureSettings":
        """The reverse of `as_json`."""
        waves = stored["wavelengths_nm"]
        return cls(
            stored_px=int(stored["stored_px"]),
            multispectral=stored["multispectral"],
            wavelengths_nm=None if waves is None else tuple(float(nm) for nm in waves),
            cube_px=int(stored["cube_px"]),
        )


@dataclass(frozen=True)
class Rejection:
    """A row of `rejected.parquet`: the capture that is not used, and why."""

    capture_id: str
    lesion_id: str
    patient_id: str
    modality: str
    path: str
    reason: str
    detail: str


@dataclass(frozen=True, eq=False)
class _Built:
    row: dict[str, Any] | None  # of LESION_SCHEMA; None: no record
    rejections: list[Rejection]
    profiles_ignored: list[str]


def capture_settings(
    rows: pa.Table,
    read: Read,
    *,
    stored_px: int,
    cube_px: int,
    multispectral: Spectral,
    wavelengths_nm: Sequence[float] | None = None,
) -> CaptureSettings:
    """The settings; where no bands are asked for, with those that most of the first readable cubes have.

    rows: MANIFEST_SCHEMA; read: path -> bytes. Raises ImagesOutOfReach.
    """
    settings = CaptureSettings(stored_px, multispectral, None, cube_px)
    if multispectral == "pseudo_hsl":
        return settings
    if wavelengths_nm:
        return replace(settings, wavelengths_nm=tuple(sorted(float(nm) for nm in wavelengths_nm)))
    found: Counter[tuple[float, ...]] = Counter()
    for modality, path in zip(rows["modality"].to_pylist(), rows["path"].to_pylist(), strict=True):
        if modality == SPECTRAL_MODALITY and found.total() < CUBES_TO_ASK:
            try:
                cube = _read_cube(path, read)
            except (UnreadableImage, FileNotFoundError):
                continue
            found[tuple(float(nm) for nm in cube.wavelengths_nm)] += 1
    return replace(settings, wavelengths_nm=found.most_common(1)[0][0]) if found else settings


def build_lesions(
    rows: pa.Table,
    read: Read,
    settings: CaptureSettings,
    reject: Callable[[Rejection], None],
    *,
    profile_ignored: Callable[[str], None] = lambda _: None,
    workers: int = 2,
    desc: str | None = None,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
) -> Iterator[pa.RecordBatch]:
    """Batches of LESION_SCHEMA in order of lesion and visit, from rows that `check_manifest` let through.

    read: path -> file bytes, called from `workers` threads; FileNotFoundError or ObjectMissing makes the capture
    `image_missing`, any other error ends the run with ImagesOutOfReach.
    reject: called once for every capture that is not used, in the same order; profile_ignored: with the reason, for
    every picture of a record whose embedded colour profile could not be applied.
    thresholds: of the severity of a label; desc: title of the progress bar.
    Holds the manifest and a few batches of pictures in memory, however many there are. One empty batch where there is
    no record.
    """
    records = _records(rows)
    work = partial(_build, read=read, settings=settings, thresholds=thresholds)
    built = map_items(work, records, workers=workers, kind="thread", desc=desc, total=len(records))
    batch: list[dict[str, Any]] = []
    empty = True
    for one in built:
        for rejection in one.rejections:
            reject(rejection)
        for reason in one.profiles_ignored:
            profile_ignored(reason)
        if one.row is not None:
            batch.append(one.row)
        if len(batch) == BATCH_ROWS:
            ready, batch, empty = pa.RecordBatch.from_pylist(batch, schema=LESION_SCHEMA), [], False
            yield ready
    if batch or empty:
        # Whoever writes the batches reads the columns from one.
        yield pa.RecordBatch.from_pylist(batch, schema=LESION_SCHEMA)


def rejected_table(rejections: Iterable[Rejection]) -> pa.Table:
    """`rejected.parquet` (REJECTED_SCHEMA), sorted by lesion, capture and reason."""
    ordered = sorted(rejections, key=lambda row: (row.lesion_id, row.capture_id, row.reason))
    return pa.Table.from_pylist([vars(row) for row in ordered], schema=REJECTED_SCHEMA)


def _records(rows: pa.Table) -> list[dict[str, dict[str, Any]]]:
    """Per lesion and visit: modality -> manifest row, in the order of MODALITIES."""
    grouped: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}
    for row in rows.to_pylist():
        grouped.setdefault((row["lesion_id"], row["visit"]), {})[row["modality"]] = row
    return [
        {name: captures[name] for name in MODALITIES if name in captures} for _, captures in sorted(grouped.items())
    ]


def _build(
    captures: dict[str, dict[str, Any]], read: Read, settings: CaptureSettings, thresholds: Thresholds
) -> _Built:
    rejections: list[Rejection] = []
    ignored: list[str] = []

    def attempt(make: Callable[[], Any], capture: dict[str, Any]) -> Any:
        try:
            made = make()
            if isinstance(made, StoredColor) and made.profile_ignored is not None:
                ignored.append(made.profile_ignored)
            return made
        except FileNotFoundError:
            rejections.append(_rejection(capture, IMAGE_MISSING, "there is no such file"))
        except UnreadableImage as error:
            rejections.append(_rejection(capture, error.reason_code, error.detail))
        return None

    clinical: StoredColor | None = None
    if REQUIRED_MODALITY in captures:
        taken = captures[REQUIRED_MODALITY]
        clinical = attempt(lambda: stored_color(_bytes(taken["path"], read), settings.stored_px), taken)
    if clinical is None:
        lost = [capture for name, capture in captures.items() if name != REQUIRED_MODALITY]
        detail = "the record has no usable clinical photograph, which every prediction starts from"
        return _Built(None, rejections + [_rejection(capture, NO_CLINICAL_IMAGE, detail) for capture in lost], ignored)

    images: dict[str, bytes | None] = dict.fromkeys(MODALITIES) | {REQUIRED_MODALITY: clinical.jpeg}
    for name, capture in captures.items():
        if name == SPECTRAL_MODALITY and settings.multispectral == "cube":
            images[name] = attempt(partial(_stored_cube, capture["path"], read, settings), capture)
        elif name not in (REQUIRED_MODALITY, SPECTRAL_MODALITY):
            picture = attempt(partial(_stored_picture, capture["path"], read, settings), capture)
            images[name] = None if picture is None else picture.jpeg
    if settings.multispectral == "pseudo_hsl":
        images[SPECTRAL_MODALITY] = _hsl_bytes(captures, clinical, attempt, read, settings)
    return _Built(_row(captures, clinical, thresholds) | images, rejections, ignored)


def _row(captures: dict[str, dict[str, Any]], clinical: StoredColor, thresholds: Thresholds) -> dict[str, Any]:
    """Everything but the images; what several captures of a record may know is taken from the first that does."""
    first = next(iter(captures.values()))

    def known(column: str) -> Any:
        return next((row[column] for row in captures.values() if row[column] is not None), None)

    score, ita, tone = known("label"), known("ita_deg"), known("skin_tone")
    origin = "manifest"
    if ita is not None:
        tone = tone_of(ita)
    elif tone is None:
        origin = "image"
        measured = background_ita(clinical.pixels)
        ita = measured if math.isfinite(measured) else None
        tone = tone_of(ita)
    return {
        "record_id": record_id(first["lesion_id"], first["visit"]),
        "patient_id": first["patient_id"],
        "lesion_id": first["lesion_id"],
        "visit": first["visit"],
        "score": score,
        "label_source": known("label_source"),
        "severity": None if score is None else severity_of(score, thresholds),
        "ita_deg": ita,
        "tone": tone or UNKNOWN_TONE,
        "tone_source": origin,
        "diagnosis": known("diagnosis"),
        "official_split": known("split"),
    }


def _stored_picture(path: str, read: Read, settings: CaptureSettings) -> StoredColor:
    return stored_color(_bytes(path, read), settings.stored_px)


def _stored_cube(path: str, read: Read, settings: CaptureSettings) -> bytes:
    """float16 [cube_px, cube_px, channels] in C order."""
    cube = resample_bands(_read_cube(path, read), settings.wavelengths_nm or ())
    return resize_cube(cube.reflectance, settings.cube_px).astype("<f2").tobytes()


def _hsl_bytes(
    captures: dict[str, dict[str, Any]],
    clinical: StoredColor,
    attempt: Callable[[Callable[[], Any], dict[str, Any]], Any],
    read: Read,
    settings: CaptureSettings,
) -> bytes | None:
    """The pseudo-cube of the picture that stands in for a multispectral image, else of the clinical photograph."""
    source: StoredColor | None = clinical
    capture = captures.get(SPECTRAL_MODALITY)
    if capture is not None and PurePosixPath(capture["path"]).suffix.lower() in PICTURE_SUFFIXES:
        source = attempt(partial(_stored_picture, capture["path"], read, settings), capture)
    if source is None:
        return None
    # From the JPEG, as a service that has only stored photographs would make it.
    channels = pseudo_hsl(decode_color(source.jpeg).pixels)
    return resize_cube(channels, settings.cube_px).astype("<f2").tobytes()


def _read_cube(path: str, read: Read) -> Cube:
    return read_cube(path, _bytes(path, read), partial(_bytes, read=read))


def _bytes(path: str, read: Read) -> bytes:
    """FileNotFoundError where there is no file; any other trouble is the storage's, and no path gets into the log."""
    try:
        return read(path)
    except (FileNotFoundError, ObjectMissing):
        raise FileNotFoundError("no such file") from None
    except Exception as error:
        said = (str(error).splitlines() or [""])[0].replace(path, "an image")
        said = said.replace(PurePosixPath(path).name, "an image")
        raise ImagesOutOfReach(
            f"an image cannot be read ({type(error).__name__}: {said}): mend the access to the images and run again"
        ) from None


def _rejection(capture: dict[str, Any], reason: str, detail: str) -> Rejection:
    names = ("capture_id", "lesion_id", "patient_id", "modality", "path")
    return Rejection(**{name: capture[name] for name in names}, reason=reason, detail=detail)
