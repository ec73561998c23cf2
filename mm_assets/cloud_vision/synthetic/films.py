"""Synthetic chest films: from plans to pixels, masks of the lesions, and JPEG bytes.

Belongs here: putting chest and disease together, exposure, blur, grain, the file. Does not belong here: which record has
which film (`cohort.py`), files and folders (`dataset.py`).

Soft shapes are drawn on a canvas of half the side and enlarged, some films at a time; grain is drawn at full size.

The detector's auto-ranging gives every film one histogram before the exposure is drawn, so grey levels as such say
nothing about what is on it: density that a lesion adds is taken elsewhere. Exposure follows one law for all classes.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mm_assets.cloud_vision.schema import PATTERNS
from mm_assets.cloud_vision.synthetic import lesions
from mm_assets.cloud_vision.synthetic.chest import draw_chests
from mm_assets.cloud_vision.synthetic.fields import white_noise

FILM_PX = 512
JPEG_QUALITY = 90
# Films drawn together: more no longer fit into a core's cache.
BATCH = 4

_LEVELS = 2048
# Cumulative share of pixels -> grey, of a typical film: air and lungs, soft tissue, bone.
_SHARES, _GREYS = (0.0, 0.06, 0.30, 0.50, 0.75, 0.93, 1.0), (0.02, 0.10, 0.30, 0.52, 0.70, 0.84, 0.97)
_GRAIN = 0.021  # of full scale, at full signal
# Words that open each random stream of a film.
_CHEST, _LESION, _EXPOSURE = range(3)


@dataclass(frozen=True)
class FilmPlan:
    """What to draw. pattern: one of PATTERNS; severity: 0 to 1, 0 on a clear film; contrast: of lesions, 1 is clear to
    see; other_exposure: as in the shifted split."""

    seed: tuple[int, ...]
    pattern: str
    severity: float
    contrast: float = 1.0
    other_exposure: bool = False


@dataclass(frozen=True, eq=False)
class Films:
    """`pixels`: uint8 [N, px, px]; `masks`: bool [N, canvas, canvas], where the lesion is."""

    pixels: np.ndarray
    masks: np.ndarray


def draw_films(plans: Sequence[FilmPlan], px: int = FILM_PX, canvas_px: int | None = None) -> Films:
    """Draw films of side `px` px, their shapes on a canvas of `canvas_px` (half of it by default).

    Deterministic in the plans; films of one call are alike in nothing. px must be a multiple of the canvas, which
    needs 96 px.
    """
    canvas = canvas_px or max(px // 2, 96)
    chests = draw_chests(_streams(plans, _CHEST), canvas)
    density = chests.density
    masks = np.zeros(density.shape, dtype=bool)
    for pattern, draw in (("ground-glass", lesions.ground_glass), ("interstitial", lesions.interstitial)):
        at = [number for number, plan in enumerate(plans) if plan.pattern == pattern]
        for number in at:  # one at a time: films with a lesion are few, and each has its own contrast
            plan = plans[number]
            one = type(chests)(*(getattr(chests, name)[number : number + 1] for name in chests.__dataclass_fields__))
            severity = np.array([plan.severity], dtype=np.float32)
            diseased = draw(one, _streams([plan], _LESION), severity, plan.contrast)
            density[number] = diseased.density[0]
            masks[number] = diseased.mask[0] > 0.4
    pixels = np.empty((len(plans), px, px), dtype=np.uint8)
    for number, rng in enumerate(_streams(plans, _EXPOSURE)):
        pixels[number] = _exposed(density[number], rng, px, plans[number].other_exposure)
    return Films(pixels, masks)


def film_jpeg(pixels: np.ndarray) -> bytes:
    """[H, W] uint8 as a grey JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def mask_png(mask: np.ndarray) -> bytes:
    """[H, W] bool as a PNG of one bit a pixel."""
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def _streams(plans: Sequence[FilmPlan], word: int) -> list[np.random.Generator]:
    return [np.random.default_rng((*plan.seed, word)) for plan in plans]


def _exposed(density: np.ndarray, rng: np.random.Generator, px: int, other: bool) -> np.ndarray:
    """uint8 [px, px] of density [canvas, canvas]: auto-ranging, gain and gamma, blur, enlargement, grain."""
    gain, gamma = rng.uniform(0.88, 1.12), rng.uniform(0.85, 1.20)
    blur, grain = rng.uniform(0.0, 0.16), rng.uniform(0.7, 1.3)
    if other:
        gain, gamma, grain = gain * 0.84, gamma * 1.45, grain * 1.5
    low, high = float(density.min()), float(density.max())
    levels = ((density - low) * np.float32((_LEVELS - 1) / max(high - low, 1e-6))).astype(np.uint16)
    counts = np.bincount(levels.ravel(), minlength=_LEVELS)
    shares = (np.cumsum(counts) - 0.5 * counts) / levels.size
    curve = gain * np.interp(shares, _SHARES, _GREYS) ** gamma
    picture = curve.astype(np.float32).take(levels)
    _smooth(picture, blur)
    enlarged = np.array(Image.fromarray(picture).resize((px, px), Image.Resampling.BILINEAR))
    np.maximum(enlarged, 0.0, out=enlarged)
    noise = white_noise(rng, enlarged.shape)
    noise *= np.sqrt(enlarged)
    noise *= np.float32(_GRAIN * grain)
    enlarged += noise
    enlarged *= np.float32(255.0)
    np.clip(enlarged, 0.0, 255.0, out=enlarged)
    return enlarged.astype(np.uint8)


def _smooth(picture: np.ndarray, weight: float) -> None:
    """Smooth [H, W] in place by a kernel (w, 1 - 2 w, w) along both axes; borders keep their values."""
    w = np.float32(weight)
    for along in (picture, picture.T):
        change = along[:-2] + along[2:]
        change -= 2 * along[1:-1]
        change *= w
        along[1:-1] += change
