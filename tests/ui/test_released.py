"""A new release is served without a restart; a broken one never replaces a working one."""

import time
from itertools import pairwise
from pathlib import Path

import pytest

from mm_assets.learning.bundle import BundleIncomplete
from tests.ui.fakes import FakePredictor, FakeStore, fake_load
from ui.released import ReleasedModel


def released(store: FakeStore, **options: float) -> ReleasedModel[FakePredictor]:
    return ReleasedModel(store, "mimic", fake_load, **options)  # type: ignore[arg-type]


def test_nothing_released_is_not_an_error() -> None:
    held = released(FakeStore(None))
    assert held.refresh() is False
    assert held.current is None
    assert held.last_error is None


def test_an_error_is_over_when_the_store_says_that_nothing_is_released() -> None:
    store = FakeStore(None)
    held = released(store)
    store.unreachable = True
    held.refresh()
    assert "could not be read" in held.absence
    store.unreachable = False
    held.refresh()
    assert held.last_error is None and "released yet" in held.absence


def test_a_release_on_its_way_is_not_called_unreleased() -> None:
    store, seen = FakeStore(None), []

    def load(folder: Path, artifact: object) -> FakePredictor:
        seen.append((held.loading, held.absence))
        return fake_load(folder, artifact)  # type: ignore[arg-type]

    held: ReleasedModel[FakePredictor] = ReleasedModel(store, "mimic", load)  # type: ignore[arg-type]
    assert held.loading and "is being loaded" in held.absence  # nobody has looked yet
    held.refresh()
    assert not held.loading and "mm demo --wing mimic" in held.absence
    store.version = "broken1"
    held.refresh()
    assert not held.loading and "broken1" in held.absence and "mm demo" not in held.absence
    store.version = "a" * 16
    held.refresh()
    assert held.current is not None and not held.loading
    assert [loading for loading, _ in seen] == [True, True] and "is being loaded" in seen[1][1]


def test_new_version_replaces_the_old_and_the_same_one_is_not_loaded_again() -> None:
    store = FakeStore("a" * 16)
    held = released(store)
    assert held.refresh() is True
    first = held.current
    assert held.refresh() is False
    assert held.current is first
    store.version = "b" * 16
    assert held.refresh() is True
    assert held.current is not None
    assert held.current.version == held.current.predictor.provenance.model_version == "b" * 16


def test_broken_version_keeps_the_old_one_and_is_told_without_paths() -> None:
    store = FakeStore("a" * 16)
    held = released(store)
    held.refresh()
    store.version = "broken1"
    assert held.refresh() is False
    assert held.current is not None and held.current.version == "a" * 16
    assert held.last_error is not None
    assert "broken1" in held.last_error
    assert "/" not in held.last_error
    store.version = "a" * 16
    held.refresh()
    assert held.last_error is None


def test_version_that_cannot_answer_its_trial_case_is_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    store = FakeStore("a" * 16)
    held = released(store)

    def fails(*_: object) -> None:
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr("tests.ui.fakes.FakePredictor.predict", fails)
    held.refresh()
    assert held.current is None
    assert "RuntimeError" in str(held.last_error)


def test_unreachable_store_is_tried_again() -> None:
    store = FakeStore("a" * 16)
    store.unreachable = True
    held = released(store)
    held.refresh()
    assert held.current is None
    assert "/secret" not in str(held.last_error)
    store.unreachable = False
    assert held.refresh() is True
    assert held.last_error is None


def test_a_failure_that_may_pass_is_tried_again_after_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    store, clock, tried = FakeStore("a" * 16), [100.0], [0]
    held = released(store)

    def no_memory(*_: object) -> None:
        tried[0] += 1
        raise MemoryError

    monkeypatch.setattr("ui.released.time.monotonic", lambda: clock[0])
    with monkeypatch.context() as patched:
        patched.setattr("tests.ui.fakes.FakePredictor.try_once", no_memory)
        at = []
        for _ in range(400):
            before = tried[0]
            held.refresh()
            if tried[0] > before:
                at.append(clock[0])
            clock[0] += 1
    pauses = [later - earlier for earlier, later in pairwise(at)]
    assert pauses == [1, 2, 4, 8, 16, 32, *[60] * (len(pauses) - 6)] and len(pauses) > 8
    assert held.current is None
    clock[0] += 60
    assert held.refresh() is True
    assert held.last_error is None


def test_a_broken_release_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("ui.released.time.monotonic", lambda: clock[0])
    store, tried = FakeStore("broken1"), [0]

    def load(*_: object) -> FakePredictor:
        tried[0] += 1
        raise BundleIncomplete("model.json lacks 'errors': release the model again")

    held: ReleasedModel[FakePredictor] = ReleasedModel(store, "mimic", load)  # type: ignore[arg-type]
    for _ in range(5):
        held.refresh()
        clock[0] += 1000
    assert tried == [1]
    store.version = "broken2"
    held.refresh()
    assert tried == [2]


def test_watching_thread_notices_a_release_and_ends() -> None:
    store = FakeStore("a" * 16)
    held = released(store, interval_s=0.02)
    held.start()
    try:
        deadline = time.monotonic() + 5
        store.version = "c" * 16
        while time.monotonic() < deadline and (held.current is None or held.current.version != "c" * 16):
            time.sleep(0.01)
        assert held.current is not None and held.current.version == "c" * 16
    finally:
        held.stop()
    assert held._thread is not None and not held._thread.is_alive()


def test_release_from_a_real_store_is_loaded_and_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mm_assets.mimic import predictor
    from resources.artifacts import ArtifactStore
    from tests.mimic.tiny_release import tiny_text, tiny_vision, write_tiny_release
    from ui.wings import wing_named

    monkeypatch.setattr(predictor, "load_vision", tiny_vision)
    monkeypatch.setattr(predictor, "load_text", tiny_text)
    store = ArtifactStore(str(tmp_path / "home"), tmp_path / "scratch")
    held = ReleasedModel(store, "mimic", wing_named("mimic").load)
    assert held.refresh() is False
    for seed in (0, 1):
        with store.draft("mimic", "released_model") as draft:
            write_tiny_release(draft.folder, seed=seed)
            artifact = draft.publish(upstream={}, synthetic=True, run_id=f"run-{seed}")
        assert held.refresh() is True
        assert held.current is not None
        origin = held.current.predictor.provenance
        assert (origin.model_version, origin.run_id) == (artifact.version, f"run-{seed}")
