"""Colour of skin as numbers: CIE Lab, the individual typology angle and its classes.

Belongs here: what follows from the colour of pixels alone. Does not belong here: decoding (mm_assets/records) and how
colour comes about (synthetic/optics.py).

The angle of a photograph is only as good as its light: published methods differ widely on the same pictures, so a
measured angle in the manifest goes before `background_ita`.
"""

import math

import numpy as np

from mm_assets.pigmentation.schema import TONE_BOUNDS, TONES, UNKNOWN_TONE

# Linear sRGB to CIE XYZ, both with the white of D65 (IEC 61966-2-1).
_RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
D65_WHITE = _RGB_TO_XYZ.sum(axis=1)
XYZ_TO_RGB = np.linalg.inv(_RGB_TO_XYZ)

_BORDER_SHARE = 0.1  # of the shorter side: the ring that shows skin around a centred lesion
# Skin in a picture: neither glare, nor dark corner of a lens, nor a grey or blue thing. On values 0 to 1.
_GLARE, _BLACK = 0.97, 0.04


def srgb_to_linear(rgb: np.ndarray) -> np.ndarray:
    """sRGB [..., 3], uint8 or float in [0, 1], to linear light in [0, 1], float64."""
    values = rgb / 255.0 if rgb.dtype == np.uint8 else np.asarray(rgb, dtype=np.float64)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def srgb_to_lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB [..., 3], uint8 or float in [0, 1], to CIE L*a*b* [..., 3] with the white of D65."""
    return xyz_to_lab(srgb_to_linear(rgb) @ _RGB_TO_XYZ.T)


def xyz_to_lab(xyz: np.ndarray) -> np.ndarray:
    """CIE XYZ [..., 3], white of D65 at Y = 1, to L*a*b* [..., 3]."""
    ratio = xyz / D65_WHITE
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def ita_degrees(lab: np.ndarray) -> np.ndarray:
    """Individual typology angle of L*a*b* [..., 3] in degrees [...]: higher is lighter."""
    return np.degrees(np.arctan2(lab[..., 0] - 50.0, lab[..., 2]))


def tone_of(ita: float | None) -> str:
    """The class of an angle in degrees, one of `schema.TONES`; `unknown` for None and NaN."""
    if ita is None or math.isnan(ita):
        return UNKNOWN_TONE
    return next((name for name, bound in TONE_BOUNDS if ita > bound), TONES[-1])


def background_ita(rgb: np.ndarray) -> float:
    """The angle of the skin around a lesion: the median colour of the border of sRGB uint8 [H, W, 3].

    Pixels that are glare, black or bluer than they are red are left out; NaN where fewer than a tenth is skin.
    """
    rows, columns = rgb.shape[:2]
    ring = max(1, round(_BORDER_SHARE * min(rows, columns)))
    border = np.ones((rows, columns), dtype=bool)
    border[ring : rows - ring, ring : columns - ring] = False
    pixels = rgb[border] / 255.0
    skin = (pixels.min(axis=1) < _GLARE) & (pixels.max(axis=1) > _BLACK) & (pixels[:, 0] > pixels[:, 2])
    if skin.mean() < 0.1:
        return math.nan
    return float(ita_degrees(srgb_to_lab(np.median(pixels[skin], axis=0))))
