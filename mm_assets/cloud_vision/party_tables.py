"""Each party's table in a database of its own: a DuckDB file, or whatever SQLAlchemy reaches by URL (PostgreSQL).

Belongs here: writing and reading a party's table, and one clear error for each way in which that fails. Does not
belong here: credentials (they are in the URL its party was given), which records both parties hold (psi.py), and what
the rows say.

No error says more of a URL than user, host and database, and none repeats a value of a row: drivers' own messages may
do both and are left out.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from mm_assets.cloud_vision.party_preprocessing import (
    PARTY_FEATURES,
    PARTY_SCHEMAS,
    WrongPartyColumns,
    check_party_columns,
    is_number,
)
from mm_assets.cloud_vision.schema import ID_COLUMN, LABEL_COLUMN, Organisation
from resources.errors import MendableError

if TYPE_CHECKING:
    import duckdb
    import sqlalchemy as sa

PARTY_TABLES: dict[Organisation, str] = {"org2": "org2_records", "org3": "org3_records"}
Query = Literal["by_id", "aligned"]

CONNECT_SECONDS = 10
_INCOMING = "rows to be written"  # the name under which DuckDB sees them; a table's name has no blank here
# PostgreSQL's codes: no right; password or user refused; another writer came first.
_DENIED, _REFUSED = ("42501",), ("28P01", "28000")
_BUSY = ("40001", "40P01", "55P03", "23505", "42P07")


class PartyDatabaseError(MendableError):
    """A party's database cannot be opened, read or written."""


class NoPartyTable(PartyDatabaseError):
    """The database, or the party's table in it, is not there."""


class PasswordRefused(PartyDatabaseError):
    """The database does not accept user and password."""


class DatabaseDenied(PartyDatabaseError):
    """The user, or the process, has no right to this database or table."""


class DatabaseBusy(PartyDatabaseError):
    """Somebody else is writing."""


def write_party_table(database: str | Path, table: pa.Table, party: Organisation) -> None:
    """Replace all rows of the party's table; the table is made where it is missing.

    ``database`` is the path of a DuckDB file, or an SQLAlchemy URL. ``table`` has the party's columns, in any order.
    Readers see the old rows or the new ones, never a mixture, and a failed write leaves the old ones (on DuckDB and
    PostgreSQL; elsewhere as far as the database's transactions go). Writing twice is writing once. Rights and
    constraints that the table has stay. Raises PartyDatabaseError and its kinds, WrongPartyColumns and its kinds.
    """
    rows = _typed(table, party, PARTY_SCHEMAS[party])
    if _is_url(database):
        _write_by_url(str(database), rows, party)
        return
    path = _path(database)
    with _duckdb_errors(path, party):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _opened(path, read_only=False) as connection:
            found = _duckdb_columns(connection, party)
            if found:
                check_party_columns(found, party, required=rows.column_names)
            name = _quoted(PARTY_TABLES[party])
            listed = ", ".join(map(_quoted, rows.column_names))
            connection.register(_INCOMING, rows)
            connection.begin()
            if not found:
                connection.execute(f"CREATE TABLE {name} AS SELECT {listed} FROM {_quoted(_INCOMING)} WHERE false")
            connection.execute(f"DELETE FROM {name}")
            connection.execute(f"INSERT INTO {name} ({listed}) SELECT {listed} FROM {_quoted(_INCOMING)}")
            connection.commit()  # leaving without it, and closing, rolls back


def read_party_table(database: str | Path, party: Organisation, query: Query = "by_id") -> pa.Table:
    """The party's rows, in the types of its schema.

    ``by_id``: with ids, for joining on them. A database keeps no order, so rows come sorted by all columns, whichever
    database they come from. ``aligned``: the form of the original design, ``ORDER BY image_id`` without the id.
    UNSAFE, and here to show what it costs: two parties' rows fit together only if both hold the same ids, once each,
    spelled alike and sorted by the same rules, and without ids nobody can see that they do not.

    Raises PartyDatabaseError and its kinds, WrongPartyColumns and its kinds.
    """
    aligned = query == "aligned"
    schema = PARTY_SCHEMAS[party]
    wanted = [name for name in schema.names if not (aligned and name == ID_COLUMN)]
    if _is_url(database):
        found = _read_by_url(str(database), party, wanted, aligned)
    else:
        found = _read_duckdb(_path(database), party, wanted, aligned)
    rows = _typed(found, party, pa.schema([schema.field(name) for name in wanted]))
    return rows if aligned else rows.sort_by([(name, "ascending") for name in wanted])


