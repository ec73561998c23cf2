"""Reasons to doubt a photograph before its score is read: blurred, too dark, too bright, or not of skin.

Belongs here: when each warning is due, and its words. Does not belong here: files that cannot be read at all
(`uploads.py`). The bounds are loose on purpose: a warning that comes with every tenth good photograph is not read.
"""

import numpy as np

from mm_assets.pigmentation.case import MODALITY_NAMES, CaseWarning
from mm_assets.pigmentation.skin_tone import srgb_to_lab

# Rendered and real photographs of skin stay beyond these: see the tests.
LEAST_DETAIL = 0.006  # deviation of the Laplacian over mean brightness
DARK_LEVEL, LIT_SHARE, BRIGHT_LEVEL, BRIGHT_SHARE = 32, 0.05, 250, 0.35
# In CIELAB, skin of every tone is red to yellow; light and camera turn that by some degrees.
SKIN_HUE_DEG, LEAST_CHROMA, SKIN_SHARE = (-20.0, 105.0), 4.0, 0.3


def photograph_warnings(modality: str, pixels: np.ndarray) -> list[CaseWarning]:
    """``pixels``: uint8 [H, W, 3] as stored."""
    name = MODALITY_NAMES.get(modality, modality)
    # Channel by channel: numpy's reductions over an axis of three take ten times longer, and this is in every request.
    red, green, blue = (np.ascontiguousarray(pixels[..., channel]) for channel in range(3))
    brightest, darkest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    if (brightest >= DARK_LEVEL).mean() < LIT_SHARE:
        return [CaseWarning(code="too_dark", message=f"The {name} is almost black; the score may mean nothing.")]
    if (darkest >= BRIGHT_LEVEL).mean() > BRIGHT_SHARE:
        return [CaseWarning(code="too_bright", message=f"Much of the {name} is overexposed and has lost its colour.")]
    warnings = []
    if detail(green) < LEAST_DETAIL:
        warnings.append(CaseWarning(code="blurred", message=f"The {name} is blurred, or shows nothing but one colour."))
    if skin_share(pixels) < SKIN_SHARE:
        message = f"Little of the {name} has a colour of skin; the score may mean nothing."
        warnings.append(CaseWarning(code="no_skin", message=message))
    return warnings


def detail(channel: np.ndarray) -> float:
    """How much neighbouring pixels of one channel [H, W] differ from their mean, relative to brightness."""
    values = channel.astype(np.float32)
    around = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:]
    return float((around - 4 * values[1:-1, 1:-1]).std() / max(float(values.mean()), 1e-3))


def skin_share(pixels: np.ndarray) -> float:
    """Share of pixels whose hue and chroma a skin can have; every eighth pixel a side is looked at."""
    lab = srgb_to_lab(pixels[::8, ::8])
    hue = np.degrees(np.arctan2(lab[..., 2], lab[..., 1]))
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    low, high = SKIN_HUE_DEG
    return float(((hue > low) & (hue < high) & (chroma > LEAST_CHROMA)).mean())
