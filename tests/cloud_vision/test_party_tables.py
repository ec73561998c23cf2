import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from mm_assets.cloud_vision import party_tables
from mm_assets.cloud_vision.party_preprocessing import LabelInWrongParty, SecondLabel, WrongPartyColumns
from mm_assets.cloud_vision.party_tables import (
    PARTY_TABLES,
    DatabaseBusy,
    DatabaseDenied,
    NoPartyTable,
    PartyDatabaseError,
    PasswordRefused,
    read_party_table,
    write_party_table,
)
from mm_assets.cloud_vision.schema import ORG2_FEATURES, ORG2_SCHEMA, ORG3_FEATURES, ORG3_SCHEMA
from tests.servers.postgres import PASSWORDS, postgres_server

__all__ = ["postgres_server"]

CANARY = "raw value of a patient"
SECRET = "hunter2"
IDS = ["IMG_002 ", "img_001", "IMG-003", "img_001", None, "O'Brien\"; DROP TABLE org2_records; --", "ÄÖ ß"]


def party_rows(party, ids=IDS, *, seed=0):
    rng = np.random.default_rng(seed)
    n = len(ids)
    split = ["train", "validate", "test", "shifted"]
    columns = {"image_id": ids, "split": [split[i % 4] for i in range(n)]}
    names, schema = (ORG2_FEATURES, ORG2_SCHEMA) if party == "org2" else (ORG3_FEATURES, ORG3_SCHEMA)
    for name in names:
        columns[name] = [None if i % 5 == 3 else float(v) for i, v in enumerate(rng.normal(size=n).astype(np.float32))]
    if party == "org2":
        columns["label"] = [int(v) for v in rng.integers(0, 3, n)]
    else:
        columns["image"] = [f"images/{i}.jpg" for i in range(n)]
    return pa.table({field.name: pa.array(columns[field.name], field.type) for field in schema})


@dataclass
class Databases:
    """The two parties' addresses, and a way past our code to what is in them."""

    address: Callable[[str], str | Path]
    execute: Callable[..., list]


@pytest.fixture(params=["duckdb", pytest.param("postgres", marks=pytest.mark.server)])
def databases(request, tmp_path):
    if request.param == "duckdb":

        def execute(party, *statements):
            with duckdb.connect(str(tmp_path / f"{party}.duckdb")) as connection:
                for statement in statements:
                    found = connection.execute(statement)
                return found.fetchall()

        return Databases(lambda party: tmp_path / f"{party}.duckdb", execute)
    server = request.getfixturevalue("postgres_server")
    for party in ("org2", "org3"):
        drop_all(server, party)
    as_owner = {party: f"SET ROLE {party}" for party in ("org2", "org3")}
    return Databases(server.url, lambda party, *statements: server.run(party, as_owner[party], *statements))


@pytest.fixture
def server(postgres_server):
    for party in ("org2", "org3"):
        drop_all(postgres_server, party)
    return postgres_server


def drop_all(server, party):
    server.run(party, "DROP SCHEMA public CASCADE", f"CREATE SCHEMA public AUTHORIZATION {party}")


def as_set(table):
    return sorted(map(repr, table.to_pylist()))


@pytest.mark.parametrize("party", ["org2", "org3"])
def test_rows_come_back_as_they_were(databases, party):
    rows = party_rows(party)
    write_party_table(databases.address(party), rows, party)
    found = read_party_table(databases.address(party), party)
    assert found.schema == rows.schema
    assert as_set(found) == as_set(rows)


def test_the_order_of_rows_and_columns_does_not_reach_a_reader(databases):
    rows = party_rows("org2")
    write_party_table(databases.address("org2"), rows, "org2")
    first = read_party_table(databases.address("org2"), "org2")
    turned = rows.take(list(range(rows.num_rows))[::-1]).select(rows.column_names[::-1])
    write_party_table(databases.address("org2"), turned, "org2")
    assert read_party_table(databases.address("org2"), "org2").equals(first)


@pytest.mark.server
def test_both_kinds_of_database_give_the_same_table(server, tmp_path):
    ids = [*IDS, "b", "B", "a", "_", "Z"]  # which a locale and bytes sort differently
    for database in (tmp_path / "a.duckdb", server.url("org3")):
        write_party_table(database, party_rows("org3", ids), "org3")
    assert read_party_table(tmp_path / "a.duckdb", "org3").equals(read_party_table(server.url("org3"), "org3"))


