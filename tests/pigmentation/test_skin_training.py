import pickle
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mm_assets.learning.training import TrainConfig
from mm_assets.pigmentation import training
from mm_assets.pigmentation.datasets import input_spec, open_lesion_data, pack_pixels, split_records
from mm_assets.pigmentation.fusion import FusionConfig
from mm_assets.pigmentation.model_assets import model
from mm_assets.pigmentation.schema import PREDICTION_SCHEMA, VARIANTS
from mm_assets.pigmentation.severity import DEFAULT_THRESHOLDS, Thresholds
from mm_assets.pigmentation.train_job import joined, load_trained, run_train_job, train_jobs, training_record
from mm_assets.pigmentation.training import (
    expected_score,
    gaussian_loss,
    loss_of,
    minus_mae,
    predict_subsets,
    severity_loss,
    squared_loss,
    squared_loss_and_spread,
    train_variant,
    variant_key,
)
from tests.pigmentation.skin_data import lesion_rows, write_files

SIZE = 16
VERSIONS = {"pigmentation/lesions": "a", "pigmentation/split": "b"}
KNOBS = SimpleNamespace(
    seeds=[0], encoder="test_convnext", stage=1, image_size=SIZE, width=16, attention_heads=4, epochs=6, batch_size=16,
    learning_rate=5e-3, weight_decay=0.01, warmup=0.1, patience=6, clip_norm=1.0, dropout=0.1, modality_dropout=0.4,
    head="regression", loss=None, pretrained=False, tensorboard=False,
)  # fmt: skip
TRAIN = TrainConfig(epochs=2, batch_size=16, learning_rate=5e-3, weight_decay=0.01)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("files"), lesion_rows(160))


@pytest.fixture(scope="module")
def packed(files, tmp_path_factory):
    return pack_pixels(files, SIZE, tmp_path_factory.mktemp("pixels"), photographs="colour", versions=VERSIONS)


@pytest.fixture(scope="module")
def data(files, packed):
    records = split_records(files)
    return open_lesion_data(records, packed, input_spec(records, packed))


def jobs_of(files, packed, folder, variants=VARIANTS, **changes):
    knobs = SimpleNamespace(**{**vars(KNOBS), **changes})
    return train_jobs(
        files, packed, knobs, thresholds=DEFAULT_THRESHOLDS, variants=variants, versions=VERSIONS,
        folder=folder / "model", scratch=folder / "scratch",
    )  # fmt: skip


def config_of(data, **changes):
    base = FusionConfig(data.spec.channels, encoder="test_convnext", stage=1, image_size=SIZE, width=16, heads=4)
    return replace(base, **changes)


def test_every_variant_learns_and_predicts_every_subset(files, packed, data, tmp_path):
    jobs = jobs_of(files, packed, tmp_path)
    assert [(job.variant, job.seed) for job in jobs] == [(variant, 0) for variant in VARIANTS]
    assert pickle.loads(pickle.dumps(jobs[0])) == jobs[0]
    results = [run_train_job(job) for job in jobs]
    table = joined(results)
    assert table.schema == PREDICTION_SCHEMA
    frame = table.to_pandas()
    score = dict(zip(data.records.record_id, data.records.score, strict=True))
    error = (frame["score"] - frame["record_id"].map(score)).abs()
    mean = data.records.score[data.positions("train")].mean()
    guess = np.abs(data.records.score[data.positions("test")] - mean).mean()
    everything = "clinical+dermoscopy+multispectral"
    for variant in VARIANTS:
        chosen = (frame["variant"] == variant) & (frame["split"] == "test") & (frame["subset"] == everything)
        assert error[chosen].mean() < 0.6 * guess
    # A row per record that has the subset, and no other.
    fused = frame[(frame["variant"] == "fused") & (frame["split"] == "test")]
    for subset, rows in fused.groupby("subset"):
        having = data.having(subset.split("+"), data.positions("test"))
        assert set(rows["record_id"]) == set(data.records.record_id[having]) and len(rows) == len(having)
    assert (
        len(fused[fused["subset"] == "clinical"])
        == len(data.positions("test"))
        > len(fused[fused["subset"] == everything])
    )
    assert frame[frame["variant"] == "pooled"]["log_sigma"].isna().all()
    assert frame[frame["variant"] != "pooled"]["log_sigma"].notna().all()

    noted = training_record(jobs, results)
    assert noted["parameters"]["fused"]["total"] > 0 and noted["best_epoch"].keys() == {f"{v}-0" for v in VARIANTS}
    assert noted["label_sources"] == {"synthetic": 160} and noted["derived_labels"] is False

    model, spec = load_trained(jobs[0].folder)
    assert spec == jobs[0].spec and model.config == jobs[0].config and not model.training
    again = predict_subsets(model, data, data.positions("test"))[spec.names]
    want = fused[fused["subset"] == everything]["score"].to_numpy()
    assert np.array_equal(again[~np.isnan(again[:, 0]), 0], want)


