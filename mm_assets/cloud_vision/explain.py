"""Where on the film an answer comes from: Grad-CAM, how much of it lies inside the true lesion, and pictures of both.

Belongs here: from the image holder's map and its gradient to numbers and colours. Does not belong here: computing the
gradient, which crosses between the organisations (`predictor.py`), and drawing on a page.

That the map points at the lesion is measured against the generator's mask, not assumed: ``in_lesion`` means nothing
without ``lesion_share``, which a map spread evenly over the film would have.
"""

import io

import numpy as np
import torch  # noqa: TID253
from PIL import Image

PICTURE_PX = 384
# Orange over grey film, cyan around it: told apart with every colour vision deficiency.
SPOKE_FOR_RGB, LESION_RGB = (245, 130, 20), (34, 211, 238)
_OUTLINE_PX = 2


def grad_cam(image_map: torch.Tensor, gradient: torch.Tensor) -> np.ndarray:
    """Selvaraju et al. 2017, equations 1 and 2: channels of ``image_map`` [1, C, rows, columns] weighted by the mean
    of their ``gradient`` (of the class's logit, same shape), negative parts cut off.

    float32 [rows, columns], divided by its largest value: 0 to 1; all 0 where no part spoke for the class.
    """
    weights = gradient.mean((2, 3), keepdim=True)
    found = torch.relu((weights * image_map).sum(1))[0].detach().cpu().numpy().astype(np.float32)
    largest = float(found.max())
    return found / largest if largest > 0 else found


def share_inside(cam: np.ndarray, mask: np.ndarray) -> float | None:
    """Share of the map [rows, columns], enlarged to the mask, that lies inside ``mask`` bool [H, W]; None where the
    map or the mask is empty."""
    enlarged = _enlarged(cam, mask.shape[1], mask.shape[0])
    total = float(enlarged.sum())
    return float(enlarged[mask].sum()) / total if total > 0 and mask.any() else None


def read_mask(data: bytes) -> np.ndarray:
    """bool [H, W] of a PNG of one bit a pixel, as the generator writes it."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
        return np.asarray(picture.convert("1"))


def grad_cam_png(cam: np.ndarray, size: int = PICTURE_PX) -> bytes:
    """The map as a PNG [size, size] of one hue: transparent at 0, opaque at 1."""
    return _png(SPOKE_FOR_RGB, np.round(255 * np.clip(_enlarged(cam, size, size), 0, 1)).astype(np.uint8))


def outline_png(mask: np.ndarray, size: int = PICTURE_PX) -> bytes:
    """The border of ``mask`` bool [H, W] as a PNG [size, size], transparent elsewhere."""
    resized = Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST)
    inside = np.pad(np.asarray(resized, dtype=bool), _OUTLINE_PX)
    kept = inside.copy()
    for shift in range(1, _OUTLINE_PX + 1):
        for axis in (0, 1):
            kept &= np.roll(inside, shift, axis) & np.roll(inside, -shift, axis)
    border = (inside & ~kept)[_OUTLINE_PX:-_OUTLINE_PX, _OUTLINE_PX:-_OUTLINE_PX]
    return _png(LESION_RGB, np.where(border, 255, 0).astype(np.uint8))


def _enlarged(cam: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(cam.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))


def _png(rgb: tuple[int, int, int], alpha: np.ndarray) -> bytes:
    picture = np.empty((*alpha.shape, 4), dtype=np.uint8)
    picture[..., :3], picture[..., 3] = rgb, alpha
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()
