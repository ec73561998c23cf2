from dataclasses import replace

import numpy as np
import pytest
import torch

from mm_assets.learning.training import TrainConfig
from mm_assets.mimic import training
from mm_assets.mimic.labels import LabelPolicy
from mm_assets.mimic.model import MDFNetConfig
from mm_assets.mimic.training import macro_auroc, train_variant, variant_key
from tests.mimic.fusion_data import multimodal_data

KNOBS = TrainConfig(epochs=15, batch_size=32, learning_rate=5e-3, patience=15)


def train(data, variant, folder, seed=0, knobs=KNOBS, **more):
    versions = {"mimic/phase3": "x"}
    return train_variant(data, variant, seed, knobs, width=16, scratch=folder, versions=versions, **more)


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


def test_a_finished_run_is_not_taken_for_one_of_another_label_policy(tmp_path):
    data = multimodal_data(tmp_path)
    knobs = TrainConfig(epochs=1, batch_size=32)
    first = train(data, "tabular", tmp_path, knobs=knobs)
    assert train(data, "tabular", tmp_path, knobs=knobs).work_dir == first.work_dir
    # Other targets of the same records and versions: what another policy makes of them.
    other = replace(data, records=replace(data.records, targets=1 - data.records.targets))
    again = train(other, "tabular", tmp_path, knobs=knobs, policy=LabelPolicy(uncertain="one"))
    assert again.work_dir != first.work_dir
    assert not np.array_equal(again.logits["test"], first.logits["test"])


CHANGES = {"BCE_WEIGHT": 0.5, "FOCAL_WEIGHT": 0.5, "FOCAL_GAMMA": 1.0, "POS_WEIGHT_CAP": 5.0, "TRAINING_VERSION": 99}


@pytest.mark.parametrize("constant", CHANGES)
def test_the_run_is_named_by_its_loss_and_the_version_of_the_code(monkeypatch, constant):
    def key():
        return variant_key(MDFNetConfig(), KNOBS, LabelPolicy(), {})

    before = key()
    assert key() == before
    monkeypatch.setattr(training, constant, CHANGES[constant])
    assert key() != before


def test_labels_without_both_classes_are_left_out_of_the_score():
    targets = np.array([[1, 0], [0, 0], [1, 0]])
    logits = np.array([[2.0, 5.0], [1.0, 0.0], [3.0, 1.0]])
    assert macro_auroc(logits, targets, np.ones_like(targets, bool)) == 1.0
    assert np.isnan(macro_auroc(logits, np.zeros((3, 2)), np.ones((3, 2), bool)))
