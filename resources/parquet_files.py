"""How our tables are laid out as Parquet files.

Belongs here: codecs, dictionaries and row groups; writing a file whose bytes depend on its rows only.
Does not belong here: what the columns mean, and where the file goes.

Encoded images do not shrink and a dictionary of them only costs, so binary columns have no dictionary and no
statistics, and the column ``image`` is not compressed. Small row groups make single records cheap to read.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

UNCOMPRESSED_COLUMN = "image"


def write_parquet(
    path: Path,
    rows: pa.Table | Iterable[pa.RecordBatch],
    row_group_rows: int,
    compression: str,
) -> int:
    """Writes the rows in groups of ``row_group_rows``, holding one group in memory; returns their number.

    The bytes do not depend on how the rows were cut into chunks or batches. A stream needs at least one
    batch, which may be empty, to know the columns (``ValueError``).
    """
    import pyarrow.parquet as pq

    batches = iter(rows.to_batches() if isinstance(rows, pa.Table) else rows)
    first = next(batches, None)
    if isinstance(rows, pa.Table):
        schema = rows.schema
    elif first is not None:
        schema = first.schema
    else:
        raise ValueError(f"{path.name}: a stream of no batches has no columns; yield one empty batch")
    leaves = _leaf_columns(schema)
    indexed = [leaf for leaf, binary in leaves.items() if not binary]
    options: dict[str, Any] = {
        "compression": {leaf: "NONE" if leaf == UNCOMPRESSED_COLUMN else compression for leaf in leaves},
        "use_dictionary": indexed,
        "write_statistics": indexed,
    }
    written = 0
    with pq.ParquetWriter(path, schema, **options) as writer:
        for group in _groups(schema, first, batches, row_group_rows):
            writer.write_table(group, row_group_size=row_group_rows)
            written += group.num_rows
    return written


def describe_parquet(path: Path) -> tuple[int, dict[str, str]]:
    """Number of rows, and column -> arrow type, from the file's footer. Raises ``pyarrow.ArrowInvalid``."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return file.metadata.num_rows, {column.name: str(column.type) for column in file.schema_arrow}


def _groups(
    schema: pa.Schema, first: pa.RecordBatch | None, rest: Iterator[pa.RecordBatch], size: int
) -> Iterator[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    rows = 0
    batch = first
    while batch is not None:
        waiting.append(batch)
        rows += batch.num_rows
        if rows >= size:
            table = pa.Table.from_batches(waiting, schema)
            full = rows - rows % size
            for start in range(0, full, size):
                yield table.slice(start, size).combine_chunks()
            waiting = table.slice(full).to_batches()
            rows -= full
            del table
        # What is written must not stay alive while the next batch is made.
        batch = None
        batch = next(rest, None)
    if rows:
        yield pa.Table.from_batches(waiting, schema).combine_chunks()


def _leaf_columns(schema: pa.Schema) -> dict[str, bool]:
    """Parquet path of each leaf column ("input_ids.list.element") -> whether it holds raw bytes."""
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    columns = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    raw = ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")
    return {leaf.path: leaf.physical_type in raw and leaf.logical_type.type == "NONE" for leaf in columns}
