"""The audits' jobs: which rows are misaligned, and what the verdict is made of."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from mm_assets.cloud_vision.audit_jobs import (
    AuditedNetwork,
    aligned_rows,
    guesses,
    leak_jobs,
    leak_records,
    leak_verdict,
    misaligned,
    misalignment_jobs,
    run_leak,
    run_misalignment,
)
from mm_assets.cloud_vision.defence import OPEN, Defence
from mm_assets.cloud_vision.ids import ids_digest
from mm_assets.cloud_vision.label_leak import LeakRow
from mm_assets.cloud_vision.party_steps import SplitKnobs
from mm_assets.cloud_vision.predictions import SplitAnswers
from mm_assets.cloud_vision.row_files import RowFiles, RowsOutOfStep, open_rows
from tests.cloud_vision.split_data import CONFIG, two_parties

N = 90
IDS = [f"img_{k:05d}" for k in range(N)]
KNOBS = SplitKnobs(epochs=1, batch_size=32)
MERGED = Defence("merged_labels", 0.6, (0, 2))


@pytest.fixture
def files(tmp_path):
    org2, org3 = two_parties(N)
    save_file({"features": org2.features, "labels": org2.labels}, tmp_path / "org2.safetensors")
    save_file({"features": org3.features, "pixels": org3.pixels}, tmp_path / "org3.safetensors")
    split = ["train"] * 60 + ["validate"] * 12 + ["test"] * 18
    pq.write_table(pa.table({"image_id": IDS, "split": split}), tmp_path / "common.parquet")
    return RowFiles(
        tmp_path / "org2.safetensors", tmp_path / "org3.safetensors", tmp_path / "common.parquet", ids_digest(IDS)
    )


@pytest.fixture
def network(files):
    """Trained with three seeds, of which the first two are audited; all but one network name class 1."""
    labels = np.array([1] * 9 + [0] * 9)
    test = SplitAnswers(np.array(IDS[-18:]), labels)
    for seed in range(3):
        for name in ("joint", "org3"):
            test.logits[name, seed] = np.tile([0.0, 1.0, 0.0], (18, 1))
    test.logits["org3", 1] = np.eye(3)[[2] * 12 + [0] * 6]
    return AuditedNetwork(files, CONFIG, KNOBS, (0, 1), test)


def test_rows_of_another_alignment_are_refused(files):
    rows = open_rows(files)
    assert [len(rows.places[name]) for name in ("train", "validate", "test", "shifted")] == [60, 12, 18, 0]
    other = RowFiles(files.org2, files.org3, files.common, ids_digest(IDS[1:]))
    with pytest.raises(RowsOutOfStep, match="different alignments"):
        open_rows(other)


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_only_the_asked_share_of_train_rows_is_misaligned(share):
    _, org3 = two_parties(N)
    train = np.arange(60)
    found = misaligned(org3, train, share, seed=3)
    moved = (found.features != org3.features).any(1)
    assert moved[:60].sum() == round(share * 60) and not moved[60:].any()
    assert ((found.pixels != org3.pixels).any((1, 2)) == moved).all()
    assert sorted(map(tuple, found.features[:60])) == sorted(map(tuple, org3.features[:60]))


def test_misalignment_is_measured_per_share_and_seed(network):
    jobs = misalignment_jobs(network, [0.5, 0.0, 0.2])
    assert [(job.share, job.knobs.seed) for job in jobs] == [(0.2, 0), (0.2, 1), (0.5, 0), (0.5, 1)]
    assert aligned_rows(network) == [{"share": 0.0, "seed": seed, "accuracy": 0.5, "n": 18} for seed in (0, 1)]
    found = run_misalignment(jobs[2])
    assert (found["share"], found["seed"], found["n"]) == (0.5, 0, 18) and 0 <= found["accuracy"] <= 1


def test_a_defence_is_measured_beside_the_guess(network):
    jobs = leak_jobs(network, [OPEN, MERGED])
    assert [(job.defence, job.knobs.seed) for job in jobs] == [(OPEN, 0), (MERGED, 0), (OPEN, 1), (MERGED, 1)]
    undefended = run_leak(jobs[0])
    assert undefended.defence == OPEN and 0 <= undefended.accuracy <= 1
    assert guesses(network) == {0: 9 / 18, 1: 6 / 18}


def test_the_verdict_is_on_means_over_seeds(network):
    jobs = leak_jobs(network, [OPEN, MERGED])
    found = [
        LeakRow(OPEN, 0.80, 0.81, 0.9, 0.9, float("inf")),
        LeakRow(MERGED, 0.75, 0.76, 0.55, 0.6, 1.4),  # alone it would cost too much
        LeakRow(OPEN, 0.80, 0.81, 1.0, 1.0, float("inf")),
        LeakRow(MERGED, 0.83, 0.84, 0.57, 0.6, 1.4),
    ]
    guessed = {0: 0.5, 1: 0.54}
    verdict = leak_verdict(found, guessed)
    assert verdict["reached"] and verdict["defence"] == MERGED.name and verdict["seeds"] == 2
    assert verdict["guess"] == pytest.approx(0.52)
    records = leak_records(jobs, found, guessed)
    assert [(row["seed"], row["guess"]) for row in records] == [(0, 0.5), (0, 0.5), (1, 0.54), (1, 0.54)]
    assert [row["validated"] for row in records] == [0.81, 0.76, 0.81, 0.84]
    assert [row["epsilon"] for row in records] == [None, 1.4, None, 1.4]
