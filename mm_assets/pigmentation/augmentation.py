"""Random changes of training pictures that leave the severity as it was.

Belongs here: turns, flips and a small gain per colour. Does not belong here: hiding modalities (model.py). Everything
is drawn from torch's generator, which the training loop seeds from (seed, epoch, step).
"""

from functools import lru_cache

import torch  # noqa: TID253
from torch import nn  # noqa: TID253

from mm_assets.pigmentation.inputs import InputSpec, ModalitySpec

Batch = dict[str, torch.Tensor]


class Augmenting(nn.Module):
    """A network whose input is changed at random while it is trained, and left alone in evaluation."""

    def __init__(self, model: nn.Module, spec: InputSpec, color_gain: float) -> None:
        super().__init__()
        self.model = model
        self.spec = spec
        self.color_gain = color_gain

    def forward(self, batch: Batch) -> torch.Tensor:
        if self.training:
            batch = {**batch, **augmented(batch, self.spec, self.color_gain)}
        return self.model(batch)


def augmented(batch: Batch, spec: InputSpec, color_gain: float) -> Batch:
    """The pictures of a batch, each turned or flipped into one of its eight positions; colours get a gain.

    A modality is turned by itself: captures of one lesion are not registered to each other.
    """
    out = {}
    for modality in spec.modalities:
        pixels = turned(batch[modality.name])
        if modality.kind == "rgb" and color_gain:
            pixels = with_gain(pixels, modality, color_gain)
        out[modality.name] = pixels
    return out


def turned(pixels: torch.Tensor) -> torch.Tensor:
    """Each of [B, C, S, S] mirrored and turned at random.

    One gather of whole pixels, which leaves them channels last: every picture is copied once, whichever way it turns.
    """
    count, channels, side, _ = pixels.shape
    choice = torch.rand(3, count, device=pixels.device) < 0.5
    positions = _positions(side).to(pixels.device)[tuple(choice.long())]
    first = torch.arange(count, device=pixels.device)[:, None, None] * side**2
    flat = pixels.permute(0, 2, 3, 1).reshape(-1, channels)
    return flat.index_select(0, (first + positions).flatten()).view(count, side, side, channels).permute(0, 3, 1, 2)


@lru_cache(maxsize=4)
def _positions(side: int) -> torch.Tensor:
    """Which pixel of a picture goes where, [2, 2, 2, S, S]: mirrored across, then down, then along the diagonal."""
    maps = torch.arange(side**2).view(1, side, side)
    for change in (lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.mT):
        maps = torch.stack([maps, change(maps)], dim=-3)
    return maps.view(2, 2, 2, side, side)


def with_gain(pixels: torch.Tensor, spec: ModalitySpec, spread: float) -> torch.Tensor:
    """Each channel of each picture [B, C, S, S] times a factor of 1 +- ``spread``, as light of another colour does."""
    gain = 1 + spread * (2 * torch.rand(*pixels.shape[:2], 1, 1, device=pixels.device) - 1)
    black = torch.tensor([-m / s for m, s in zip(spec.mean, spec.std, strict=True)], device=pixels.device)
    return (pixels - black.view(1, -1, 1, 1)) * gain + black.view(1, -1, 1, 1)
