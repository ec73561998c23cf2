"""A release: the files that the predictor reads, and what is refused."""

import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from mm_assets.cloud_vision.central_training import build_central
from mm_assets.cloud_vision.party_preprocessing import TabularPreprocessor
from mm_assets.cloud_vision.predictor import SplitPredictor
from mm_assets.cloud_vision.release import EXAMPLE_SCHEMA, NotReleasable, ReleaseInputs, choose_examples, write_release
from mm_assets.cloud_vision.release_rule import release_refusal
from mm_assets.cloud_vision.schema import CLASSES, FEATURES, ORG2_FEATURES, ORG3_FEATURES
from tests.cloud_vision.tiny_split_release import CONFIG, drawn_film

HEADLINE = {
    "accuracy_joint": 0.79, "accuracy_served": 0.8, "accuracy_org2": 0.54, "accuracy_org3": 0.53,
    "gain_over_org2_ci_low": 0.2, "gain_over_org3_ci_low": 0.2, "split_minus_central": 0.0, "n_test": 500,
    "leak_accuracy": 0.95, "leak_accuracy_defended": 0.56, "leak_guess": 0.53,
}  # fmt: skip
UPSTREAM = {"cloud_vision/source": "s", "cloud_vision/evaluation": "e"}


def preprocessor(party, names):
    return TabularPreprocessor(
        party=party, features=names, target="label" if party == "org2" else None, mean=(0.0,) * 5, std=(1.0,) * 5,
        median=(0.0,) * 5,
    ).as_json()  # fmt: skip


@pytest.fixture
def inputs(tmp_path):
    weights = {}
    for parties in ("joint", "org2", "org3"):
        weights[parties] = tmp_path / f"{parties}.safetensors"
        save_file(build_central(CONFIG, 0, parties).state_dict(), weights[parties])
    film, mask = drawn_film()
    row = {"image_id": "img_1", "xray": film, "label": 0, "pattern": "ground-glass", "mask": mask}
    return ReleaseInputs(
        weights=weights,
        architecture=CONFIG.to_json(),
        preprocessors={"org2": preprocessor("org2", ORG2_FEATURES), "org3": preprocessor("org3", ORG3_FEATURES)},
        image_px=CONFIG.image_px,
        evaluation={
            "headline": HEADLINE,
            "served_seed": 2,
            "temperature": 1.25,
            "served": {name: {"value": 0.5} for name in ("joint", "org2", "org3", "image_only", "pooled")},
            "verdict": {"text": "not reached", "reached": False},
        },
        card="# card\n",
        synthetic=True,
        examples=pa.Table.from_pylist([{**row, **dict.fromkeys(FEATURES, 0.5)}], schema=EXAMPLE_SCHEMA),
    )


def changed(inputs, **values):
    return ReleaseInputs(**{**vars(inputs), **values})


def test_the_predictor_reads_what_was_written(inputs, tmp_path):
    folder = tmp_path / "bundle"
    assert write_release(inputs, folder, UPSTREAM) == "# card\n"
    spec = json.loads((folder / "model.json").read_text())
    assert spec["temperature"] == [1.25] * len(CLASSES) and spec["seed"] == 2 and spec["upstream"] == UPSTREAM
    predictor = SplitPredictor.load(folder, version="v1", run_id=None)
    [example] = predictor.examples
    answer = predictor.predict(example.case)
    model = build_central(CONFIG, 0).eval()
    prepared = predictor._inputs(example.case)
    with torch.no_grad():
        logits = model(prepared.org2, prepared.pixels, prepared.org3)[0].double() / 1.25
    expected = torch.softmax(logits, 0).numpy()
    assert np.allclose(list(answer.probabilities.values()), expected, atol=1e-4)
    assert answer.leak.endswith(": not reached.") and answer.provenance.value == HEADLINE["accuracy_served"]


def test_a_real_xray_never_leaves_with_the_bundle(inputs, tmp_path):
    write_release(changed(inputs, synthetic=False), tmp_path / "bundle", UPSTREAM)
    assert not (tmp_path / "bundle" / "examples.parquet").exists()
    assert SplitPredictor.load(tmp_path / "bundle", version="v1", run_id=None).examples == ()


def test_equal_inputs_give_equal_bytes(inputs, tmp_path):
    for name in ("one", "two"):
        write_release(inputs, tmp_path / name, UPSTREAM)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"gain_over_org3_ci_low": -0.01}, "not surely better than org3"),
        ({"split_minus_central": 1e-7}, "1.0e-07 away from training in one place"),
    ],
)
def test_a_release_is_refused_with_its_reason(inputs, tmp_path, change, reason):
    evaluation = {**inputs.evaluation, "headline": {**HEADLINE, **change}}
    with pytest.raises(NotReleasable, match=reason):
        write_release(changed(inputs, evaluation=evaluation), tmp_path / "bundle", UPSTREAM)
    assert not (tmp_path / "bundle").exists()


def test_too_few_records_leave_the_gain_open():
    few = {**HEADLINE, "gain_over_org2_ci_low": -0.3, "n_test": 30}
    assert release_refusal(few) is None
    assert release_refusal({**few, "split_minus_central": 1e-7}) is not None


def test_examples_are_the_first_of_each_class_and_pattern():
    labels = [1, 0, 0, 1, 2, 0]
    patterns = ["clear", "clear", "ground-glass", "clear", "interstitial", "clear"]
    assert choose_examples(labels, patterns) == [1, 2, 0, 4]
