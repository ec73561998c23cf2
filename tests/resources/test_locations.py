"""URLs: what opens, what is refused, and what a request to a bucket carries."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from resources.locations import ObjectUrlError, open_location
from resources.objects import ObjectAccessError, ObjectStore


def test_a_path_and_its_file_url_are_the_same_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "with space & ü"
    assert open_location(folder) == open_location(folder.as_uri())
    assert open_location(str(folder)).root == folder
    monkeypatch.chdir(tmp_path)
    assert open_location("relative").root == tmp_path / "relative"
    assert not folder.exists()


def test_memory_is_shared_by_name() -> None:
    ObjectStore.at("memory://test-shared").put("k", b"v")
    assert ObjectStore.at("memory://test-shared").get("k") == b"v"
    assert ObjectStore.at("memory://test-other").head("k") is None


@pytest.mark.parametrize("url", ["ftp://host/x", "s3://", "gs:///x", "az://container/x"])
def test_what_cannot_be_opened_says_so_in_one_line(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(ObjectUrlError) as caught:
        open_location(url)
    assert url in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["s3://AKIA:hush@bucket/x", "az://container/x?sig=hush", "gs://user@bucket"])
def test_a_url_with_a_secret_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ObjectUrlError, match="variables") as caught:
        open_location(url)
    assert "hush" not in str(caught.value) and "user@" not in str(caught.value)


def test_azure_opens_with_an_account() -> None:
    location = open_location("az://container/some/prefix", account_name="devstoreaccount1")
    assert location.native is not None and location.native.prefix == "some/prefix"


def test_plain_http_only_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://example.invalid:9000")
    native = open_location("s3://bucket").native
    assert native is not None and not (native.client_options or {}).get("allow_http")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")
    native = open_location("s3://bucket").native
    assert native is not None and native.client_options["allow_http"]


@pytest.fixture
def gcs() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server with one object, and the headers of the requests that it got."""
    requests: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append({name.lower(): value for name, value in self.headers.items()})
            if unquote(self.path) != "/bucket/tree/file.csv":
                self.send_error(403)
                return
            self.send_response(200)
            for name, value in {
                "Content-Length": "5",
                "ETag": '"1"',
                "Last-Modified": "Wed, 01 Jan 2025 00:00:00 GMT",
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"a,b\n1")

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", requests
    server.shutdown()
    server.server_close()


def test_requester_pays_requests_name_the_billed_project(gcs: tuple[str, list[dict[str, str]]]) -> None:
    url, requests = gcs
    key = {
        "gcs_base_url": url,
        "disable_oauth": True,
        "client_email": "",
        "private_key": "",
        "private_key_id": "",
    }
    store = ObjectStore.at(
        "gs://bucket/tree",
        gcs_user_project="my-billing",
        service_account_key=json.dumps(key),
        client_options={"allow_http": True},
    )
    assert store.get("file.csv") == b"a,b\n1"
    assert requests[-1]["x-goog-user-project"] == "my-billing"
    with pytest.raises(ObjectAccessError, match="credentials") as caught:
        store.get("other.csv")
    assert "\n" not in str(caught.value)
