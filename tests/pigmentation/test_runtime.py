"""The runtime of a release: chosen by agreement and time, told in the bundle, replaced where it is not to be had."""

import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from mm_assets.pigmentation import runtime
from mm_assets.pigmentation.case import SkinCase
from mm_assets.pigmentation.compute_table import measure_compute
from mm_assets.pigmentation.fusion import Tokens
from mm_assets.pigmentation.model import FusionModel
from mm_assets.pigmentation.predictor import SkinPredictor, encoded
from mm_assets.pigmentation.release import NotReleasable, choose_examples, subset_scores, write_release
from mm_assets.pigmentation.runtime import LEAST_RECORDS, PLAIN, Encode, choose_runtime, load_runtime, torch_encode
from mm_assets.pigmentation.schema import subsets
from mm_assets.pigmentation.severity import Thresholds
from tests.pigmentation import tiny_skin_release as tiny

needs_openvino = pytest.mark.skipif(not runtime.openvino_installed(), reason="the extra `cpu` is not installed")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> FusionModel:
    return tiny.write_trained(tmp_path_factory.mktemp("trained"))


def tensors(count: int, seed: int = 0) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    channels = {"clinical": 3, "dermoscopy": 3, "multispectral": 6}
    return [{name: torch.randn(c, tiny.PX, tiny.PX, generator=generator) for name, c in channels.items()}] * count


def scores(model: FusionModel) -> "runtime.Callable[[Encode, Sequence[Mapping[str, torch.Tensor]]], torch.Tensor]":
    def score(encode: Encode, cases: Sequence[Mapping[str, torch.Tensor]]) -> torch.Tensor:
        with torch.inference_mode():
            return model.fuse(*encoded(encode, model, cases)).output[:, :1]

    return score


def only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(runtime, "usable", lambda name: None if name in (PLAIN, *names) else "left out of this test")


def timed(monkeypatch: pytest.MonkeyPatch, milliseconds: dict[str, float]) -> None:
    monkeypatch.setattr(runtime, "_medians", lambda encoders, *_: {name: milliseconds[name] for name in encoders})


@needs_openvino
def test_openvino_gives_the_tokens_of_torch_at_any_batch_size(model: FusionModel, tmp_path: Path) -> None:
    runtime.write_openvino(runtime.convert(model, tiny.PX), tmp_path, half=False)
    encode = runtime.openvino_encode(tmp_path, model.config.names, bf16=False)
    for size in (1, 3, 16):
        images = torch.randn(size, 6, tiny.PX, tiny.PX)
        case = {"multispectral": images}
        torch.testing.assert_close(encode(case), torch_encode(model)(case), rtol=1e-3, atol=1e-4)


