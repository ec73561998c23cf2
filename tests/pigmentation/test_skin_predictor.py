"""Answers of a released model: the same as the network's, batched as alone, whatever images are there."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mm_assets.learning.bundle import load_bundle
from mm_assets.pigmentation.case import ClinicalRequired, SkinCase, UnusableImage
from mm_assets.pigmentation.model import build_model
from mm_assets.pigmentation.predictor import SkinPredictor
from mm_assets.pigmentation.severity import Thresholds, severity_of
from tests.pigmentation import tiny_skin_release as tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    released = tmp_path_factory.mktemp("skin") / "release"
    tiny.write_tiny_release(released)
    return released


@pytest.fixture(scope="module")
def predictor(folder: Path) -> SkinPredictor:
    return SkinPredictor.load(folder, version="v1", run_id="run-1")


def whole_case(seed: int = 0) -> SkinCase:
    return SkinCase(tiny.photograph_bytes(seed), tiny.photograph_bytes(seed + 50), tiny.cube_bytes(seed))


def test_an_answer_says_what_was_read_and_where_it_comes_from(predictor: SkinPredictor) -> None:
    answer = predictor.predict(whole_case())
    assert answer.wing == "pigmentation"
    assert answer.score == round(answer.score, 3)
    assert answer.modalities == ["clinical", "dermoscopy", "multispectral"] and answer.missing == []
    assert sum(answer.attention_mass.values()) == pytest.approx(1, abs=0.003)
    assert set(answer.without) == {"dermoscopy", "multispectral"}
    assert answer.interval_low == pytest.approx(max(0, answer.score - 0.1), abs=0.0011)
    assert answer.interval_high == pytest.approx(min(1, answer.score + 0.1), abs=0.0011)
    assert answer.provenance.data_version == "feedbeef" and answer.provenance.value == pytest.approx(0.08 / 3)
    assert answer.model_version == "v1"


def test_a_model_of_derived_labels_says_so_in_every_answer(folder: Path) -> None:
    from ui.pages.components.lesion import notices

    spec = json.loads((folder / "model.json").read_text())
    copy = folder.parent / "derived"
    shutil.copytree(folder, copy)
    (copy / "model.json").write_text(json.dumps({**spec, "metrics": {**spec["metrics"], "derived_labels": 3}}))
    derived = SkinPredictor.load(copy, version="v1", run_id=None).predict(SkinCase(tiny.photograph_bytes()))
    [warning] = [warning for warning in derived.warnings if warning.code == "derived_labels"]
    assert "computed from pixels" in warning.message and "not clinical truth" in warning.message
    assert "Trained on derived labels." in notices(derived.warnings, [])
    (copy / "model.json").write_text(json.dumps({**spec, "metrics": {**spec["metrics"], "derived_labels": 0}}))
    plain = SkinPredictor.load(copy, version="v1", run_id=None).predict(SkinCase(tiny.photograph_bytes()))
    assert "derived_labels" not in [warning.code for warning in plain.warnings]


def test_the_clinical_photograph_alone_is_enough(predictor: SkinPredictor) -> None:
    answer = predictor.predict(SkinCase(tiny.photograph_bytes()))
    assert answer.modalities == ["clinical"] and answer.missing == ["dermoscopy", "multispectral"]
    assert answer.without == {}
    assert set(answer.attention_mass) == {"clinical", "none"}


def test_a_batch_of_mixed_cases_answers_as_each_alone(predictor: SkinPredictor) -> None:
    cases = [
        whole_case(1),
        SkinCase(tiny.photograph_bytes(2)),
        SkinCase(tiny.photograph_bytes(3), multispectral=tiny.cube_bytes(3)),
        SkinCase(tiny.photograph_bytes(4), dermoscopy=tiny.photograph_bytes(5)),
    ]
    together = predictor.answer([predictor.prepare(case) for case in cases])
    for case, answer in zip(cases, together, strict=True):
        alone = predictor.predict(case)
        assert answer.score == pytest.approx(alone.score, abs=0.0011)
        assert answer.without == pytest.approx(alone.without, abs=0.0011)
        assert answer.modalities == alone.modalities
    assert len({answer.score for answer in together}) > 1


def test_without_is_the_score_when_left_out(predictor: SkinPredictor) -> None:
    case = whole_case(7)
    whole = predictor.predict(case)
    for name in ("dermoscopy", "multispectral"):
        less = predictor.predict(case, [name])
        assert less.score == pytest.approx(whole.without[name], abs=0.0011)
        assert less.score == pytest.approx(predictor.predict(case.without([name])).score, abs=0.0011)
        assert "left_out" in [warning.code for warning in less.warnings]
        assert name in less.missing
    with pytest.raises(ClinicalRequired):
        predictor.predict(case, ["clinical"])


def test_the_answer_is_the_networks_on_the_stored_record(folder: Path, predictor: SkinPredictor) -> None:
    """A record uploaded from its stored form must score what evaluation gave it."""
    bundle = load_bundle(folder)
    model = build_model(bundle.spec["architecture"], bundle.state_dict)
    from mm_assets.pigmentation.datasets import stored_modalities
    from mm_assets.pigmentation.inputs import to_tensor
    from mm_assets.pigmentation.release import npz_of

    spec = tiny.tiny_spec()
    row = tiny.stored_row(9)
    stored = {modality.name: modality for modality in stored_modalities(tiny.CAPTURES)}
    batch = {
        name: to_tensor(spec.modality(name), stored[name].pixels(row[name]), spec.image_size)[None]
        for name in spec.names
    }
    with torch.inference_mode():
        expected = float(model({**batch, "present": torch.ones(1, 3, dtype=torch.bool)})[0, 0])
    # A stored JPEG is encoded once more on the way in; png is not, so the network sees the very same pixels.
    case = SkinCase(row["clinical"], row["dermoscopy"], npz_of(stored["multispectral"], row["multispectral"]))
    assert predictor.predict(case).score == pytest.approx(expected, abs=0.02)


@settings(max_examples=50, deadline=None)
@given(score=st.floats(min_value=0, max_value=1, width=32))
def test_the_severity_of_an_answer_is_that_of_the_evaluation(predictor: SkinPredictor, score: float) -> None:
    prepared = _PREPARED.setdefault("one", predictor.prepare(SkinCase(tiny.photograph_bytes())))
    answer = predictor._prediction(prepared, score, 0.1, {}, {})
    assert answer.severity == severity_of(score, Thresholds())
    assert answer.severity == severity_of(answer.score, Thresholds())
    assert answer.score == round(float(score), 3)


_PREPARED: dict = {}


@pytest.mark.parametrize(
    ("case", "modality", "code"),
    [
        (SkinCase(b""), "clinical", "image_empty"),
        (SkinCase(b"not a picture at all"), "clinical", "image_unreadable"),
        (SkinCase(tiny.photograph_bytes()[:900]), "clinical", "image_truncated"),
        (SkinCase(tiny.png_bytes(np.zeros((1, 1, 3), np.uint8))), "clinical", "image_too_small"),
        (SkinCase(b"GIF89a" + bytes(50)), "clinical", "image_format_unsupported"),
        (SkinCase(tiny.photograph_bytes(), dermoscopy=b"junk"), "dermoscopy", "image_unreadable"),
        (SkinCase(tiny.photograph_bytes(), multispectral=b"junk"), "multispectral", "cube_unreadable"),
        (
            SkinCase(tiny.photograph_bytes(), multispectral=tiny.photograph_bytes()),
            "multispectral",
            "cube_wrong_bands",
        ),
        (
            SkinCase(tiny.photograph_bytes(), multispectral=tiny.cube_bytes(wavelengths=(500, 550, 600))),
            "multispectral",
            "cube_wrong_bands",
        ),
    ],
)
def test_an_unusable_image_is_named_with_its_reason(
    predictor: SkinPredictor, case: SkinCase, modality: str, code: str
) -> None:
    with pytest.raises(UnusableImage) as raised:
        predictor.prepare(case)
    assert (raised.value.modality, raised.value.code) == (modality, code)
    assert str(raised.value).endswith(".")


def test_a_huge_picture_is_refused_from_its_header(predictor: SkinPredictor) -> None:
    stream = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(stream, "PNG")
    with pytest.raises(UnusableImage) as raised:
        predictor.prepare(SkinCase(stream.getvalue()))
    assert raised.value.code == "image_too_large"


@pytest.mark.parametrize("mode", ["L", "RGBA", "I;16", "P", "CMYK"])
def test_every_common_pixel_format_is_read(predictor: SkinPredictor, mode: str) -> None:
    picture = Image.fromarray(tiny.skin_photograph())
    stream = io.BytesIO()
    if mode == "I;16":
        Image.fromarray(tiny.skin_photograph()[..., 0].astype(np.uint16) * 257).save(stream, "PNG")
    else:
        picture.convert(mode).save(stream, "JPEG" if mode == "CMYK" else "PNG")
    assert 0 <= predictor.predict(SkinCase(stream.getvalue())).score <= 1


def test_a_cube_of_more_bands_is_resampled(predictor: SkinPredictor) -> None:
    many = tuple(np.linspace(440, 900, 40))
    answer = predictor.predict(SkinCase(tiny.photograph_bytes(), multispectral=tiny.cube_bytes(wavelengths=many)))
    assert "multispectral" in answer.modalities


def test_a_colour_profile_that_cannot_be_applied_is_a_warning(predictor: SkinPredictor) -> None:
    stream = io.BytesIO()
    Image.fromarray(tiny.skin_photograph(3)).save(stream, "PNG", icc_profile=b"x" * 200)
    told = predictor.predict(SkinCase(stream.getvalue()))
    [warning] = [warning for warning in told.warnings if warning.code == "colour_profile"]
    assert "clinical photograph" in warning.message and "it cannot be read" in warning.message
    plain = predictor.predict(SkinCase(tiny.png_bytes(tiny.skin_photograph(3))))
    assert told.score == plain.score and "colour_profile" not in [warning.code for warning in plain.warnings]


def test_explanation_has_a_map_per_picture_and_shares_add_up(predictor: SkinPredictor) -> None:
    case = whole_case(3)
    answer, shown = predictor.explained(case)
    assert answer.model_copy(update={"attention": None}) == predictor.predict(case)
    assert [picture.modality for picture in shown.pictures] == ["clinical", "dermoscopy", "multispectral"]
    maps = {picture.modality: picture.attention for picture in shown.pictures}
    mass = answer.attention_mass
    for name, attention in maps.items():
        assert attention is not None and attention.shape == predictor._model.grid
        assert float(attention.sum()) == pytest.approx(mass[name], abs=0.002)
    parts = np.concatenate([attention.ravel() for attention in maps.values() if attention is not None])
    assert shown.even == pytest.approx(parts.mean())
    assert shown.full == pytest.approx(max(parts.max(), 2 * shown.even))
    assert all(picture.jpeg.startswith(b"\xff\xd8") for picture in shown.pictures)
    assert (shown.pictures[0].width, shown.pictures[0].height) == (96, 96)
    less, shown = predictor.explained(case, ["dermoscopy"])
    assert [picture.modality for picture in shown.pictures] == ["clinical", "multispectral"]
    assert less.score == pytest.approx(answer.without["dermoscopy"], abs=0.0011)


def test_examples_span_tones_and_raise_no_alarm(predictor: SkinPredictor) -> None:
    assert len(predictor.examples) == 6
    assert all("synthetic" in example.title for example in predictor.examples)
    for example in predictor.examples:
        assert [warning.code for warning in predictor.predict(example.case).warnings] == []
    foreign = predictor.predict(SkinCase(tiny.photograph_bytes(77)))
    assert "synthetic_model" in [warning.code for warning in foreign.warnings]
    predictor.try_once()


def test_a_release_of_real_data_has_no_examples_and_can_still_be_tried(tmp_path: Path) -> None:
    tiny.write_tiny_release(tmp_path / "real", synthetic=False)
    predictor = SkinPredictor.load(tmp_path / "real", version="v2", run_id=None)
    assert predictor.examples == ()
    predictor.try_once()
    codes = [warning.code for warning in predictor.predict(SkinCase(tiny.photograph_bytes())).warnings]
    assert "synthetic_model" not in codes


def test_a_subset_without_a_measured_interval_has_none(folder: Path, predictor: SkinPredictor) -> None:
    bundle = load_bundle(folder)
    spec = {**bundle.spec, "conformal": {"clinical": bundle.spec["conformal"]["clinical"]}}
    other = SkinPredictor(spec, predictor._model, predictor._encode, predictor.provenance)
    answer = other.predict(replace(whole_case(), multispectral=None))
    assert answer.interval_low is None and "not measured" in answer.interval


def test_a_classifier_answers_with_its_expected_score(tmp_path: Path, predictor: SkinPredictor, folder: Path) -> None:
    model = tiny.write_trained(tmp_path / "classes", head="classification")
    from mm_assets.pigmentation.runtime import torch_encode

    other = SkinPredictor(load_bundle(folder).spec, model, torch_encode(model), predictor.provenance)
    answer = other.predict(whole_case())
    assert 0 < answer.score < 1
    assert answer.severity == severity_of(answer.score)


def test_an_answer_tells_the_error_of_the_images_it_rests_on(tmp_path: Path) -> None:
    tiny.write_tiny_release(tmp_path / "released")
    predictor = SkinPredictor.load(tmp_path / "released", version="v1", run_id=None)
    example = next(one for one in predictor.examples if len(one.case.images()) == 3).case
    whole, alone = predictor.predict(example), predictor.predict(example, leave_out=("dermoscopy", "multispectral"))
    assert whole.provenance.value == predictor.provenance.value == pytest.approx(0.08 / 3)
    assert alone.provenance.value == pytest.approx(0.08)
