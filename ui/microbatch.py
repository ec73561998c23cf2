"""Requests that arrive while the model is busy are answered together, the next time it is free.

Belongs here: collecting items, running them as one batch, handing each its answer or its own error. Does not belong
here: what an item is, and the model.

There is no timer: a lone request never waits for company. One thread runs every batch, because a numerical library that
is called from many threads keeps a pool of workers for each of them.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Run = Callable[[Sequence[Item]], Sequence[Answer]]

MAX_BATCH = 16


class BatcherClosed(RuntimeError):
    """Nothing more is answered: the server is shutting down."""


class MicroBatcher(Generic[Item, Answer]):
    """Answers items with the function each was submitted with; neighbours with the same function share a call.

    The function may differ between items: when a new model is released, what the old one prepared is still answered by
    the old one. Safe to submit to from several threads.
    """

    def __init__(self, max_batch: int = MAX_BATCH) -> None:
        self.max_batch = max_batch
        self._waiting: deque[tuple[Run[Item, Answer], Item, Future[Answer]]] = deque()
        self._arrived = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, run: Run[Item, Answer], item: Item) -> "Future[Answer]":
        """The future answer to ``item``, or the exception that ``run`` raised for it. Starts the thread when there is
        none, or none any more. Raises BatcherClosed."""
        future: Future[Answer] = Future()
        with self._arrived:
            if self._closed:
                raise BatcherClosed("the server is shutting down")
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="microbatch", daemon=True)
                self._thread.start()
            self._waiting.append((run, item, future))
            self._arrived.notify()
        return future

    def close(self) -> None:
        """Answer what waits, then end; later submissions are refused, and what nobody answers is cancelled."""
        with self._arrived:
            self._closed = True
            self._arrived.notify()
        if self._thread is not None:
            self._thread.join(timeout=30)
        with self._arrived:
            while self._waiting:
                self._waiting.popleft()[2].cancel()

    def _work(self) -> None:
        while batch := self._next():
            run = batch[0][0]
            pairs = [(item, future) for _, item, future in batch if future.set_running_or_notify_cancel()]
            if not pairs:
                continue
            try:
                _answer(run, pairs)
            except BaseException as error:  # this thread ends: nobody may wait for it
                for _, future in pairs:
                    if not future.done():
                        future.set_exception(RuntimeError(f"the model's thread ended ({type(error).__name__})"))
                raise

    def _next(self) -> list[tuple[Run[Item, Answer], Item, "Future[Answer]"]]:
        """The longest run of waiting items with one function, in the order they came; empty: closed."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._waiting or self._closed)
            batch: list[Any] = []
            while self._waiting and len(batch) < self.max_batch and (not batch or self._waiting[0][0] == batch[0][0]):
                batch.append(self._waiting.popleft())
            return batch


def _answer(run: Run[Item, Answer], pairs: "Sequence[tuple[Item, Future[Answer]]]") -> None:
    try:
        answers = run([item for item, _ in pairs])
        if len(answers) != len(pairs):
            raise RuntimeError(f"{len(answers)} answers to {len(pairs)} items")
    except Exception as error:
        if len(pairs) == 1:
            pairs[0][1].set_exception(error)
            return
        # One item must not spoil the others' answers: find it by asking for each alone.
        for pair in pairs:
            _answer(run, [pair])
        return
    for (_, future), answer in zip(pairs, answers, strict=True):
        future.set_result(answer)
