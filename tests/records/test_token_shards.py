import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_assets.records.token_shards import ShardUnreadable, map_shard, sharded_rows, write_shard


def _two_shards(folder):
    write_shard(folder / "a", {"tokens": np.arange(2 * 3 * 4, dtype=np.float16).reshape(2, 3, 4)})
    write_shard(folder / "b", {"tokens": 100 + np.arange(1 * 5 * 4, dtype=np.float16).reshape(1, 5, 4)})
    index = {
        "study_id": np.array([11, 12, 13]),
        "shard": np.array(["a", "a", "b"]),
        "row": np.array([0, 1, 0]),
    }
    return index, {"a": folder / "a", "b": folder / "b"}


def test_rows_come_back_in_the_order_asked_for_and_padded(tmp_path):
    index, shards = _two_shards(tmp_path)
    rows = sharded_rows(np.array([13, 99, 11, 12]), index, shards, "tokens")
    assert rows.present.tolist() == [True, False, True, True]

    taken = rows.take(np.array([3, 0, 1]))
    assert taken.shape == (3, 5, 4) and taken.dtype == np.float16
    assert taken[0, 0, 0] == 12 and (taken[0, 3:] == 0).all()
    assert taken[1, 0, 0] == 100
    assert (taken[2] == 0).all()
    assert rows.take(np.array([2])).shape == (1, 3, 4), "padded only as far as the batch needs"


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([np.float16, np.uint8, np.int64]), st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_a_shard_maps_to_what_was_written(tmp_path_factory, dtype, shape):
    path = tmp_path_factory.mktemp("shard") / "x"
    values = np.random.default_rng(0).integers(0, 200, size=shape).astype(dtype)
    write_shard(path, {"values": values, "other": np.zeros(3, np.uint8)})
    assert np.array_equal(map_shard(path)["values"], values)


def test_equal_arrays_give_equal_bytes(tmp_path):
    for name, order in (("x", ("a", "b")), ("y", ("b", "a"))):
        write_shard(tmp_path / name, {key: np.full(3, ord(key), np.uint8) for key in order})
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


@pytest.mark.parametrize("content", [b"", b"\xff" * 20, (5).to_bytes(8, "little") + b"nojson"])
def test_a_damaged_shard_says_how_to_mend(tmp_path, content):
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(ShardUnreadable, match="materialize"):
        map_shard(tmp_path / "bad")


def test_a_truncated_shard_is_refused(tmp_path):
    header = json.dumps({"t": {"dtype": "F16", "shape": [100], "data_offsets": [0, 200]}}).encode()
    (tmp_path / "cut").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 10)
    with pytest.raises(ShardUnreadable):
        map_shard(tmp_path / "cut")
