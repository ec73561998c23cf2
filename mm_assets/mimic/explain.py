"""Why the model answered so: which part of the film and which modality moved each label.

Belongs here: occlusion of the stored token grid, leave-one-out of modalities, and the colours of a map.
Does not belong here: encoding a case (`predictor.py`) and drawing on a page.

Occlusion and not gradients: "the answer changes by this much when this part is hidden" holds for what the
model does, its unit (log-odds) is the same for every label, and hiding all cells of a grid is one forward
pass. A map shows influence on the model; it does not show where disease is.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mm_assets.mimic.case import ChestCase, Contribution

if TYPE_CHECKING:
    import torch

Forward = Callable[[dict[str, "torch.Tensor"]], "torch.Tensor"]

# Below this many log-odds no part of the film matters; a smaller scale would colour noise.
SMALLEST_SCALE = 0.1
MAP_PX = 256
# Blue against, orange for: told apart with every common colour vision deficiency, and on grey film.
FOR_RGB, AGAINST_RGB = (245, 130, 20), (33, 102, 245)


def occlusion_maps(forward: Forward, batch: dict[str, "torch.Tensor"], grid: tuple[int, int]) -> np.ndarray:
    """How many log-odds each cell of the film's token grid gives to each label: float32 [L, rows, columns].

    ``batch`` holds one case (image_tokens [1, rows * columns, D]). A cell is hidden by putting the mean token
    of this film in its place: a neutral piece of the same film, where zeros would be a film the model never
    saw.
    """
    import torch

    rows, columns = grid
    tokens = batch["image_tokens"]
    if tokens.shape[1] != rows * columns:
        raise ValueError(f"{tokens.shape[1]} tokens do not fill a grid of {rows} x {columns}")
    cells = rows * columns
    hidden = tokens.repeat(cells + 1, 1, 1)
    at = torch.arange(cells)
    hidden[at, at] = tokens.mean(dim=1)
    many = {name: value.expand(cells + 1, *value.shape[1:]) for name, value in batch.items()}
    with torch.inference_mode():
        logits = forward({**many, "image_tokens": hidden})
    change = (logits[-1:] - logits[:-1]).float().cpu().numpy()
    return np.ascontiguousarray(change.T.reshape(-1, rows, columns))


def scale_of(maps: np.ndarray) -> float:
    """One colour scale for all labels of a film [L, rows, columns]: the largest influence of any cell, in
    log-odds.
    """
    return float(max(np.abs(maps).max(initial=0.0), SMALLEST_SCALE))


def leave_one_out(
    probabilities: Callable[[ChestCase], np.ndarray], case: ChestCase, labels: Sequence[str]
) -> list[Contribution]:
    """What each modality of the case changed: probabilities [L] of the case minus those without the modality.

    Fields are left out, not tensors: without its vital signs, a case has none in the words of its note
    either. A modality that is all there is has nothing to be compared with and is not listed.
    """
    present = case.modalities()
    if len(present) < 2:
        return []
    whole = probabilities(case)
    return [
        Contribution(
            modality=modality,
            change=dict(zip(labels, (whole - probabilities(case.without([modality]))).tolist(), strict=True)),
        )
        for modality in present
    ]


def coloured(influence: np.ndarray, scale: float, size: int = MAP_PX) -> np.ndarray:
    """A map [rows, columns] in log-odds as uint8 RGBA [size, size, 4], bilinear, clear where nothing happens.

    Opacity grows with the size of the influence relative to ``scale``, the hue tells its direction.
    """
    from PIL import Image

    smooth = np.asarray(Image.fromarray(influence.astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR))
    strength = np.clip(np.abs(smooth) / scale, 0, 1)
    picture = np.empty((size, size, 4), dtype=np.uint8)
    picture[..., :3] = np.where((smooth >= 0)[..., None], FOR_RGB, AGAINST_RGB)
    picture[..., 3] = np.round(255 * strength)
    return picture
