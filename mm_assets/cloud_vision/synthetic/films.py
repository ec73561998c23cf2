"""Synthetic chest films: from plans to pixels, masks of the lesions, and JPEG bytes.

Belongs here: putting chest and disease together, exposure, blur, grain, the file. Does not belong here: which record
has which film (`cohort.py`), files and folders (`dataset.py`).

Shapes are drawn on a canvas of 3/8 of the side (192 for 512 px) and enlarged; grain is drawn at full size.

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

_LEVELS = 2048
_STRIP = 64  # rows
# Cumulative share of pixels -> grey, of a typical film: air and lungs, soft tissue, bone.
_SHARES, _GREYS = (0.0, 0.06, 0.30, 0.50, 0.75, 0.93, 1.0), (0.02, 0.10, 0.30, 0.52, 0.70, 0.84, 0.97)
_GRAIN = 0.021  # of full scale, at full signal
_LESIONS = {"ground-glass": lesions.ground_glass, "interstitial": lesions.interstitial}
# Words that open each random stream of a film.
_CHEST, _LESION, _EXPOSURE = range(3)


@dataclass(frozen=True)
class FilmPlan:
    """What to draw. pattern: one of PATTERNS; severity: 0 to 1, 0 on a clear film; contrast: of lesions, 1 is clear to
    see; other_exposure: as in the shifted split. Raises ValueError for another pattern."""

    seed: tuple[int, ...]
    pattern: str
    severity: float
    contrast: float = 1.0
    other_exposure: bool = False

    def __post_init__(self) -> None:
        if self.pattern not in PATTERNS:
            raise ValueError(f"there is no pattern {self.pattern!r}: choose one of {', '.join(PATTERNS)}")


@dataclass(frozen=True, eq=False)
class Films:
    """`pixels`: uint8 [N, px, px]; `masks`: bool [N, canvas, canvas], where the lesion is."""

    pixels: np.ndarray
    masks: np.ndarray


def draw_films(plans: Sequence[FilmPlan], px: int = FILM_PX, canvas_px: int | None = None) -> Films:
    """Draw films of side `px` px, their shapes on a canvas of `canvas_px`, at least 96 (`canvas_side(px)` by default).

    The same plans in one call give the same bytes.
    """
    canvas = canvas_px or canvas_side(px)
    chests = draw_chests(_streams(plans, _CHEST), canvas)
    density = chests.density
    masks = np.zeros(density.shape, dtype=bool)
    for number, plan in enumerate(plans):
        if plan.pattern in _LESIONS:
            one, severity = chests.only(number), np.array([plan.severity], dtype=np.float32)
            diseased = _LESIONS[plan.pattern](one, _streams([plan], _LESION), severity, plan.contrast)
            density[number] = diseased.density[0]
            masks[number] = diseased.mask[0] > 0.4
    pixels = np.empty((len(plans), px, px), dtype=np.uint8)
    for number, rng in enumerate(_streams(plans, _EXPOSURE)):
        pixels[number] = _exposed(density[number], rng, px, plans[number].other_exposure)
    return Films(pixels, masks)


def canvas_side(px: int) -> int:
    """Side in px of the canvas, and of the mask, of a film of side `px`."""
    return max(px * 3 // 8, 96)


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
    """uint8 [px, px] of density [canvas, canvas]: blur, enlargement, auto-ranging, gain and gamma, grain."""
    gain, gamma = rng.uniform(0.88, 1.12), rng.uniform(0.85, 1.20)
    blur, grain = rng.uniform(0.0, 0.12), rng.uniform(0.7, 1.3)
    if other:
        gain, gamma, grain = gain * 0.90, gamma * 1.30, grain * 1.4
    _smooth(density, blur)
    enlarged = np.asarray(Image.fromarray(density).resize((px, px), Image.Resampling.BILINEAR))
    # Auto-ranging comes after all that softens a texture: before, the softened histogram would tell of the texture.
    low = np.float32(enlarged.min())
    scale = np.float32((_LEVELS - 1) / max(float(enlarged.max() - low), 1e-6))
    sample = ((enlarged[::2, ::2] - low) * scale).astype(np.uint16)  # a quarter of the pixels tells it as well
    counts = np.bincount(sample.ravel(), minlength=_LEVELS)
    shares = (np.cumsum(counts) - 0.5 * counts) / sample.size
    curve = 255.0 * np.clip(gain * np.interp(shares, _SHARES, _GREYS) ** gamma, 0.0, 1.0)
    greys, spread = curve.astype(np.float32), (_GRAIN * grain * np.sqrt(255.0 * curve)).astype(np.float32)
    film = np.empty((px, px), dtype=np.uint8)
    for top in range(0, px, _STRIP):  # strips stay in the cache
        rows = slice(top, top + _STRIP)
        levels = ((enlarged[rows] - low) * scale).astype(np.uint16)
        strip = white_noise(rng, levels.shape)
        strip *= spread.take(levels)
        strip += greys.take(levels)
        film[rows] = np.clip(strip, 0.0, 255.0, out=strip).astype(np.uint8)
    return film


def _smooth(picture: np.ndarray, weight: float) -> None:
    """Smooth [H, W] in place by a kernel (w, 1 - 2 w, w) along both axes; borders keep their values."""
    w = np.float32(weight)
    for along in (picture, picture.T):
        change = along[:-2] + along[2:]
        change -= 2 * along[1:-1]
        change *= w
        along[1:-1] += change
