import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mm_assets.pigmentation.inputs import (
    IMAGENET_MEAN,
    InputSpec,
    ModalitySpec,
    WrongChannels,
    fit_statistics,
    normalised,
    photograph_spec,
    prepared,
    rgb_spec,
    to_tensor,
)

RGB = rgb_spec("clinical")
LIGHT_PX = 32
CUBE = ModalitySpec(
    name="multispectral", kind="cube", channels=4, mean=(0.1,) * 4, std=(0.5,) * 4, wavelengths_nm=(1, 2, 3, 4)
)


def test_a_photograph_is_normalised_once_on_imagenets_scale():
    pixels = np.full((30, 20, 3), 128, np.uint8)
    out = to_tensor(RGB, pixels, 16)
    assert out.shape == (3, 16, 16) and out.dtype == torch.float32
    assert torch.allclose(out[:, 0, 0], (128 / 255 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(RGB.std))


def test_channels_stay_in_their_place():
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[..., 1] = 255
    assert to_tensor(RGB, pixels, 8).mean((1, 2)).argmax() == 1


def test_a_cube_is_absorbance_above_its_own_background():
    values = np.tile(np.array([0.5, 0.2, 0.1, 0.2], np.float32), (10, 10, 1))
    values[4:6, 4:6] *= 10 ** -np.array([0.1, 0.35, 0.6, 1.1])  # a lesion that absorbs this much more
    out = to_tensor(CUBE, values, 10)
    assert torch.allclose(out[:, 4, 4], torch.tensor([0.0, 0.5, 1.0, 2.0]), atol=5e-3)
    assert torch.allclose(out[:, 0, 0], torch.full((4,), -0.2), atol=1e-5)
    # The same lesion on skin half as bright, or under half the light, is the same input.
    assert torch.allclose(to_tensor(CUBE, values / 2, 10), out, atol=5e-3)


def test_black_pixels_and_reflections_give_finite_numbers():
    values = np.full((8, 8, 4), 0.4, np.float32)
    values[0, 0], values[1, 1] = 0, 3
    assert torch.isfinite(to_tensor(CUBE, values, 8)).all()


@pytest.mark.parametrize(("spec", "shape"), [(CUBE, (8, 8, 3)), (RGB, (8, 8, 4)), (RGB, (8, 8))])
def test_the_wrong_number_of_channels_is_the_users_error(spec, shape):
    with pytest.raises(WrongChannels, match=spec.name):
        to_tensor(spec, np.zeros(shape, np.uint8), 8)


def test_a_float_photograph_is_a_programmers_error():
    with pytest.raises(TypeError, match="uint8"):
        to_tensor(RGB, np.zeros((8, 8, 3), np.float32), 8)


def test_an_upload_gives_the_numbers_of_a_packed_picture():
    rng = np.random.default_rng(0)
    for spec, pixels in (
        (RGB, rng.integers(0, 256, (37, 53, 3), dtype=np.uint8)),
        (CUBE, rng.random((21, 21, 4)).astype(np.float32)),
    ):
        packed = prepared(spec, pixels, 16)
        assert packed.dtype == (np.uint8 if spec.kind == "rgb" else np.float16)
        assert torch.equal(normalised(spec, packed[None])[0], to_tensor(spec, pixels, 16))


def test_shrinking_averages_instead_of_skipping():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[::2] = 200
    assert abs(prepared(RGB, stripes, 8).astype(int) - 100).max() <= 4


def test_statistics_come_from_the_named_rows_alone():
    pixels = np.zeros((600, 4, 4, 2), np.float16)
    pixels[:300, ..., 0] = np.linspace(0, 1, 300)[:, None, None]
    pixels[:300, ..., 1] = 0.25
    pixels[300:] = 9
    mean, std = fit_statistics(pixels, np.arange(300))
    assert mean == pytest.approx((0.5, 0.25), abs=1e-3)
    assert std[0] == pytest.approx(0.289, abs=1e-2) and std[1] == 1.0  # a band that never changes is left alone
    assert fit_statistics(pixels, []) == ((0.0, 0.0), (1.0, 1.0))


def test_the_specification_survives_json_and_refuses_nonsense():
    spec = InputSpec(image_size=56, modalities=(RGB, CUBE))
    assert InputSpec.from_json(json.loads(json.dumps(spec.as_json()))) == spec
    assert spec.names == ("clinical", "multispectral") and spec.channels == (("clinical", 3), ("multispectral", 4))
    assert spec.modality("multispectral") is CUBE
    with pytest.raises(ValidationError, match="3 values for 4 channels"):
        ModalitySpec(name="m", kind="cube", channels=4, mean=(0, 0, 0), std=(1, 1, 1, 1))
    with pytest.raises(ValidationError):
        InputSpec.from_json({**spec.as_json(), "size": 3})


@given(st.integers(0, 2**32 - 1))
def test_the_light_of_a_photograph_does_not_move_its_absorbance(seed: int) -> None:
    """Half the light in each colour is half the linear light: above the background nothing changes but rounding."""
    spec = photograph_spec("clinical", "absorbance")
    rng = np.random.default_rng(seed)
    lesion = np.ones((LIGHT_PX, LIGHT_PX, 1))
    lesion[LIGHT_PX // 4 : LIGHT_PX // 2, LIGHT_PX // 4 : LIGHT_PX // 2] = 0.4
    bright = srgb(lesion * rng.uniform(0.4, 0.9, 3))
    dim = srgb(lesion * rng.uniform(0.4, 0.9, 3))
    first, second = (prepared(spec, picture, LIGHT_PX).astype(np.float32) for picture in (bright, dim))
    assert np.abs(first - second).max() < 0.03
    assert first[LIGHT_PX // 3, LIGHT_PX // 3].min() > 0.3 and abs(first[0, 0]).max() < 0.01


def srgb(linear: np.ndarray) -> np.ndarray:
    """Linear light 0 to 1 -> uint8 sRGB."""
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255 * encoded).astype(np.uint8)
