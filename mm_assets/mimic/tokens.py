"""Token ids of notes and passages, made by the tokenizer of the encoder that will read them.

Belongs here: ids without padding, and what a cap cut off. Does not belong here: padding (done per batch)
and the choice of encoder. Notes and passages are tokenized separately: a passage is encoded once, not once
per record.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tokens:
    """Ids with the tokenizer's special tokens, at most `cap`; `n_tokens` is the length before the cut.

    Both are empty or zero for an empty text: two special tokens around nothing would look like a note.
    """

    input_ids: tuple[int, ...]
    n_tokens: int

    @property
    def truncated(self) -> bool:
        return self.n_tokens > len(self.input_ids)


def tokenize(tokenizer: Any, texts: Sequence[str], cap: int) -> list[Tokens]:
    """Tokenize each text on its own. `tokenizer`: the encoder's own, as of the transformers library.

    The tokenizer truncates, so that a closing special token survives the cut. Raises ValueError for a cap
    that leaves no room for a word.
    """
    special = tokenizer.num_special_tokens_to_add()
    if cap <= special:
        raise ValueError(f"a cap of {cap} tokens leaves no room for words beside {special} special tokens")
    if not texts:
        return []
    # verbose=False: a text longer than the encoder's context is expected here and cut below.
    whole = tokenizer(list(texts), truncation=False, padding=False, verbose=False)["input_ids"]
    cut = tokenizer(list(texts), truncation=True, max_length=cap, padding=False)["input_ids"]
    return [
        Tokens(tuple(ids), len(all_ids)) if text.strip() else Tokens((), 0)
        for text, ids, all_ids in zip(texts, cut, whole, strict=True)
    ]
