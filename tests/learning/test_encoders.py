import hashlib
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mm_assets.learning.encoders import OtherWeights, load_text, load_vision, require_weights, weights_digest
from mm_assets.learning.transforms import apply_transform
from resources.hub import ENCODERS, HUB_DIR_VARIABLE, EncoderUnavailable

LITE0, MINILM = ENCODERS["efficientnet-lite0"], ENCODERS["minilm"]


@pytest.fixture(scope="module")
def vision():
    return load_vision(LITE0)


@pytest.fixture(scope="module")
def text():
    return load_text(MINILM)


def test_a_film_becomes_49_patch_tokens(vision):
    film = torch.randint(0, 256, (2, 1, 300, 300), dtype=torch.uint8)
    tokens = vision.encode(film)
    assert tokens.shape == (2, 49, 1280) and torch.isfinite(tokens).all()


def test_patches_are_in_reading_order(vision):
    film = torch.zeros(1, 1, 224, 224, dtype=torch.uint8)
    changed = film.clone()
    changed[..., :64, 160:] = 255  # top right
    moved = (vision.encode(changed) - vision.encode(film))[0].norm(dim=1).view(7, 7)
    assert moved[:3, 4:].sum() > 3 * moved[4:, :3].sum()


def test_the_embedded_vision_weights_are_the_published_ones(vision):
    digest = hashlib.sha256()
    for tensor in vision.trunk.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    assert digest.hexdigest()[:16] == "5ddd2127c0bca728"


def test_the_embedded_vision_encoder_knows_a_lion_and_a_cheetah(vision):
    """Photographs that a dependency ships; classes 291 and 293 of ImageNet, from their grey version."""
    package = find_spec("gradio").submodule_search_locations[0]
    folder = Path(package) / "media_assets" / "images"
    for name, wanted in (("lion.jpg", {291}), ("cheetah1.jpg", {293, 288, 290})):
        pixels = np.asarray(Image.open(folder / name).convert("L"))
        with torch.inference_mode():
            logits = vision.trunk(apply_transform(vision.transform, pixels).unsqueeze(0))
        assert logits.argmax().item() in wanted


def test_tokens_carry_a_gradient_to_the_pixels(vision):
    film = apply_transform(vision.transform, np.full((224, 224), 90, np.uint8)).unsqueeze(0).requires_grad_()
    vision(film).sum().backward()
    assert film.grad.abs().sum() > 0


def _similarity(text, a, b):
    encoded = text.tokenize([a, b])
    tokens = text.encode(encoded["input_ids"], encoded["attention_mask"])
    mask = encoded["attention_mask"].unsqueeze(-1)
    pooled = torch.nn.functional.normalize((tokens * mask).sum(1) / mask.sum(1), dim=-1)
    return float(pooled[0] @ pooled[1])


def test_the_embedded_text_encoder_knows_what_words_mean(text):
    near = _similarity(text, "enlarged heart", "cardiomegaly")
    far = _similarity(text, "enlarged heart", "a bill for repairing the car")
    assert near > far + 0.2


def test_notes_are_padded_only_to_their_batch(text):
    encoded = text.tokenize(["cough", "shortness of breath and fever since yesterday"])
    assert encoded["input_ids"].shape == encoded["attention_mask"].shape
    assert encoded["attention_mask"][1].all() and encoded["input_ids"].shape[1] < 16
    assert text.tokenize(["word " * 400])["input_ids"].shape[1] == 256, "the context bounds every note"
    assert text.tokenize(["word " * 400], max_tokens=32)["input_ids"].shape[1] == 32


def test_a_hub_encoder_out_of_reach_says_what_to_do(monkeypatch, tmp_path):
    with pytest.raises(EncoderUnavailable, match=HUB_DIR_VARIABLE):
        load_text(replace(ENCODERS["clinical-modernbert"], hub_id=str(tmp_path / "absent")))
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(EncoderUnavailable, match="pip install open_clip_torch"):
        load_vision(ENCODERS["biomedclip"])
    with pytest.raises(EncoderUnavailable, match="not a vision encoder"):
        load_vision(MINILM)


class Weights(torch.nn.Module):
    """Weights of several number types; `names` swaps their order and what they are called."""

    def __init__(self, names=("weight", "steps")):
        super().__init__()
        made = {"weight": torch.arange(6.0).view(2, 3), "steps": torch.tensor(3)}
        for name, buffer in zip(names, ("weight", "steps"), strict=True):
            self.register_buffer(name, made[buffer].clone())
        self.register_buffer("brain", torch.ones(4, 3, dtype=torch.bfloat16)[:, 1:])  # not contiguous
        self.register_buffer("empty", torch.zeros(0))


def test_equal_weights_have_one_digest_wherever_they_were_loaded_from(vision):
    assert weights_digest(vision) == weights_digest(load_vision(LITE0))
    assert weights_digest(Weights()) == weights_digest(Weights())
    assert len(weights_digest(Weights())) == 64


def test_a_changed_weight_name_shape_or_number_type_changes_the_digest():
    plain = weights_digest(Weights())
    one = Weights()
    one.weight[1, 2] = torch.nextafter(one.weight[1, 2], torch.tensor(9.0))
    shape, kind, zero = Weights(), Weights(), Weights()
    shape.weight = shape.weight.view(3, 2)
    kind.weight = kind.weight.view(torch.int32)
    zero.steps += 1
    found = {weights_digest(other) for other in (one, shape, kind, zero, Weights(("steps", "weight")))}
    assert len(found) == 5 and plain not in found


def test_other_weights_are_refused_with_a_sentence_that_mends(vision):
    require_weights(vision, weights_digest(vision), made="of the test", mend="mm test")
    with pytest.raises(OtherWeights) as refused:
        require_weights(vision, "0" * 64, made="the model was trained with", mend="mm materialize mimic")
    assert str(refused.value) == (
        f"efficientnet-lite0: the weights loaded here (SHA-256 {weights_digest(vision)[:12]}) are not those the model "
        "was trained with (000000000000): put those back (its package, the hub's cache or its folder below "
        "MM_HUB_DIR), or run `mm materialize mimic`"
    )


def test_a_local_folder_replaces_the_hub(text, tmp_path, monkeypatch):
    text.trunk.save_pretrained(tmp_path / "bert")
    text.tokenizer.save_pretrained(tmp_path / "bert")
    monkeypatch.setenv(HUB_DIR_VARIABLE, str(tmp_path))
    local = load_text(ENCODERS["bert"])
    ids = text.tokenize(["pleural effusion"])
    assert torch.allclose(
        local.encode(ids["input_ids"], ids["attention_mask"]),
        text.encode(ids["input_ids"], ids["attention_mask"]),
    )
