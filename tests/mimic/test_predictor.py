"""A released folder answers cases: the preprocessing of training, honest warnings, provenance on every
answer.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from mm_assets.learning.bundle import BundleIncomplete
from mm_assets.learning.encoders import OtherWeights, TextEncoder, VisionEncoder
from mm_assets.mimic import predictor as predictor_module
from mm_assets.mimic.case import ChestCase, EmptyCase, Prediction
from mm_assets.mimic.predictor import FILMS_KEPT, MimicPredictor
from mm_assets.mimic.schema import LABELS
from mm_assets.records.images import encode_jpeg
from mm_assets.records.unreadable import UnreadableImage
from tests.mimic.tiny_release import tiny_text, tiny_vision, write_tiny_release
from tests.ui.fakes import film_bytes

FULL = ChestCase(
    image=film_bytes(5), complaint="cough with fever", history="furosemide", sex="M", age=70,
    temperature=98.6, heartrate=88, resprate=18, o2sat=96, sbp=130, dbp=75, pain=2, acuity=3,
)  # fmt: skip


def load(folder: Path, monkeypatch: pytest.MonkeyPatch) -> MimicPredictor:
    monkeypatch.setattr(predictor_module, "load_vision", tiny_vision)
    monkeypatch.setattr(predictor_module, "load_text", tiny_text)
    return MimicPredictor.load(folder, version="v1", run_id="r1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_release(tmp_path_factory.mktemp("release"))


@pytest.fixture
def predictor(folder: Path, monkeypatch: pytest.MonkeyPatch) -> MimicPredictor:
    return load(folder, monkeypatch)


def codes(prediction: Prediction) -> list[str]:
    return [warning.code for warning in prediction.warnings]


def probabilities(prediction: Prediction) -> np.ndarray:
    return np.array([finding.probability for finding in prediction.findings])


def test_answer_has_every_label_in_order_with_interval_threshold_and_origin(
    predictor: MimicPredictor,
) -> None:
    answer = predictor.predict(FULL)
    assert [finding.label for finding in answer.findings] == list(LABELS)
    for finding in answer.findings:
        assert 0 <= finding.low <= finding.high <= 1
        assert finding.positive == (finding.probability >= finding.threshold)
    assert "Venn-Abers" in answer.interval
    origin = answer.provenance
    assert (origin.model_version, origin.run_id, origin.data_version) == ("v1", "r1", "feedbeef")
    assert (origin.test_auroc, origin.test_auroc_low, origin.test_auroc_high) == (0.8, 0.78, 0.82)
    assert origin.synthetic


def test_same_case_gives_the_same_answer_and_each_modality_matters(predictor: MimicPredictor) -> None:
    whole = probabilities(predictor.predict(FULL))
    assert np.array_equal(whole, probabilities(predictor.predict(FULL)))
    for name in ("image", "text", "tabular"):
        assert not np.allclose(whole, probabilities(predictor.predict(FULL, [name])), atol=1e-6)  # type: ignore[list-item]


def test_leaving_out_equals_not_sending(predictor: MimicPredictor) -> None:
    no_note = FULL.model_copy(update={"complaint": "", "history": ""})
    assert np.allclose(probabilities(predictor.predict(FULL, ["text"])), probabilities(predictor.predict(no_note)))
    assert "left_out" in codes(predictor.predict(FULL, ["text"]))
    assert "missing_modality" in codes(predictor.predict(no_note))


def test_contributions_are_the_differences_to_leaving_out(predictor: MimicPredictor) -> None:
    answer = predictor.predict(FULL)
    assert [part.modality for part in answer.contributions] == ["image", "text", "tabular"]
    for part in answer.contributions:
        difference = probabilities(answer) - probabilities(predictor.predict(FULL, [part.modality]))
        assert np.allclose([part.change[label] for label in LABELS], difference, atol=1e-6)


def test_one_modality_alone_is_answered_and_nothing_at_all_is_refused(predictor: MimicPredictor) -> None:
    assert predictor.predict(ChestCase(image=film_bytes(2))).contributions == []
    assert predictor.predict(ChestCase(heartrate=80)).passages == []
    with pytest.raises(EmptyCase):
        predictor.predict(ChestCase(view="PA"))
    with pytest.raises(EmptyCase):
        predictor.predict(ChestCase(complaint="cough"), ["text"])


def test_passages_follow_the_complaint_and_carry_their_citation(predictor: MimicPredictor) -> None:
    found = predictor.predict(ChestCase(complaint="Cough with fever.")).passages
    assert found[0].id == "p2"
    assert len(found) == 2
    assert found[0].score >= found[1].score
    assert found[0].citation == "Own words"


def test_words_that_report_a_film_do_not_reach_the_model(predictor: MimicPredictor) -> None:
    clean = predictor.predict(ChestCase(complaint="cough"))
    leaky = predictor.predict(ChestCase(complaint="cough, pneumothorax on CXR"))
    assert np.allclose(probabilities(clean), probabilities(leaky))
    assert "words_removed" in codes(leaky)
    assert "words_removed" not in codes(clean)


def test_celsius_equals_fahrenheit_and_is_told(predictor: MimicPredictor) -> None:
    celsius = predictor.predict(ChestCase(temperature=37.0))
    fahrenheit = predictor.predict(ChestCase(temperature=98.6))
    assert np.allclose(probabilities(celsius), probabilities(fahrenheit), atol=1e-6)
    assert "converted_value" in codes(celsius)
    assert "converted_value" not in codes(fahrenheit)


def test_uncommon_value_is_told(predictor: MimicPredictor) -> None:
    assert "uncommon_value" in codes(predictor.predict(ChestCase(heartrate=340)))
    assert "uncommon_value" not in codes(predictor.predict(ChestCase(heartrate=85)))


def test_real_film_on_a_synthetic_model_is_told_and_an_example_is_not(predictor: MimicPredictor) -> None:
    assert "synthetic_model" in codes(predictor.predict(ChestCase(image=film_bytes(9))))
    assert "synthetic_model" not in codes(predictor.predict(predictor.examples[0].case))


def test_film_unlike_the_training_films_is_told(predictor: MimicPredictor) -> None:
    checkers = np.kron(np.indices((8, 8)).sum(0) % 2, np.full((24, 24), 255)).astype(np.uint8)
    assert "out_of_domain" in codes(predictor.predict(ChestCase(image=encode_jpeg(checkers))))
    assert "out_of_domain" not in codes(predictor.predict(ChestCase(image=film_bytes(3))))


def test_patient_data_model_does_not_call_itself_synthetic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = load(write_tiny_release(tmp_path, synthetic=False), monkeypatch)
    answer = real.predict(ChestCase(image=film_bytes(9)))
    assert "synthetic_model" not in codes(answer)
    assert not answer.provenance.synthetic


def test_unreadable_film_is_refused_with_its_reason(predictor: MimicPredictor) -> None:
    with pytest.raises(UnreadableImage) as refused:
        predictor.predict(ChestCase(image=film_bytes()[:2000], complaint="cough"))
    assert refused.value.reason_code == "image_truncated"


def test_examples_are_ready_to_read(predictor: MimicPredictor) -> None:
    assert [example.title for example in predictor.examples] == ["With film", "Without film"]
    assert predictor.examples[0].case.image == film_bytes(1)
    assert predictor.examples[1].case.arrived_by_ambulance is True


def test_few_films_are_kept(predictor: MimicPredictor) -> None:
    for seed in range(FILMS_KEPT + 3):
        predictor.predict(ChestCase(image=film_bytes(seed)))
    assert len(predictor._films) == FILMS_KEPT


def test_explanation_is_of_the_film_and_none_without_one(predictor: MimicPredictor) -> None:
    shown = predictor.explain(FULL)
    assert shown is not None
    assert shown.maps.shape == (14, 4, 4)
    assert (shown.width, shown.height) == (320, 384)
    assert np.abs(shown.maps).max() <= shown.scale
    assert predictor.explain(FULL, ["image"]) is None


def test_release_without_calibration_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    folder = write_tiny_release(tmp_path)
    spec = json.loads((folder / "model.json").read_text())
    del spec["calibration"]
    (folder / "model.json").write_text(json.dumps(spec))
    with pytest.raises(BundleIncomplete, match="calibration"):
        load(folder, monkeypatch)


def changed_vision(*_: object) -> VisionEncoder:
    encoder = tiny_vision()
    encoder.trunk.gain.data += 1e-6
    return encoder


def changed_text(*_: object) -> TextEncoder:
    encoder = tiny_text()
    with torch.no_grad():
        encoder.trunk.table.weight[7, 2] += 1e-6  # type: ignore[index, operator, union-attr]
    return encoder


@pytest.mark.parametrize(("loader", "changed"), [("load_vision", changed_vision), ("load_text", changed_text)])
def test_encoder_with_other_weights_than_in_training_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, loader: str, changed: object
) -> None:
    load(folder, monkeypatch)
    monkeypatch.setattr(predictor_module, loader, changed)
    with pytest.raises(OtherWeights) as refused:
        MimicPredictor.load(folder, version="v1", run_id="r1")
    said = str(refused.value)
    assert said.startswith("tiny: the weights loaded here") and "not those the model was trained with" in said
    assert "MM_HUB_DIR" in said and "`mm materialize mimic`" in said


@pytest.mark.parametrize("section", ["vision", "text", "retrieval"])
def test_release_that_does_not_note_its_weights_says_how_to_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    import json

    folder = write_tiny_release(tmp_path)
    spec = json.loads((folder / "model.json").read_text())
    del spec["preprocessing"][section]["weights_digest"]
    (folder / "model.json").write_text(json.dumps(spec))
    with pytest.raises(BundleIncomplete, match=f"{section}.weights_digest: .*mm materialize mimic"):
        load(folder, monkeypatch)
