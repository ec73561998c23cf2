"""The stores that tests run against: S3 with users and rights, Azure, Google Cloud Storage; each over a socket.

Belongs here: starting them, and the configuration that reaches them, also through a proxy. Does not belong here:
tests. A conftest imports the fixtures that its tests use by name.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.servers.faulty_proxy import FaultyProxy, faulty_proxy
from tests.servers.gcs import FakeGcs
from tests.servers.processes import free_port, missing, python_command, served_here, server_process

# Azurite's own account, the same everywhere and public.
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

# Fast enough for tests, and still more patient than any planned fault.
RETRY = {
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=30),
    "backoff": {"init_backoff": timedelta(milliseconds=20), "max_backoff": timedelta(milliseconds=200), "base": 2},
}
INSTALL_SECONDS = 300
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class StoreServer:
    """``config_at(port)`` is obstore's configuration, for the server's own port or for that of a proxy before it."""

    scheme: str
    port: int
    config_at: Callable[[int], dict[str, Any]]

    @property
    def config(self) -> dict[str, Any]:
        return self.config_at(self.port)


@dataclass(frozen=True)
class S3Server(StoreServer):
    """Knows its users: ``config`` is that of one who may do everything in S3 and IAM."""

    def user(self, name: str, *statements: dict[str, Any]) -> dict[str, Any]:
        """Configuration of a new user with the rights of IAM ``statements``; with none it may do nothing."""
        return _s3_config(f"http://127.0.0.1:{self.port}", *_new_user(_iam(self.config), name, *statements))


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    port = free_port()
    # Exactly the calls that make the first user; from then on every call must be signed and allowed.
    env = {"INITIAL_NO_AUTH_ACTION_COUNT": "3"}
    command = python_command("moto.server", "-H", "127.0.0.1", "-p", str(port))
    with server_process(command, port, tmp_path_factory.mktemp("moto") / "log", env):
        everything = {"Effect": "Allow", "Action": ["s3:*", "iam:*"], "Resource": "*"}
        keys = _new_user(_iam(_s3_config(f"http://127.0.0.1:{port}", "none", "none")), "administrator", everything)
        yield S3Server("s3", port, lambda at: _s3_config(f"http://127.0.0.1:{at}", *keys))


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    port = free_port()
    options = ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    command = [*_azurite(), "--blobHost", "127.0.0.1", "--blobPort", str(port), *options]
    with server_process(command, port, tmp_path_factory.mktemp("azurite") / "log"):
        yield StoreServer("az", port, azure_config)


@pytest.fixture(scope="session")
def gcs_fake() -> Iterator[FakeGcs]:
    fake = FakeGcs()
    with served_here(fake.start):
        yield fake


@pytest.fixture(scope="session")
def gcs_server(gcs_fake: FakeGcs) -> StoreServer:
    return StoreServer("gs", gcs_fake.port, gcs_config)


@pytest.fixture(scope="session")
def gcs_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    """A JSON emulator that is not ours: for the control plane only."""
    port = free_port()
    command = python_command("gcp_storage_emulator", "start", "--host", "127.0.0.1", "--port", str(port), "--in-memory")
    with server_process(command, port, tmp_path_factory.mktemp("gcs") / "log"):
        yield StoreServer("gs", port, gcs_config)


@pytest.fixture
def proxy_before() -> Iterator[Callable[[StoreServer], FaultyProxy]]:
    """Makes proxies that can spoil requests on their way to a server."""
    with ExitStack() as stack:
        yield lambda server: stack.enter_context(faulty_proxy(server.port))


def azure_config(port: int) -> dict[str, Any]:
    return {
        "account_name": AZURE_ACCOUNT,
        "account_key": AZURE_KEY,
        "endpoint": f"http://127.0.0.1:{port}/{AZURE_ACCOUNT}",
        "retry_config": RETRY,
    }


def gcs_config(port: int) -> dict[str, Any]:
    key = {
        "gcs_base_url": f"http://127.0.0.1:{port}",
        "disable_oauth": True,
        "client_email": "",
        "private_key": "",
        "private_key_id": "",
    }
    return {
        "service_account_key": json.dumps(key),
        "client_options": {"allow_http": True},
        "retry_config": RETRY,
    }


def _s3_config(endpoint: str, key: str, secret: str) -> dict[str, Any]:
    return {
        "endpoint": endpoint,
        "access_key_id": key,
        "secret_access_key": secret,
        "region": "us-east-1",
        "retry_config": RETRY,
    }


def _iam(config: dict[str, Any]) -> Any:
    import boto3

    return boto3.client(
        "iam",
        endpoint_url=config["endpoint"],
        region_name="us-east-1",
        aws_access_key_id=config["access_key_id"],
        aws_secret_access_key=config["secret_access_key"],
    )


def _new_user(iam: Any, name: str, *statements: dict[str, Any]) -> tuple[str, str]:
    """Key and secret."""
    iam.create_user(UserName=name)
    if statements:
        document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        iam.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=document)
    keys = iam.create_access_key(UserName=name)["AccessKey"]
    return keys["AccessKeyId"], keys["SecretAccessKey"]


def _azurite() -> list[str]:
    """The command of the version in package.json, installed once below the scratch folder."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        missing("azurite needs node and npm, which are not installed")
    folder = Path(os.environ.get("MM_SCRATCH", ".scratch")).absolute() / "node"
    wanted = (_HERE / "package.json").read_text()
    noted, script = folder / "installed.json", folder / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    if not script.is_file() or not noted.is_file() or noted.read_text() != wanted:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text(wanted)
        install = [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
        if done.returncode != 0:
            missing(f"azurite could not be installed: {done.stderr.strip()[-300:]}")
        noted.write_text(wanted)
    return [node, str(script)]
