"""Grey values: from any depth to 8 bits, and histogram equalisation.

Belongs here: pure array functions on single-channel images.
Does not belong here: decoding, resizing, or the per-encoder normalisation applied when a record is read.
"""

import numpy as np


def min_max_to_uint8(values: np.ndarray) -> np.ndarray:
    """Stretch [H, W] numbers of any real dtype so that their minimum is 0 and their maximum 255 (uint8).

    A constant image becomes 0 everywhere. Raises ValueError where a value is not finite.
    """
    lowest, highest = values.min(), values.max()
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise ValueError("a pixel value is not finite")
    if lowest == highest:
        return np.zeros(values.shape, dtype=np.uint8)
    if values.dtype.kind in "ui" and int(highest) - int(lowest) < 1 << 16:
        # One table look-up a pixel instead of float arithmetic on the whole film.
        span = int(highest) - int(lowest)
        table = np.rint(np.arange(span + 1) * (255.0 / span)).astype(np.uint8)
        # Subtracting in 64 bits cannot overflow whatever the width and sign of the stored values.
        return table[values.astype(np.int64) - int(lowest)]
    scaled = (values.astype(np.float64) - float(lowest)) * (255.0 / (float(highest) - float(lowest)))
    return np.rint(scaled).astype(np.uint8)


def equalize_hist(pixels: np.ndarray) -> np.ndarray:
    """Histogram equalisation of [H, W] uint8, bit for bit what OpenCV's `equalizeHist` returns.

    MIMIC-CXR-JPG was made with that function, so DICOM films go through it to look like the JPG release.
    The darkest grey value present becomes 0, the brightest 255; a constant image is returned unchanged.
    """
    histogram = np.bincount(pixels.reshape(-1), minlength=256)
    darkest = int(np.flatnonzero(histogram)[0])
    brighter = pixels.size - int(histogram[darkest])
    if brighter == 0:
        return pixels.copy()
    above_darkest = np.cumsum(histogram)
    above_darkest -= histogram[darkest]
    # Single precision and round-half-to-even, as OpenCV computes it: in double it differs by one level.
    scale = np.float32(255) / np.float32(brighter)
    table = np.clip(np.rint(above_darkest.astype(np.float32) * scale), 0, 255).astype(np.uint8)
    return table[pixels]
