"""Where melanin and blood are in one field of skin: background, lesion, redness; and the score that follows.

Belongs here: everything that is true of the skin itself. Does not belong here: what a camera makes of it (captures),
how many patients and visits there are (cohort).

The score is the area-weighted excess of melanin over the subject's own background,

    burden = mean over the field of (melanin - background melanin)  =  area fraction * mean excess inside the lesion
    score  = burden / (burden + HALF_BURDEN)

and so has the structure area x darkness of the clinic's indices. It knows nothing of the background itself: one law
holds for all tones.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from mm_assets.pigmentation.synthetic.optics import MOST_BLOOD, MOST_MELANIN, RESTING_BLOOD

# Side of the maps in px: the field is a square of skin of about 6 cm.
FIELD_PX = 160
# The burden that scores one half, near the median of what `draw_maps` plants.
HALF_BURDEN = 0.0083

# Uniform in the logarithm: share of the field, and excess melanin in the middle of the lesion.
_AREA = (0.018, 0.32)
_EXCESS = (0.03, 0.21)
_LEAST_TEXTURE = 0.15
# Spread of the background's melanin: the same contrast on all skin, but for the lightest, which cannot lose as much.
_MOTTLING, _MOST_MOTTLING = 0.0045, 0.2


@dataclass(frozen=True)
class LesionPlan:
    """One lesion at one visit. seed: of the lesion, the same at all visits; growth: factor on its radius, fading: on
    its excess melanin, both 1 at the first visit."""

    seed: tuple[int, ...]
    background_melanin: float
    growth: float = 1.0
    fading: float = 1.0


@dataclass(frozen=True, eq=False)
class SkinMaps:
    """Volume fractions, float32 [FIELD_PX, FIELD_PX].

    excess: melanin above the background. area_fraction: share of the field that the lesion covers. centre: of the main
    patch, (x, y) in shares of the field. hairs: polylines in shares of the field, float [N, 4, 2].
    """

    melanin: np.ndarray
    blood: np.ndarray
    excess: np.ndarray
    area_fraction: float
    centre: tuple[float, float]
    hairs: np.ndarray

    @property
    def burden(self) -> float:
        """Area-weighted excess melanin: the mean of the excess over the field."""
        return float(self.excess.mean(dtype=np.float64))

    @property
    def score(self) -> float:
        """Severity in [0, 1)."""
        return severity_score(self.burden)

    @property
    def mean_excess(self) -> float:
        """Excess melanin, averaged over the lesion."""
        return self.burden / self.area_fraction


def severity_score(burden: float) -> float:
    """The score of an area-weighted excess of melanin: 0 without, one half at HALF_BURDEN, below 1 always."""
    return burden / (burden + HALF_BURDEN)


def draw_maps(plan: LesionPlan) -> SkinMaps:
    """The skin of one lesion at one visit; the same plan gives the same maps."""
    rng = np.random.default_rng(plan.seed)
    x, y = _grid()
    area = float(np.exp(rng.uniform(*np.log(_AREA)))) * plan.growth**2
    peak = float(np.exp(rng.uniform(*np.log(_EXCESS)))) * plan.fading
    shares = rng.dirichlet([6.0] + [1.0] * int(rng.integers(0, 4)))
    centre = rng.uniform(0.38, 0.62, 2)
    distance = None
    for number, share in enumerate(shares):
        radius = np.sqrt(area * share / np.pi)
        away = 0.0 if number == 0 else np.sqrt(area / np.pi) * rng.uniform(0.9, 1.7)
        angle, turn, stretch = rng.uniform(0, 2 * np.pi), rng.uniform(0, np.pi), np.exp(rng.normal(0, 0.22))
        at = np.clip(centre + away * np.array([np.cos(angle), np.sin(angle)]), 0.08, 0.92)
        patch = _distance(x - np.float32(at[0]), y - np.float32(at[1]), radius, turn, stretch)
        distance = patch if distance is None else np.minimum(distance, patch, out=distance)
    assert distance is not None  # shares holds the main patch
    distance += np.float32(0.16) * _noise(rng, 11)
    edge = np.float32(rng.uniform(0.06, 0.3))
    ramp = np.clip((1 + edge - distance) / (2 * edge), 0, 1)
    mask = ramp * ramp * (3 - 2 * ramp)
    texture = np.maximum(1 + np.float32(rng.uniform(0.1, 0.35)) * _noise(rng, 17), np.float32(_LEAST_TEXTURE))
    excess = np.float32(peak) * mask * texture

    mottling = min(_MOTTLING, _MOST_MOTTLING * plan.background_melanin)
    background = np.float32(plan.background_melanin) + np.float32(mottling) * _noise(rng, 8)
    background = np.maximum(background, 0.0, out=background)
    excess = np.minimum(excess, MOST_MELANIN - background)
    blood = _blood(rng, mask, x, y)
    hairs = _hairs(rng)
    return SkinMaps(
        melanin=background + excess,
        blood=blood,
        excess=excess,
        area_fraction=float(mask.mean(dtype=np.float64)),
        centre=(float(centre[0]), float(centre[1])),
        hairs=hairs,
    )


def _distance(x: np.ndarray, y: np.ndarray, radius: float, turn: float, stretch: float) -> np.ndarray:
    """From the middle of an ellipse, in units of its radius, float32."""
    cos, sin = np.float32(np.cos(turn) / (radius * stretch)), np.float32(np.sin(turn) / (radius * stretch))
    along = cos * x + sin * y
    across = np.float32(stretch**2) * (cos * y - sin * x)
    return np.sqrt(along * along + across * across)


def _blood(rng: np.random.Generator, mask: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Resting perfusion, inflammation of the lesion, and red patches that have nothing to do with it."""
    blood = np.float32(RESTING_BLOOD * np.exp(rng.normal(0, 0.15))) * (1 + np.float32(0.14) * _noise(rng, 9))
    blood += np.float32(rng.choice([0.0, 0.012, 0.03]) * rng.random()) * mask
    for _ in range(int(rng.integers(0, 3))):
        at, width = rng.uniform(0, 1, 2), rng.uniform(0.06, 0.2)
        red = np.float32(rng.uniform(0.01, 0.05))
        across, down = (x - np.float32(at[0])) / np.float32(width), (y - np.float32(at[1])) / np.float32(width)
        blood += red * np.exp(-(across**2)) * np.exp(-(down**2))
    return np.clip(blood, 0.002, MOST_BLOOD, dtype=np.float32)