def test_aligned_is_sorted_by_the_id_and_does_not_show_it(databases):
    rows = party_rows("org3", ["c", "a", "d", "b"])
    write_party_table(databases.address("org3"), rows, "org3")
    found = read_party_table(databases.address("org3"), "org3", "aligned")
    assert "image_id" not in found.column_names
    assert found.equals(rows.sort_by("image_id").drop_columns(["image_id"]))


def test_writing_twice_is_writing_once_and_writing_less_leaves_less(databases):
    for rows in (party_rows("org2"), party_rows("org2"), party_rows("org2", ["x"]), party_rows("org2", [])):
        write_party_table(databases.address("org2"), rows, "org2")
        assert as_set(read_party_table(databases.address("org2"), "org2")) == as_set(rows)


def test_a_failed_write_leaves_the_old_rows_and_tells_no_value(databases):
    kinds = ", ".join(f"{name} REAL" for name in ORG2_FEATURES)
    databases.execute(
        "org2",
        f"CREATE TABLE org2_records (image_id TEXT CHECK (image_id <> '{CANARY}'), {kinds}, label INT, split TEXT)",
    )
    rows = party_rows("org2")
    write_party_table(databases.address("org2"), rows, "org2")
    with pytest.raises(PartyDatabaseError, match="keeps those it had") as caught:
        write_party_table(databases.address("org2"), party_rows("org2", ["new", CANARY]), "org2")
    assert CANARY not in printed(caught.value)
    assert as_set(read_party_table(databases.address("org2"), "org2")) == as_set(rows)


def test_no_table(databases):
    with pytest.raises(NoPartyTable, match="org2_records"):
        read_party_table(databases.address("org2"), "org2")
    databases.execute("org2", "CREATE TABLE other (a INT)")
    with pytest.raises(NoPartyTable, match="write it first"):
        read_party_table(databases.address("org2"), "org2")


@pytest.mark.parametrize(
    ("party", "columns", "error", "told"),
    [
        ("org3", "label INT", LabelInWrongParty, "'label'"),
        ("org3", "diagnosis TEXT", LabelInWrongParty, "'diagnosis'"),
        ("org2", "label INT, label_2 INT", SecondLabel, "'label_2'"),
        ("org2", "label INT, f5 REAL", WrongPartyColumns, "'f5'"),
        ("org2", "labelled INT", SecondLabel, "'labelled'"),
        ("org2", "remark TEXT", WrongPartyColumns, "'remark'"),
    ],
)
def test_columns_that_do_not_belong_are_refused_by_name(databases, party, columns, error, told):
    names = ORG2_FEATURES if party == "org2" else (*ORG3_FEATURES, "image")
    listed = ", ".join(f"{name} {'TEXT' if name == 'image' else 'REAL'}" for name in names)
    statement = f"CREATE TABLE {party}_records (image_id TEXT, {listed}, split TEXT, {columns})"
    databases.execute(party, statement)
    with pytest.raises(error, match=told):
        read_party_table(databases.address(party), party)
    with pytest.raises(error, match=told):  # and nothing of it is dropped
        write_party_table(databases.address(party), party_rows(party), party)


def test_a_column_that_lacks_and_one_of_another_type_are_named(databases):
    kinds = ", ".join(f"{name} REAL" for name in ORG2_FEATURES[1:])
    databases.execute("org2", f"CREATE TABLE org2_records (image_id TEXT, {kinds}, label INT, split TEXT)")
    with pytest.raises(WrongPartyColumns, match="lacks 'f0'"):
        read_party_table(databases.address("org2"), "org2")
    databases.execute(
        "org2", "ALTER TABLE org2_records ADD COLUMN f0 TEXT", f"INSERT INTO org2_records (f0) VALUES ('{CANARY}')"
    )
    with pytest.raises(WrongPartyColumns, match="f0 of org2 is of type string") as caught:
        read_party_table(databases.address("org2"), "org2")
    assert CANARY not in printed(caught.value)


