import json

import numpy as np
import pytest
import torch

from mm_assets.learning.transforms import apply_transform, transform_spec


def test_values_are_scaled_exactly_once():
    spec = transform_spec(8, (0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
    out = apply_transform(spec, np.full((20, 30), 255, np.uint8))
    assert out.shape == (3, 8, 8) and out.dtype == torch.float32
    assert torch.allclose(out[:, 0, 0], torch.tensor([2.5, 3.0, 7.0]), atol=1e-5)


def test_one_number_stands_for_three_channels():
    assert transform_spec(8, 0.5, 0.25)["mean"] == [0.5, 0.5, 0.5]


def test_a_batch_gives_what_its_films_give():
    films = np.random.default_rng(0).integers(0, 256, (3, 37, 37), dtype=np.uint8)
    spec = transform_spec(16, 0.5, 0.25)
    batch = apply_transform(spec, torch.from_numpy(films))
    assert all(torch.equal(batch[i], apply_transform(spec, films[i])) for i in range(3))


def test_the_spec_survives_json():
    spec = transform_spec(16, (0.5,), (0.25,))
    film = np.arange(400, dtype=np.uint8).reshape(20, 20)
    assert torch.equal(apply_transform(spec, film), apply_transform(json.loads(json.dumps(spec)), film))


def test_overshoot_of_the_cubic_filter_is_cut_to_the_range_of_pixels():
    film = np.zeros((64, 64), np.uint8)
    film[:, 32:] = 255
    out = apply_transform(transform_spec(24, 0.0, 1.0), film)
    assert out.min() == 0 and out.max() == 1


def test_floats_are_refused_because_they_may_be_normalised_already():
    with pytest.raises(TypeError, match="uint8"):
        apply_transform(transform_spec(8, 0.5, 0.25), np.zeros((8, 8), np.float32))
