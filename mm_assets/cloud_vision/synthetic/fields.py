"""Random fields for texture: clouds, webs of lines, grain; many films at once.

Belongs here: noise of a given spectrum. Does not belong here: what a field stands for on a film.

A field is made of a fixed number of waves a film, so the same generator gives the same field at any resolution.
"""

from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np


def band_fields(rngs: Sequence[np.random.Generator], px: int, exponent: float, low: int, high: int) -> np.ndarray:
    """Fields of mean 0 and standard deviation about 1, float32 [N, px, px], one of each generator.

    Amplitude falls with frequency to the power of `exponent`, between `low` and `high` waves a film; px >= 2 * high.
    """
    weight = _weight(exponent, low, high)
    waves = np.stack([rng.standard_normal((2, *weight.shape), dtype=np.float32) for rng in rngs])
    spectrum = np.zeros((len(rngs), px, high + 1), dtype=np.complex64)
    values = (waves[:, 0] + 1j * waves[:, 1]) * weight
    spectrum[:, : high + 1] = values[:, : high + 1]
    spectrum[:, -high:] = values[:, high + 1 :]
    # Columns first, on the few that are not zero: half the work of a transform in two dimensions.
    columns = np.fft.ifft(spectrum, axis=1, norm="forward")
    field: np.ndarray = np.fft.irfft(columns, n=px, axis=2, norm="forward")
    return field


def white_noise(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Independent values of mean 0 and standard deviation 1, float32: a random byte chooses among the quantiles of the
    normal distribution, ten times as fast as drawing from it; the outermost are 2.9 deviations off."""
    return _quantiles().take(np.frombuffer(rng.bytes(int(np.prod(shape))), dtype=np.uint8)).reshape(shape)


@lru_cache(maxsize=16)
def _weight(exponent: float, low: int, high: int) -> np.ndarray:
    """Amplitudes [2 high + 1, high + 1] of waves (rows 0 to high, then -high to -1; columns 0 to high)."""
    rows = np.concatenate([np.arange(high + 1), np.arange(-high, 0)])
    frequency = np.hypot(rows[:, None], np.arange(high + 1)[None, :])
    inside = (frequency >= low) & (frequency <= high)
    weight = np.where(inside, np.maximum(frequency, 1.0) ** -exponent, 0.0)
    # A column beyond the first stands for two waves: itself and its mirror image. Column 0 keeps its real part.
    variance = 4.0 * (weight[:, 1:] ** 2).sum() + (weight[:, 0] ** 2).sum()
    return (weight / np.sqrt(variance)).astype(np.float32)


@lru_cache(maxsize=1)
def _quantiles() -> np.ndarray:
    normal = NormalDist()
    values = np.array([normal.inv_cdf((i + 0.5) / 256) for i in range(256)])
    return (values / values.std()).astype(np.float32)
