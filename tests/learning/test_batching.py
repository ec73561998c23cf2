import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_assets.learning.batching import EpochBatches, FixedBatches, epoch_order


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 300), st.integers(2, 64), st.integers(0, 5))
def test_an_epoch_holds_every_record_once_in_even_batches(n, size, epoch):
    batches = epoch_order(np.arange(n), size, seed=1, epoch=epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(n))
    sizes = [len(b) for b in batches]
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 2, "batch normalisation cannot train on one record"


def test_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        return np.concatenate(epoch_order(np.arange(50), 8, seed=seed, epoch=epoch)).tolist()

    assert order(0, 3) == order(0, 3)
    assert len({tuple(order(s, e)) for s in (0, 1) for e in (0, 1)}) == 4


def test_processes_share_an_epoch_without_overlap_and_in_step():
    parts = [epoch_order(np.arange(101), 8, seed=0, epoch=0, rank=r, world=3) for r in range(3)]
    seen = np.concatenate([np.concatenate(p) for p in parts])
    assert len(np.unique(seen)) == len(seen) == 99
    assert len({len(p) for p in parts}) == 1


def test_the_epoch_is_asked_for_when_an_iteration_starts():
    now = [0]
    batches = EpochBatches(lambda rows: {"rows": rows}, np.arange(20), 5, seed=0, epoch=lambda: now[0])
    iteration = iter(batches)
    now[0] = 7
    assert np.array_equal(next(iteration)["rows"], epoch_order(np.arange(20), 5, seed=0, epoch=7)[0])
    assert len(batches) == 4


def test_fixed_batches_keep_the_order():
    batches = list(FixedBatches(lambda rows: {"rows": rows}, np.array([5, 3, 9, 1, 2]), 2))
    assert np.concatenate([b["rows"] for b in batches]).tolist() == [5, 3, 9, 1, 2]
    assert max(len(b["rows"]) for b in batches) == 2
