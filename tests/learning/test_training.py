import itertools
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mm_assets.learning.training import (
    TrainConfig,
    best_so_far,
    clear_run,
    default_groups,
    fit,
    is_finished,
    predict_logits,
    run_key,
    schedule_factor,
)

CONFIG = TrainConfig(epochs=5, batch_size=16, learning_rate=1e-2, patience=10)
# Trains the small network below in a process of its own that sleeps after an epoch, to be killed there.
CHILD = """
import sys, time
from pathlib import Path
from tests.learning import test_training as t
train = t.make_batch
def slow(rows):
    if (Path(sys.argv[1]) / "last.ckpt").exists():
        time.sleep(0.2)
    return train(rows)
t.run(Path(sys.argv[1]), t.CONFIG, slow)
"""


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2))

    def forward(self, batch):
        return self.layers(batch["x"])


def make_batch(rows):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(96, 6)).astype(np.float32)
    y = (x[:, :2] + 0.3 * rng.normal(size=(96, 2)) > 0).astype(np.float32)
    x, y = torch.from_numpy(x[rows]), torch.from_numpy(y[rows])
    return {"x": x, "targets": y, "target_mask": torch.ones_like(y, dtype=torch.bool)}


def loss(logits, targets, mask):
    return nn.functional.binary_cross_entropy_with_logits(logits, targets)


def run(folder, config=CONFIG, make=make_batch, **more):
    torch.manual_seed(0)
    net = Net()
    result = fit(net, make, np.arange(64), np.arange(64, 96), loss, config, folder, **more)
    return net, result


def same_weights(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_training_learns_and_leaves_the_best_epoch_in_the_network(tmp_path):
    net, result = run(tmp_path, replace(CONFIG, epochs=12))
    losses = [row["val_loss"] for row in result.curves]
    assert losses[-1] < 0.8 * losses[0]
    assert result.best_epoch == int(np.argmin(losses))
    logits = predict_logits(net, make_batch, np.arange(64, 96), batch_size=7)
    batch = make_batch(np.arange(64, 96))
    again = float(loss(torch.from_numpy(logits), batch["targets"], None))
    assert again == pytest.approx(min(losses), abs=1e-6)


def test_a_killed_run_ends_with_the_same_weights(tmp_path):
    whole, expected = run(tmp_path / "whole")
    folder = tmp_path / "killed"
    root = Path(__file__).parents[2]
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)],
        env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}, cwd=root,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (folder / "last.ckpt").exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    done = len(torch.load(folder / "last.ckpt", weights_only=True)["curves"])
    assert 1 <= done < CONFIG.epochs, "the child was to be killed in the middle"

    resumed, result = run(folder)
    assert result == expected
    assert same_weights(whole, resumed)


def test_stopping_at_any_epoch_and_resuming_changes_nothing(tmp_path):
    class Stop(Exception):
        pass

    whole, expected = run(tmp_path / "whole", replace(CONFIG, accumulate=3))
    for stop_after in (1, 4):
        calls = iter(range(10_000))

        def interrupted(rows, stop_after=stop_after, calls=calls):
            if next(calls) > stop_after * 5 + 2:  # 4 training batches and 1 of validation an epoch
                raise Stop
            return make_batch(rows)

        folder = tmp_path / f"stopped-{stop_after}"
        with pytest.raises(Stop):
            run(folder, replace(CONFIG, accumulate=3), interrupted)
        resumed, result = run(folder, replace(CONFIG, accumulate=3))
        assert result == expected and same_weights(whole, resumed)


def test_a_finished_run_is_read_back_without_training(tmp_path):
    first, expected = run(tmp_path)

    def never(rows):
        raise AssertionError("a finished run must not ask for batches")

    again, result = run(tmp_path, make=never)
    assert result == expected and same_weights(first, again)


def test_another_seed_gives_another_model(tmp_path):
    a, _ = run(tmp_path / "a")
    b, _ = run(tmp_path / "b", replace(CONFIG, seed=1))
    assert not same_weights(a, b)


def test_early_stopping_keeps_the_best_epoch(tmp_path):
    scores = iter([0.1, 0.9, 0.5, 0.5, 0.5, 0.95])
    net, result = run(tmp_path, replace(CONFIG, epochs=6, patience=3), score=lambda *_: next(scores))
    assert result.best_epoch == 1 and len(result.curves) == 5
    best = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert best["epoch"] == 1
    assert torch.equal(best["state_dict"]["model.layers.0.weight"], net.layers[0].weight)


def test_frozen_parameters_and_group_rates_are_respected(tmp_path):
    torch.manual_seed(0)
    net = Net()
    net.layers[0].requires_grad_(False)
    before = net.layers[0].weight.clone()

    def groups(model):
        return [{"params": [p for p in model.parameters() if p.requires_grad], "lr": 5e-2}]

    result = fit(net, make_batch, np.arange(64), np.arange(64, 96), loss, CONFIG, tmp_path, groups=groups)
    assert torch.equal(net.layers[0].weight, before)
    assert max(row["lr"] for row in result.curves) > 1e-2


def test_curves_are_plain_numbers_and_reach_tensorboard(tmp_path):
    _, result = run(tmp_path, replace(CONFIG, epochs=2, tensorboard=True))
    assert all(type(value) is float for row in result.curves for value in row.values())
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))


def test_a_cleared_run_keeps_its_curves_only(tmp_path):
    for folder, tensorboard in ((tmp_path / "a", True), (tmp_path / "b", False)):
        run(folder, replace(CONFIG, epochs=1, tensorboard=tensorboard))
        (folder / "cache").mkdir()
        clear_run(folder)
        clear_run(folder)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["tensorboard"]
    assert not (tmp_path / "b").exists()
    run(tmp_path / "a", replace(CONFIG, epochs=1, tensorboard=True))
    assert len(list((tmp_path / "a" / "tensorboard").glob("events.*"))) == 1, "curves of two runs in one"


def test_lightning_stays_quiet(tmp_path, capfd):
    run(tmp_path, replace(CONFIG, epochs=1))
    out, err = capfd.readouterr()
    assert out == ""
    assert "Trainer" not in err and "Tip" not in err and "warn" not in err.lower()


def test_the_rate_warms_up_then_falls():
    factors = [schedule_factor(step, 100, 0.1) for step in range(100)]
    assert factors[0] == pytest.approx(0.1) and max(factors) == pytest.approx(1.0)
    assert factors.index(max(factors)) in (9, 10)
    assert all(a >= b for a, b in itertools.pairwise(factors[10:])) and factors[-1] < 0.02


def test_the_stopping_rule():
    def rows(scores):
        return [{"val_score": s} for s in scores]

    config = TrainConfig(epochs=10, patience=2)
    assert not is_finished(rows([]), config)
    assert not is_finished(rows([0.5, 0.6, 0.6]), config)
    assert is_finished(rows([0.5, 0.6, 0.6, 0.6]), config)
    assert is_finished(rows(range(10)), config)
    assert best_so_far(rows([float("nan"), 0.2, 0.2])) == 1


def test_the_run_key_follows_settings_and_data():
    base = run_key(asdict(CONFIG), {"mimic/phase3": "a"})
    assert base == run_key(asdict(CONFIG), {"mimic/phase3": "a"})
    assert base != run_key(asdict(CONFIG), {"mimic/phase3": "b"})
    assert base != run_key(asdict(replace(CONFIG, seed=1)), {"mimic/phase3": "a"})


def test_biases_and_norms_do_not_decay():
    groups = default_groups(Net(), 0.1)
    assert {g["weight_decay"]: len(g["params"]) for g in groups} == {0.1: 2, 0.0: 4}
