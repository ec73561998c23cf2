import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mm_assets.cloud_vision.central_training import build_central, predict_central, train_central
from mm_assets.cloud_vision.defence import Defence
from mm_assets.cloud_vision.party_steps import RowsUnfit, SplitKnobs
from mm_assets.cloud_vision.psi import find_intersection
from mm_assets.cloud_vision.schema import IMAGE_HOLDER, LABEL_HOLDER
from mm_assets.cloud_vision.split_training import (
    BACKWARD,
    BEGIN,
    EMBED,
    FORWARD,
    KEEP,
    RESTORE,
    Misaligned,
    OutOfStep,
)
from mm_assets.cloud_vision.wire import InProcessWire, WireError, pack, unpack
from mm_assets.cloud_vision.wire_http import HttpWire
from tests.cloud_vision.split_data import CONFIG, two_parties, two_sides

RECORDS, SEED = 150, 7
TRAIN, VALIDATE = np.arange(100), np.arange(100, RECORDS)
KNOBS = SplitKnobs(epochs=3, batch_size=32, seed=SEED)
TOKEN = "a secret of the test"


def wired(org3, tap=None):
    return InProcessWire(org3.handle, LABEL_HOLDER, IMAGE_HOLDER, tap=tap)


def largest_difference(one, other):
    assert one.keys() == other.keys()
    return max(float((one[name].double() - other[name].double()).abs().max()) for name in one)


@pytest.mark.parametrize("encoder", ["compact", "resnet10t"])
def test_split_training_is_central_training_to_the_bit(encoder):
    config = replace(CONFIG, encoder=encoder)
    org2_rows, org3_rows = two_parties(RECORDS)
    org2, org3 = two_sides(org2_rows, org3_rows, config=config, seed=SEED)
    wire = wired(org3)
    run = org2.train(wire, TRAIN, VALIDATE, KNOBS)
    central = train_central(config, org2_rows, org3_rows, TRAIN, VALIDATE, KNOBS)
    assert run.curves == central.curves
    assert run.best_epoch == central.best_epoch
    for mine, theirs in (
        (org2.bottom, central.model.org2),
        (org2.top, central.model.top),
        (org3.bottom, central.model.org3),
    ):
        assert largest_difference(mine.state_dict(), theirs.state_dict()) == 0
    together = predict_central(central.model, org2_rows, org3_rows, VALIDATE)
    assert np.array_equal(org2.predict(wire, VALIDATE), together)


@contextmanager
def org3_process(weights):
    command = [sys.executable, str(Path(__file__).with_name("org3_process.py")), str(weights), str(RECORDS), str(SEED)]
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ORG3_TOKEN": TOKEN, "PYTHONPATH": paths},
    )  # fmt: skip
    try:
        yield process.stdout.readline().strip()
        process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0


@pytest.mark.server
def test_split_training_between_two_processes_is_central_training_to_the_bit(tmp_path):
    from safetensors.torch import load_file

    org2_rows, org3_rows = two_parties(RECORDS)
    org2, _ = two_sides(org2_rows, org3_rows, seed=SEED)
    weights = tmp_path / "org3.safetensors"
    with org3_process(weights) as url:
        wire = HttpWire(url, TOKEN, LABEL_HOLDER, IMAGE_HOLDER)
        common = find_intersection([f"img_{i:05d}" for i in range(RECORDS)], wire)
        run = org2.train(wire, TRAIN, VALIDATE, KNOBS)
        logits = org2.predict(wire, VALIDATE)
        with pytest.raises(WireError, match="no training has begun"):
            wire.call(KEEP, pack({}))
        wire.close()
    central = train_central(CONFIG, org2_rows, org3_rows, TRAIN, VALIDATE, KNOBS)
    assert len(common) == RECORDS
    assert run.curves == central.curves
    assert np.array_equal(logits, predict_central(central.model, org2_rows, org3_rows, VALIDATE))
    for mine, theirs in (
        (org2.bottom.state_dict(), central.model.org2), (org2.top.state_dict(), central.model.top),
        (load_file(weights), central.model.org3),
    ):  # fmt: skip
        assert largest_difference(mine, theirs.state_dict()) == 0


