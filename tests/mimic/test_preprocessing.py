"""A case sent to the page becomes the very tensors that the same case became in training."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mm_assets.learning.encoders import weights_digest
from mm_assets.mimic.case import ChestCase
from mm_assets.mimic.features import FilmRow, NoteRow, encode_films, encode_notes
from mm_assets.mimic.leakage import redact
from mm_assets.mimic.notes import pseudo_note
from mm_assets.mimic.preprocessing import (
    RetrievalInput,
    TextInput,
    VisionInput,
    batch_of,
    clinical_input,
    film_tokens,
    note_tokens,
    stored_film,
    text_parts,
)
from mm_assets.mimic.retrieval import build_index, mean_pool_embedder
from mm_assets.mimic.schema import CLINICAL_FEATURES
from mm_assets.mimic.tokens import tokenize
from mm_assets.records.images import decode_image
from mm_assets.records.token_shards import map_shard
from tests.mimic.tiny_release import GRID, INPUT_PX, PASSAGES, STORED_PX, tiny_text, tiny_vision
from tests.ui.fakes import film_bytes

VISION = VisionInput(
    encoder="efficientnet-lite0",
    weights_digest=weights_digest(tiny_vision()),
    transform=tiny_vision().transform,
    stored_px=STORED_PX,
    resize_mode="squash",
    quality_mode="default",
    grid=GRID,
)
TEXT = TextInput(encoder="minilm", weights_digest=weights_digest(tiny_text()), note_cap=12, kept_tokens=5)


def test_film_gives_the_stored_training_tokens(tmp_path: Path) -> None:
    assert VISION.transform["size"] == INPUT_PX
    stored = stored_film(film_bytes(4), VISION)
    row = FilmRow(1, "train", decode_image(stored.jpeg).pixels)
    (where,) = encode_films([row], tiny_vision(), tmp_path, grid=GRID)
    trained = map_shard(tmp_path / where.shard)["tokens"][where.row].astype(np.float32)
    assert np.array_equal(film_tokens(stored, VISION, tiny_vision())[0].numpy(), trained)


@pytest.mark.parametrize("complaint", ["cough", "cough with fever and chills for seven days and night sweats", ""])
def test_note_gives_the_stored_training_tokens(tmp_path: Path, complaint: str) -> None:
    case = ChestCase(complaint=complaint, sex="F", age=66) if complaint else ChestCase()
    clinical = clinical_input(case, CLINICAL_FEATURES)
    embed = mean_pool_embedder(tiny_text())
    index = build_index(embed(PASSAGES))
    parts = text_parts(
        case,
        clinical.values,
        RetrievalInput(encoder="minilm", weights_digest=TEXT.weights_digest, passages=2),
        index,
        embed,
    )
    record = {**clinical.values, "gender": case.sex, "chief_complaint": redact(complaint).text, "history": ""}
    assert parts.note == pseudo_note(record)
    ids = tokenize(tiny_text().tokenizer, [parts.note], TEXT.note_cap)[0].input_ids
    (where,) = encode_notes([NoteRow(1, "train", ids)], tiny_text(), tmp_path, cap=TEXT.kept_tokens)
    shard = map_shard(tmp_path / where.shard)
    kept = shard["mask"][where.row] > 0
    mine = note_tokens(parts.note, TEXT, tiny_text()).numpy()
    assert np.array_equal(mine, shard["tokens"][where.row][kept].astype(np.float32))
    assert len(mine) <= TEXT.kept_tokens


def test_measurements_keep_their_order_and_units() -> None:
    case = ChestCase(temperature=38.5, sex="M", arrived_by_ambulance=False, acuity=2, pain=0)
    found = clinical_input(case, CLINICAL_FEATURES)
    assert list(found.values) == list(CLINICAL_FEATURES)
    assert found.values["temperature"] == pytest.approx(101.3)
    assert (found.values["sex_female"], found.values["arrived_by_ambulance"]) == (0.0, 0.0)
    assert (found.values["acuity"], found.values["pain"]) == (2.0, 0.0)
    assert np.isnan(found.values["heartrate"])
    assert found.converted == ("temperature",)


@pytest.mark.parametrize(("age", "read"), [(90, 90.0), (91, 91.0), (104, 91.0)])
def test_age_has_the_ceiling_of_the_training_data(age: float, read: float) -> None:
    found = clinical_input(ChestCase(age=age), CLINICAL_FEATURES)
    assert found.values["age"] == read
    assert found.converted == (("age",) if age > 91 else ())


def test_what_is_absent_is_marked_absent_and_not_a_number() -> None:
    nothing = [float("nan")] * len(CLINICAL_FEATURES)
    batch = batch_of(None, torch.zeros(0, 6), torch.zeros(0, 6), nothing, image_shape=(16, 8))
    for name in ("image_present", "text_present", "tabular_present", "text_mask", "passage_mask"):
        assert not batch[name].any(), name
    assert batch["clinical_missing"].all()
    assert all(torch.isfinite(values.float()).all() for values in batch.values())
    assert batch["image_tokens"].shape == (1, 16, 8)
