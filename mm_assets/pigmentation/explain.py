"""Where the model looked: the pictures of a case, its attention on them, and the colours of a map.

Belongs here: from norm-weighted attention to pictures a page can show. Does not belong here: what attention is
(`fusion.attention_shares`) and drawing on a page. That hiding what was attended to changes the score more than hiding
anything else is tested in the evaluation (`deletion.py`) on these same maps, not assumed.
"""

import io
from collections.abc import Mapping, Sequence

import numpy as np

from mm_assets.pigmentation.case import Picture, SkinExplanation
from mm_assets.pigmentation.uploads import ReadImage
from mm_assets.records.color_images import encode_color_jpeg

MAP_PX = 256
# Blue: no skin or lesion has it, and it is told from red and brown with every colour vision deficiency.
ATTENDED_RGB = (70, 120, 255)
# Opaque is at least this many times the even share: the largest part of a flat map is no place the model looked at.
LEAST_CONTRAST = 2.0
# A cube is shown by its bands nearest to these, for red, green and blue.
SHOWN_NM = (620.0, 550.0, 470.0)


def explanation(
    images: Mapping[str, ReadImage], maps: Mapping[str, np.ndarray], wavelengths_nm: Sequence[float] | None
) -> SkinExplanation:
    """``maps``: modality -> float32 [rows, columns], shares of all attention, by `FusionModel.attention_maps`; without
    one, a picture has no map."""
    pictures = tuple(picture_of(image, wavelengths_nm, maps.get(name)) for name, image in images.items())
    shares = [picture.attention.ravel() for picture in pictures if picture.attention is not None]
    if not shares:
        return SkinExplanation(pictures, 0.0, 0.0)
    parts = np.concatenate(shares)
    even = float(parts.mean())
    return SkinExplanation(pictures, even, max(float(parts.max()), LEAST_CONTRAST * even))


def picture_of(
    image: ReadImage, wavelengths_nm: Sequence[float] | None, attention: np.ndarray | None = None
) -> Picture:
    """What a person may see of an image; of a cube, three of its bands."""
    jpeg = image.jpeg or encode_color_jpeg(cube_picture(image.pixels, wavelengths_nm))
    return Picture(image.modality, jpeg, image.width, image.height, attention)


def cube_picture(cube: np.ndarray, wavelengths_nm: Sequence[float] | None) -> np.ndarray:
    """Reflectance [H, W, B] as uint8 RGB [H, W, 3] by three of its bands, brightened to what is there."""
    bands = cube.shape[2]
    if wavelengths_nm is None:
        chosen = [bands - 1, bands // 2, 0]
    else:
        chosen = [int(np.abs(np.asarray(wavelengths_nm) - wanted).argmin()) for wanted in SHOWN_NM]
    shown = cube[..., chosen].astype(np.float32)
    brightest = max(float(np.quantile(shown, 0.995)), 1e-3)
    return np.round(255 * np.clip(shown / brightest, 0, 1) ** (1 / 2.2)).astype(np.uint8)


def attention_png(attention: np.ndarray, even: float, full: float, size: int = MAP_PX) -> bytes:
    """A map [rows, columns] as a PNG [size, size] of one hue: transparent up to the share ``even``, opaque from
    ``full`` on."""
    from PIL import Image

    smooth = np.asarray(Image.fromarray(attention.astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR))
    picture = np.empty((size, size, 4), dtype=np.uint8)
    picture[..., :3] = ATTENDED_RGB
    picture[..., 3] = np.round(255 * np.clip((smooth - even) / max(full - even, 1e-9), 0, 1))
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()
