"""Batches of a data set in an order that depends on (seed, epoch) alone.

Belongs here: choosing which records form a batch. Does not belong here: what a batch holds; a data set turns
positions into tensors a whole batch at a time, which is an order of magnitude cheaper than record by record.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

BatchMaker = Callable[[np.ndarray], dict[str, torch.Tensor]]


def epoch_order(
    records: np.ndarray, batch_size: int, *, seed: int, epoch: int, rank: int = 0, world: int = 1
) -> list[np.ndarray]:
    """The shuffled batches of one epoch, of almost equal size.

    Sizes differ by at most one, so that no small remainder upsets batch normalisation. With ``world``
    processes each gets the same number of batches.
    """
    shuffled = np.random.default_rng([seed, epoch]).permutation(records)
    if world > 1:
        shuffled = shuffled[: len(shuffled) - len(shuffled) % world][rank::world]
    count = min(round(len(shuffled) / batch_size), len(shuffled) // 2)  # never a batch of one
    return np.array_split(shuffled, max(1, count))


class EpochBatches:
    """Iterable of training batches; asks ``epoch()`` when an iteration starts.

    The epoch is asked for and not counted, so an iteration after a resume is the one that was interrupted.
    """

    def __init__(
        self, make: BatchMaker, records: np.ndarray, batch_size: int, *, seed: int, epoch: Callable[[], int],
        rank: int = 0, world: int = 1,
    ) -> None:  # fmt: skip
        self.make = make
        self.epoch = epoch
        self._order: dict[str, Any] = {"seed": seed, "rank": rank, "world": world}
        self._records, self._batch_size = records, batch_size

    def __len__(self) -> int:
        return len(epoch_order(self._records, self._batch_size, epoch=0, **self._order))

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        for rows in epoch_order(self._records, self._batch_size, epoch=self.epoch(), **self._order):
            yield self.make(rows)


class FixedBatches:
    """Iterable of batches in the given order, for validation and prediction."""

    def __init__(self, make: BatchMaker, records: np.ndarray, batch_size: int) -> None:
        self.make = make
        self._parts = np.array_split(records, max(1, -(-len(records) // batch_size)))

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        return (self.make(rows) for rows in self._parts)