def test_the_joint_model_learns_more_than_either_party():
    org2_rows, org3_rows = two_parties(900, noise=0.7)
    train, validate, test = np.arange(500), np.arange(500, 600), np.arange(600, 900)
    knobs = SplitKnobs(epochs=15, batch_size=32)
    accuracy = {}
    for parties in ("joint", "org2", "org3"):
        run = train_central(CONFIG, org2_rows, org3_rows, train, validate, knobs, parties=parties)
        logits = predict_central(run.model, org2_rows, org3_rows, test)
        accuracy[parties] = float((logits.argmax(1) == org2_rows.labels[test]).mean())
    assert accuracy["joint"] > max(accuracy["org2"], accuracy["org3"]) + 0.15


def test_only_embeddings_gradients_and_steps_cross():
    org2_rows, org3_rows = two_parties(RECORDS)
    canary2, canary3 = np.float32(271.828), np.float32(314.159)
    org2_rows.features[:, 1], org3_rows.features[:, 1] = canary2, canary3
    seen = []
    org2, org3 = two_sides(org2_rows, org3_rows)
    org2.train(wired(org3, seen.append), TRAIN, VALIDATE, KNOBS)
    crossed = {}
    for message in seen:
        assert canary2.tobytes() not in message.payload
        assert canary3.tobytes() not in message.payload
        if message.payload:
            tensors, values = unpack(message.payload)
            crossed.setdefault((message.sender, message.kind), set()).update({*tensors, *values})
    assert crossed == {
        (LABEL_HOLDER, BEGIN): {"rows", "knobs", "digest"},
        (LABEL_HOLDER, FORWARD): {"epoch", "step"},
        (LABEL_HOLDER, BACKWARD): {"gradient", "epoch", "step"},
        (LABEL_HOLDER, EMBED): {"rows", "digest"},
        (LABEL_HOLDER, KEEP): set(),
        (LABEL_HOLDER, RESTORE): set(),
        (IMAGE_HOLDER, FORWARD): {"embedding"},
        (IMAGE_HOLDER, EMBED): {"embedding"},
    }


def test_bytes_per_epoch_are_those_of_embeddings_and_gradients():
    org2, org3 = two_sides(*two_parties(RECORDS))
    run = org2.train(wired(org3), TRAIN, VALIDATE, KNOBS)
    numbers = 4 * CONFIG.embedding * len(TRAIN)
    headers = 3 * 300  # of a step's three messages that hold something, at most
    assert 2 * numbers < run.wire_bytes_per_epoch < 2 * numbers + 3 * headers
    assert run.validation_bytes_per_epoch > 4 * CONFIG.embedding * len(VALIDATE)


def test_two_runs_are_alike_and_another_seed_is_not():
    rows = two_parties(RECORDS)
    runs = []
    for seed in (SEED, SEED, SEED + 1):
        org2, org3 = two_sides(*rows, seed=seed)
        torch.rand(3)  # the shared generator has no say
        runs.append(org2.train(wired(org3), TRAIN, VALIDATE, replace(KNOBS, seed=seed)).curves)
    assert runs[0] == runs[1] != runs[2]


def test_a_defence_changes_what_crosses_and_not_the_label_holders_loss():
    rows = two_parties(RECORDS)
    first = []
    for defence in (Defence(), Defence("noise", 1.0)):
        gradients = []
        org2, org3 = two_sides(*rows)

        def tap(message, gradients=gradients):
            if message.kind == BACKWARD and message.sender == LABEL_HOLDER:
                gradients.append(unpack(message.payload)[0]["gradient"])

        org2.train(wired(org3, tap), TRAIN, VALIDATE, replace(KNOBS, epochs=1), defence=defence)
        first.append(gradients[0])
    assert not torch.equal(*first)
    difference = first[1] - first[0]
    assert float(difference.square().sum()) == pytest.approx(float(first[0].square().sum()), rel=0.5)


