from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from mm_assets.learning.encoders import TextEncoder, VisionEncoder
from mm_assets.learning.transforms import transform_spec
from mm_assets.mimic import features
from mm_assets.mimic.features import (
    FeatureBudgetExceeded,
    FeaturesNotFinite,
    FilmRow,
    NoteRow,
    check_budget,
    choose_cpu_dtype,
    encode_films,
    encode_notes,
    encode_passages,
    pool_grid,
    pool_notes,
    pool_runs,
)
from mm_assets.records.token_shards import map_shard


class Patches(nn.Module):
    """Stands in for an encoder: each token is the mean grey of its patch, in 3 channels."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward_features(self, images):
        return nn.functional.avg_pool2d(images, 4) * self.scale


class Words(nn.Module):
    """Stands in for a text encoder: a token's vector is (its id, the number of tokens seen)."""

    def __init__(self):
        super().__init__()
        self.calls = 0
        self.one = nn.Parameter(torch.ones(1))

    def forward(self, input_ids, attention_mask):
        self.calls += len(input_ids)
        seen = attention_mask.sum(1, keepdim=True).expand_as(input_ids)
        return SimpleNamespace(last_hidden_state=torch.stack([input_ids, seen], dim=-1).float() * self.one)


def tokenizer(texts, **_):
    return {"input_ids": torch.tensor([[len(w) for w in texts[0].split()]]), "attention_mask": None}


def vision(scale=1.0):
    return VisionEncoder("patches", Patches(scale), "map", transform_spec(16, 0.0, 1.0, "bilinear"), 3).eval()


def text():
    return TextEncoder("words", Words(), tokenizer, 2, 64).eval()


def films(n):
    rng = np.random.default_rng(0)
    return [FilmRow(i, "train", rng.integers(0, 256, (16, 16), dtype=np.uint8)) for i in range(n)]


def test_films_become_shards_with_an_index(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "SHARD_ROWS", 4)
    rows = films(10)
    index = encode_films(rows, vision(), tmp_path, grid=2, batch=3)
    assert [(r.study_id, r.row) for r in index] == [(i, i % 4) for i in range(10)]
    assert len(list(tmp_path.glob("features-*.safetensors"))) == 3
    for row in index:
        tokens = map_shard(tmp_path / row.shard)["tokens"]
        assert tokens.dtype == np.float16 and tokens.shape[1:] == (4, 3)
        pixels = rows[row.study_id].pixels / 255
        expected = [
            pixels[:8, :8].mean(),
            pixels[:8, 8:].mean(),
            pixels[8:, :8].mean(),
            pixels[8:, 8:].mean(),
        ]
        assert np.allclose(tokens[row.row][:, 0], expected, atol=1e-3)


def test_equal_films_give_equal_bytes(tmp_path):
    for name in "xy":
        encode_films(films(5), vision(), tmp_path / name, grid=2)
    name = "features-00000.safetensors"
    assert (tmp_path / "x" / name).read_bytes() == (tmp_path / "y" / name).read_bytes()


def test_notes_keep_their_order_and_mask(tmp_path):
    ids = [[5, 6, 7], [1], [], [9, 8], [5, 6, 7]]
    encoder = text()
    index = encode_notes([NoteRow(i, "test", one) for i, one in enumerate(ids)], encoder, tmp_path, cap=4)
    shard = map_shard(tmp_path / index[0].shard)
    assert shard["mask"].tolist() == [[1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert shard["tokens"][0, :, 0].tolist() == [5, 6, 7]
    assert shard["tokens"][3].tolist() == [[9, 2], [8, 2], [0, 0]], "padding of the batch leaves no trace"
    assert encoder.trunk.calls == 3, "equal notes are encoded once, empty ones never"


def test_a_long_note_is_averaged_not_cut(tmp_path):
    index = encode_notes([NoteRow(1, "train", range(1, 9))], text(), tmp_path, cap=4)
    assert map_shard(tmp_path / index[0].shard)["tokens"][0, :, 0].tolist() == [1.5, 3.5, 5.5, 7.5]


def test_a_passage_becomes_its_mean():
    pooled = encode_passages(["one three", "a bb ccc"], text())
    assert pooled.dtype == np.float16 and pooled[:, 0].tolist() == [4.0, 2.0]


def test_values_that_float16_cannot_hold_are_refused(tmp_path):
    with pytest.raises(FeaturesNotFinite, match="patches"):
        encode_films(films(1), vision(1e6), tmp_path, grid=2)


def test_pooling_keeps_what_is_small_enough():
    tokens = torch.randn(2, 9, 5)
    assert torch.equal(pool_grid(tokens, 4), tokens)
    assert torch.allclose(pool_grid(tokens, 1)[:, 0], tokens.mean(1), atol=1e-6)
    assert torch.equal(pool_runs(tokens[0], 9), tokens[0])


def test_a_batch_of_notes_is_pooled_as_each_note_alone():
    tokens = torch.randn(3, 9, 4, requires_grad=True)
    lengths = [9, 3, 0]
    mask = torch.arange(9) < torch.tensor(lengths).unsqueeze(1)
    pooled, kept = pool_notes(tokens, mask, 4)
    assert kept.sum(1).tolist() == [4, 3, 0] and pooled.shape == (3, 4, 4)
    for note, length, found, known in zip(tokens, lengths, pooled, kept, strict=True):
        assert torch.equal(found[known], pool_runs(note[:length], 4))
    pooled.sum().backward()
    assert torch.equal(tokens.grad.abs().sum(-1) > 0, mask)


def test_the_budget_names_its_knobs():
    assert check_budget(4, 1280, 32, 384) == 2 * 16 * 1280 + 32 * 769 < 150_000
    with pytest.raises(FeatureBudgetExceeded, match=r"grid.*max_tokens"):
        check_budget(8, 1280, 32, 384)
    with pytest.raises(FeatureBudgetExceeded, match="grid"):
        check_budget(14, 8, 1, 8)


def test_bfloat16_is_taken_only_where_it_is_faster(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert choose_cpu_dtype(lambda: None).dtype == torch.float32

    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    clock = [0.0]
    monkeypatch.setattr(features.time, "process_time", lambda: clock[0])
    for cost_in_bfloat16, expected in ((0.5, torch.bfloat16), (0.9, torch.float32)):

        def run(cost=cost_in_bfloat16):
            clock[0] += cost if torch.is_autocast_enabled("cpu") else 1.0

        trial = choose_cpu_dtype(run)
        assert trial.dtype == expected
        assert trial.ms_float32 == pytest.approx(1000) and trial.ms_bfloat16 == pytest.approx(1000 * cost_in_bfloat16)