def test_a_killed_job_goes_on_and_ends_with_the_same_weights(data, tmp_path, monkeypatch):
    config = config_of(data)
    whole = train_variant(data, config, TRAIN, scratch=tmp_path / "whole", versions={})
    calls = []
    real = training.minus_mae

    def killed(*values):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*values)

    monkeypatch.setattr(training, "minus_mae", killed)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train_variant(data, config, TRAIN, scratch=tmp_path / "parts", versions={})
    monkeypatch.setattr(training, "minus_mae", real)
    resumed = train_variant(data, config, TRAIN, scratch=tmp_path / "parts", versions={})
    assert resumed.fit.curves == whole.fit.curves and len(calls) == 2
    states = whole.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_the_asset_is_of_the_version_of_its_training():
    (key,) = model.keys
    assert model.code_versions_by_key[key] == str(training.TRAINING_VERSION)


def test_a_run_is_named_by_what_its_weights_depend_on(data, tmp_path, monkeypatch):
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"123")

    def key(config=config_of(data), knobs=TRAIN, versions=VERSIONS, weights=None, thresholds=DEFAULT_THRESHOLDS):
        return variant_key(config, knobs, data, versions, weights or {}, thresholds)

    first, pretrained = key(), key(weights={"clinical": weights})
    weights.write_bytes(b"124")
    assert key(weights={"clinical": weights}) not in (first, pretrained)  # other content of the same size
    others = [
        key(config=config_of(data, dropout=0.2)), key(knobs=replace(TRAIN, seed=1)), key(versions={}),
        pretrained, key(thresholds=Thresholds(0.3, 0.6)),
    ]  # fmt: skip
    for name in ("TRAINING_VERSION", "COLOR_GAIN", "LEAST_SIGMA", "SPREAD_SHARE"):
        with monkeypatch.context() as patch:
            patch.setattr(training, name, 99)
            others.append(key())
    assert key() == first and len({first, *others}) == 10


OUT = torch.tensor([[0.5, -2.0], [0.8, -1.0]])
TARGET, ALL = torch.tensor([[0.4], [0.6]]), torch.ones(2, 1, dtype=torch.bool)


def test_squared_error_and_likelihood():
    assert squared_loss(OUT, TARGET, ALL).item() == pytest.approx((0.01 + 0.04) / 2)
    sigma = np.sqrt(np.exp([-4.0, -2.0]) + 0.01**2)
    want = (np.log(sigma) + 0.5 * (np.array([0.1, 0.2]) / sigma) ** 2).mean()
    assert gaussian_loss(OUT, TARGET, ALL).item() == pytest.approx(want, abs=1e-5)
    only = torch.tensor([[True], [False]])
    assert squared_loss(OUT, torch.tensor([[0.4], [torch.nan]]), only).item() == pytest.approx(0.01)


def test_under_squared_error_the_spread_has_no_say_in_the_score():
    gradients = []
    for loss in (squared_loss, squared_loss_and_spread):
        out = OUT.clone().requires_grad_()
        loss(out, TARGET, ALL).backward()
        gradients.append(out.grad)
    assert torch.equal(gradients[0][:, 0], gradients[1][:, 0])
    assert (gradients[1][:, 1] != 0).all()


def test_which_loss_a_configuration_takes(data):
    assert loss_of(config_of(data)) is squared_loss_and_spread
    assert loss_of(config_of(data, loss="heteroscedastic")) is gaussian_loss
    assert loss_of(config_of(data, loss="heteroscedastic", variant="pooled")) is squared_loss


def test_a_classifier_is_asked_for_the_severity_that_is_shown():
    # 0.2504 is shown as 0.25 and is Mild.
    targets = torch.tensor([[0.2504], [0.26], [0.61], [torch.nan]])
    mask = torch.tensor([[True], [True], [True], [False]])
    logits = 50 * torch.eye(3)[[0, 1, 2, 0]]
    assert severity_loss(logits, targets, mask, thresholds=DEFAULT_THRESHOLDS).item() == pytest.approx(0, abs=1e-6)
    assert expected_score(np.array([[50.0, 0, 0], [0, 0, 50.0]])) == pytest.approx([0.125, 0.8])


def test_a_classifier_is_trained_and_its_score_is_between_0_and_1(files, packed, tmp_path):
    (job,) = jobs_of(files, packed, tmp_path, variants=["fused"], head="classification", epochs=1)
    frame = run_train_job(job).predictions.to_pandas()
    assert frame["score"].between(0, 1).all() and frame["log_sigma"].isna().all()


def test_the_score_of_an_epoch_looks_at_known_labels_only():
    mask = np.array([[True], [True], [False]])
    assert minus_mae(np.array([[0.5, 0], [0.2, 0], [9, 0]]), np.array([[0.4], [0.4], [0.0]]), mask) == pytest.approx(
        -0.15
    )
