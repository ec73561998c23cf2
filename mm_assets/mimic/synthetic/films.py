"""A synthetic frontal chest film, from its description to JPEG bytes.

Belongs here: putting chest, findings, devices and marker together and giving them the look of the published
JPEGs
(equalised histogram, one channel, quality 95). Does not belong here: files and folders.

The chest is drawn on a small canvas and enlarged: anatomy is smooth. Lines are drawn on a canvas twice as
fine, grain
at the final size, which is what fills a full-size file.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mm_assets.mimic.synthetic import anatomy, findings
from mm_assets.mimic.synthetic.devices import support_devices

# Rows of the canvas for soft shapes and for lines; a smaller film is drawn at its own size.
_SOFT_ROWS = 320
_LINE_ROWS = 768
# Standard deviation of the grain in grey levels: gives about 1.5 MB at 3056 x 2544.
_GRAIN = 1.8
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class FilmSpec:
    """What to draw. `seen` maps label to strength on the film (0 or absent: not seen)."""

    seed: tuple[int, ...]
    rows: int
    columns: int
    view: str
    female: bool
    seen: Mapping[str, float]


def draw_film(spec: FilmSpec) -> np.ndarray:
    """The film as uint8 [rows, columns], histogram equalised; deterministic in the spec."""
    rng = np.random.default_rng(list(spec.seed))
    portable = spec.view == "AP"
    build = anatomy.draw_build(
        rng,
        female=spec.female,
        portable=portable,
        large_heart=spec.seen.get("Cardiomegaly", 0.0),
        wide_mediastinum=spec.seen.get("Enlarged Cardiomediastinum", 0.0),
    )
    rows, columns = _canvas(spec, _SOFT_ROWS)
    chest = anatomy.draw_chest(rows, columns, build, rng)
    lines = _draw_findings(chest, spec.seen, rng)

    rows, columns = _canvas(spec, _LINE_ROWS)
    film = _resized(chest.attenuation, rows, columns)
    if lines:
        layer = anatomy.strokes(lines, rows, columns, build, blur=max(0.4, rows / 1000))
        film = film + 0.17 * layer
    if spec.seen.get("Support Devices", 0.0) > 0:
        metal = support_devices(spec.seen["Support Devices"], portable, rng)
        layer = anatomy.strokes(metal, rows, columns, build, blur=max(0.35, rows / 1400))
        film = np.maximum(film, film * (1 - layer) + 1.0 * layer)
    film = _with_collimation(film, build, rng)
    equalised = equalize(film)
    grey = _resized(equalised, spec.rows, spec.columns)
    grain = rng.standard_normal(grey.shape, dtype=np.float32)
    grain *= _GRAIN
    grain += grey
    return np.clip(grain, 0, 255, out=grain).astype(np.uint8)


def film_jpeg(pixels: np.ndarray) -> bytes:
    """JPEG with one channel at the quality of the published films."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def equalize(film: np.ndarray) -> np.ndarray:
    """Grey values 0-255 (float32) with a flat histogram, as the published films have.

    1,024 levels are kept apart before equalising, so that the stretched dark regions show no bands.
    """
    low, high = float(film.min()), float(film.max())
    levels = ((film - low) * (1023.0 / max(high - low, 1e-6))).astype(np.int32)
    cumulative = np.cumsum(np.bincount(levels.ravel(), minlength=1024)).astype(np.float32)
    first = cumulative[0]
    table = (cumulative - first) * (255.0 / max(cumulative[-1] - first, 1.0))
    return table.astype(np.float32)[levels]


def _draw_findings(chest: anatomy.Chest, seen: Mapping[str, float], rng: np.random.Generator) -> list[findings.Line]:
    """Draw every finding that shows; returns the lines that need the finer canvas."""
    lines: list[findings.Line] = []

    def strength(label: str) -> float:
        return float(seen.get(label, 0.0))

    if a := strength("Edema"):
        lines += findings.edema(chest, a, rng)
    if a := strength("Pneumonia"):
        findings.airspace_patch(chest, a, rng, density=0.88, size=0.145, lower=0.7)
    if a := strength("Consolidation"):
        findings.consolidation(chest, a, rng)
    if a := strength("Atelectasis"):
        if rng.random() < 0.35:  # indistinguishable from pneumonia on the film
            findings.airspace_patch(chest, a, rng, density=0.80, size=0.115, lower=0.9)
        else:
            lines += findings.atelectasis(chest, a, rng)
    if (a := strength("Lung Opacity")) and not (strength("Pneumonia") or strength("Consolidation")):
        findings.airspace_patch(chest, a, rng, density=0.85, size=0.135, lower=0.6)
    if a := strength("Lung Lesion"):
        findings.lung_lesion(chest, a, rng)
    if a := strength("Pleural Other"):
        lines += findings.pleural_other(chest, a, rng)
    if a := strength("Pleural Effusion"):
        findings.pleural_effusion(chest, a, rng)
    if a := strength("Pneumothorax"):
        lines += findings.pneumothorax(chest, a, rng)
    if a := strength("Fracture"):
        lines += findings.fracture(chest, a, rng)
    return lines


def _with_collimation(film: np.ndarray, build: anatomy.Build, rng: np.random.Generator) -> np.ndarray:
    """Black border outside the collimated field and the letter L beside the patient's left shoulder."""
    rows, columns = film.shape
    letter = np.array([[0.86, 0.055], [0.86, 0.095], [0.91, 0.095]]) + rng.normal(0, 0.012, 2)
    upright = anatomy.Build(**{**build.__dict__, "turn": 0.0})
    film = np.maximum(film, 1.05 * anatomy.strokes([(letter, 0.009, 1.0)], rows, columns, upright, blur=0.4))
    top, bottom, left, right = (rng.uniform(0.0, 0.035, 4) * (rows, rows, columns, columns)).astype(int)
    film[:top], film[rows - bottom :] = 0.0, 0.0
    film[:, :left], film[:, columns - right :] = 0.0, 0.0
    return film


def _canvas(spec: FilmSpec, rows: int) -> tuple[int, int]:
    shrink = min(1.0, rows / spec.rows)
    return max(16, round(spec.rows * shrink)), max(16, round(spec.columns * shrink))


def _resized(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    if values.shape == (rows, columns):
        return values
    image = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(image.resize((columns, rows), Image.Resampling.BICUBIC))
