"""`POST /predict/cloud_vision`: the answer, its headers, and a problem for whatever cannot be used."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from mm_assets.cloud_vision.schema import CLASSES, FEATURES
from tests.cloud_vision.tiny_split_release import VERDICT, drawn_film, features_of
from tests.ui.fakes import FakeStore
from tests.ui.split_models import split_model, split_store
from ui.server import assemble

PROBLEM = "application/problem+json"
FILM, _ = drawn_film()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    store = split_store(tmp_path_factory.mktemp("split") / "0123456789abcdef")
    yield TestClient(assemble({"cloud_vision": split_model(store)}), raise_server_exceptions=False)


def ask(client: TestClient, xray: bytes | None = FILM, **fields: Any) -> Any:
    files = {} if xray is None else {"xray": ("film", xray, "application/octet-stream")}
    return client.post("/predict/cloud_vision", files=files, data=fields)


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def test_the_answer_has_both_and_each_and_where_it_comes_from(client: TestClient) -> None:
    answer = ask(client, **{name: str(value) for name, value in features_of(0).items()})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert list(body["probabilities"]) == list(CLASSES)
    assert sum(body["probabilities"].values()) == pytest.approx(1, abs=2e-4)  # each is rounded to four digits
    assert body["label"] == max(body["probabilities"], key=body["probabilities"].get)
    assert set(body["alone"]) == {"org2", "org3"} and body["missing"] == []
    assert VERDICT in body["leak"] and set(body["crossed"]) == {"org3 -> org2", "org2 -> org3"}
    assert body["in_lesion"] is None and body["grad_cam"] is None
    assert "not a diagnostic device" in body["provenance"]["disclaimer"].lower()
    assert answer.headers["x-model-version"] == "0123456789abcdef"
    assert answer.headers["x-synthetic-data"] == "true"


def test_the_map_comes_when_asked_for_and_changes_nothing_else(client: TestClient) -> None:
    plain, asked = ask(client).json(), ask(client, explain="true").json()
    rows = np.array(asked["grad_cam"])
    assert rows.shape == (4, 4) and rows.min() >= 0 and rows.max() in (0, 1)
    assert {**asked, "grad_cam": None} == plain


def test_a_value_left_out_or_empty_is_missing(client: TestClient) -> None:
    assert ask(client).json()["missing"] == list(FEATURES)
    assert ask(client, f1="2", f8="").json()["missing"] == [name for name in FEATURES if name != "f1"]


@pytest.mark.parametrize("film", [png(np.linspace(0, 65535, 64 * 96, dtype=np.uint16).reshape(64, 96)), None])
def test_sixteen_bits_and_dicom_are_read(client: TestClient, film: bytes | None) -> None:
    from pydicom.data import get_testdata_file

    found = get_testdata_file("RG1_UNCR.dcm", download=False)
    assert isinstance(found, str)
    assert ask(client, film or Path(found).read_bytes()).status_code == 200


@pytest.mark.parametrize(
    ("film", "status", "code"),
    [
        (b"", 422, "image_empty"),
        (b"not an image", 422, "image_unreadable"),
        (FILM[:900], 422, "image_truncated"),
        (b"GIF89a" + bytes(99), 415, "image_format_unsupported"),
    ],
)
def test_a_film_that_cannot_be_read_is_a_problem_with_its_reason(
    client: TestClient, film: bytes, status: int, code: str
) -> None:
    answer = ask(client, film)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == PROBLEM
    assert "/" not in answer.json()["detail"] and "Traceback" not in answer.text


def test_thirty_thousand_pixels_a_side_and_a_long_body_are_refused(client: TestClient) -> None:
    stream = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(stream, "PNG")
    answer = ask(client, stream.getvalue())
    assert (answer.status_code, answer.json()["code"]) == (413, "image_too_large")
    answer = ask(client, bytes(26_000_000))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("fields", "named"),
    [({"f0": "nan"}, "f0"), ({"f3": "many"}, "f3"), ({"f10": "1"}, "f10"), ({"label": "2"}, "label")],
)
def test_a_field_that_is_no_feature_is_named(client: TestClient, fields: dict[str, str], named: str) -> None:
    answer = ask(client, **fields)
    assert answer.status_code == 422 and answer.headers["content-type"] == PROBLEM
    assert [error["field"] for error in answer.json()["errors"]] == [named]


def test_a_value_beyond_all_measure_is_named(client: TestClient) -> None:
    answer = ask(client, f0="1e300")
    assert (answer.status_code, answer.json()["code"]) == (422, "feature_too_large")
    assert answer.json()["detail"].startswith("f0 of org2")


def test_the_film_is_required_and_a_model_as_well(client: TestClient) -> None:
    answer = ask(client, None, f0="1")
    assert answer.status_code == 422 and [error["field"] for error in answer.json()["errors"]] == ["xray"]
    empty = TestClient(assemble({"cloud_vision": split_model(FakeStore(None))}))
    answer = ask(empty)
    assert answer.status_code == 503 and "mm demo --wing cloud_vision" in answer.json()["detail"]
