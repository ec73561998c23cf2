"""How melanin and blood colour skin: reflectance at a wavelength, the colour that a camera sees, the tone that results.

Belongs here: absorption spectra, layers, colour matching, the look-up table. Does not belong here: where melanin and
blood are (maps), light and lenses (captures).

Two layers, Beer-Lambert in both: light crosses the epidermis (melanin, path e), is scattered back by the dermis (blood,
path l) and crosses the epidermis again; both paths grow with the wavelength. So

    R(wavelength) = h + (1 - h) * exp(-e m a_mel) * S * exp(-l (b a_blood + a_rest))

with the volume fractions m of melanosomes in the epidermis and b of blood in the dermis; the horny layer scatters the
share h back before it meets any pigment. But for h, excess melanin multiplies the reflectance of any skin by the same
factor, which is why it can be a measure that is fair to all tones.
"""

from functools import lru_cache

import numpy as np

from mm_assets.pigmentation.skin_tone import D65_WHITE, XYZ_TO_RGB, ita_degrees, xyz_to_lab

WAVELENGTHS_NM = (450.0, 480.0, 520.0, 545.0, 575.0, 610.0, 650.0, 700.0, 760.0, 820.0, 880.0, 950.0)
# The least and the most melanin of unaffected skin, and the most of any pixel.
CONSTITUTIVE_MELANIN = (0.010, 0.45)
MOST_MELANIN, MOST_BLOOD = 1.0, 0.16
RESTING_BLOOD = 0.032

HORNY_LAYER = 0.005  # share of the light that it scatters back
_EPIDERMIS_CM, _EPIDERMIS_GROWTH = 0.0075, 2.0
_OXYGENATION = 0.75
# Molar extinction (1/cm/M) of oxygenated and deoxygenated haemoglobin, coarse readings of the tables of S. Prahl.
_HAEMOGLOBIN = np.array(
    [
        (380, 133_000, 106_000), (400, 266_000, 223_000), (410, 467_000, 304_000), (420, 480_000, 408_000),
        (430, 246_000, 529_000), (440, 102_600, 413_000), (450, 62_800, 103_300), (460, 44_500, 23_400),
        (470, 33_200, 16_200), (480, 26_600, 14_600), (490, 23_700, 16_700), (500, 20_900, 20_900),
        (510, 20_000, 25_800), (520, 24_200, 31_600), (530, 40_000, 39_000), (540, 53_200, 46_600),
        (550, 43_000, 53_400), (560, 32_600, 53_800), (570, 44_500, 45_100), (580, 50_100, 37_000),
        (590, 14_400, 28_300), (600, 3_200, 14_700), (610, 1_510, 9_440), (620, 942, 6_510), (630, 610, 5_150),
        (650, 368, 3_750), (680, 278, 2_410), (700, 290, 1_790), (720, 348, 1_330), (760, 586, 1_550),
        (800, 816, 762), (850, 1_060, 691), (900, 1_200, 762), (950, 1_200, 602), (1000, 1_020, 207),
    ],
    dtype=float,
)  # fmt: skip
_BLOOD_MOLAR = 2.303 * 150 / 64_500  # 1/cm per unit of molar extinction, for whole blood of 150 g/l
# Water and the rest of the dermis, 1/cm: (wavelength, absorption).
_REST = np.array([(380, 2.0), (450, 1.1), (550, 0.7), (650, 0.5), (800, 0.35), (900, 0.45), (950, 0.75), (1000, 0.7)])
# What the dermis would scatter back without absorption.
_SCATTERED = np.array([(380, 0.62), (450, 0.69), (550, 0.72), (650, 0.74), (800, 0.73), (1000, 0.68)])
_CAMERA_NM = np.arange(390.0, 731.0, 5.0)
# Cells over melanin and over blood: so fine that the middle of a cell stands for all of it within one 8-bit step, at a
# thirtieth of the time that bilinear interpolation in a coarse table takes.
_TABLE_SHAPE = (1024, 256)


def melanin_absorption(wavelengths_nm: np.ndarray) -> np.ndarray:
    """Of melanosomes, 1/cm."""
    return 6.6e11 * np.asarray(wavelengths_nm, dtype=float) ** -3.33


def blood_absorption(wavelengths_nm: np.ndarray) -> np.ndarray:
    """Of whole blood, 1/cm."""
    oxygenated, deoxygenated = (np.interp(wavelengths_nm, _HAEMOGLOBIN[:, 0], _HAEMOGLOBIN[:, i]) for i in (1, 2))
    return _BLOOD_MOLAR * (_OXYGENATION * oxygenated + (1 - _OXYGENATION) * deoxygenated)


def epidermal_path_cm(wavelengths_nm: np.ndarray) -> np.ndarray:
    """Length of the mean path through the epidermis, there and back.

    Longer for red light, which the dermis sends back more often and more aslant: in living skin the apparent
    absorbance of melanin falls with the wavelength more slowly than that of melanosomes in a dish.
    """
    return 2 * _EPIDERMIS_CM * (np.asarray(wavelengths_nm, dtype=float) / 550.0) ** _EPIDERMIS_GROWTH


def dermal_path_cm(wavelengths_nm: np.ndarray) -> np.ndarray:
    """Length of the mean path through the dermis: red light goes deeper than blue."""
    return 0.018 + 0.07 * (np.asarray(wavelengths_nm, dtype=float) - 400.0) / 300.0


