import pytest
import torch
from safetensors.torch import save_file

from mm_assets.learning.image_encoders import ImageEncoder, find_weights
from resources.hub import EncoderUnavailable, EncoderUnknown

# A network that gives NCHW maps, one that gives NHWC maps, one that gives tokens behind class tokens, and a cut one.
NETWORKS = [
    ("test_efficientnet", 64, None, (2, 2)),
    ("test_efficientnet", 56, 2, (7, 7)),
    ("mambaout_femto", 64, None, (2, 2)),
    ("swin_tiny_patch4_window7_224", 56, 1, (7, 7)),
    ("deit_tiny_distilled_patch16_224", 64, None, (4, 4)),
    ("test_vit", 64, 1, (4, 4)),
]


@pytest.mark.parametrize(("name", "size", "stage", "grid"), NETWORKS)
@pytest.mark.parametrize("channels", [1, 12])
def test_every_form_of_output_becomes_a_grid_of_tokens(name, size, stage, grid, channels):
    encoder = ImageEncoder(name, channels, size, stage=stage).eval()
    tokens = encoder(torch.randn(2, channels, size, size))
    assert encoder.grid == grid and tokens.shape == (2, grid[0] * grid[1], encoder.dim)


@pytest.mark.parametrize(("name", "size", "stage", "grid"), NETWORKS[:4])
def test_tokens_lie_row_by_row(name, size, stage, grid):
    torch.manual_seed(0)
    encoder = ImageEncoder(name, 3, size, stage=stage).eval()
    blank = torch.zeros(1, 3, size, size)
    corner = blank.clone()
    corner[..., -size // (2 * grid[0]) :, : size // (2 * grid[1])] = 3.0  # bottom left
    moved = (encoder(corner) - encoder(blank)).abs().sum(-1).view(grid)
    assert divmod(int(moved.argmax()), grid[1]) == (grid[0] - 1, 0)


def test_building_draws_the_same_weights_for_the_same_seed_and_leaves_the_mode_alone():
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        encoder = ImageEncoder("test_resnet", 3, 56, stage=2)
        assert encoder.training
        states.append(encoder.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("stage", [None, 2])
def test_weights_of_three_channels_serve_other_counts_as_well(tmp_path, stage):
    import timm

    torch.manual_seed(1)
    donor = timm.create_model("test_resnet")
    path = tmp_path / "model.safetensors"
    save_file(donor.state_dict(), str(path))
    three = ImageEncoder("test_resnet", 3, 56, stage=stage, weights=path).eval()
    twelve = ImageEncoder("test_resnet", 12, 56, stage=stage, weights=path).eval()
    donor_map = donor.eval().forward_intermediates(torch.ones(1, 3, 56, 56), intermediates_only=True)[2]
    if stage is not None:
        assert torch.allclose(three(torch.ones(1, 3, 56, 56)), donor_map.flatten(2).mT, atol=1e-5)
    # timm repeats the three filters and scales them, so an even picture gives the same answer.
    assert torch.allclose(twelve(torch.ones(1, 12, 56, 56)), three(torch.ones(1, 3, 56, 56)), atol=1e-4)


def test_where_weights_come_from(tmp_path, monkeypatch):
    assert find_weights("test_resnet", "random") is None
    assert find_weights("test_resnet", str(tmp_path / "x.safetensors")) == tmp_path / "x.safetensors"
    (tmp_path / "test_resnet").mkdir()
    monkeypatch.setenv("MM_HUB_DIR", str(tmp_path))
    assert find_weights("test_resnet", "hub") == tmp_path / "test_resnet" / "model.safetensors"


def test_weights_that_cannot_be_had_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("MM_HUB_DIR", raising=False)
    with pytest.raises(EncoderUnavailable, match="MM_HUB_DIR/test_resnet"):
        find_weights("test_resnet", "hub@0123456789")
    with pytest.raises(EncoderUnavailable, match="no safetensors file"):
        ImageEncoder("test_resnet", 3, 56, weights=tmp_path / "none.safetensors")


def test_names_and_stages_that_do_not_exist_are_refused():
    with pytest.raises(EncoderUnknown, match=r"timm has no network 'swin_huge'.*swin_"):
        ImageEncoder("swin_huge", 3, 56)
    with pytest.raises(EncoderUnavailable, match="stage 9"):
        ImageEncoder("test_resnet", 3, 56, stage=9)