def _typed(table: pa.Table, party: Organisation, schema: pa.Schema) -> pa.Table:
    """Columns of ``schema`` in its order and types, checked; no message holds a value."""
    check_party_columns(table.column_names, party, required=schema.names)
    columns = []
    for field in schema:
        column = table[field.name]
        if not _convertible(field.name, column.type, party):
            raise WrongPartyColumns(
                f"{field.name} of {party} is of type {column.type}: store it as {_advised(field.name, party)}"
            )
        try:
            columns.append(column.cast(field.type, safe=field.name not in PARTY_FEATURES[party]))
        except pa.ArrowInvalid:
            raise WrongPartyColumns(f"{field.name} of {party} holds values beyond {field.type}: correct them") from None
    return pa.table(columns, schema=schema)


def _convertible(name: str, kind: pa.DataType, party: Organisation) -> bool:
    if name in PARTY_FEATURES[party]:
        return is_number(kind)
    types = pa.types
    if name == LABEL_COLUMN:
        return types.is_integer(kind) or types.is_null(kind)
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_null(kind)
    return text or (name == ID_COLUMN and types.is_integer(kind))


def _advised(name: str, party: Organisation) -> str:
    if name in PARTY_FEATURES[party]:
        return "a number"
    return "a whole number" if name == LABEL_COLUMN else "text"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _no_table(where: str, party: Organisation) -> NoPartyTable:
    return NoPartyTable(
        f"{where} has no table {PARTY_TABLES[party]!r} that {party} can see: write it first, or correct the address"
    )


# DuckDB


def _is_url(database: str | Path) -> bool:
    return isinstance(database, str) and "://" in database


def _path(database: str | Path) -> Path:
    # Absolute, so that ":memory:" and "md:..." are files like any other.
    return Path(database).expanduser().absolute()


@contextmanager
def _opened(path: Path, *, read_only: bool) -> "Iterator[duckdb.DuckDBPyConnection]":
    import duckdb

    connection = duckdb.connect(str(path), read_only=read_only)
    try:
        yield connection
    finally:
        connection.close()


def _read_duckdb(path: Path, party: Organisation, wanted: list[str], aligned: bool) -> pa.Table:
    with _duckdb_errors(path, party):
        if not path.exists():
            raise _no_table(str(path), party)
        with _opened(path, read_only=True) as connection:
            found = _duckdb_columns(connection, party)
            if not found:
                raise _no_table(str(path), party)
            check_party_columns(found, party, required=PARTY_SCHEMAS[party].names)
            order = f" ORDER BY {_quoted(ID_COLUMN)}" if aligned else ""
            listed = ", ".join(map(_quoted, wanted))
            return connection.sql(f"SELECT {listed} FROM {_quoted(PARTY_TABLES[party])}{order}").to_arrow_table()


def _duckdb_columns(connection: "duckdb.DuckDBPyConnection", party: Organisation) -> list[str]:
    """Names of the columns; none: no such table."""
    rows = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = ? AND table_schema = 'main' "
        "AND table_catalog = current_database() ORDER BY ordinal_position",
        [PARTY_TABLES[party]],
    ).fetchall()
    return [str(name) for (name,) in rows]


@contextmanager
def _duckdb_errors(path: Path, party: Organisation) -> Iterator[None]:
    import duckdb

    try:
        yield
    except (duckdb.Error, OSError) as error:
        text = str(error).casefold()
        if "permission denied" in text or isinstance(error, PermissionError):
            raise DatabaseDenied(f"this process has no right to {party}'s database {path}: {_ask_for(party)}") from None
        if "could not set lock" in text or "different configuration" in text:
            raise DatabaseBusy(f"{path} is open for writing elsewhere: run this again when that has ended") from None
        if isinstance(error, duckdb.ConstraintException):
            raise PartyDatabaseError(_constrained(str(path), party)) from None
        raise PartyDatabaseError(
            f"{path} cannot be used as {party}'s DuckDB file ({type(error).__name__}): check that it is one, and the "
            "space on its disk"
        ) from None


# Any database by URL


def _write_by_url(url: str, rows: pa.Table, party: Organisation) -> None:
    import sqlalchemy as sa

    # Two writers at once: the later one is refused. With less isolation both sets of rows would stay.
    with _connected(url, party, isolation_level="SERIALIZABLE") as connection:
        target = _sql_table(party)
        if sa.inspect(connection).has_table(target.name):
            check_party_columns(_sql_columns(connection, url, party), party, required=rows.column_names)
        else:
            target.create(connection)
        connection.execute(sa.delete(target))
        if rows.num_rows:
            connection.execute(sa.insert(target), rows.to_pylist())
        connection.commit()