def test_wider_types_of_others_are_read_and_whole_numbers_pass_for_ids(databases):
    kinds = ", ".join(f"{name} {kind}" for name, kind in zip(ORG2_FEATURES, ["DOUBLE PRECISION", "NUMERIC(10, 4)"] * 3))
    databases.execute(
        "org2",
        f"CREATE TABLE org2_records (image_id BIGINT, {kinds}, label BIGINT, split VARCHAR(20))",
        "INSERT INTO org2_records VALUES (7, 0.1, 2.5, 3, 4, 5, 2, 'train')",
    )
    found = read_party_table(databases.address("org2"), "org2")
    assert found.schema == ORG2_SCHEMA
    row = found.to_pylist()[0]
    assert (row["image_id"], row["f0"], row["f1"], row["label"]) == ("7", np.float32(0.1), 2.5, 2)


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (lambda t: t.append_column("label", t["f0"]), SecondLabel, "'label'"),
        (lambda t: t.append_column("Target", t["label"]), SecondLabel, "'Target'"),
        (lambda t: t.append_column("f7", t["f0"]), WrongPartyColumns, "'f7'"),
        (lambda t: t.drop_columns(["split"]), WrongPartyColumns, "'split'"),
        (lambda t: t.set_column(0, "image_id", pa.array([1.5] * len(t))), WrongPartyColumns, "image_id of org2 is of"),
        (lambda t: t.set_column(6, "label", pa.array(["a"] * len(t))), WrongPartyColumns, "store it as a whole"),
        (lambda t: t.set_column(6, "label", pa.array([2**40] * len(t))), WrongPartyColumns, "beyond int32"),
    ],
)
def test_a_wrong_table_is_refused_before_anything_is_opened(tmp_path, change, error, told):
    with pytest.raises(error, match=told):
        write_party_table(tmp_path / "a.duckdb", change(party_rows("org2")), "org2")
    assert not any(tmp_path.iterdir())


def test_a_label_is_not_written_to_the_wrong_party(tmp_path):
    rows = party_rows("org3")
    with pytest.raises(LabelInWrongParty, match="only org2"):
        write_party_table(tmp_path / "a", rows.append_column("label", pa.array([0] * len(rows), pa.int32())), "org3")


def test_any_path_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (":memory:", "md:somewhere", "deep/er/a b'c.db"):
        write_party_table(name, party_rows("org2"), "org2")
        assert as_set(read_party_table(name, "org2")) == as_set(party_rows("org2"))
        assert (tmp_path / name).is_file()


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "a.duckdb").write_text(CANARY * 400)
    with pytest.raises(PartyDatabaseError, match="check that it is one"):
        read_party_table(tmp_path / "a.duckdb", "org2")


def test_another_partys_file_is_denied_without_the_right(tmp_path):
    path = tmp_path / "a.duckdb"
    write_party_table(path, party_rows("org2"), "org2")
    path.chmod(0)
    with somebody_else(), pytest.raises(DatabaseDenied, match="ask their owner"):
        read_party_table(path, "org2")
    with somebody_else(), pytest.raises(DatabaseDenied):
        write_party_table(path, party_rows("org2"), "org2")
    path.chmod(0o600)
    assert as_set(read_party_table(path, "org2")) == as_set(party_rows("org2"))


def test_a_file_open_elsewhere_is_busy(tmp_path):
    path = tmp_path / "a.duckdb"
    write_party_table(path, party_rows("org2"), "org2")
    holder = f"import duckdb; c = duckdb.connect({str(path)!r}); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "open\n"
        with pytest.raises(DatabaseBusy, match="run this again"):
            read_party_table(path, "org2")
        process.communicate("\n")


def test_other_databases_work_by_url(tmp_path):
    url = f"sqlite:///{tmp_path}/a.sqlite"
    for ids in (["x"], IDS):
        write_party_table(url, party_rows("org2", ids), "org2")
    assert as_set(read_party_table(url, "org2")) == as_set(party_rows("org2"))


@pytest.mark.parametrize("secret", ["p@ss", "a/b@c/d", "x@y:1/z", "q@r?s=t", "h@sh#1"])
def test_an_address_that_is_none_is_not_shown(secret):
    with pytest.raises(PartyDatabaseError, match="%40") as caught:
        read_party_table(f"postgresql://org2:{secret}@127.0.0.1:1/org2", "org2")
    assert secret not in printed(caught.value)


@pytest.mark.parametrize("scheme", ["postgres", "s3", "postgresql+nosuch"])
def test_no_driver(scheme):
    with pytest.raises(PartyDatabaseError, match="no driver") as caught:
        read_party_table(f"{scheme}://org2:{SECRET}@127.0.0.1/org2", "org2")
    assert SECRET not in printed(caught.value)


def test_no_server():
    with pytest.raises(PartyDatabaseError, match="cannot be reached") as caught:
        read_party_table(f"postgresql+psycopg://org2:{SECRET}@127.0.0.1:1/org2?password={SECRET}", "org2")
    assert SECRET not in printed(caught.value)