def exponents(wavelengths_nm: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(of melanin, of blood, constant), float32 [B] each, so that below the horny layer

    -ln R = of melanin * m + of blood * b + constant.
    """
    path = dermal_path_cm(wavelengths_nm)
    rest = path * np.interp(wavelengths_nm, _REST[:, 0], _REST[:, 1])
    rest -= np.log(np.interp(wavelengths_nm, _SCATTERED[:, 0], _SCATTERED[:, 1]))
    per_melanin = epidermal_path_cm(wavelengths_nm) * melanin_absorption(wavelengths_nm)
    return tuple(part.astype(np.float32) for part in (per_melanin, path * blood_absorption(wavelengths_nm), rest))


def reflectance(melanin: np.ndarray, blood: np.ndarray, wavelengths_nm: np.ndarray) -> np.ndarray:
    """Diffuse reflectance, float32 [B, ...], of volume fractions [...] at wavelengths [B] in nm."""
    per_melanin, per_blood, constant = (
        part.reshape(-1, *(1,) * np.ndim(melanin)) for part in exponents(wavelengths_nm)
    )
    below = np.asarray(melanin, np.float32) * -per_melanin
    below -= np.asarray(blood, np.float32) * per_blood
    below -= constant
    np.exp(below, out=below)
    below *= np.float32(1 - HORNY_LAYER)
    below += np.float32(HORNY_LAYER)
    return below


def color_matching() -> tuple[np.ndarray, np.ndarray]:
    """Wavelengths [N] in nm and weights [N, 3] that turn reflectance into linear sRGB; white skin would be (1, 1, 1).

    CIE 1931 by the fits of Wyman, Sloan and Shirley (2013), for a camera whose white is balanced.
    """

    def lobe(peak: float, below: float, above: float) -> np.ndarray:
        return np.exp(-0.5 * ((_CAMERA_NM - peak) * np.where(peak > _CAMERA_NM, below, above)) ** 2)

    matching = np.stack(
        [
            0.362 * lobe(442.0, 0.0624, 0.0374) + 1.056 * lobe(599.8, 0.0264, 0.0323)
            - 0.065 * lobe(501.1, 0.0490, 0.0382),
            0.821 * lobe(568.8, 0.0213, 0.0247) + 0.286 * lobe(530.9, 0.0613, 0.0322),
            1.217 * lobe(437.0, 0.0845, 0.0278) + 0.681 * lobe(459.0, 0.0385, 0.0725),
        ],
        axis=1,
    )  # fmt: skip
    matching *= D65_WHITE / matching.sum(axis=0)
    return _CAMERA_NM, matching @ XYZ_TO_RGB.T


@lru_cache(maxsize=1)
def _color_table() -> np.ndarray:
    """Linear sRGB, float32 [3, melanin * blood], computed once: a pixel costs a look-up, not 69 exponentials.

    Made as a product of matrices, because the exponential of a sum over the two pigments is a product.
    """
    wavelengths, weights = color_matching()
    per_melanin, per_blood, constant = (part.astype(np.float64) for part in exponents(wavelengths))
    rows, columns = _TABLE_SHAPE
    of_melanin = np.exp(-np.outer((np.arange(rows) + 0.5) / rows * MOST_MELANIN, per_melanin))
    of_blood = np.exp(-np.outer((np.arange(columns) + 0.5) / columns * MOST_BLOOD, per_blood) - constant)
    below = np.stack([(of_melanin * weight) @ of_blood.T for weight in weights.T])
    color = HORNY_LAYER * weights.sum(axis=0)[:, None, None] + (1 - HORNY_LAYER) * below
    return np.maximum(color, 0.0).astype(np.float32).reshape(3, -1)


def skin_color(melanin: np.ndarray, blood: np.ndarray) -> np.ndarray:
    """Linear sRGB under balanced light, float32 [3, H, W], of volume fractions [H, W]: looked up in a table.

    Fractions above MOST_MELANIN and MOST_BLOOD count as those.
    """
    rows, columns = _TABLE_SHAPE
    cell = np.clip(melanin * np.float32(rows / MOST_MELANIN), 0, rows - 1).astype(np.int32)
    cell *= columns
    cell += np.clip(blood * np.float32(columns / MOST_BLOOD), 0, columns - 1).astype(np.int32)
    return _color_table().take(cell, axis=1)


def skin_ita(melanin: np.ndarray) -> np.ndarray:
    """Individual typology angle in degrees of unaffected skin with these fractions of melanin, same shape."""
    wavelengths, weights = color_matching()
    melanin = np.asarray(melanin, dtype=float)
    linear = np.moveaxis(reflectance(melanin, np.full(melanin.shape, RESTING_BLOOD), wavelengths), 0, -1) @ weights
    return ita_degrees(xyz_to_lab(np.maximum(linear, 0.0) @ np.linalg.inv(XYZ_TO_RGB).T))


def melanin_of_ita(ita: np.ndarray) -> np.ndarray:
    """The inverse of `skin_ita`, for angles in degrees within what CONSTITUTIVE_MELANIN gives."""
    melanin = np.geomspace(*CONSTITUTIVE_MELANIN, 400)
    return np.interp(ita, skin_ita(melanin)[::-1], melanin[::-1])
