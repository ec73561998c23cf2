"""A PostgreSQL server of the tests' own, from Debian's programs: passwords asked for everywhere, a database per role.

Belongs here: starting it, roles, databases, URLs. Does not belong here: tests. A conftest or a test module imports the
fixture by name.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers.processes import START_SECONDS, free_port, missing, server_process

# Every sign that has a meaning in a URL.
PASSWORDS = {"keeper": "Kee/per@5:9%", "org2": "se@cret/two:2%", "org3": "hid?den#three&3"}
KEEPER = "keeper"  # may do everything; the organisations may not


@dataclass(frozen=True)
class PostgresServer:
    """Each organisation owns the database named like it, and nobody else may connect to it."""

    port: int

    def url(self, role: str, *, database: str | None = None, password: str | None = None) -> str:
        """SQLAlchemy's, with the role's own database and password unless others are named."""
        import sqlalchemy as sa

        secret = PASSWORDS[role] if password is None else password
        url = sa.URL.create("postgresql+psycopg", role, secret, "127.0.0.1", self.port, database or role)
        return url.render_as_string(hide_password=False)

    def run(self, database: str, *statements: str) -> list[Any]:
        """As the keeper, each statement for itself; the rows of the last one."""
        import psycopg

        settings: dict[str, Any] = {"host": "127.0.0.1", "port": self.port, "user": KEEPER, "dbname": database}
        with psycopg.connect(**settings, password=PASSWORDS[KEEPER], autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    programs, as_user, owner = _programs(), *_unprivileged()
    # Not below pytest's folders: those are closed to other users, and the server may be one.
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        password = folder / "password"
        password.write_text(PASSWORDS[KEEPER])
        if owner is not None:
            for path in (folder, password):
                os.chown(path, *owner)
        data, port = folder / "data", free_port()
        made = subprocess.run(
            [*as_user, str(programs / "initdb"), "-D", str(data), "-U", KEEPER, f"--pwfile={password}", "--no-sync",
             "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"],
            cwd=folder, capture_output=True, text=True,
        )  # fmt: skip
        if made.returncode:
            raise RuntimeError(f"initdb failed: {made.stderr[-2000:]}")
        settings = {"listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": "", "fsync": "off",
                    "shared_buffers": "16MB"}  # fmt: skip
        options = [f"--{name}={value}" for name, value in settings.items()]
        command = [*as_user, str(programs / "postgres"), "-D", str(data), *options]
        with server_process(command, port, folder / "log") as process:
            server = PostgresServer(port)
            _wait_until_ready(server)
            for role in ("org2", "org3"):
                server.run(
                    "postgres",
                    f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORDS[role]}'",
                    f"CREATE DATABASE {role} OWNER {role}",
                    f"REVOKE CONNECT ON DATABASE {role} FROM PUBLIC",
                )
            yield server
            process.send_signal(signal.SIGINT)  # at once; on SIGTERM it would wait for clients to leave
            process.wait(10)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    """The folder of initdb and postgres: Debian does not put it on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    on_path = shutil.which("initdb")
    candidates = [*found, *([Path(on_path).resolve()] if on_path else [])]
    for initdb in reversed(candidates):
        if (initdb.parent / "postgres").exists():
            return initdb.parent
    missing("PostgreSQL is not installed (Debian: postgresql)")


def _unprivileged() -> tuple[list[str], tuple[int, int] | None]:
    """What to put before a command, and the ids it then runs under: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return [], None
    if shutil.which("setpriv") is None:
        missing("PostgreSQL does not run as root, and setpriv is not installed (Debian: util-linux)")
    user = next(user for user in (_user("postgres"), _user("nobody")) if user is not None)
    ids = (user.pw_uid, user.pw_gid)
    return ["setpriv", f"--reuid={ids[0]}", f"--regid={ids[1]}", "--clear-groups"], ids


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _wait_until_ready(server: PostgresServer) -> None:
    """It listens a little before it lets anybody in."""
    import psycopg

    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            server.run("postgres", "SELECT 1")
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