def _read_by_url(url: str, party: Organisation, wanted: list[str], aligned: bool) -> pa.Table:
    import sqlalchemy as sa

    with _connected(url, party) as connection:
        check_party_columns(_sql_columns(connection, url, party), party, required=PARTY_SCHEMAS[party].names)
        # Without types: those of the values are checked, not those that the table ought to have.
        query: Any = sa.select(*(sa.column(_always(name)) for name in wanted)).select_from(
            sa.table(_always(PARTY_TABLES[party]))
        )
        rows = connection.execute(query.order_by(sa.column(_always(ID_COLUMN))) if aligned else query).all()
    columns = {}
    for name, values in zip(wanted, zip(*rows, strict=True) if rows else [()] * len(wanted), strict=True):
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            raise WrongPartyColumns(
                f"{name} of {party} holds values of several types: store it as {_advised(name, party)}"
            ) from None
    return pa.table(columns)


def _sql_table(party: Organisation) -> "sa.Table":
    import sqlalchemy as sa

    kinds = {pa.string(): sa.Text, pa.float32(): sa.REAL, pa.int32(): sa.Integer}
    columns = (sa.Column(_always(field.name), kinds[field.type]()) for field in PARTY_SCHEMAS[party])
    return sa.Table(_always(PARTY_TABLES[party]), sa.MetaData(), *columns)


def _always(name: str) -> "sa.quoted_name":
    import sqlalchemy as sa

    return sa.quoted_name(name, quote=True)


def _sql_columns(connection: "sa.Connection", url: str, party: Organisation) -> list[str]:
    import sqlalchemy as sa

    try:
        return [str(column["name"]) for column in sa.inspect(connection).get_columns(PARTY_TABLES[party])]
    except sa.exc.NoSuchTableError:
        raise _no_table(_shown(_parsed(url)), party) from None


@contextmanager
def _connected(url: str, party: Organisation, **options: Any) -> "Iterator[sa.Connection]":
    """A connection of its own; nothing stays open, and what was not committed is undone."""
    import sqlalchemy as sa

    parsed = _parsed(url)
    if parsed.get_backend_name() == "postgresql" and "connect_timeout" not in parsed.query:
        options["connect_args"] = {"connect_timeout": CONNECT_SECONDS}
    try:
        # A message with parameters would hold rows.
        engine = sa.create_engine(parsed, poolclass=sa.NullPool, hide_parameters=True, **options)
    except (sa.exc.SQLAlchemyError, ImportError, TypeError, ValueError):
        raise PartyDatabaseError(
            f"no driver for {parsed.drivername!r}: install it, or write postgresql+psycopg://user:password@host/database"
        ) from None
    try:
        with engine.connect() as connection:
            yield connection
    except sa.exc.SQLAlchemyError as error:
        raise _explained(error, _shown(parsed), party) from None


def _parsed(url: str) -> "sa.URL":
    import sqlalchemy as sa

    unreadable = PartyDatabaseError(
        "the database's address is no URL (it is not shown, it may hold a password): write "
        "driver://user:password@host:port/database, with '@', ':', '/' and '%' in the password as %40, %3A, %2F and %25"
    )
    if url.count("@") > 1:  # a bare "@" in a password: what follows it would pass for the host, and be shown
        raise unreadable
    try:
        return sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise unreadable from None


def _shown(url: "sa.URL") -> str:
    user = f"{url.username}@" if url.username else ""
    port = f":{url.port}" if url.port else ""
    return f"{url.get_backend_name()}://{user}{url.host or ''}{port}/{url.database or ''}"


def _explained(error: Exception, where: str, party: Organisation) -> PartyDatabaseError:
    driver = getattr(error, "orig", None)
    # While connecting, the driver has a text and no code.
    code, text = getattr(driver, "sqlstate", None) or "", str(driver or "").casefold()
    if code in _REFUSED or "password authentication failed" in text or "no password supplied" in text:
        return PasswordRefused(f"{where} does not accept user and password: correct {party}'s database URL")
    if code in _DENIED or "permission denied" in text or "readonly" in text:
        return DatabaseDenied(f"the user of {where} has no right to {party}'s table there: {_ask_for(party)}")
    if code in _BUSY or "database is locked" in text:
        return DatabaseBusy(f"{where} was written to by somebody else in the same moment: run this again")
    if code == "3D000" or ("database" in text and "does not exist" in text):
        return NoPartyTable(f"{where}: the server has no such database: create it, or correct the address")
    if code.startswith(("22", "23")):
        return PartyDatabaseError(_constrained(where, party))
    if code:
        return PartyDatabaseError(
            f"{where} refused to read or write {party}'s table (code {code}): see its server's log"
        )
    return PartyDatabaseError(f"{where} cannot be reached: check that the server runs, host and port")


def _constrained(where: str, party: Organisation) -> str:
    return (
        f"{where}: table {PARTY_TABLES[party]!r} does not take these rows, and keeps those it had: check its "
        "constraints and types"
    )


def _ask_for(party: Organisation) -> str:
    return f"use the address and credentials of {party}, or ask their owner for the right"
