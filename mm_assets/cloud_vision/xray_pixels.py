"""From the bytes of an X-ray to the square of grey pixels that the network reads.

Belongs here: that one step, the same for training, the page and the API. Does not belong here: scaling of values
(split_model.py).
"""

import numpy as np
from PIL import Image

from mm_assets.records.images import decode_image

# A JPEG may be decoded at 1/2, 1/4 or 1/8 while it stays this many times finer than what is wanted.
_FINER = 2


def xray_pixels(data: bytes, px: int) -> np.ndarray:
    """uint8 [px, px], every pixel the mean of the area it covers; JPEG, PNG or DICOM. Raises UnreadableImage."""
    film = Image.fromarray(decode_image(data, draft_px=_FINER * px).pixels)
    return np.asarray(film.resize((px, px), Image.Resampling.BOX))
