"""Typed reading of published CSV tables, plain or gzipped.

Belongs here: finding a table's file, checking its header, parsing it with explicit column types, and errors
that say where a file is broken without repeating a value of it (the values may be patients').
Does not belong here: which tables a data set has and what their columns mean
(``mm_assets/<wing>/schema.py``).

Rules of reading:

- Columns are matched by name. Their order in the file does not matter and further columns are ignored; a
  missing column is an error.
- An empty field is null in every type; so is ``NaN``, which other people's tools write for missing numbers.
- LF and CRLF line ends, a UTF-8 byte order mark and several gzip members are accepted.
"""

import csv
import gzip
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from resources.errors import MendableError

if TYPE_CHECKING:
    import duckdb

NULL_SPELLINGS = ["", "NaN", "nan"]
FETCH_AGAIN = "fetch the file again and compare it with the SHA256SUMS.txt beside it"


class TableError(MendableError):
    """A table file is missing, broken, or not the table it is named for."""


def read_csv_table(path: Path, columns: Mapping[str, str]) -> pa.Table:
    """Read ``columns`` (name -> DuckDB type) of a ``.csv`` or ``.csv.gz`` file; rows keep the file's order.

    VARCHAR arrives as string, BIGINT as int64, INTEGER as int32, DOUBLE and FLOAT as float64 and float32,
    TIMESTAMP as timestamp[us] without a zone, DATE as date32.
    Raises TableError: header lacks a column, a value does not parse, the gzip stream ends early, not UTF-8.
    """
    wanted = ", ".join(_quoted(name) for name in columns)
    return _query(path, columns, f"SELECT {wanted} FROM")


def count_csv_rows(path: Path, columns: Mapping[str, str]) -> int:
    """Rows of a table file, after parsing every value of ``columns`` and keeping none. Raises TableError."""
    # count(column) makes DuckDB convert the column; count(*) alone would skip the conversion and with it the
    # errors.
    parsed = ", ".join(f"count({_quoted(name)})" for name in columns)
    return _query(path, columns, f"SELECT count(*) AS n, {parsed} FROM")["n"][0].as_py()


def empty_table(columns: Mapping[str, str]) -> pa.Table:
    """A table with the columns and types that read_csv_table gives, and no rows."""
    import duckdb

    typed = ", ".join(f"NULL::{kind} AS {_quoted(name)}" for name, kind in columns.items())
    with duckdb.connect() as connection:
        return connection.sql(f"SELECT {typed} WHERE false").to_arrow_table()


def _query(path: Path, columns: Mapping[str, str], select: str) -> pa.Table:
    import duckdb

    header = _read_header(path)
    missing = [name for name in columns if name not in header]
    if missing:
        raise TableError(
            f"{path}: the header lacks {', '.join(missing)} (it has {', '.join(header)}): "
            "this is another table or another release; put the published file there"
        )
    # DuckDB takes names and types by position, so every column of the file is named, wanted or not.
    types = {name: columns.get(name, "VARCHAR") for name in header}
    source = (
        "read_csv(?, columns = ?, nullstr = ?, header = true, auto_detect = false, "
        "delim = ',', quote = '\"', escape = '\"')"
    )
    try:
        with duckdb.connect() as connection:
            return connection.sql(f"{select} {source}", params=[str(path), types, NULL_SPELLINGS]).to_arrow_table()
    except duckdb.Error as error:
        raise TableError(_explain(path, error)) from None


def _read_header(path: Path) -> list[str]:
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
    except FileNotFoundError:
        raise TableError(f"{path} is not there: put the table there, or correct its address") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TableError(f"{path}: not a whole gzip file ({error}): {FETCH_AGAIN}") from None
    except UnicodeDecodeError:
        raise TableError(f"{path}: line 1 is not UTF-8 text: {FETCH_AGAIN}") from None
    except OSError as error:
        raise TableError(f"{path} cannot be read ({error.strerror}): check the file and its permissions") from None
    if not any(header):
        raise TableError(f"{path} is empty or has no header line: {FETCH_AGAIN}")
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise TableError(f"{path}: the header names {', '.join(repeated)} twice: put the published file there")
    return header


def _explain(path: Path, error: "duckdb.Error") -> str:
    """One line without any value of the file: DuckDB's own message quotes the row it stumbled over."""
    import duckdb

    text = str(error)
    if re.search(r"gzip", text, re.IGNORECASE):
        return f"{path}: the gzip stream is cut off or damaged: {FETCH_AGAIN}"
    line = re.search(r"CSV Error on Line: (\d+)", text)
    where = f"{path}, line {line[1]}" if line else str(path)
    value = re.search(r'converting column "(.+?)"\. Could not convert string .* to \'(\w+)\'', text, re.DOTALL)
    if value:
        return f"{where}, column {value[1]}: the value is not of type {value[2]}: correct it, or empty the field"
    fields = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text)
    if fields:
        what = f"{fields[2]} fields where the header has {fields[1]}"
        return f"{where}: {what}: correct the line, or {FETCH_AGAIN}"
    if "unterminated quote" in text:
        return f"{where}: a quote is opened and never closed: correct the line, or {FETCH_AGAIN}"
    if "unicode" in text.lower():
        return f"{where}: not UTF-8 text: write the file anew as UTF-8, or {FETCH_AGAIN}"
    if isinstance(error, duckdb.OutOfMemoryException):
        return f"{where}: not enough memory to read it: free some, or read it on a larger machine"
    return f"{where}: not a well-formed CSV file (mixed line ends, stray quotes): {FETCH_AGAIN}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
