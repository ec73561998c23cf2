"""Where heavy work runs: here, in threads, or in local processes; and the device and precision of training.

Belongs here: fanning a function out over items, choosing a device.
Does not belong here: what is computed, and anything that imports torch before it is asked about a device.
"""

import copy
import functools
import itertools
import logging
import multiprocessing
import os
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Literal

from resources.errors import MendableError

log = logging.getLogger(__name__)

# Seconds each to import; the forkserver passes over what is not installed.
_HEAVY_MODULES = ("torch", "timm", "transformers", "pytorch_lightning", "pyarrow.parquet", "PIL.Image")

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_ORPHANED = 3  # exit status


class ItemFailed(MendableError):
    """The function raised for one item; the original, where it could be brought here, is ``__cause__``."""


class WorkerDied(MendableError):
    """A worker process ended without an answer."""


class DeviceUnavailable(MendableError):
    """The device asked for is not there."""


@dataclass(frozen=True)
class _Failure:
    index: int
    item: str  # as the caller describes it; empty: by its position alone
    reason: str
    trace: str
    error: Exception | None  # None when it cannot be rebuilt in another process


def map_items(
    fn: Callable[[Any], Any],
    items: Iterable[Any],
    *,
    workers: int,
    kind: Literal["process", "thread", "inline"] = "process",
    desc: str | None = None,
    total: int | None = None,
    describe: Callable[[Any], str] | None = None,
) -> Iterator[Any]:
    """``fn(item)`` for each item, yielded in the order of the items, a few chunks ahead of the reader.

    ``items`` is read lazily and nothing piles up, so both sides may be longer than memory. ``desc`` titles
    a progress bar on stderr (``total`` where ``items`` has no length). Processes are started by forkserver
    or spawn with one BLAS and torch thread each; ``fn`` and items must pickle, ``fn`` by its module's name.

    Raises the function's own ``MendableError``, or ``ItemFailed``; ``WorkerDied`` when a process was killed. A failure
    is told by the item's position ("item 17 of 300"), because an item may hold a patient's id; where it may be told,
    ``describe`` gives its words. Results before the failing item are still yielded.
    """
    length = total if total is not None else _length(items)
    results = _results(fn, items, workers, kind, length, describe)
    if desc is None:
        return results
    from tqdm import tqdm

    return iter(tqdm(results, desc=desc, total=length, disable=None))


def start_process_server() -> None:
    """Start the server that processes are forked from, where there is one, and go on: its imports, seconds long, then
    run beside the caller's own instead of keeping the first pool waiting."""
    context = _process_context()
    if context.get_start_method() == "forkserver":
        from multiprocessing.forkserver import ensure_running

        context.set_forkserver_preload(["__main__", *_HEAVY_MODULES])
        ensure_running()


def resolve_device(device: str = "auto") -> str:
    """``auto`` becomes ``cuda``, ``mps`` or ``cpu``, the first that works. Raises ``DeviceUnavailable``."""
    import torch

    works = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name in works if works[name])
    if not works.get(device.partition(":")[0], False):
        usable = ", ".join(name for name in works if works[name])
        raise DeviceUnavailable(f"device {device!r} is not available: set MM_DEVICE to auto or one of {usable}")
    return device


def precision_for(device: str) -> str:
    """Lightning's precision: bf16 on a GPU that computes in it, else float32.

    A CPU stays at float32: without AMX or AVX512-bf16 bf16 is about four times slower, so it takes a trial.
    """
    if device.startswith("cuda"):
        import torch

        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16-mixed"
    return "32-true"


def _results(
    fn: Callable[[Any], Any],
    items: Iterable[Any],
    workers: int,
    kind: str,
    length: int | None,
    describe: Callable[[Any], str] | None,
) -> Iterator[Any]:
    if kind == "process" and multiprocessing.current_process().daemon:
        log.warning("a daemonic process may not start processes: mapping in %d threads instead", workers)
        kind = "thread"
    if kind == "inline":
        for index, item in enumerate(items):
            yield from _unpacked(_run_chunk(fn, index, [item], describe), length)
        return
    pool: Executor
    if kind == "process":
        size = max(1, min(16, (length or 16) // (workers * 4)))
        pool = _process_pool(fn, workers)
    else:
        size = 1
        pool = ThreadPoolExecutor(workers)
    remaining = enumerate(items)
    waiting: deque[Future[list[Any]]] = deque()
    try:
        while True:
            while len(waiting) < 2 * workers and (chunk := list(itertools.islice(remaining, size))):
                waiting.append(pool.submit(_run_chunk, fn, chunk[0][0], [item for _, item in chunk], describe))
            if not waiting:
                return
            yield from _unpacked(waiting.popleft().result(), length)
    except BrokenProcessPool as error:
        raise WorkerDied(
            "a worker process died, usually killed for memory: run again with fewer workers (MM_WORKERS=1)"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _process_pool(fn: Callable[[Any], Any], workers: int) -> ProcessPoolExecutor:
    context = _process_context()
    if context.get_start_method() == "forkserver":
        # The server imports these once, for all workers of this process's life: it is started by the first pool, or
        # before (start_process_server), and a later list no longer counts, so what any wing's workers need is in it
        # from the start.
        inner = fn.func if isinstance(fn, functools.partial) else fn
        context.set_forkserver_preload(["__main__", getattr(inner, "__module__", "__main__"), *_HEAVY_MODULES])
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)


def _process_context() -> Any:
    methods = multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")


def _begin_worker() -> None:
    threading.Thread(target=_end_with_starter, name="starter", daemon=True).start()
    _one_thread()


def _end_with_starter() -> None:
    """A pool's worker holds both ends of its queue: nothing else would tell it that nobody waits for it any more."""
    starter = multiprocessing.parent_process()
    assert starter is not None
    starter.join()
    os._exit(_ORPHANED)


def _one_thread() -> None:
    """Two workers of one thread beat one of two, and workers times cores of threads choke a machine."""
    for name in _THREAD_VARIABLES:
        os.environ[name] = "1"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if "numpy" in sys.modules:  # its BLAS has read the variables already
        try:
            from threadpoolctl import threadpool_limits
        except ImportError:
            return
        threadpool_limits(1)


def _run_chunk(
    fn: Callable[[Any], Any], first: int, items: list[Any], describe: Callable[[Any], str] | None
) -> list[Any]:
    """Results of a chunk. A failure ends it as its last element: a value, which always crosses the border."""
    results: list[Any] = []
    for index, item in enumerate(items, start=first):
        try:
            results.append(fn(item))
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            shown = f" ({describe(item)})" if describe else ""
            results.append(_Failure(index, shown, reason, traceback.format_exc(), _portable(error)))
            break
    return results


def _portable(error: Exception) -> Exception | None:
    """None for an exception that cannot be rebuilt from its arguments: it would break the pool."""
    try:
        copy.copy(error)
    except Exception:
        return None
    return error


def _unpacked(results: list[Any], length: int | None) -> Iterator[Any]:
    for result in results:
        if not isinstance(result, _Failure):
            yield result
            continue
        where = f"item {result.index + 1}{f' of {length}' if length else ''}{result.item}"
        if isinstance(result.error, MendableError):
            result.error.add_note(where)
            raise result.error
        failed = ItemFailed(f"{where} failed with {result.reason}")
        failed.add_note(result.trace)
        raise failed from result.error


def _length(items: Iterable[Any]) -> int | None:
    try:
        return len(items)  # type: ignore[arg-type]
    except TypeError:
        return None
