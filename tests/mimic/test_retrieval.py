from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mm_assets.mimic.knowledge_base import load_passages, passages_table
from mm_assets.mimic.leakage import redact
from mm_assets.mimic.retrieval import (
    IndexMismatch,
    build_index,
    mean_pool_embedder,
    query_text,
    read_index,
    retrieve,
    search,
    write_index,
)
from mm_assets.mimic.schema import LABELS, PASSAGE_COLUMNS


def letters(texts: Sequence[str]) -> np.ndarray:
    """A tiny embedder: which letters a text has."""
    vectors = np.array([[t.lower().count(chr(97 + i)) for i in range(26)] for t in texts], dtype=np.float32).reshape(
        -1, 26
    )
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def test_knowledge_base_says_enough_about_every_label() -> None:
    passages = load_passages()
    first = Counter(passage.labels[0] for passage in passages)
    assert len(passages) >= 110 and set(first) == set(LABELS) and min(first.values()) >= 7
    for label in LABELS:
        topics = {passage.topic for passage in passages if passage.labels[0] == label}
        assert {"definition", "signs", "mimics", "vitals", "complaints", "negatives", "views"} <= topics
    assert len({passage.text for passage in passages}) == len(passages)
    for passage in passages:
        assert 1 <= passage.text.count(". ") + 1 <= 3 and len(passage.text) < 400, passage.passage_id
        assert passage.licence == "project" and "see " in passage.citation


def test_passage_table_rows_are_the_index_rows() -> None:
    passages = load_passages()
    table = passages_table(passages)
    assert tuple(table.schema.names) == PASSAGE_COLUMNS
    assert table["passage_id"].to_pylist() == sorted(p.passage_id for p in passages)


def test_index_survives_the_file_and_finds_itself(tmp_path: Path) -> None:
    texts = ["alpha", "beta", "gamma", "kilo"]
    write_index(build_index(letters(texts)), tmp_path / "index.faiss")
    assert [path.name for path in tmp_path.iterdir()] == ["index.faiss"]
    found = search(read_index(tmp_path / "index.faiss", 4), letters(texts), 2)
    assert found.ids[:, 0].tolist() == [0, 1, 2, 3]
    assert found.scores[:, 0] == pytest.approx(1.0, abs=1e-6)
    with pytest.raises(IndexMismatch, match="4 passages, the table 5"):
        read_index(tmp_path / "index.faiss", 5)


def test_equal_scores_come_in_row_order() -> None:
    index = build_index(letters(["xyz", "abc", "cab", "bca", "abc"]))
    assert search(index, letters(["abc"]), 5).ids.tolist() == [[1, 2, 3, 4, 0]]


def test_search_says_what_does_not_fit() -> None:
    index = build_index(letters(["a", "b"]))
    with pytest.raises(ValueError, match="choose 1 to 2"):
        search(index, letters(["a"]), 3)
    with pytest.raises(IndexMismatch, match="same encoder"):
        search(index, np.ones((1, 3), np.float32), 1)


def test_each_text_is_embedded_once_and_an_empty_one_finds_nothing() -> None:
    seen: list[str] = []

    def counting(texts: Sequence[str]) -> np.ndarray:
        seen.extend(texts)
        return letters(texts)

    found = retrieve(build_index(letters(["cough", "fever"])), counting, ["fever", "", "cough", "fever", " "], 1)
    assert found.ids[:, 0].tolist() == [1, -1, 0, 1, -1]
    assert found.scores[1, 0] == 0 and sorted(seen) == ["cough", "fever"]
    assert retrieve(build_index(letters(["a"])), letters, ["", ""], 1).ids.tolist() == [[-1], [-1]]


def test_query_is_filtered_text_with_abbreviations_written_out() -> None:
    leaky = redact("SOB, PNEUMONIA, Transfer")
    assert query_text(leaky.text, "Lasix") == "shortness of breath. Lasix"
    assert query_text(None, "") == ""


class CountingEncoder:
    """Token vectors are one-hot of the id; counts the rows of each batch."""

    token_dim = 8

    def __init__(self) -> None:
        self.batches: list[int] = []

    def tokenize(self, texts: Sequence[str], max_tokens: int | None = None) -> dict[str, torch.Tensor]:
        self.batches.append(len(texts))
        longest = max(len(t) for t in texts)
        ids = torch.tensor([[ord(c) % 8 for c in t] + [7] * (longest - len(t)) for t in texts])
        mask = torch.tensor([[1] * len(t) + [0] * (longest - len(t)) for t in texts])
        return {"input_ids": ids, "attention_mask": mask}

    def encode(self, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(input_ids, 8).float()


def test_embedding_ignores_padding_order_and_batching() -> None:
    texts = ["a", "bbbb", "ab", "abcdef", "b"]
    small, large = CountingEncoder(), CountingEncoder()
    vectors = mean_pool_embedder(small, batch_rows=2)(texts)
    np.testing.assert_allclose(vectors, mean_pool_embedder(large, batch_rows=10)(texts), atol=1e-6)
    assert vectors.dtype == np.float32 and small.batches == [2, 2, 1]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(vectors[2], [0, 0.5**0.5, 0.5**0.5, 0, 0, 0, 0, 0], atol=1e-6)
    assert mean_pool_embedder(small)([]).shape == (0, 8)


def test_real_embedder_brings_the_passages_a_reader_would_expect() -> None:
    from mm_assets.learning.encoders import load_text

    card = SimpleNamespace(
        name="minilm", hub_id="sentence-transformers/all-MiniLM-L6-v2", revision=None, embedded=True,
        image_size=None,
        mean=None, std=None, token_dim=384, context=256, loader="transformers",
    )  # fmt: skip
    embed = mean_pool_embedder(load_text(card))
    passages = load_passages()
    index = build_index(embed([passage.text for passage in passages]))
    queries = {"s/p fall, rib pain": "Fracture", "cough, fever": "Pneumonia", "SOB, leg swelling": "Edema"}
    found = retrieve(index, embed, [query_text(query, None) for query in queries], 3)
    for ids, label in zip(found.ids, queries.values(), strict=True):
        assert label in {name for i in ids for name in passages[i].labels}
    assert len({tuple(ids) for ids in found.ids.tolist()}) == 3
