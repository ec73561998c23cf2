"""Mapping over items: order, laziness, failures, processes; devices."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resources.compute import (
    DeviceUnavailable,
    ItemFailed,
    WorkerDied,
    map_items,
    precision_for,
    resolve_device,
)
from resources.errors import MendableError

KINDS = ("inline", "thread", "process")


class AwkwardError(Exception):
    """Cannot be rebuilt from its arguments, so it cannot be unpickled."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")


class OddError(MendableError):
    pass


def jittery_square(number: int) -> int:
    time.sleep(0.005 if number % 3 == 0 else 0)
    return number * number


def fail_on_seven(number: int) -> int:
    if number == 7:
        raise ValueError("seven")
    return number


def fail_awkwardly(number: int) -> int:
    raise AwkwardError("code", "detail")


def fail_mendably(number: int) -> int:
    raise OddError("odd: do even")


def die(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def surroundings(_: int) -> tuple[int, str | None, bool]:
    return os.getpid(), os.environ.get("OMP_NUM_THREADS"), "torch" in sys.modules


@pytest.mark.parametrize("kind", KINDS)
def test_results_come_in_order(kind: Any) -> None:
    assert list(map_items(jittery_square, range(50), workers=2, kind=kind)) == [n * n for n in range(50)]
    assert list(map_items(jittery_square, [], workers=2, kind=kind)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_names_its_position_after_the_results_before_it(kind: Any) -> None:
    got = []
    with pytest.raises(ItemFailed, match=r"^item 8 of 40 failed with ValueError: seven\n") as caught:
        for result in map_items(fail_on_seven, range(40), workers=2, kind=kind):
            got.append(result)
    assert got == list(range(7))
    assert isinstance(caught.value.__cause__, ValueError)
    assert "fail_on_seven" in "".join(caught.value.__notes__)


@pytest.mark.parametrize("kind", KINDS)
def test_our_own_errors_keep_their_type(kind: Any) -> None:
    with pytest.raises(OddError, match="do even") as caught:
        list(map_items(fail_mendably, ["a"], workers=1, kind=kind))
    assert caught.value.__notes__ == ["item 1 of 1"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_item_is_told_only_in_the_words_of_the_caller(kind: Any) -> None:
    with pytest.raises(ItemFailed, match=r"^item 8 of 40 \(0x7\) failed"):
        list(map_items(fail_on_seven, range(40), workers=2, kind=kind, describe=hex))
    with pytest.raises(ItemFailed, match=r"^item 8 failed"):
        list(map_items(fail_on_seven, iter(range(40)), workers=2, kind=kind))


def test_an_exception_that_cannot_be_unpickled_does_not_break_the_pool() -> None:
    with pytest.raises(ItemFailed, match="AwkwardError: code: detail"):
        list(map_items(fail_awkwardly, [1], workers=1))


def test_a_killed_worker_is_a_mendable_error() -> None:
    with pytest.raises(WorkerDied, match="MM_WORKERS=1"):
        list(map_items(die, [1, 2], workers=1))


def tell_pid(number: int) -> int:
    os.write(1, f"{os.getpid()}\n".encode())
    return number


def test_workers_end_with_a_starter_that_is_killed() -> None:
    code = (
        "import time; from resources.compute import map_items; from tests.resources.test_compute import tell_pid\n"
        "results = map_items(tell_pid, range(2), workers=2)\n"
        "if __name__ == '__main__': next(results); time.sleep(60)\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    worker = int(starter.stdout.readline())
    starter.kill()
    starter.wait()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()


def test_the_server_is_started_once_and_pools_use_it() -> None:
    code = (
        "from multiprocessing import forkserver\n"
        "from resources.compute import map_items, start_process_server\n"
        "from tests.resources.test_compute import jittery_square\n"
        "if __name__ == '__main__':\n"
        "    start_process_server()\n"
        "    first = forkserver._forkserver._forkserver_pid\n"
        "    assert first is not None\n"
        "    assert list(map_items(jittery_square, range(4), workers=2)) == [0, 1, 4, 9]\n"
        "    assert forkserver._forkserver._forkserver_pid == first\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True, timeout=120)


def test_workers_are_other_processes_with_one_thread_each() -> None:
    seen = list(map_items(surroundings, range(8), workers=2))
    assert os.getpid() not in {pid for pid, _, _ in seen}
    assert {threads for _, threads, _ in seen} == {"1"}


def map_in_a_daemon(results: Any) -> None:
    results.put([pid for pid, _, _ in map_items(surroundings, range(3), workers=2)])


def test_a_daemonic_process_maps_in_threads() -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=map_in_a_daemon, args=(results,), daemon=True)
    process.start()
    assert results.get(timeout=30) == [process.pid] * 3
    process.join(timeout=30)


@pytest.mark.parametrize("kind", ["inline", "thread"])
def test_items_are_read_only_a_little_ahead(kind: Any) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    results = map_items(jittery_square, items(), workers=2, kind=kind)
    assert [next(results), next(results)] == [0, 1]
    assert taken <= 8
    results.close()  # type: ignore[attr-defined]


def test_a_title_shows_a_bar_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    squares = map_items(jittery_square, iter(range(5)), workers=1, kind="inline", desc="squares", total=5)
    assert list(squares) == [0, 1, 4, 9, 16]
    assert capsys.readouterr().out == ""


def test_devices() -> None:
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") in ("cuda", "mps", "cpu")
    with pytest.raises(DeviceUnavailable, match="MM_DEVICE"):
        resolve_device("abacus")
    assert precision_for("cpu") == "32-true"


def test_importing_the_stores_costs_little() -> None:
    code = (
        "import sys, resources.artifacts, resources.objects, resources.compute, resources.hub\n"
        "heavy = ('torch', 'pandas', 'duckdb', 'dagster', 'pydantic', 'pyarrow.parquet', 'tqdm')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    shown = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
