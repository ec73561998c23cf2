import datetime
import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from mm_assets.records.tables import TableError, count_csv_rows, empty_table, read_csv_table

COLUMNS = {"id": "BIGINT", "name": "VARCHAR", "value": "DOUBLE", "at": "TIMESTAMP"}
GOOD = "id,name,value,at\n1,a,2.5,2180-05-06 08:05:56\n2,,,\n"


def written(folder: Path, text: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_types_are_the_ones_asked_for(tmp_path: Path, name: str, line_end: str) -> None:
    table = read_csv_table(written(tmp_path, GOOD.replace("\n", line_end), name), COLUMNS)
    assert [str(kind) for kind in table.schema.types] == ["int64", "string", "double", "timestamp[us]"]
    assert table.to_pylist() == [
        {"id": 1, "name": "a", "value": 2.5, "at": datetime.datetime(2180, 5, 6, 8, 5, 56)},
        {"id": 2, "name": None, "value": None, "at": None},
    ]


def test_columns_are_matched_by_name_and_others_ignored(tmp_path: Path) -> None:
    text = 'value,extra,at,name,id\n2.5,"x, y",2180-05-06 08:05:56,a,1\n'
    table = read_csv_table(written(tmp_path, "\ufeff" + text), COLUMNS)
    assert table.column_names == list(COLUMNS)
    assert table["value"].to_pylist() == [2.5] and table["id"].to_pylist() == [1]


def test_nan_and_quoted_empty_are_null(tmp_path: Path) -> None:
    table = read_csv_table(written(tmp_path, 'id,name,value,at\n1,"",NaN,""\n2,"a ""b""",nan,\n'), COLUMNS)
    assert table["value"].null_count == 2 and table["at"].null_count == 2
    assert table["name"].to_pylist() == [None, 'a "b"']


def test_missing_column_names_file_and_column(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"t\.csv.*lacks value, at") as caught:
        read_csv_table(written(tmp_path, "id,name\n1,a\n"), COLUMNS)
    assert "\n" not in str(caught.value)


def test_unparsable_value_names_line_and_column_but_never_the_value(tmp_path: Path) -> None:
    path = written(tmp_path, "id,name,value,at\n1,secret,2,\n2,secret,very secret,\n")
    for read in (read_csv_table, count_csv_rows):
        with pytest.raises(TableError, match="line 3, column value") as caught:
            read(path, COLUMNS)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no header"),
        ("id,id,name,value,at\n", "id twice"),
        (GOOD + "3,b\n", "line 4: 2 fields where the header has 4"),
        (GOOD + '3,"b,1,\n', "quote"),
    ],
)
def test_broken_files_say_what_is_broken(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(TableError, match=what):
        read_csv_table(written(tmp_path, text), COLUMNS)


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.5, 0.9999])
def test_truncated_gzip_is_an_error_wherever_it_ends(tmp_path: Path, keep: float) -> None:
    rows = "".join(f"{n},name {n * 7919},{n}.5,\n" for n in range(20_000))
    whole = gzip.compress(("id,name,value,at\n" + rows).encode())
    path = tmp_path / "t.csv.gz"
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(TableError, match=r"gzip|header"):
        read_csv_table(path, COLUMNS)


def test_damaged_gzip_and_plain_text_named_gz_are_errors(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD + "".join(f"{n},name {n * 7919},{n}.5,\n" for n in range(20_000)), "t.csv.gz")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(TableError, match="gzip"):
        read_csv_table(path, COLUMNS)
    path.write_text(GOOD)
    with pytest.raises(TableError, match="gzip"):
        read_csv_table(path, COLUMNS)
    with pytest.raises(TableError, match="not there"):
        read_csv_table(tmp_path / "absent.csv", COLUMNS)


def test_not_utf8_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"id,name,value,at\n1,\xff\xfe,1,\n")
    with pytest.raises(TableError, match="UTF-8"):
        read_csv_table(path, COLUMNS)


def test_count_reads_every_value(tmp_path: Path) -> None:
    assert count_csv_rows(written(tmp_path, GOOD, "t.csv.gz"), COLUMNS) == 2


def test_empty_table_has_the_schema_of_a_read_one(tmp_path: Path) -> None:
    read = read_csv_table(written(tmp_path, GOOD), COLUMNS)
    assert empty_table(COLUMNS).schema.equals(read.schema) and empty_table(COLUMNS).num_rows == 0
    assert isinstance(read, pa.Table)
