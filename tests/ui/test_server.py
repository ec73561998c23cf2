"""The API: routes, statuses, provenance on every answer, and nothing of the server in an error."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from mm_assets.mimic.schema import LABELS
from mm_assets.records.unreadable import UNREADABLE_REASONS, UnreadableImage
from tests.ui.fakes import FakePredictor, FakeStore, fake_load, film_bytes, png_16_bit
from ui.problems import MAX_BODY_BYTES, problem_of
from ui.released import ReleasedModel
from ui.server import PortInUse, assemble, serve

PROBLEM = "application/problem+json"


def client_of(store: FakeStore) -> TestClient:
    held = ReleasedModel(store, "mimic", fake_load)  # type: ignore[arg-type]
    held.refresh()
    return TestClient(assemble({"mimic": held}), raise_server_exceptions=False)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    yield client_of(FakeStore())


@pytest.fixture(scope="module")
def empty() -> Iterator[TestClient]:
    yield client_of(FakeStore(None))


def predict(client: TestClient, film: bytes | None = None, **fields: Any) -> Any:
    files = {"image": ("film.bin", film, "application/octet-stream")} if film is not None else None
    return client.post("/predict/mimic", data=fields, files=files)


def test_root_is_json_for_programs_and_the_page_for_browsers(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.json()["predict"] == {"mimic": "/predict/mimic"}
    browser = client.get("/", headers={"Accept": "text/html,*/*"}, follow_redirects=False)
    assert browser.status_code == 307
    assert browser.headers["location"] == "/demo/"
    assert client.get("/demo/").status_code == 200


def test_prediction_has_fourteen_findings_and_provenance(client: TestClient) -> None:
    answer = predict(client, film_bytes(), complaint="cough", age="70", sex="F", temperature="37.2")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [finding["label"] for finding in body["findings"]] == list(LABELS)
    assert {part["modality"] for part in body["contributions"]} == {"image", "text", "tabular"}
    assert body["provenance"]["synthetic"] is True
    assert "not a diagnostic device" in body["provenance"]["disclaimer"].lower()
    assert answer.headers["x-model-version"] == body["provenance"]["model_version"]
    assert answer.headers["x-run-id"] == "run-1"
    assert answer.headers["x-synthetic-data"] == "true"


def test_film_alone_and_note_alone_are_enough(client: TestClient) -> None:
    assert predict(client, png_16_bit()).status_code == 200
    assert predict(client, complaint="chest pain").status_code == 200


def test_empty_form_fields_count_as_missing(client: TestClient) -> None:
    with_blanks = predict(client, complaint="cough", age="", sex="", heartrate="")
    assert with_blanks.status_code == 200, with_blanks.text
    assert with_blanks.json() == predict(client, complaint="cough").json()


@pytest.mark.parametrize(
    ("film", "status", "code"),
    [
        (b"", 422, "image_empty"),
        (film_bytes()[:3000], 422, "image_truncated"),
        (b"this is not a film at all", 422, "image_unreadable"),
        (b"GIF89a" + bytes(100), 415, "image_format_unsupported"),
    ],
)
def test_unusable_film_is_a_problem_with_its_reason(client: TestClient, film: bytes, status: int, code: str) -> None:
    answer = predict(client, film)
    assert answer.status_code == status
    assert answer.headers["content-type"] == PROBLEM
    assert answer.json()["code"] == code
    assert "/" not in answer.json()["detail"].replace("application/", "")


@pytest.mark.parametrize("code", UNREADABLE_REASONS)
def test_every_reason_against_an_image_has_a_status_and_a_sentence_of_its_own(code: str) -> None:
    status, told, sentence = problem_of(UnreadableImage(code, "detail of /a/file"))
    too_large, format_ = ("image_too_large", "cube_too_large"), ("image_format_unsupported",)
    assert (status, told) == (413 if code in too_large else 415 if code in format_ else 422, code)
    assert sentence.endswith(".") and "detail" not in sentence
    assert ("cube" in sentence) == code.startswith("cube_")
    assert ("thumbnail" in sentence) == code.endswith("too_small")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"heartrate": "9999"}, "heartrate"),
        ({"heartrate": "nan"}, "heartrate"),
        ({"temperature": "60"}, "temperature"),
        ({"sex": "unsure"}, "sex"),
        ({"heart_rate": "80"}, "heart_rate"),
    ],
)
def test_field_out_of_range_is_named_and_its_value_is_not_repeated(
    client: TestClient, fields: dict[str, str], field: str
) -> None:
    answer = predict(client, **fields)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == PROBLEM
    told = answer.json()
    del told["request_id"]  # random digits, any of them
    assert [error["field"] for error in told["errors"]] == [field]
    assert "9999" not in str(told) and "unsure" not in str(told)


def test_nothing_to_read_is_refused(client: TestClient) -> None:
    answer = predict(client, view="PA")
    assert answer.status_code == 422
    assert answer.json()["code"] == "case_empty"


def test_body_above_the_limit_is_refused_before_it_is_read(client: TestClient) -> None:
    answer = predict(client, bytes(MAX_BODY_BYTES + 1))
    assert answer.status_code == 413
    assert answer.headers["content-type"] == PROBLEM


def test_body_above_the_limit_that_hides_its_size_is_refused(client: TestClient) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        for _ in range(MAX_BODY_BYTES // 1_000_000 + 1):
            yield bytes(1_000_000)

    answer = client.post(
        "/predict/mimic", content=chunks(), headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert answer.status_code == 413
    assert answer.headers["content-type"] == PROBLEM


def test_broken_multipart_is_a_problem(client: TestClient) -> None:
    answer = client.post("/predict/mimic", content=b"junk", headers={"Content-Type": "multipart/form-data"})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == PROBLEM


def test_unknown_wing_and_unknown_path_are_problems(client: TestClient) -> None:
    wing = client.post("/predict/teeth")
    assert wing.status_code == 404
    assert "mimic" in wing.json()["detail"]
    path = client.get("/nothing/here")
    assert path.status_code == 404
    assert path.headers["content-type"] == PROBLEM
    assert client.get("/predict/mimic").status_code == 405


def test_nothing_released_is_503_and_says_how_to_mend(empty: TestClient) -> None:
    assert empty.get("/healthz").status_code == 200
    for answer in (empty.get("/readyz"), predict(empty, complaint="cough")):
        assert answer.status_code == 503
        assert answer.headers["content-type"] == PROBLEM
        assert "mm demo --wing mimic" in answer.json()["detail"]


def test_a_release_that_is_being_loaded_has_a_code_of_its_own() -> None:
    held = ReleasedModel(FakeStore(), "mimic", fake_load)  # type: ignore[arg-type]
    client = TestClient(assemble({"mimic": held}))  # not entered: nobody looks
    for answer in (client.get("/readyz"), predict(client, complaint="cough")):
        assert (answer.status_code, answer.json()["code"]) == (503, "release_loading")
        assert "mm demo" not in answer.json()["detail"]


def test_ready_tells_the_version_and_a_failed_successor() -> None:
    store = FakeStore("a" * 16)
    held = ReleasedModel(store, "mimic", fake_load)  # type: ignore[arg-type]
    held.refresh()
    store.version = "broken2"
    held.refresh()
    answer = TestClient(assemble({"mimic": held})).get("/readyz")
    assert answer.status_code == 200
    state = answer.json()["wings"]["mimic"]
    assert state["version"] == "a" * 16
    assert "broken2" in state["last_error"]
    assert "/secret" not in answer.text


def test_unexpected_failure_tells_nothing_of_itself(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("/secret/path in a message")

    monkeypatch.setattr(FakePredictor, "predict", fails)
    with caplog.at_level(logging.ERROR):
        answer = predict(client, complaint="cough")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == PROBLEM
    assert "secret" not in answer.text and "Traceback" not in answer.text
    assert answer.json()["request_id"] in caplog.text


def test_request_id_is_kept_when_sane_and_made_otherwise(client: TestClient) -> None:
    assert client.get("/healthz", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"
    made = client.get("/healthz", headers={"X-Request-ID": "a b\tc" * 40}).headers["x-request-id"]
    assert len(made) == 32


def test_docs_and_page_load_nothing_from_elsewhere(client: TestClient) -> None:
    docs = client.get("/docs")
    assert docs.status_code == 200
    assert "https://" not in docs.text and "http://" not in docs.text
    assert client.get("/static-offline-docs/swagger-ui-bundle.js").status_code == 200
    assert "default-src 'self'" in docs.headers["content-security-policy"]
    form = client.get("/openapi.json").json()["components"]["schemas"]
    assert {"image", "complaint", "heartrate"} <= set(next(v for k, v in form.items() if "Form" in k)["properties"])


def test_favicon_and_no_cross_origin_permission(client: TestClient) -> None:
    assert client.get("/favicon.ico").headers["content-type"].startswith("image/svg")
    answer = client.get("/healthz", headers={"Origin": "https://elsewhere.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_taken_port_is_told_before_anything_is_loaded() -> None:
    import socket

    from resources.settings import Settings

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=f"127.0.0.1:{port} is in use"):
            serve(Settings(), "127.0.0.1", port)
