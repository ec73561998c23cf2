"""Stores to test against: one fixture over all kinds of them. A server that no test asks for is not started."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from resources.control_plane import ensure_bucket
from resources.objects import ObjectStore
from tests.servers.stores import (
    StoreServer,
    azure_server,  # noqa: F401
    gcs_emulator,  # noqa: F401
    gcs_fake,  # noqa: F401
    gcs_server,  # noqa: F401
    proxy_before,  # noqa: F401
    s3_server,  # noqa: F401
)

SERVERS = {"s3": "s3_server", "az": "azure_server", "gs": "gcs_server"}
_MADE: set[str] = set()
REMOTE = [pytest.param(scheme, marks=pytest.mark.server) for scheme in SERVERS]


@dataclass(frozen=True)
class Place:
    """An empty location of its own, and how to reach it."""

    url: str
    config: dict[str, Any] = field(default_factory=dict)
    server: StoreServer | None = None

    def store(self, **config: Any) -> ObjectStore:
        return ObjectStore.at(self.url, **{**self.config, **config})


@pytest.fixture
def remote_place(request: pytest.FixtureRequest) -> Callable[[str], Place]:
    def place(scheme: str) -> Place:
        server = request.getfixturevalue(SERVERS[scheme])
        url = f"{scheme}://contract/{uuid.uuid4().hex}"
        if scheme not in _MADE:  # the server of a session keeps it
            ensure_bucket(url, **server.config)
            _MADE.add(scheme)
        return Place(url, server.config, server)

    return place


@pytest.fixture(params=["file", "memory", *REMOTE])
def place(request: pytest.FixtureRequest, tmp_path: Path, remote_place: Callable[[str], Place]) -> Place:
    if request.param == "file":
        return Place(str(tmp_path / "not made yet"))
    if request.param == "memory":
        return Place(f"memory://{uuid.uuid4().hex}")
    return remote_place(request.param)


@pytest.fixture
def store(place: Place) -> ObjectStore:
    return place.store()
