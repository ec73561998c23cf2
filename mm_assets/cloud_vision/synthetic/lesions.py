"""Disease on films, and where it lies: ground-glass with consolidation, and interstitial lines with a patch.

Belongs here: density that a disease adds, and the mask of it. Does not belong here: healthy anatomy (`chest.py`), and
which class shows which pattern (`law.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mm_assets.cloud_vision.synthetic.chest import Chests, opacify, step
from mm_assets.cloud_vision.synthetic.fields import band_fields

# Severity from here on adds consolidation to ground-glass.
CONSOLIDATED_FROM = 0.55


@dataclass(frozen=True, eq=False)
class Diseased:
    """What a pattern adds to some films: their density and the mask of the lesion, float32 [N, px, px]."""

    density: np.ndarray
    mask: np.ndarray


def ground_glass(
    chests: Chests, rngs: Sequence[np.random.Generator], severity: np.ndarray, contrast: float
) -> Diseased:
    """Bilateral, peripheral, basal haze that leaves vessels visible; consolidation within it where it is severe.

    severity: float32 [N], 0 to 1, sets extent and density.
    """
    px = chests.density.shape[-1]
    severe = severity[:, None, None].astype(np.float32)
    where = np.float32(0.25) + np.float32(0.75) * chests.outer
    where *= np.float32(0.30) + np.float32(0.70) * chests.basal
    cloud = band_fields(rngs, px, 1.7, 2, 12)
    cloud *= np.float32(0.55)
    cloud += np.float32(2.6) * where
    cloud -= np.float32(2.25) - np.float32(1.35) * severe
    core = cloud - np.float32(0.75)
    haze = step(cloud, 0.16)
    haze *= chests.lungs
    density = chests.density + np.float32(contrast) * (np.float32(0.11) + np.float32(0.09) * severe) * haze
    solid = step(core, 0.20) * np.minimum(np.float32(1.8) * chests.lungs, np.float32(1.0))
    solid *= (severe > CONSOLIDATED_FROM) * np.float32(contrast)
    opacify(density, solid, 0.60)
    return Diseased(density, haze)


def interstitial(
    chests: Chests, rngs: Sequence[np.random.Generator], severity: np.ndarray, contrast: float
) -> Diseased:
    """Nets of thin lines around the hila and at the bases of both lungs, and a patch of consolidation in one lung."""
    px = chests.density.shape[-1]
    severe = severity[:, None, None].astype(np.float32)
    chances = np.array([rng.random(5) for rng in rngs], dtype=np.float32)[:, :, None, None]
    where = np.maximum(chests.hilar, np.float32(0.85) * chests.basal) * chests.lungs
    spread = band_fields(rngs, px, 1.5, 1, 6)
    region = where * step(spread + np.float32(1.6) * severe + np.float32(0.1), 0.35)
    net = np.exp(-((band_fields(rngs, px, 0.6, 9, 28) / 0.34) ** 2))
    net -= np.float32(0.30)
    net *= region
    density = chests.density + np.float32(contrast) * (np.float32(0.10) + np.float32(0.12) * severe) * net

    side = np.where(chances[:, 0] < 0.5, chests.left, 1.0 - chests.left)
    axis = ((2 * np.arange(px, dtype=np.float32) + 1) / px - 1).astype(np.float32)
    x0 = (np.float32(0.28) + np.float32(0.26) * chances[:, 1]) * np.where(chances[:, 0] < 0.5, 1.0, -1.0)
    y0 = np.float32(-0.25) + np.float32(0.65) * chances[:, 2]
    size = (np.float32(0.09) + np.float32(0.08) * chances[:, 3]) * (np.float32(0.8) + np.float32(0.5) * severe)
    blob = np.float32(1.0) - ((axis[None, None, :] - x0) ** 2 + (axis[None, :, None] - y0) ** 2) / (size * size)
    ragged = band_fields(rngs, px, 1.3, 3, 16)
    patch = step(np.maximum(blob, -4.0) + np.float32(0.9) * ragged, 0.32) * side * chests.lungs
    opacify(density, patch * np.float32(0.75 * contrast), 0.58)
    return Diseased(density, np.maximum(region, patch))
