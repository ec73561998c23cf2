"""Explanations follow the model: a cell that matters is shown, one that does not is not, other weights,
another map.
"""

import numpy as np
import pytest
import torch

from mm_assets.mimic.case import ChestCase
from mm_assets.mimic.explain import (
    AGAINST_RGB,
    FOR_RGB,
    SMALLEST_SCALE,
    coloured,
    leave_one_out,
    occlusion_maps,
    scale_of,
)
from mm_assets.mimic.model import EnhancedMDFNet, MDFNetConfig
from mm_assets.mimic.schema import CLINICAL_FEATURES


def random_batch(seed: int) -> dict[str, torch.Tensor]:
    made = torch.Generator().manual_seed(seed)
    return {
        "image_tokens": torch.randn(1, 16, 8, generator=made),
        "image_present": torch.tensor([True]),
        "text_tokens": torch.randn(1, 3, 6, generator=made),
        "text_mask": torch.ones(1, 3, dtype=torch.bool),
        "text_present": torch.tensor([True]),
        "passage_tokens": torch.randn(1, 2, 6, generator=made),
        "passage_mask": torch.ones(1, 2, dtype=torch.bool),
        "clinical": torch.randn(1, len(CLINICAL_FEATURES), generator=made),
        "clinical_missing": torch.zeros(1, len(CLINICAL_FEATURES), dtype=torch.bool),
        "tabular_present": torch.tensor([True]),
    }


def network(seed: int) -> EnhancedMDFNet:
    torch.manual_seed(seed)
    return EnhancedMDFNet(MDFNetConfig(image_dim=8, image_tokens=16, text_dim=6, dim=16)).eval()


def test_map_shows_the_one_cell_that_the_answer_reads() -> None:
    def reads_cell_six(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        value = batch["image_tokens"][:, 6].sum(1)
        return torch.stack([value, -value], dim=1)

    batch = {"image_tokens": torch.zeros(1, 16, 8)}
    batch["image_tokens"][0, 6] = 2.0
    maps = occlusion_maps(reads_cell_six, batch, (4, 4))
    assert maps.shape == (2, 4, 4)
    # The mean token keeps a sixteenth of the cell.
    assert maps[0, 1, 2] == pytest.approx(16 * 15 / 16)
    assert maps[1, 1, 2] == pytest.approx(-15)
    assert np.count_nonzero(maps) == 2


def test_randomised_weights_give_another_map() -> None:
    first = [occlusion_maps(network(0), random_batch(i), (4, 4)).ravel() for i in range(8)]
    other = [occlusion_maps(network(1), random_batch(i), (4, 4)).ravel() for i in range(8)]
    correlations = [np.corrcoef(a, b)[0, 1] for a, b in zip(first, other, strict=True)]
    assert abs(np.mean(correlations)) < 0.3
    again = occlusion_maps(network(0), random_batch(0), (4, 4)).ravel()
    assert np.array_equal(again, first[0])


def test_grid_that_the_tokens_do_not_fill_is_refused() -> None:
    with pytest.raises(ValueError, match="16 tokens do not fill a grid of 3 x 5"):
        occlusion_maps(network(0), random_batch(0), (3, 5))


def test_scale_is_one_for_all_labels_and_never_colours_noise() -> None:
    maps = np.zeros((3, 2, 2), dtype=np.float32)
    maps[1, 0, 0] = -0.7
    assert scale_of(maps) == pytest.approx(0.7)
    assert scale_of(maps / 1000) == SMALLEST_SCALE


def test_colours_tell_direction_and_strength() -> None:
    picture = coloured(np.array([[1.0, 0.0], [0.0, -0.5]], dtype=np.float32), scale=1.0, size=64)
    assert picture.shape == (64, 64, 4)
    assert tuple(picture[0, 0]) == (*FOR_RGB, 255)
    assert tuple(picture[-1, -1, :3]) == AGAINST_RGB
    assert picture[-1, -1, 3] == pytest.approx(128, abs=1)
    assert picture[-1, 0, 3] == 0
    # Bilinear: no steps at the borders of cells.
    assert np.abs(np.diff(picture[0, :, 3].astype(int))).max() < 16


def test_leave_one_out_is_the_difference_per_modality() -> None:
    def counts(case: ChestCase) -> np.ndarray:
        return np.array([0.5 * ("image" in case.modalities()) + 0.2 * ("text" in case.modalities())])

    case = ChestCase(image=b"x", complaint="cough", age=50)
    changes = {part.modality: part.change["Edema"] for part in leave_one_out(counts, case, ["Edema"])}
    assert changes == pytest.approx({"image": 0.5, "text": 0.2, "tabular": 0.0})
    assert leave_one_out(counts, ChestCase(complaint="cough"), ["Edema"]) == []
