"""Scores without a network: what a model must beat to be worth its trouble.

Belongs here: hand-made measures of a clinical photograph and their calibration on train.
Does not belong here: comparing them with a model (evaluation.py).

- ``predict_mean``: the mean label of train for everyone.
- ``delta_melanin``: melanin index of the lesion over the skin around it, times the lesion's share of the picture. The
  lesion is found in the picture itself. Both the index (Takiwaki 1998: 100 log10 of 1 / red reflectance) and the
  difference to the subject's own skin are what a careful clinic measures without learning.
- ``lesion_lightness``: L* of the lesion alone. Dark skin is dark without a lesion: it is shown as the unfair measure.

A measure becomes a score by a monotone regression on train, so that it is judged by what it knows, not by its unit.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mm_assets.learning.metrics import Array, BoolArray, MetricInputError
from mm_assets.pigmentation.skin_tone import srgb_to_lab, srgb_to_linear
from resources.compute import map_items

PREDICT_MEAN, DELTA_MELANIN, LESION_LIGHTNESS = "predict_mean", "delta_melanin", "lesion_lightness"
BASELINES = (PREDICT_MEAN, DELTA_MELANIN, LESION_LIGHTNESS)

# Side to which a photograph is reduced before it is measured: area and colour need no more, and noise averages out.
MEASURED_PX = 96
BORDER_SHARE = 0.1  # of the side: the ring that shows the skin around a centred lesion
LEAST_RED = 1 / 255  # linear reflectance below which a pixel counts as this: the logarithm needs a floor
# A lesion is at least this much above its surroundings, in units of the melanin index and of the border's own spread.
LEAST_CONTRAST, LEAST_SPREADS = 1.0, 1.5
HISTOGRAM_BINS = 128


@dataclass(frozen=True)
class Measures:
    """Of one photograph."""

    delta_melanin: float  # share of the picture x difference of melanin index; 0 where no lesion is found
    lesion_lightness: float  # L* 0 to 100, of the lesion, or of the whole picture where no lesion is found


@dataclass(frozen=True)
class Baselines:
    """Calibrated on train: knots of a monotone curve per measure, and the mean label."""

    mean: float
    curves: Mapping[str, tuple[Array, Array]]  # measure -> values increasing [K], scores [K]

    def scores(self, measures: Sequence[Measures]) -> dict[str, Array]:
        """One score per record and baseline, [N] each, named as BASELINES."""
        found = {PREDICT_MEAN: np.full(len(measures), self.mean)}
        for name, (values, scores) in self.curves.items():
            found[name] = np.interp([getattr(m, name) for m in measures], values, scores)
        return found


def fit_baselines(measures: Sequence[Measures], targets: npt.ArrayLike) -> Baselines:
    """Calibrate on the train split ([N] measures and labels). Raises MetricInputError without labelled records."""
    from sklearn.isotonic import IsotonicRegression

    y = np.asarray(targets, dtype=np.float64)
    if y.size == 0 or y.shape != (len(measures),) or not np.isfinite(y).all():
        raise MetricInputError(
            f"{len(measures)} photographs with {int(np.isfinite(y).sum())} labels on train; "
            "baselines need one label for each"
        )
    curves = {}
    for name, increasing in ((DELTA_MELANIN, True), (LESION_LIGHTNESS, "auto")):
        values = np.array([getattr(m, name) for m in measures])
        fitted = IsotonicRegression(increasing=increasing).fit(values, y)
        curves[name] = (fitted.X_thresholds_, fitted.y_thresholds_)
    return Baselines(mean=float(y.mean()), curves=curves)


def measured(photographs: Iterable[bytes], *, workers: int, desc: str | None = None) -> list[Measures]:
    """``measure_stored`` of every photograph, in order, in ``workers`` processes."""
    kind = "inline" if workers == 1 else "process"
    return list(map_items(measure_stored, photographs, workers=workers, kind=kind, desc=desc))  # type: ignore[arg-type]


def measure_stored(photograph: bytes) -> Measures:
    """``measure`` of a clinical photograph as the lesions hold it (JPEG)."""
    from PIL import Image

    with Image.open(io.BytesIO(photograph), formats=("JPEG",)) as image:
        side = (MEASURED_PX, MEASURED_PX)
        image.draft("RGB", side)
        return measure(np.asarray(image.convert("RGB").resize(side, Image.Resampling.BOX)))


def measure(rgb: npt.NDArray[np.uint8]) -> Measures:
    """The hand-made measures of sRGB uint8 [H, W, 3] with the lesion near the middle."""
    index = melanin_index(rgb)
    lesion = lesion_mask(index)
    seen = rgb[lesion] if lesion.any() else rgb.reshape(-1, 3)
    lightness = float(srgb_to_lab(seen)[:, 0].mean())
    if not lesion.any():
        return Measures(0.0, lightness)
    around = np.median(index[_border(index.shape) & ~lesion])
    return Measures(float(lesion.mean() * (index[lesion].mean() - around)), lightness)


def melanin_index(rgb: npt.NDArray[np.uint8]) -> Array:
    """100 log10(1 / red reflectance) of sRGB uint8 [H, W, 3]: [H, W]; more melanin is higher."""
    return -100.0 * np.log10(np.maximum(srgb_to_linear(rgb[..., 0]), LEAST_RED))


def lesion_mask(index: Array) -> BoolArray:
    """Where melanin [H, W] stands out from the skin along the border: bool [H, W].

    Light falls unevenly, so the plane that fits the border is taken away first; Otsu's threshold parts what is left,
    and must lie above the border's own spread. All False where nothing does, and where the border itself is lesion.
    """
    border = _border(index.shape)
    above = index - _plane(index, border)
    around = above[border]
    spread = 1.4826 * float(np.median(np.abs(around - np.median(around))))
    least = max(LEAST_CONTRAST, LEAST_SPREADS * spread)
    mask = above > max(_otsu(above), least)
    return mask if (~mask[border]).any() else np.zeros_like(mask)


def _border(shape: tuple[int, ...]) -> BoolArray:
    rows, columns = shape[:2]
    ring = max(1, round(BORDER_SHARE * min(rows, columns)))
    border = np.ones((rows, columns), dtype=bool)
    border[ring : rows - ring, ring : columns - ring] = False
    return border


def _plane(index: Array, border: BoolArray) -> Array:
    """The plane through the border's values, fitted twice: the second time without what stood out (glare, lesion)."""
    rows, columns = np.mgrid[-1 : 1 : index.shape[0] * 1j, -1 : 1 : index.shape[1] * 1j]
    terms = np.stack([np.ones_like(index), rows, columns], axis=-1)
    use = border
    plane = np.zeros_like(index)
    for _ in range(2):
        plane = terms @ np.linalg.lstsq(terms[use], index[use], rcond=None)[0]
        off = np.abs(index - plane)
        use = border & (off <= 2.0 * np.median(off[border]) + 1e-9)
    return plane


def _otsu(values: Array) -> float:
    """The threshold that parts the histogram of [H, W] values into two classes of least spread (Otsu 1979)."""
    low, high = np.percentile(values, [0.5, 99.5])
    if high <= low:
        return float(high)
    counts, edges = np.histogram(values, bins=HISTOGRAM_BINS, range=(low, high))
    middle = (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(counts), counts.sum() - np.cumsum(counts)
    total = np.cumsum(counts * middle)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (total / below - (total[-1] - total) / above) ** 2
    return float(edges[1 + int(np.nanargmax(between))])
