"""Answers of a released split model: those of its networks, with what was missing, what crossed, and where it looks."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from mm_assets.cloud_vision.case import SplitCase, UnusableFeature
from mm_assets.cloud_vision.central_training import build_central
from mm_assets.cloud_vision.explain import grad_cam, grad_cam_png, outline_png, read_mask, share_inside
from mm_assets.cloud_vision.predictor import SplitPredictor
from mm_assets.cloud_vision.schema import CLASSES, FEATURES
from mm_assets.cloud_vision.synthetic.films import mask_png
from mm_assets.cloud_vision.wire import pack
from mm_assets.cloud_vision.xray_pixels import xray_pixels
from mm_assets.learning.bundle import BundleIncomplete, load_bundle
from mm_assets.records.unreadable import UnreadableImage
from tests.cloud_vision import tiny_split_release as tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    released = tmp_path_factory.mktemp("split") / "release"
    tiny.write_tiny_release(released)
    return released


@pytest.fixture(scope="module")
def predictor(folder: Path) -> SplitPredictor:
    return tiny.load_tiny(folder)


def logits_of(folder: Path, case: SplitCase) -> torch.Tensor:
    """What the stored joint network says in one place, without any message."""
    bundle = load_bundle(folder)
    model = build_central(tiny.CONFIG, 0)
    model.load_state_dict(bundle.state_dict)
    tables = [
        tiny.preprocessor(party).transform(pa.table({name: pa.array([value]) for name, value in values.items()}))
        for party, values in (("org2", case.org2), ("org3", case.org3))
    ]
    pixels = torch.tensor(xray_pixels(case.xray, tiny.CONFIG.image_px))[None]
    with torch.no_grad():
        return model.eval()(torch.from_numpy(tables[0]), pixels, torch.from_numpy(tables[1]))[0]


def test_the_answer_is_that_of_the_whole_network_at_its_temperature(folder: Path, predictor: SplitPredictor) -> None:
    answered = set()
    for label in range(3):
        case = tiny.split_case(label, seed=20 + label)
        answer = predictor.predict(case)
        expected = torch.softmax(logits_of(folder, case).double() / 1.5, 0).numpy()
        assert list(answer.probabilities) == list(CLASSES)
        np.testing.assert_allclose(list(answer.probabilities.values()), expected, atol=1e-4)
        assert answer.label == CLASSES[int(expected.argmax())]
        answered.add(tuple(answer.probabilities.values()))
    assert len(answered) == 3
    assert answer.model_version == "v1" and answer.provenance.data_version == "feedbeef"
    assert (answer.provenance.value, answer.provenance.low) == (0.81, 0.77)
    assert "read 97% of the train labels" in answer.leak and answer.leak.endswith(f"tried: {tiny.VERDICT}.")
    assert answer.held_out == {"joint": 0.81, "org2": 0.58, "org3": 0.6}


def test_each_organisations_own_answer_rests_on_its_own_data_only(predictor: SplitPredictor) -> None:
    case, other = tiny.split_case(0, seed=1), tiny.split_case(2, seed=2)
    answer = predictor.predict(case)
    swapped = predictor.predict(replace(case, xray=other.xray, org3=other.org3))
    assert swapped.alone["org2"] == answer.alone["org2"]
    assert swapped.alone["org3"] != answer.alone["org3"] and swapped.probabilities != answer.probabilities
    swapped = predictor.predict(replace(case, org2=other.org2))
    assert swapped.alone["org3"] == answer.alone["org3"]
    assert swapped.alone["org2"] != answer.alone["org2"] and swapped.probabilities != answer.probabilities


def test_what_crosses_is_an_embedding_and_its_gradient(predictor: SplitPredictor) -> None:
    crossed = predictor.predict(tiny.split_case()).crossed
    numbers = torch.zeros(1, tiny.CONFIG.embedding)
    assert crossed == {
        "org3 -> org2": len(pack({"embedding": numbers})),
        "org2 -> org3": len(pack({"gradient": numbers})),
    }
    assert crossed["org3 -> org2"] < 400  # neither a film nor its pixels


def test_missing_features_are_the_median_and_named(predictor: SplitPredictor) -> None:
    case = tiny.split_case()
    assert predictor.predict(case).missing == []
    without = replace(case, org2={**case.org2, "f1": None}, org3={"f5": case.org3["f5"]})
    answer = predictor.predict(without)
    assert answer.missing == ["f1", "f6", "f7", "f8", "f9"]
    median = replace(
        case, org2={**case.org2, "f1": 0.25}, org3={**dict.fromkeys(case.org3, 0.25), "f5": case.org3["f5"]}
    )
    assert answer.probabilities == predictor.predict(median).probabilities
    assert predictor.predict(SplitCase(xray=case.xray)).missing == list(FEATURES)


def test_the_truth_is_compared_with_and_never_read(predictor: SplitPredictor) -> None:
    case = tiny.split_case(2, seed=4)
    answer = predictor.predict(case, explain=True)
    assert answer.probabilities == predictor.predict(replace(case, mask=None, label=0)).probabilities
    assert case.mask is not None and answer.grad_cam is not None
    mask = read_mask(case.mask)
    assert answer.lesion_share == pytest.approx(mask.mean())
    assert answer.in_lesion == pytest.approx(share_inside(np.array(answer.grad_cam, np.float32), mask), abs=1e-3)
    blind = predictor.predict(replace(case, mask=None))
    assert blind.in_lesion is None and blind.lesion_share is None and blind.grad_cam is None


def test_the_map_is_grad_cam_of_the_answered_class(folder: Path, predictor: SplitPredictor) -> None:
    """By the definition of the paper, over the network in one place."""
    case = tiny.split_case(1, seed=8)
    answer, shown = predictor.explained(case)
    assert answer == predictor.predict(case) and answer.label == shown.label
    model = build_central(tiny.CONFIG, 0)
    model.load_state_dict(load_bundle(folder).state_dict)
    model.eval()
    assert model.org2 is not None and model.org3 is not None
    own = tiny.preprocessor("org2").transform(pa.table({name: [value] for name, value in case.org2.items()}))
    theirs = tiny.preprocessor("org3").transform(pa.table({name: [value] for name, value in case.org3.items()}))
    image_map = model.org3.image_map(torch.tensor(xray_pixels(case.xray, tiny.CONFIG.image_px))[None]).detach()
    image_map.requires_grad_()
    logits = model.top(model.org2(torch.from_numpy(own)), model.org3.embed(image_map, torch.from_numpy(theirs)))[0]
    [gradient] = torch.autograd.grad(logits[CLASSES.index(shown.label)], image_map)
    weights = gradient[0].mean((1, 2))
    expected = torch.relu((weights[:, None, None] * image_map[0]).sum(0)).detach().numpy()
    np.testing.assert_allclose(shown.grad_cam, expected / expected.max(), atol=1e-5)
    assert shown.grad_cam.shape == (4, 4) and (shown.width, shown.height) == (tiny.FILM_PX, tiny.FILM_PX)


def test_a_map_on_which_nothing_spoke_for_the_class_is_empty() -> None:
    image_map = torch.ones(1, 2, 3, 3)
    assert not grad_cam(image_map, -torch.ones(1, 2, 3, 3)).any()
    assert share_inside(np.zeros((3, 3), np.float32), np.ones((9, 9), bool)) is None
    assert share_inside(np.ones((3, 3), np.float32), np.zeros((9, 9), bool)) is None


@settings(max_examples=30, deadline=None)
@given(mask=arrays.arrays(bool, (24, 24)), cam=arrays.arrays(np.float32, (4, 4), elements=st.floats(0, 1, width=16)))
def test_shares_of_a_lesion_and_of_what_it_leaves_add_up(mask: np.ndarray, cam: np.ndarray) -> None:
    np.testing.assert_array_equal(read_mask(mask_png(mask)), mask)
    even = share_inside(np.ones((4, 4), np.float32), mask)
    if even is not None:
        assert even == pytest.approx(mask.mean(), abs=1e-5)
    inside, outside = share_inside(cam, mask), share_inside(cam, ~mask)
    if inside is not None and outside is not None:
        assert inside + outside == pytest.approx(1, abs=1e-4)


def test_pictures_are_opaque_where_the_map_and_the_border_are() -> None:
    cam = np.zeros((4, 4), np.float32)
    cam[0, 3] = 1
    alpha = np.asarray(Image.open(io.BytesIO(grad_cam_png(cam, 64))))[..., 3]
    assert alpha[:8, 56:].min() > 200 and alpha[32:].max() == 0
    mask = np.zeros((64, 64), bool)
    mask[16:48, 16:48] = True
    border = np.asarray(Image.open(io.BytesIO(outline_png(mask, 64))))[..., 3] > 0
    assert border[16, 30] and border[17, 30] and not border[32, 32] and not border[14, 30]
    whole = np.asarray(Image.open(io.BytesIO(outline_png(np.ones((8, 8), bool), 8))))[..., 3]
    assert whole[0].all() and not whole[4, 4]  # a lesion that reaches the edge of the film ends there


def test_examples_are_cases_with_their_truth(predictor: SplitPredictor) -> None:
    titles = [example.title for example in predictor.examples]
    assert titles[0] == "COVID-19, ground-glass film (synthetic)" and len(set(titles)) == 6
    assert titles[3] == "COVID-19, ground-glass film 2 (synthetic)"
    assert predictor.examples[1].case.mask is None and predictor.examples[1].case.label == 1
    assert predictor.predict(predictor.examples[0].case).warnings == []
    predictor.try_once()


def test_warnings_of_films_tables_and_values(folder: Path, predictor: SplitPredictor, tmp_path: Path) -> None:
    case = tiny.split_case(0, seed=77)
    codes = [warning.code for warning in predictor.predict(case).warnings]
    assert codes == ["synthetic_model"]
    far = predictor.predict(replace(case, org2={**case.org2, "f3": 60.0})).warnings
    assert [warning.code for warning in far] == ["synthetic_model", "uncommon_value"] and "f3:" in far[1].message
    tiny.write_tiny_release(tmp_path / "real", synthetic=False)
    real = tiny.load_tiny(tmp_path / "real")
    assert [warning.code for warning in real.predict(case).warnings] == ["synthetic_tables"]
    assert real.examples == ()
    real.try_once()


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"f5": 1.0}, "feature_unknown"),
        ({"f0": float("nan")}, "feature_not_finite"),
        ({"f0": 1e300}, "feature_too_large"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(predictor: SplitPredictor, values: dict[str, float], code: str) -> None:
    with pytest.raises(UnusableFeature, match=r"^f[05]") as raised:
        predictor.predict(SplitCase(tiny.split_case().xray, org2=values))
    assert raised.value.code == code and str(raised.value).endswith(".")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "image_empty"),
        (b"GIF89a" + bytes(50), "image_format_unsupported"),
        (b"\xff\xd8\xff\xe0", "image_truncated"),
    ],
)
def test_a_film_that_cannot_be_read_has_its_reason(predictor: SplitPredictor, data: bytes, code: str) -> None:
    with pytest.raises(UnreadableImage) as raised:
        predictor.predict(SplitCase(data))
    assert raised.value.reason_code == code


def test_sixteen_bits_and_dicom_are_read(predictor: SplitPredictor) -> None:
    from pydicom.data import get_testdata_file

    stream = io.BytesIO()
    Image.fromarray(np.linspace(0, 65535, 96 * 64, dtype=np.uint16).reshape(96, 64)).save(stream, "PNG")
    _, shown = predictor.explained(SplitCase(stream.getvalue()))
    assert (shown.width, shown.height) == (64, 96)
    assert np.asarray(Image.open(io.BytesIO(shown.film))).std() > 40  # an 8-bit reader would show it white
    dicom = get_testdata_file("RG1_UNCR.dcm", download=False)
    assert isinstance(dicom, str)
    assert predictor.predict(SplitCase(Path(dicom).read_bytes())).label in CLASSES


def test_a_folder_without_a_partys_own_network_is_incomplete(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "org3_alone.safetensors").unlink()
    with pytest.raises(BundleIncomplete, match="org3_alone"):
        tiny.load_tiny(tmp_path / "copy")
    shutil.copy(folder / "org3_alone.safetensors", tmp_path / "copy")
    spec = json.loads((folder / "model.json").read_text())
    del spec["leak"]
    (tmp_path / "copy" / "model.json").write_text(json.dumps(spec))
    with pytest.raises(BundleIncomplete, match="'leak'"):
        tiny.load_tiny(tmp_path / "copy")
