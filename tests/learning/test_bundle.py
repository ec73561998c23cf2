import json

import pytest
import torch

from mm_assets.learning.bundle import OPTIONAL, REQUIRED, BundleIncomplete, load_bundle, save_bundle

SPEC = {
    "wing": "mimic",
    "architecture": {"dim": 4},
    "preprocessing": {"size": 8},
    "labels": ["a", "b"],
    "thresholds": {"a": 0.5, "b": 0.25},
    "temperature": 1.5,
    "upstream": {"mimic/phase3": "0123"},
    "metrics": {"macro_auroc": 0.8},
    "synthetic": True,
}
WEIGHTS = {"w": torch.arange(6.0).reshape(2, 3).T, "b": torch.ones(2)}


def test_what_is_saved_is_loaded(tmp_path):
    save_bundle(tmp_path, WEIGHTS, SPEC, "# Card\n")
    bundle = load_bundle(tmp_path)
    assert bundle.spec == SPEC and bundle.card == "# Card\n"
    assert torch.equal(bundle.state_dict["w"], WEIGHTS["w"])


def test_equal_models_give_equal_bytes(tmp_path):
    save_bundle(tmp_path / "x", WEIGHTS, SPEC, "c")
    save_bundle(tmp_path / "y", dict(reversed(WEIGHTS.items())), dict(reversed(SPEC.items())), "c")
    for name in ("model.safetensors", "model.json", "card.md"):
        assert (tmp_path / "x" / name).read_bytes() == (tmp_path / "y" / name).read_bytes()


@pytest.mark.parametrize("key", sorted(REQUIRED))
def test_a_missing_key_is_named(tmp_path, key):
    spec = {k: v for k, v in SPEC.items() if k != key}
    with pytest.raises(BundleIncomplete, match=f"'{key}'"):
        save_bundle(tmp_path, WEIGHTS, spec, "c")
    assert not (tmp_path / "model.json").exists()

    save_bundle(tmp_path, WEIGHTS, SPEC, "c")
    (tmp_path / "model.json").write_text(json.dumps(spec))
    with pytest.raises(BundleIncomplete, match=f"'{key}'"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"thresholds": {"a": 0.5}},
        {"temperature": [1.0]},
        {"labels": ["a", "a"]},
        {"synthetic": "yes"},
        {"labels": []},
    ],
)
def test_a_spec_that_does_not_fit_its_labels_is_refused(tmp_path, change):
    with pytest.raises(BundleIncomplete, match="release"):
        save_bundle(tmp_path, WEIGHTS, SPEC | change, "c")


def test_a_model_of_one_number_has_no_labels(tmp_path):
    spec = {key: value for key, value in SPEC.items() if key not in OPTIONAL}
    save_bundle(tmp_path, WEIGHTS, {**spec, "thresholds": {"mild": 0.25}}, "c")
    assert load_bundle(tmp_path).spec["thresholds"] == {"mild": 0.25}
    with pytest.raises(BundleIncomplete, match="'thresholds'"):
        save_bundle(tmp_path, WEIGHTS, {**spec, "thresholds": 0.25}, "c")


@pytest.mark.parametrize("name", ["model.safetensors", "model.json", "card.md"])
def test_a_missing_file_is_named(tmp_path, name):
    save_bundle(tmp_path, WEIGHTS, SPEC, "c")
    (tmp_path / name).unlink()
    with pytest.raises(BundleIncomplete, match=name):
        load_bundle(tmp_path)


def test_damaged_weights_are_an_error_of_ours(tmp_path):
    save_bundle(tmp_path, WEIGHTS, SPEC, "c")
    (tmp_path / "model.safetensors").write_bytes(b"\0\0")
    with pytest.raises(BundleIncomplete, match="damaged"):
        load_bundle(tmp_path)
