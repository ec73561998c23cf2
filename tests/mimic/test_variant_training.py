import numpy as np
import pytest
import torch

from mm_assets.learning.training import TrainConfig
from mm_assets.mimic.training import macro_auroc, train_variant
from tests.mimic.fusion_data import multimodal_data

KNOBS = TrainConfig(epochs=15, batch_size=32, learning_rate=5e-3, patience=15)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def train(data, variant, folder, seed=0, knobs=KNOBS):
    return train_variant(data, variant, seed, knobs, width=16, scratch=folder, versions={"mimic/phase3": "x"})


def test_fusion_beats_every_single_modality_where_each_knows_its_own_labels(tmp_path):
    data = multimodal_data(tmp_path, n=(300, 100, 100))
    test = data.positions("test")
    scores = {}
    for variant in ("image", "text", "tabular", "fused"):
        trained = train(data, variant, tmp_path)
        assert trained.logits["test"].shape == (100, 14) and trained.logits["validate"].shape == (100, 14)
        scores[variant] = macro_auroc(
            trained.logits["test"], data.records.targets[test], data.records.target_mask[test]
        )
    assert scores["fused"] > max(scores[v] for v in ("image", "text", "tabular")) + 0.1


def test_a_variant_is_trained_to_the_same_weights_twice(tmp_path):
    data = multimodal_data(tmp_path)
    knobs = TrainConfig(epochs=2, batch_size=32)
    a, b = (train(data, "fused", tmp_path / name, knobs=knobs) for name in "ab")
    assert all(torch.equal(a.state_dict[key], b.state_dict[key]) for key in a.state_dict)
    assert np.array_equal(a.logits["test"], b.logits["test"])
    other = train(data, "fused", tmp_path / "c", seed=1, knobs=knobs)
    assert not np.array_equal(a.logits["test"], other.logits["test"])


def test_labels_without_both_classes_are_left_out_of_the_score():
    targets = np.array([[1, 0], [0, 0], [1, 0]])
    logits = np.array([[2.0, 5.0], [1.0, 0.0], [3.0, 1.0]])
    assert macro_auroc(logits, targets, np.ones_like(targets, bool)) == 1.0
    assert np.isnan(macro_auroc(logits, np.zeros((3, 2)), np.ones((3, 2), bool)))