def _hairs(rng: np.random.Generator) -> np.ndarray:
    """Of half of all fields, a few bent hairs, roughly parallel: float [N, 4, 2]."""
    count = int(rng.poisson(5)) if rng.random() < 0.5 else 0
    start, direction = rng.uniform(-0.1, 1.1, (count, 1, 2)), rng.uniform(0, np.pi) + rng.normal(0, 0.35, (count, 1))
    bend = rng.normal(0, 0.12, (count, 1)) * np.arange(4) ** 2 / 3
    step = rng.uniform(0.07, 0.16, (count, 1)) * np.arange(4)
    heading = direction + bend
    return start + np.stack([step * np.cos(heading), step * np.sin(heading)], axis=-1)


def _noise(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Smooth noise of about unit spread, float32 [FIELD_PX, FIELD_PX], with `cells` bumps a side."""
    coarse = rng.standard_normal((cells, cells), dtype=np.float32) * np.float32(1.3)
    return np.asarray(Image.fromarray(coarse).resize((FIELD_PX, FIELD_PX), Image.Resampling.BICUBIC))


@lru_cache(maxsize=1)
def _grid() -> tuple[np.ndarray, np.ndarray]:
    """x as a row, y as a column, shares of the field, float32."""
    axis = ((np.arange(FIELD_PX) + 0.5) / FIELD_PX).astype(np.float32)
    return axis[None, :], axis[:, None]