def test_parties_with_other_ids_refuse_to_train():
    org2_rows, org3_rows = two_parties(RECORDS)
    org2, org3 = two_sides(org2_rows, replace(org3_rows, digest="of other ids"))
    with pytest.raises(Misaligned, match="different common ids"):
        org2.train(wired(org3), TRAIN, VALIDATE, KNOBS)
    with pytest.raises(Misaligned, match="different common ids"):
        org2.predict(wired(org3), VALIDATE)


def test_a_step_out_of_turn_is_refused():
    org2_rows, org3_rows = two_parties(RECORDS)
    _, org3 = two_sides(org2_rows, org3_rows)
    wire = wired(org3)
    with pytest.raises(OutOfStep, match="no training has begun"):
        wire.call(FORWARD, pack({}, epoch=0, step=0))
    begin = pack({"rows": torch.from_numpy(TRAIN)}, knobs=vars(KNOBS), digest=org3_rows.digest)
    wire.call(BEGIN, begin)
    with pytest.raises(OutOfStep, match="step 1 of epoch 0"):
        wire.call(FORWARD, pack({}, epoch=0, step=1))
    embedding = unpack(wire.call(FORWARD, pack({}, epoch=0, step=0)))[0]["embedding"]
    with pytest.raises(OutOfStep, match="belongs to no embedding"):
        wire.call(BACKWARD, pack({"gradient": embedding[:-1]}, epoch=0, step=0))
    gradient = pack({"gradient": torch.zeros_like(embedding)}, epoch=0, step=0)
    wire.call(BACKWARD, gradient)
    with pytest.raises(OutOfStep, match="step 0 of epoch 0"):  # never taken twice
        wire.call(BACKWARD, gradient)
    with pytest.raises(WireError, match="does not answer"):
        wire.call("train/weights", pack({}))


@pytest.mark.parametrize("rows", [[RECORDS], [-1], []])
def test_rows_outside_the_common_ones_are_refused(rows):
    org2_rows, org3_rows = two_parties(RECORDS)
    _, org3 = two_sides(org2_rows, org3_rows)
    asked = pack({"rows": torch.tensor(rows, dtype=torch.int64)}, digest=org3_rows.digest)
    with pytest.raises(Misaligned, match="not among the 150"):
        wired(org3).call(EMBED, asked)


def test_a_partys_first_weights_do_not_depend_on_the_others():
    alone, joint = build_central(CONFIG, 3, "org3"), build_central(CONFIG, 3)
    assert alone.org2 is None
    assert largest_difference(alone.org3.state_dict(), joint.org3.state_dict()) == 0


def test_records_of_another_kind_are_refused():
    org2_rows, org3_rows = two_parties(20)
    with pytest.raises(RowsUnfit, match="labels are int32"):
        replace(org2_rows, labels=org2_rows.labels.astype(np.int32))
    with pytest.raises(RowsUnfit, match="preprocessor"):
        replace(org2_rows, features=org2_rows.features * np.float32(np.nan))
    with pytest.raises(RowsUnfit, match="20 rows"):
        replace(org3_rows, pixels=org3_rows.pixels[1:])


def test_received_gradients_are_kept_per_training_row():
    rows = two_parties(RECORDS)
    org2, org3 = two_sides(*rows, keep_gradients=True)
    train = np.random.default_rng(0).permutation(RECORDS)[:90]
    org2.train(wired(org3), train, VALIDATE, KNOBS)
    assert org3.log.rows.tolist() == sorted(train)
    assert org3.log.gradients.shape == (KNOBS.epochs, 90, CONFIG.embedding)
    assert np.isfinite(org3.log.gradients).all()
