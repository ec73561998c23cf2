import json
from dataclasses import replace

import pytest
import torch

from mm_assets.cloud_vision.schema import IMAGE_HOLDER
from mm_assets.cloud_vision.split_model import (
    SeededDropout,
    SplitConfig,
    SplitConfigError,
    build_org2,
    build_org3,
    build_top,
    seed_step,
)

CONFIG = SplitConfig(image_px=32, channels=8, dropout=0.5)
PIXELS = torch.randint(256, (4, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
FEATURES = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("encoder", "stage"), [("compact", None), ("resnet10t", None), ("resnet10t", 1)])
def test_shapes(encoder, stage):
    config = replace(CONFIG, encoder=encoder, stage=stage)
    org3 = build_org3(config, 0).eval()
    found = org3.image_map(PIXELS)
    assert found.ndim == 4 and len(found) == 4
    embedding = org3(PIXELS, FEATURES)
    assert torch.equal(embedding, org3.embed(found, FEATURES))
    assert embedding.shape == build_org2(config, 0)(FEATURES).shape == (4, config.embedding)
    assert build_top(config, 0)(embedding, embedding).shape == (4, 3)


def test_the_image_alone():
    org3 = build_org3(replace(CONFIG, org3_features=0), 0).eval()
    assert torch.equal(org3(PIXELS, FEATURES), org3(PIXELS, FEATURES + 1))


def test_a_record_does_not_depend_on_those_beside_it():
    org3 = build_org3(CONFIG, 0).eval()
    assert torch.allclose(org3(PIXELS, FEATURES)[:2], org3(PIXELS[:2], FEATURES[:2]), atol=1e-6)


def test_images_of_another_size_are_refused():
    with pytest.raises(SplitConfigError, match="resize"):
        build_org3(CONFIG, 0)(PIXELS[:, :16, :16], FEATURES)


def test_dropout_depends_on_its_seed_alone():
    org3 = build_org3(CONFIG, 0).train()
    found = []
    for step in (0, 0, 1):
        torch.rand(1)
        seed_step(org3, IMAGE_HOLDER, 1, 0, step)
        found.append(org3(PIXELS, FEATURES))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_dropout_keeps_the_mean_and_does_nothing_in_evaluation():
    dropout = SeededDropout(0.25)
    values = torch.ones(200, 200)
    kept = dropout(values)
    assert float(kept.mean()) == pytest.approx(1, abs=0.02)
    assert float((kept == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert torch.equal(dropout.eval()(values), values)


def test_building_leaves_torchs_generator_as_it_was():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    build_org3(CONFIG, 0)
    assert torch.equal(torch.rand(1), expected)


def test_configuration_survives_json():
    config = replace(CONFIG, top_hidden=(64, 32), encoder="resnet10t", stage=1)
    assert SplitConfig.from_dict(json.loads(json.dumps(config.to_json()))) == config
