"""Batches form while the model is busy; every item gets its own answer or its own error, from the model it asked."""

import threading
import time
from collections.abc import Sequence

import pytest

from ui.microbatch import BatcherClosed, MicroBatcher

WAIT_S = 10


class Model:
    """Doubles numbers; waits for `open` before its first answer, and refuses negative numbers."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.started = threading.Event()
        self.batches: list[list[int]] = []

    def answer(self, items: Sequence[int]) -> list[int]:
        self.started.set()
        assert self.open.wait(WAIT_S)
        self.batches.append(list(items))
        if any(item < 0 for item in items):
            raise ValueError(f"negative: {min(items)}")
        return [2 * item for item in items]


def test_what_arrives_while_the_model_is_busy_is_one_batch() -> None:
    model, batcher = Model(), MicroBatcher[int, int](max_batch=4)
    first = batcher.submit(model.answer, 0)
    assert model.started.wait(WAIT_S)
    others = [batcher.submit(model.answer, number) for number in range(1, 7)]
    model.open.set()
    assert first.result(WAIT_S) == 0
    assert [future.result(WAIT_S) for future in others] == [2, 4, 6, 8, 10, 12]
    assert model.batches == [[0], [1, 2, 3, 4], [5, 6]]
    batcher.close()


def test_one_bad_item_does_not_spoil_the_others() -> None:
    model, batcher = Model(), MicroBatcher[int, int]()
    futures = [batcher.submit(model.answer, number) for number in (1, -2, 3)]
    model.open.set()
    assert futures[0].result(WAIT_S) == 2
    with pytest.raises(ValueError, match="negative: -2"):
        futures[1].result(WAIT_S)
    assert futures[2].result(WAIT_S) == 6
    batcher.close()


def test_items_are_answered_by_the_model_they_were_made_for() -> None:
    old, new, batcher = Model(), Model(), MicroBatcher[int, int]()
    new.open.set()
    first = batcher.submit(old.answer, 0)
    assert old.started.wait(WAIT_S)
    waiting = [batcher.submit(model.answer, n) for n, model in enumerate([old, old, new, new, old], start=1)]
    old.open.set()
    assert [future.result(WAIT_S) for future in [first, *waiting]] == [0, 2, 4, 6, 8, 10]
    assert old.batches == [[0], [1, 2], [5]]
    assert new.batches == [[3, 4]]
    batcher.close()


def test_nothing_is_lost_or_mixed_under_many_threads() -> None:
    batcher = MicroBatcher[int, int](max_batch=8)

    def answer(items: Sequence[int]) -> list[int]:
        time.sleep(0.001)
        return [2 * item for item in items]

    got: dict[int, int] = {}

    def client(start: int) -> None:
        for number in range(start, start + 50):
            got[number] = batcher.submit(answer, number).result(WAIT_S)

    threads = [threading.Thread(target=client, args=(1000 * i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert len(got) == 800
    assert all(answer == 2 * number for number, answer in got.items())
    batcher.close()


def test_too_few_answers_are_an_error_and_not_a_hang() -> None:
    batcher = MicroBatcher[int, int]()
    with pytest.raises(RuntimeError, match="0 answers to 1 items"):
        batcher.submit(lambda items: [], 1).result(WAIT_S)
    batcher.close()


def test_a_closed_batcher_answers_what_waits_and_refuses_more() -> None:
    model, batcher = Model(), MicroBatcher[int, int]()
    waiting = batcher.submit(model.answer, 4)
    threading.Timer(0.05, model.open.set).start()
    batcher.close()
    assert waiting.result(0) == 8
    with pytest.raises(RuntimeError):
        batcher.submit(model.answer, 5)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_tells_its_caller_and_is_replaced() -> None:
    batcher = MicroBatcher[int, int]()

    def ends(items: Sequence[int]) -> list[int]:
        raise SystemExit

    with pytest.raises(RuntimeError, match="thread ended"):
        batcher.submit(ends, 1).result(WAIT_S)
    assert batcher._thread is not None
    batcher._thread.join(WAIT_S)
    assert batcher.submit(lambda items: [2 * item for item in items], 4).result(WAIT_S) == 8
    batcher.close()
    with pytest.raises(BatcherClosed):
        batcher.submit(ends, 1)