@pytest.mark.server
class TestRights:
    @pytest.mark.parametrize("secret", ["wr0ng-s3cret", "wr@ng/s3cret:%"])
    def test_a_wrong_password_is_refused_and_never_printed(self, server, secret):
        for call in reading_and_writing(server.url("org2", password=secret), "org2"):
            with pytest.raises(PasswordRefused, match="does not accept") as caught:
                call()
            assert "org2@127.0.0.1" in str(caught.value)
            assert "s3cret" not in printed(caught.value)

    def test_no_password_and_an_unknown_user_are_refused(self, server):
        for url in (
            f"postgresql://org2@127.0.0.1:{server.port}/org2",
            server.url("org2").replace("//org2", "//nobody"),
        ):
            with pytest.raises(PasswordRefused):
                read_party_table(url, "org2")

    @pytest.mark.parametrize(("own", "other"), [("org2", "org3"), ("org3", "org2")])
    def test_each_party_is_denied_the_others_database(self, server, own, other):
        write_party_table(server.url(other), party_rows(other), other)
        for call in reading_and_writing(server.url(own, database=other), other):
            with pytest.raises(DatabaseDenied, match="credentials") as caught:
                call()
            assert PASSWORDS[own] not in printed(caught.value)
        assert as_set(read_party_table(server.url(other), other)) == as_set(party_rows(other))

    def test_a_table_of_somebody_else_is_denied(self, server):
        write_party_table(server.url("org2"), party_rows("org2"), "org2")
        server.run("org2", "ALTER TABLE org2_records OWNER TO keeper")
        for call in reading_and_writing(server.url("org2"), "org2"):
            with pytest.raises(DatabaseDenied):
                call()
        server.run("org2", "GRANT SELECT ON org2_records TO org2")
        assert read_party_table(server.url("org2"), "org2").num_rows == len(IDS)
        with pytest.raises(DatabaseDenied):
            write_party_table(server.url("org2"), party_rows("org2"), "org2")

    def test_a_database_that_is_not_there(self, server):
        with pytest.raises(NoPartyTable, match="no such database"):
            read_party_table(server.url("org2", database="nowhere"), "org2")

    def test_two_writers_at_once_do_not_double_the_rows(self, server):
        write_party_table(server.url("org2"), party_rows("org2"), "org2")
        engine = sa.create_engine(server.url("org2"), isolation_level="SERIALIZABLE", poolclass=sa.NullPool)
        with engine.connect() as first, ThreadPoolExecutor(1) as pool:
            first.execute(sa.text("DELETE FROM org2_records"))
            first.execute(sa.text("INSERT INTO org2_records (image_id) VALUES ('first')"))
            # A reader neither waits nor sees half of it.
            assert as_set(read_party_table(server.url("org2"), "org2")) == as_set(party_rows("org2"))
            second = pool.submit(write_party_table, server.url("org2"), party_rows("org2"), "org2")
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'org2' AND wait_event_type = 'Lock'"
            deadline = time.monotonic() + 20
            while server.run("org2", waiting) == [(0,)] and time.monotonic() < deadline:
                time.sleep(0.02)
            first.commit()
            with pytest.raises(DatabaseBusy, match="run this again"):
                second.result(20)
        assert read_party_table(server.url("org2"), "org2")["image_id"].to_pylist() == ["first"]

    def test_no_connection_stays_open(self, server):
        write_party_table(server.url("org3"), party_rows("org3"), "org3")
        read_party_table(server.url("org3"), "org3")
        still_open = "SELECT count(*) FROM pg_stat_activity WHERE usename IN ('org2', 'org3')"
        deadline = time.monotonic() + 20  # the server's side ends a moment after ours
        while (found := server.run("org3", still_open)) != [(0,)] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert found == [(0,)]


def test_table_names_are_told_apart():
    assert len(set(PARTY_TABLES.values())) == len(PARTY_TABLES)
    assert party_tables._quoted('a"b') == '"a""b"'


def reading_and_writing(address, party):
    return [
        lambda: read_party_table(address, party),
        lambda: read_party_table(address, party, "aligned"),
        lambda: write_party_table(address, party_rows(party), party),
    ]


def printed(error):
    return "".join(traceback.format_exception(error)) + repr(error)


@contextmanager
def somebody_else():
    """Not root, which no file's mode stops."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
