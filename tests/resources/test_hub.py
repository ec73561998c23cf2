"""Encoder cards, where weights come from, and the fallback policy."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from resources import hub
from resources.hub import ENCODERS, EncoderCard, EncoderUnavailable, EncoderUnknown, resolve_encoder


@pytest.fixture(autouse=True)
def no_hub_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MM_HUB_DIR", raising=False)


def only(*names: str) -> Callable[[EncoderCard], str | None]:
    def available(card: EncoderCard) -> str | None:
        return None if card.name in names else "not here"

    return available


def test_cards_say_what_a_transform_or_tokenizer_needs() -> None:
    assert sorted(ENCODERS) == [
        "bert",
        "bioclinical-modernbert",
        "biomedbert",
        "biomedclip",
        "clinical-modernbert",
        "efficientnet-lite0",
        "minilm",
        "modernbert",
        "rad-dino",
        "swin_tiny_patch4_window7_224",
    ]
    for card in ENCODERS.values():
        if card.modality == "vision":
            assert card.image_size and card.mean and card.std and card.context is None
        else:
            assert card.context and card.image_size is None
        assert card.embedded == (card.package is not None)
        assert card.revision_pinned == (card.revision != "main")


def test_embedded_normalisation_is_that_of_the_weights() -> None:
    card = ENCODERS["efficientnet-lite0"]
    assert card.mean is not None and card.std is not None
    for pixel in (0, 127, 255):
        assert (pixel / 255 - card.mean[0]) / card.std[0] == pytest.approx((pixel - 127) / 128)


def test_the_cascade_takes_the_first_available_and_logs_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    assert resolve_encoder("modernbert-cascade", only("modernbert", "bert")).name == "modernbert"
    assert caplog.records == []
    resolved = resolve_encoder("modernbert-cascade", only("bert"))
    assert resolved.name == "bert"
    assert resolved.tried == [("modernbert", "not here"), ("biomedbert", "not here")]
    assert "modernbert-cascade fell back to bert (modernbert: not here; biomedbert: not here)" in caplog.text


def test_a_name_never_becomes_another_encoder() -> None:
    assert resolve_encoder("biomedbert", only("biomedbert")).name == "biomedbert"
    with pytest.raises(EncoderUnavailable, match="MM_HUB_DIR/modernbert"):
        resolve_encoder("modernbert", only("bert"))
    with pytest.raises(EncoderUnavailable, match="bert: not here"):
        resolve_encoder("modernbert-cascade", only())
    with pytest.raises(EncoderUnknown, match="modernbert-cascade"):
        resolve_encoder("modern-bert")


def test_a_local_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MM_HUB_DIR", str(tmp_path))
    (tmp_path / "modernbert").mkdir()
    assert hub.why_unavailable(ENCODERS["modernbert"]) is None
    assert hub.weights_source(ENCODERS["modernbert"]) == tmp_path / "modernbert"
    assert hub.local_folder(ENCODERS["bert"]) is None


def test_offline_without_a_cache_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert "HF_HUB_OFFLINE" in (hub.why_unavailable(ENCODERS["rad-dino"]) or "")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert hub.why_unavailable(ENCODERS["rad-dino"]) is None


def test_an_unpinned_revision_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert hub.weights_source(ENCODERS["bert"]) == "google-bert/bert-base-uncased"
    assert "not pinned" not in caplog.text
    with caplog.at_level(logging.WARNING):
        assert hub.weights_source(ENCODERS["clinical-modernbert"]) == "Simonlee711/Clinical_ModernBERT"
    assert "not pinned" in caplog.text


def test_embedded_weights_are_files_of_installed_packages() -> None:
    minilm = hub.embedded_weights("minilm")
    assert (minilm / "model.safetensors").stat().st_size > 80_000_000 and (minilm / "tokenizer.json").is_file()
    vision = hub.embedded_weights("efficientnet-lite0")
    assert vision.suffix == ".pth" and vision.stat().st_size > 10_000_000
    assert hub.weights_source(ENCODERS["minilm"]) == minilm
    with pytest.raises(EncoderUnknown, match="efficientnet-lite0, minilm"):
        hub.embedded_weights("bert")
