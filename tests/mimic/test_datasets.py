from dataclasses import replace

import numpy as np
import torch

from tests.mimic.fusion_data import multimodal_data


def test_a_batch_has_the_promised_keys_and_shapes(tmp_path):
    data = multimodal_data(tmp_path)
    batch = data.batch(np.array([3, 120, 7]))
    shapes = {key: tuple(value.shape) for key, value in batch.items()}
    words = int(batch["text_mask"].sum(1).max())
    assert shapes == {
        "targets": (3, 14), "target_mask": (3, 14), "study_id": (3,), "subject_id": (3,),
        "image_tokens": (3, 4, 20), "image_present": (3,),
        "text_tokens": (3, words, 12), "text_mask": (3, words), "text_present": (3,),
        "passage_tokens": (3, 3, 12), "passage_mask": (3, 3),
        "clinical": (3, 12), "clinical_missing": (3, 12), "tabular_present": (3,),
    }  # fmt: skip
    assert batch["study_id"].tolist() == [50_000_003, 50_000_120, 50_000_007]
    assert batch["image_tokens"].dtype == torch.float32
    assert torch.isfinite(batch["clinical"]).all()


def test_missing_measurements_are_flagged_not_filled(tmp_path):
    data = multimodal_data(tmp_path)
    everything = np.arange(len(data.records))
    missing = data.batch(everything)["clinical_missing"].numpy()
    assert np.array_equal(missing, np.isnan(data.records.clinical)) and missing.any()


def test_notes_are_padded_only_to_the_longest_of_their_batch(tmp_path):
    data = multimodal_data(tmp_path)
    lengths = data.batch(np.arange(len(data.records)))["text_mask"].sum(1)
    short = np.flatnonzero(lengths.numpy() == 3)[:4]
    assert data.batch(short)["text_tokens"].shape[1] == 3


def test_a_study_without_features_stays_and_is_marked_absent(tmp_path):
    data = multimodal_data(tmp_path)
    gone = replace(data.image, shard=np.where(np.arange(160) == 5, -1, data.image.shard))
    batch = replace(data, image=gone).batch(np.array([4, 5]))
    assert batch["image_present"].tolist() == [True, False]
    assert (batch["image_tokens"][1] == 0).all()


def test_one_modality_does_not_pay_for_the_others(tmp_path):
    batch = multimodal_data(tmp_path).batch(np.array([0, 1]), modalities=("tabular",))
    assert "clinical" in batch and not any(key.startswith(("image", "text")) for key in batch)


def test_positions_follow_the_split(tmp_path):
    data = multimodal_data(tmp_path, n=(10, 4, 6))
    assert data.positions("validate").tolist() == [10, 11, 12, 13]
