"""Layout of the table files: codecs, row groups, bytes that depend on the rows only."""

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.parquet_files import describe_parquet, write_parquet


def _table(rows: int) -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "study_id": pa.array(range(rows), pa.int64()),
            "view": ["PA" if i % 3 else None for i in range(rows)],
            "image": [rng.bytes(20 + i % 5) for i in range(rows)],
            "attention_regions": pa.array([rng.bytes(8) for _ in range(rows)], pa.binary(8)),
            "input_ids": pa.array([list(range(i % 4)) for i in range(rows)], pa.list_(pa.int32())),
        }
    )


def test_images_are_stored_as_they_are_and_the_rest_compressed(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    assert write_parquet(path, _table(100), 40, "zstd") == 100
    metadata = pq.ParquetFile(path).metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [40, 40, 20]
    columns = {metadata.row_group(0).column(i).path_in_schema: metadata.row_group(0).column(i) for i in range(5)}
    assert {name: column.compression for name, column in columns.items()} == {
        "study_id": "ZSTD",
        "view": "ZSTD",
        "image": "UNCOMPRESSED",
        "attention_regions": "ZSTD",
        "input_ids.list.element": "ZSTD",
    }
    for name in ("image", "attention_regions"):
        assert not any("DICTIONARY" in encoding for encoding in columns[name].encodings)
        assert columns[name].statistics is None
    assert "RLE_DICTIONARY" in columns["view"].encodings
    assert columns["study_id"].statistics.max == 39


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 60), max_size=6), group=st.integers(1, 70), rows=st.integers(0, 60))
def test_bytes_do_not_depend_on_how_the_rows_were_cut(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], group: int, rows: int
) -> None:
    folder = tmp_path_factory.mktemp("p")
    table = _table(rows)
    edges = [0, *sorted(min(cut, rows) for cut in cuts), rows]
    pieces = [table.slice(a, b - a).combine_chunks() for a, b in itertools.pairwise(edges)]
    batches = [batch for piece in pieces for batch in piece.to_batches()] or table.schema.empty_table().to_batches()
    if not batches:
        batches = [pa.RecordBatch.from_pylist([], schema=table.schema)]
    assert write_parquet(folder / "whole", table, group, "zstd") == rows
    assert write_parquet(folder / "stream", iter(batches), group, "zstd") == rows
    assert write_parquet(folder / "chunked", pa.concat_tables(pieces), group, "zstd") == rows
    whole = (folder / "whole").read_bytes()
    assert (folder / "stream").read_bytes() == whole
    assert (folder / "chunked").read_bytes() == whole
    assert pq.ParquetFile(folder / "whole").read().equals(table)


def test_a_stream_without_batches_has_no_columns(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one empty batch"):
        write_parquet(tmp_path / "t", iter([]), 10, "zstd")
    empty = pa.RecordBatch.from_pylist([], schema=pa.schema({"a": pa.int8()}))
    assert write_parquet(tmp_path / "t", iter([empty]), 10, "zstd") == 0
    assert describe_parquet(tmp_path / "t") == (0, {"a": "int8"})


def test_description_names_columns_and_arrow_types(tmp_path: Path) -> None:
    write_parquet(tmp_path / "t", _table(3), 10, "zstd")
    assert describe_parquet(tmp_path / "t") == (
        3,
        {
            "study_id": "int64",
            "view": "string",
            "image": "binary",
            "attention_regions": "fixed_size_binary[8]",
            "input_ids": "list<element: int32>",
        },
    )
