"""Healthy chests, many at once: body, lungs, heart, mediastinum, diaphragm, ribs, clavicles, vessels.

Belongs here: geometry and density of normal frontal films. Does not belong here: disease (`lesions.py`), exposure and
grain (`films.py`).

Coordinates: x and y run from -1 to 1, y downwards; the patient's left is on the right of the film. Density is about 0
for air and 1 for the densest bone. All of it is drawn at random from one law, whatever the class of the film.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from mm_assets.cloud_vision.synthetic.fields import band_fields


@dataclass(frozen=True, eq=False)
class Chests:
    """float32 [N, px, px] each. `density` is drawn into; the others say where something lies, from 0 to 1.

    lungs: inside either lung and not behind the heart; left: the patient's left half; outer: towards the ribs;
    basal: towards the diaphragm; hilar: around the roots of the lungs.
    """

    density: np.ndarray
    lungs: np.ndarray
    left: np.ndarray
    outer: np.ndarray
    basal: np.ndarray
    hilar: np.ndarray

    def only(self, number: int) -> "Chests":
        """One of the chests, as views."""
        return Chests(*(getattr(self, field.name)[number : number + 1] for field in fields(self)))


def step(distance: np.ndarray, width: float) -> np.ndarray:
    """Soft step from 0 to 1 where `distance` changes sign, over about four `width`s; changes `distance`."""
    distance *= np.float32(-1.0 / width)
    np.clip(distance, -30.0, 30.0, out=distance)
    np.exp(distance, out=distance)
    distance += np.float32(1.0)
    return np.reciprocal(distance, out=distance)


def opacify(density: np.ndarray, mask: np.ndarray, level: float | np.ndarray) -> None:
    """Fill air in place: bring density up to `level` where `mask` says so; what is denser already stays."""
    density += mask * np.maximum(np.float32(1.0) * level - density, np.float32(0.0))


def draw_chests(rngs: Sequence[np.random.Generator], px: int) -> Chests:
    """One healthy chest of each generator."""
    builds = np.array([rng.standard_normal(15) for rng in rngs], dtype=np.float32)

    def drawn(number: int, middle: float, spread: float) -> np.ndarray:
        """A measure of every patient, float32 [N, 1, 1]."""
        values = middle + spread * np.clip(builds[:, number], -2.5, 2.5)
        return values.astype(np.float32)[:, None, None]

    axis = ((2 * np.arange(px, dtype=np.float32) + 1) / px - 1).astype(np.float32)
    turn, zoom = drawn(0, 0.0, 0.022), drawn(1, 1.0, 0.03)
    cos, sin = np.cos(turn) / zoom, np.sin(turn) / zoom
    u, v = axis[None, None, :], axis[None, :, None]
    x = u * cos + v * sin - drawn(2, 0.0, 0.025)
    y = v * cos - u * sin - drawn(3, 0.0, 0.03)
    across = np.abs(x)
    is_left = x > 0

    # Lungs: a super-ellipse on each side, narrower towards the apex, cut off by the domes of the diaphragm.
    middle, half = drawn(4, 0.04, 0.02), drawn(5, 0.84, 0.025)
    above = np.maximum(middle - y, 0.0) / half
    centre = drawn(6, 0.43, 0.012) - np.float32(0.11) * above * above
    width = drawn(7, 0.355, 0.014) - np.float32(0.075) * above
    sideways = (across - centre) / width
    ellipse = np.abs(sideways) ** np.float32(2.4) + np.abs((y - middle) / half) ** np.float32(2.8)
    base = np.where(is_left, drawn(8, 0.55, 0.03), drawn(9, 0.49, 0.03))
    dome = base + np.float32(0.95) * (across - np.float32(0.38)) ** 2
    lungs = step(1.0 - ellipse, 0.035) * step(dome - y, 0.012)

    heart_size = drawn(10, 0.33, 0.022)
    central = _central(x, y, across, heart_size, drawn(11, 0.135, 0.012))
    body = step(0.34 + 0.80 * step(v + np.float32(0.80), 0.045) - 0.10 * step(v - np.float32(0.1), 0.15) - across, 0.02)

    hilar = np.exp(-(((across - 0.20) / 0.24) ** 2) - ((y - 0.02) / 0.34) ** 2)
    density = np.float32(0.60) + np.float32(0.025) * band_fields(rngs, px, 1.8, 1, 6)
    density += np.float32(0.10) * step(y - dome, 0.04)
    density -= np.float32(0.40) * lungs * (1.0 - np.float32(0.78) * central)
    density += np.float32(0.15) * central * step(y + 0.95, 0.06)
    bones = _bones(x, y, across, ellipse, drawn(12, 0.0, 1.6), drawn(13, 0.136, 0.005))
    bones *= np.float32(0.22) + np.float32(0.78) * lungs * (1.0 - np.float32(0.85) * central)
    density += bones
    density += _clavicles(y, across, drawn(14, 0.0, 0.012))
    vessels = np.exp(-((band_fields(rngs, px, 1.0, 3, 22) / 0.20) ** 2))
    vessels *= hilar * lungs
    vessels *= np.float32(0.17) * (1.0 - central)
    density += vessels
    density += np.float32(0.10) * lungs * hilar * hilar * hilar
    # Trachea, and air in the stomach.
    density -= np.float32(0.13) * np.exp(-((x / 0.045) ** 2)) * step(-0.22 - y, 0.03)
    density -= np.float32(0.15) * step(1.0 - ((x - 0.40) / 0.17) ** 2 - ((y - base - 0.16) / 0.06) ** 2, 0.15) * is_left
    density *= body
    return Chests(
        density=density,
        lungs=lungs * (1.0 - np.float32(0.8) * central),
        left=is_left.astype(np.float32),
        outer=step(sideways + np.float32(0.05), 0.22),
        basal=step(y - np.float32(0.10), 0.20),
        hilar=hilar,
    )


def _central(x: np.ndarray, y: np.ndarray, across: np.ndarray, heart: np.ndarray, trunk: np.ndarray) -> np.ndarray:
    """Heart, great vessels and spine, 0 to 1."""
    u, v = x - np.float32(0.45) * heart, y - np.float32(0.30)
    along = (np.float32(0.80) * u + np.float32(0.60) * v) / (np.float32(1.18) * heart)
    over = (np.float32(0.80) * v - np.float32(0.60) * u) / (np.float32(0.86) * heart)
    shape = step(1.0 - along * along - over * over, 0.09)
    width = trunk + np.float32(0.05) * np.maximum(y + np.float32(0.3), 0.0) - across
    np.maximum(shape, step(width, 0.018), out=shape)
    knob = step(1.0 - ((x - 0.75 * trunk) / 0.105) ** 2 - ((y + 0.25) / 0.13) ** 2, 0.22)
    return np.maximum(shape, np.float32(0.85) * knob, out=shape)


def _bones(
    x: np.ndarray, y: np.ndarray, across: np.ndarray, ellipse: np.ndarray, phase: np.ndarray, period: np.ndarray
) -> np.ndarray:
    """Ribs behind and in front, and vertebrae."""
    wave = np.float32(2 * np.pi) / period
    square = across * across
    behind = np.cos((y - np.float32(0.34) * square + np.float32(0.05) * across) * wave + phase)
    front = np.cos((y + np.float32(0.62) * across) * (wave * np.float32(0.78)) + np.float32(2.0) * phase)
    cage = step(1.06 - ellipse, 0.05)
    bones = np.exp(-((behind - 1.0) ** 2) / np.float32(0.22))
    bones *= np.float32(0.085)
    ahead = np.exp(-((front - 1.0) ** 2) / np.float32(0.16))
    ahead *= np.float32(0.045) * step(across - np.float32(0.34), 0.06)
    bones += ahead
    bones *= cage
    vertebrae = np.float32(0.05) + np.float32(0.03) * np.cos(y * np.float32(2 * np.pi / 0.105))
    vertebrae *= step(0.075 - across, 0.018)
    bones += vertebrae
    return bones


def _clavicles(y: np.ndarray, across: np.ndarray, height: np.ndarray) -> np.ndarray:
    """A thin bow on each side that rises towards the shoulder."""
    course = y + np.float32(0.62) + height + np.float32(0.20) * across - np.float32(0.10) * np.square(across - 0.35)
    band = np.exp(-((course / 0.028) ** 2))
    band *= step(across - np.float32(0.10), 0.02)
    band *= step(0.84 - across, 0.03)
    band *= np.float32(0.13)
    return band
