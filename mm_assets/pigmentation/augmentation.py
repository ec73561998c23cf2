"""Random changes of training pictures that leave the severity as it was.

Belongs here: turns, flips and a small gain per colour. Does not belong here: hiding modalities (model.py). Everything
is drawn from torch's generator, which the training loop seeds from (seed, epoch, step).
"""

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
    """Each of [B, C, S, S] mirrored and turned at random."""
    choice = torch.rand(3, len(pixels), 1, 1, 1, device=pixels.device) < 0.5
    for chosen, changed in zip(choice, (lambda x: x.flip(3), lambda x: x.flip(2), lambda x: x.mT), strict=True):
        pixels = torch.where(chosen, changed(pixels), pixels)
    return pixels


def with_gain(pixels: torch.Tensor, spec: ModalitySpec, spread: float) -> torch.Tensor:
    """Each channel of each picture [B, C, S, S] times a factor of 1 +- ``spread``, as light of another colour does."""
    gain = 1 + spread * (2 * torch.rand(*pixels.shape[:2], 1, 1, device=pixels.device) - 1)
    black = torch.tensor([-m / s for m, s in zip(spec.mean, spec.std, strict=True)], device=pixels.device)
    return (pixels - black.view(1, -1, 1, 1)) * gain + black.view(1, -1, 1, 1)