@needs_openvino
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_encoders_side_by_side_give_what_they_give_alone_from_several_threads(
    threads: int, model: FusionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.write_openvino(runtime.convert(model, tiny.PX), tmp_path, half=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    encode = runtime.openvino_encode(tmp_path, model.config.names, bf16=False)
    channels = dict(model.config.modalities)
    cases = [
        {name: torch.randn(size, channels[name], tiny.PX, tiny.PX) for name in subset}
        for subset in subsets(model.config.names)
        for size in (1, 2)
    ] * 3
    with ThreadPoolExecutor(4) as several:
        found = list(several.map(encode, cases))
    for case, tokens in zip(cases, found, strict=True):
        torch.testing.assert_close(tokens, torch_encode(model)(case), rtol=1e-3, atol=1e-4)


def test_threads_are_shared_by_the_encoders_that_run_side_by_side() -> None:
    three = ("clinical", "dermoscopy", "multispectral")
    assert runtime.rounds_of(three, 1) == [((name,), 1) for name in three]
    assert runtime.rounds_of(three, 2) == [(three[:2], 1), (three[2:], 2)]
    assert runtime.rounds_of(three, 8) == [(three, 2)]
    assert runtime.rounds_of(three[:1], 8) == [(three[:1], 8)]


@needs_openvino
def test_conversion_tells_nobody(model: FusionModel, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")  # first: its import makes a reporter, and reports nothing
    telemetry = pytest.importorskip("openvino_telemetry")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a report was about to be sent")

    monkeypatch.setattr(telemetry.main.Telemetry, "init", refuse)
    monkeypatch.setattr(telemetry.main.TelemetrySender, "send", refuse)
    assert set(runtime.convert(model, tiny.PX)) == set(model.config.names)


@needs_openvino
def test_equal_weights_give_equal_files(model: FusionModel, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        runtime.write_openvino(runtime.convert(model, tiny.PX), tmp_path / folder, half=False)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(files) == 2 * len(model.config.names)
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)


@needs_openvino
def test_the_fastest_that_agrees_is_chosen_and_its_files_kept(
    model: FusionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "openvino-f32")
    timed(monkeypatch, {PLAIN: 10.0, "openvino-f32": 5.0})
    choice = choose_runtime(model, tensors(LEAST_RECORDS), tmp_path, score=scores(model))
    assert choice.name == "openvino-f32" and choice.largest_difference < 1e-4
    assert "2.0 times" in choice.reason
    assert (tmp_path / "encoder-clinical.xml").is_file()
    assert set(choice.as_spec()) == {"name", "largest_difference", "tolerance", "records"}
    assert "ms" not in json.dumps(choice.as_spec())
    assert {trial["verdict"] for trial in choice.as_json()["trials"]} >= {"chosen", "agrees", "left out of this test"}


def test_a_runtime_kept_from_before_is_not_called_faster_when_it_is_slower(
    model: FusionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "torch-bfloat16")
    timed(monkeypatch, {PLAIN: 9.0, "torch-bfloat16": 10.0})
    choice = choose_runtime(
        model, tensors(LEAST_RECORDS), tmp_path, score=scores(model), tolerance=1.0, before="torch-bfloat16"
    )
    assert choice.name == "torch-bfloat16" and "kept from the release before" in choice.reason
    assert "times faster" not in choice.reason


def test_runtimes_are_compared_on_every_subset_with_the_encoders_run_once(model: FusionModel) -> None:
    """One whose tokens go wrong only for the photograph with dermoscopy alone must be seen."""
    calls: list[str] = []
    plain = torch_encode(model)

    def encode(images: Mapping[str, torch.Tensor]) -> Tokens:
        calls.extend(images)
        return plain(images)

    cases = tensors(3)
    cases[1] = {name: cases[1][name] for name in ("clinical", "multispectral")}
    found = subset_scores(model, Thresholds())(encode, cases)
    assert found.shape == (3, 4) and sorted(calls) == sorted(model.config.names)
    for column, subset in enumerate(subsets(model.config.names)):
        for row, case in enumerate(cases):
            less = {name: image for name, image in case.items() if name in subset}
            with torch.inference_mode():
                alone = model.fuse(*encoded(plain, model, [less])).output[0, 0]
            assert float(found[row, column]) == pytest.approx(float(alone), abs=1e-5)
    assert len(set(found[0].tolist())) == 4


def test_a_release_measures_what_one_case_costs_and_keeps_it_out_of_the_bundle(tmp_path: Path) -> None:
    compute = tiny.write_tiny_release(tmp_path / "release").compute
    parts = {part.name: part for part in compute.parts}
    encoders = [part.parameters for name, part in parts.items() if name.startswith("encoder")]
    assert len(encoders) == 3
    assert parts["total"].parameters == sum(encoders) + parts["fusion"].parameters + parts["head"].parameters
    weights = (tmp_path / "release" / "model.safetensors").stat().st_size
    assert parts["total"].weight_bytes == pytest.approx(weights, rel=0.2)
    assert compute.images == 3 and compute.answers[0].runtime == PLAIN and compute.answers[0].milliseconds > 0
    if sys.platform == "linux" and compute.answers[0].peak_mb is not None:
        assert compute.answers[0].peak_mb > 50 and compute.answers[0].rise_mb is not None
    table = compute.markdown()
    assert "| total |" in table and "ms for one case with 3 images" in table and PLAIN in table
    assert "milliseconds" not in (tmp_path / "release" / "model.json").read_text()


def test_the_table_shows_the_times_of_the_runtimes_that_were_tried(model: FusionModel) -> None:
    trials = (
        runtime.Trial(PLAIN, 0.0, 10.0, "agrees"),
        runtime.Trial("openvino-f32", 0.0, 4.0, "chosen"),
        runtime.Trial("openvino-bf16", 0.1, None, "differs"),
    )
    choice = runtime.RuntimeChoice("openvino-f32", "2.5 times faster", 64, 0.0, trials)
    table = measure_compute(model, tensors(1)[0], choice, scores(model))
    on_cpu = {one.runtime: one.milliseconds for one in table.answers if one.device.startswith("CPU")}
    assert on_cpu == {PLAIN: 10.0, "openvino-f32": 4.0}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_table_has_a_row_of_the_gpu(model: FusionModel) -> None:
    choice = runtime.RuntimeChoice(PLAIN, "nothing else", 64, 0.0, ())
    table = measure_compute(model, tensors(1)[0], choice, scores(model))
    [gpu] = [one for one in table.answers if not one.device.startswith("CPU")]
    assert gpu.milliseconds > 0 and gpu.peak_mb is not None and gpu.rise_mb is not None
    assert next(model.parameters()).device.type == "cpu"


def test_a_small_gain_or_a_difference_keeps_plain_torch(
    model: FusionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "torch-bfloat16")
    timed(monkeypatch, {PLAIN: 10.0, "torch-bfloat16": 9.0})
    choice = choose_runtime(model, tensors(LEAST_RECORDS), tmp_path, score=scores(model), tolerance=1.0)
    assert choice.name == PLAIN
    timed(monkeypatch, {PLAIN: 10.0, "torch-bfloat16": 1.0})
    choice = choose_runtime(model, tensors(LEAST_RECORDS), tmp_path, score=scores(model), tolerance=0.0)
    assert choice.name == PLAIN
    assert "differs by more than" in choice.as_json()["trials"][-1]["verdict"] or choice.trials
    assert list(tmp_path.iterdir()) == []


def test_few_records_keep_plain_torch_untimed(
    model: FusionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "torch-bfloat16")
    timed(monkeypatch, {PLAIN: 10.0, "torch-bfloat16": 1.0})
    few = tensors(LEAST_RECORDS - 1)
    choice = choose_runtime(model, few, tmp_path, score=scores(model), tolerance=1.0, before="torch-bfloat16")
    assert choice.name == PLAIN and choice.trials == ()
    assert choice.reason == "too few validation records to compare runtimes"
    assert choice.as_spec()["records"] == LEAST_RECORDS - 1
    enough = choose_runtime(model, tensors(LEAST_RECORDS), tmp_path, score=scores(model), tolerance=1.0)
    assert enough.name == "torch-bfloat16"


def test_a_release_of_few_records_is_repeated_byte_for_byte(tmp_path: Path) -> None:
    for name in ("first", "second"):
        tiny.write_tiny_release(tmp_path / name)
    files = [path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*") if path.is_file()]
    assert Path("model.json") in files
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes(), file


def test_a_runtime_that_fails_on_a_model_is_left_out(
    model: FusionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("no such operation")

    only(monkeypatch, "openvino-f32")
    monkeypatch.setattr(runtime, "convert", fails)
    choice = choose_runtime(model, tensors(LEAST_RECORDS), tmp_path, score=scores(model), rounds=1)
    assert choice.name == PLAIN
    assert any("does not run this model" in trial.verdict for trial in choice.trials)


def test_the_real_timer_times_every_candidate_in_turn(model: FusionModel) -> None:
    called: list[str] = []

    def encode_as(name: str) -> Encode:
        plain = torch_encode(model)

        def encode(images: Mapping[str, torch.Tensor]) -> Tokens:
            called.append(name)
            return plain(images)

        return encode

    names: list[runtime.RuntimeName] = [PLAIN, "torch-bfloat16"]
    medians = runtime._medians({name: encode_as(name) for name in names}, scores(model), tensors(1)[0], rounds=2)
    assert set(medians) == set(names) and min(medians.values()) > 0
    assert called == names * (runtime.WARM_UPS + 2)


@pytest.mark.parametrize("name", ["openvino-f32", "openvino-bf16", "torch-bfloat16", "something-new"])
def test_a_runtime_that_is_not_to_be_had_is_replaced_and_told(
    name: str, model: FusionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runtime, "openvino_installed", lambda: False)
    monkeypatch.setattr(runtime, "cpu_has_bf16", lambda: False)
    encode, note = load_runtime(name, model, tmp_path)
    assert note is not None and name in note and PLAIN in note
    assert note in caplog.text
    images = {"clinical": torch.randn(2, 3, tiny.PX, tiny.PX)}
    assert torch.equal(encode(images)["clinical"], torch_encode(model)(images)["clinical"])


@needs_openvino
def test_damaged_files_of_a_runtime_fall_back(model: FusionModel, tmp_path: Path) -> None:
    (tmp_path / "encoder-clinical.xml").write_text("<net")
    _, note = load_runtime("openvino-f32", model, tmp_path)
    assert note is not None and "release the model again" in note


def test_a_released_folder_served_without_openvino_answers_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "release"
    tiny.write_tiny_release(folder)
    spec = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**spec, "runtime": {**spec["runtime"], "name": "openvino-bf16"}}))
    monkeypatch.setattr(runtime, "openvino_installed", lambda: False)
    predictor = SkinPredictor.load(folder, version="v", run_id=None)
    assert len(predictor.notes) == 1 and "OpenVINO is not installed" in predictor.notes[0]
    assert 0 <= predictor.predict(SkinCase(tiny.photograph_bytes())).score <= 1


def test_a_model_that_is_not_better_than_the_mean_is_not_released(tmp_path: Path) -> None:
    tiny.write_trained(tmp_path / "trained")
    inputs = tiny.release_inputs(tmp_path / "trained")
    evaluation = {**inputs.evaluation, "headline": {**inputs.evaluation["headline"], "mae_all": 0.19}}
    with pytest.raises(NotReleasable, match="pigmentation/evaluation"):
        write_release(runtime_inputs(inputs, evaluation), tmp_path, {})


def runtime_inputs(inputs, evaluation):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    return replace(inputs, evaluation=evaluation)


def test_examples_take_one_record_of_each_tone_and_vary_severity() -> None:
    records = [
        {"record_id": f"{tone}-{severity}-{n}", "tone": tone, "severity": severity}
        for tone in ("very light", "tan", "dark")
        for severity in ("Severe", "Mild", "Moderate")
        for n in range(2)
        if not (tone == "dark" and severity == "Severe")
    ]
    assert choose_examples(records) == ["very light-Mild-0", "tan-Mild-0", "dark-Mild-0"]
