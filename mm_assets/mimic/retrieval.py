"""Phase 2: which passages of the knowledge base belong to a complaint.

Belongs here: text embeddings, the FAISS index, and the search. Does not belong here: the passages
(knowledge_base.py). A query is pre-image text after the leakage filter; labels, images and views never
enter, so that what is retrieved can tell the model nothing the note did not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mm_assets.mimic.abbreviations import expand
from resources.errors import MendableError

Embedder = Callable[[Sequence[str]], np.ndarray]
"""Texts -> float32 [N, D] with rows of length one; an empty sequence gives [0, D]."""

# all-MiniLM-L6-v2 was trained on texts of at most 256 word pieces (its model card).
MAX_EMBEDDED_TOKENS = 256


class IndexMismatch(MendableError):
    """An index that does not belong to the embedder or to the passages it is used with."""


class TextEncoder(Protocol):
    """What an embedder needs of `mm_assets.learning.encoders.TextEncoder`."""

    token_dim: int

    def tokenize(self, texts: Sequence[str], max_tokens: int | None = None) -> dict[str, Any]: ...

    def encode(self, input_ids: Any, mask: Any) -> Any: ...


@dataclass(frozen=True)
class Retrieved:
    """`ids` int64 [N, k], rows of the passage table, -1 where the query was empty; `scores` float32 [N, k],
    cosine.
    """

    ids: np.ndarray
    scores: np.ndarray


def mean_pool_embedder(encoder: TextEncoder, batch_rows: int = 32) -> Embedder:
    """Embed by the mean of the encoder's tokens, scaled to length one, as the sentence-transformers models
    do.
    """

    def embed(texts: Sequence[str]) -> np.ndarray:
        vectors = np.zeros((len(texts), encoder.token_dim), dtype=np.float32)
        # Texts of like length share a batch, which halves the padding of mixed notes and passages.
        order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), i))
        for start in range(0, len(order), batch_rows):
            rows = order[start : start + batch_rows]
            batch = encoder.tokenize([texts[i] for i in rows], MAX_EMBEDDED_TOKENS)
            mask = batch["attention_mask"]
            tokens = encoder.encode(batch["input_ids"], mask)
            weights = mask.unsqueeze(-1).to(tokens.dtype)
            pooled = ((tokens * weights).sum(1) / weights.sum(1).clamp_min(1)).numpy()
            vectors[rows] = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
        return vectors

    return embed


def query_text(complaint: str | None, history: str | None) -> str:
    """The query of a record: complaint and history after filtering, abbreviations written out; may be
    empty.
    """
    parts = [expand(text.strip()) for text in (complaint, history) if text and text.strip()]
    return ". ".join(parts)


def build_index(vectors: np.ndarray) -> Any:
    """`faiss.IndexFlatIP` over float32 [P, D] rows of length one: exact cosine search in the order given."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, dtype=np.float32))
    return index


def write_index(index: Any, path: Path) -> None:
    """Write the index to a file; a killed write leaves no file of that name."""
    import faiss

    part = path.with_name(path.name + ".part")
    faiss.write_index(index, str(part))
    part.replace(path)


def read_index(path: Path, n_passages: int) -> Any:
    """Read an index back. Raises IndexMismatch when it does not hold exactly `n_passages` rows."""
    import faiss

    index = faiss.read_index(str(path))
    if index.ntotal != n_passages:
        raise IndexMismatch(
            f"{path.name} holds {index.ntotal} passages, the table {n_passages}: "
            "run `mm materialize mimic/knowledge_base`"
        )
    return index


def search(index: Any, vectors: np.ndarray, k: int) -> Retrieved:
    """The `k` best rows per query vector [N, D], best first; equal scores by row number.

    All rows are scored: the knowledge base has hundreds, and FAISS leaves the order among equals open.
    Raises IndexMismatch for vectors of another width, ValueError when k exceeds the number of passages.
    """
    if not 1 <= k <= index.ntotal:
        raise ValueError(f"k is {k}, but the index holds {index.ntotal} passages: choose 1 to {index.ntotal}")
    if vectors.shape[1] != index.d:
        raise IndexMismatch(
            f"queries have {vectors.shape[1]} dimensions, the index {index.d}: embed both with the same encoder"
        )
    scores, ids = index.search(np.ascontiguousarray(vectors, dtype=np.float32), index.ntotal)
    # Rounded, so that the last bits of a sum, which depend on the machine, do not decide an order.
    order = np.lexsort((ids, -np.round(scores, 5)), axis=1)[:, :k]
    return Retrieved(np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1))


def retrieve(index: Any, embed: Embedder, queries: Sequence[str], k: int) -> Retrieved:
    """Search for texts. Each distinct text is embedded once; an empty query retrieves nothing (ids -1,
    scores 0).
    """
    distinct = sorted({query for query in queries if query.strip()})
    position = {query: row for row, query in enumerate(distinct)}
    ids = np.full((len(queries), k), -1, dtype=np.int64)
    scores = np.zeros((len(queries), k), dtype=np.float32)
    if distinct:
        found = search(index, embed(distinct), k)
        for row, query in enumerate(queries):
            if query in position:
                ids[row], scores[row] = found.ids[position[query]], found.scores[position[query]]
    return Retrieved(ids, scores)
