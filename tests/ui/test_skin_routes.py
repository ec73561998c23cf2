"""`POST /predict/pigmentation` and its older address: statuses, headers, and one handler behind both."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from mm_assets.pigmentation.severity import severity_of
from tests.pigmentation.tiny_skin_release import cube_bytes, photograph_bytes
from tests.ui.fakes import FakeStore
from tests.ui.skin_models import skin_model, skin_store
from ui.microbatch import MicroBatcher
from ui.routes import pigmentation
from ui.server import assemble

PROBLEM = "application/problem+json"
PHOTOGRAPH = photograph_bytes()


def client_of(store: FakeStore) -> TestClient:
    return TestClient(assemble({"pigmentation": skin_model(store)}), raise_server_exceptions=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FakeStore:
    return skin_store(tmp_path_factory.mktemp("skin") / "0123456789abcdef")


@pytest.fixture(scope="module")
def client(store: FakeStore) -> Iterator[TestClient]:
    yield client_of(store)


@pytest.fixture(scope="module")
def empty() -> Iterator[TestClient]:
    yield client_of(FakeStore(None))


def ask(client: TestClient, path: str = "/predict/pigmentation", **images: bytes) -> Any:
    files = {f"{name}_image": (f"{name}.bin", data, "application/octet-stream") for name, data in images.items()}
    return client.post(path, files=files)


def test_the_answer_has_what_the_original_had_and_where_it_comes_from(client: TestClient) -> None:
    answer = ask(client, clinical=photograph_bytes(), dermoscopy=photograph_bytes(1), multispectral=cube_bytes())
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert 0 <= body["score"] <= 1 and body["score"] == round(body["score"], 3)
    assert body["severity"] == severity_of(body["score"])
    assert body["missing"] == [] and set(body["without"]) == {"dermoscopy", "multispectral"}
    assert body["model_version"] == "0123456789abcdef"
    assert "not a diagnostic device" in body["provenance"]["disclaimer"].lower()
    assert answer.headers["x-model-version"] == "0123456789abcdef"
    assert answer.headers["x-synthetic-data"] == "true"
    assert "link" not in answer.headers


def test_the_older_address_gives_the_same_answer_and_names_the_canonical_one(client: TestClient) -> None:
    images = {"clinical": photograph_bytes(3)}
    alias = ask(client, "/predict", **images)
    assert alias.status_code == 200, alias.text
    assert alias.json() == ask(client, **images).json()
    assert alias.json()["wing"] == "pigmentation"
    assert alias.headers["link"] == '</predict/pigmentation>; rel="canonical"'
    assert alias.headers["x-model-version"] == "0123456789abcdef"
    paths = client.get("/openapi.json").json()["paths"]
    assert paths["/predict"]["post"]["tags"] == ["original clients"]
    assert paths["/predict/pigmentation"]["post"]["tags"] == ["pigmentation"]


@pytest.mark.parametrize("path", ["/predict", "/predict/pigmentation"])
def test_nothing_released_names_the_wing(empty: TestClient, path: str) -> None:
    answer = ask(empty, path, clinical=photograph_bytes())
    assert answer.status_code == 503
    assert answer.headers["content-type"] == PROBLEM
    assert answer.json()["code"] == "nothing_released"
    assert "mm demo --wing pigmentation" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/predict", "/predict/pigmentation"])
def test_errors_name_the_canonical_address_as_answers_do(client: TestClient, empty: TestClient, path: str) -> None:
    link = None if path == "/predict/pigmentation" else '</predict/pigmentation>; rel="canonical"'
    refused = [
        ask(empty, path, clinical=PHOTOGRAPH),
        ask(client, path),
        ask(client, path, clinical=b""),
        client.get(path),
    ]
    assert [answer.status_code for answer in refused] == [503, 422, 422, 405]
    assert [answer.headers.get("link") for answer in refused] == [link] * 4


@pytest.mark.parametrize(
    ("images", "status", "code"),
    [
        ({"clinical": b""}, 422, "image_empty"),
        ({"clinical": b"not an image"}, 422, "image_unreadable"),
        ({"clinical": PHOTOGRAPH[:800]}, 422, "image_truncated"),
        ({"clinical": b"GIF89a" + bytes(99)}, 415, "image_format_unsupported"),
        ({"clinical": PHOTOGRAPH, "dermoscopy": b"%PDF-1.7 etc"}, 415, "image_format_unsupported"),
        ({"clinical": PHOTOGRAPH, "multispectral": photograph_bytes()}, 422, "cube_wrong_bands"),
        ({"clinical": PHOTOGRAPH, "multispectral": cube_bytes(wavelengths=(500, 600))}, 422, "cube_wrong_bands"),
    ],
)  # fmt: skip
def test_an_unusable_image_is_a_problem_with_its_reason(
    client: TestClient, images: dict[str, bytes], status: int, code: str
) -> None:
    answer = ask(client, **images)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == PROBLEM
    assert "/" not in answer.json()["detail"] and "Traceback" not in answer.text


def test_thirty_thousand_pixels_a_side_are_refused(client: TestClient) -> None:
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(stream, "PNG")
    answer = ask(client, clinical=stream.getvalue())
    assert (answer.status_code, answer.json()["code"]) == (413, "image_too_large")


def test_the_clinical_image_is_required_and_unknown_fields_are_named(client: TestClient) -> None:
    answer = ask(client, dermoscopy=photograph_bytes())
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["clinical_image"]
    answer = ask(client, clinical=photograph_bytes(), infrared=photograph_bytes())
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["infrared_image"]


def test_an_empty_file_input_of_a_browser_counts_as_not_sent(client: TestClient) -> None:
    """A form with an unused file input sends a part without a name and without bytes."""
    lines = [
        b"--x", b'Content-Disposition: form-data; name="clinical_image"; filename="a.jpg"', b"", photograph_bytes(),
        b"--x", b'Content-Disposition: form-data; name="dermoscopy_image"; filename=""',
        b"Content-Type: application/octet-stream", b"", b"", b"--x--", b"",
    ]  # fmt: skip
    answer = client.post(
        "/predict", content=b"\r\n".join(lines), headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["modalities"] == ["clinical"]


def test_maps_of_attention_come_when_asked_for(client: TestClient) -> None:
    files = {"clinical_image": ("a.jpg", PHOTOGRAPH, "image/jpeg"), "multispectral_image": ("a.npz", cube_bytes(), "")}
    plain = client.post("/predict/pigmentation", files=files).json()
    asked = client.post("/predict/pigmentation", files=files, data={"explain": "true"}).json()
    assert plain["attention"] is None
    assert set(asked["attention"]) == {"clinical", "multispectral"}
    for name, rows in asked["attention"].items():
        assert len(rows) == len(rows[0]) > 1
        assert sum(sum(row) for row in rows) == pytest.approx(asked["attention_mass"][name], abs=0.001)
    assert {**asked, "attention": None} == plain


class Slow:
    """A reader that counts how many cases are decoded at once."""

    def __init__(self, predictor: Any) -> None:
        self.predictor, self.now, self.most, self.lock = predictor, 0, 0, threading.Lock()
        self.provenance, self.examples, self.notes = predictor.provenance, (), ()

    def prepare(self, case: Any, *, explain: bool = False) -> Any:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.05)
        with self.lock:
            self.now -= 1
        return self.predictor.prepare(case, explain=explain)

    def answer(self, prepared: Any) -> Any:
        return self.predictor.answer(prepared)


def test_no_more_cases_are_decoded_at_once_than_there_are_cores(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pigmentation.os, "cpu_count", lambda: 2)
    held = skin_model(store)
    assert held.current is not None
    slow = Slow(held.current.predictor)
    held.current = replace(held.current, predictor=slow)  # type: ignore[arg-type]
    client = TestClient(assemble({"pigmentation": held}))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(client, clinical=PHOTOGRAPH).status_code, range(8)))
    assert answers == [200] * 8 and slow.most == 2


class Stuck(MicroBatcher[Any, Any]):
    """Never answers."""

    def submit(self, run: Any, item: Any) -> Any:
        return Future()


def test_waiting_too_long_is_a_problem_and_not_a_hang(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pigmentation, "ANSWER_S", 0.05)
    monkeypatch.setattr(pigmentation, "MicroBatcher", Stuck)
    answer = ask(client_of(store), clinical=PHOTOGRAPH)
    assert (answer.status_code, answer.json()["code"]) == (503, "busy")
    assert answer.headers["content-type"] == PROBLEM


def test_batching_ends_with_the_application(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[MicroBatcher[Any, Any]] = []

    class Kept(MicroBatcher[Any, Any]):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr(pigmentation, "MicroBatcher", Kept)
    with client_of(store) as running:
        assert ask(running, clinical=PHOTOGRAPH).status_code == 200
        [batcher] = made
        assert batcher._thread is not None and batcher._thread.is_alive()
    assert not batcher._thread.is_alive()
    late = ask(running, clinical=PHOTOGRAPH)
    assert (late.status_code, late.json()["code"]) == (503, "shutting_down")


def test_a_broken_body_is_400(client: TestClient) -> None:
    answer = client.post("/predict", content=b"junk", headers={"Content-Type": "multipart/form-data"})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == PROBLEM
