"""Which runs of `mm` are alive, so that one that was killed does not hold up the next.

Belongs here: a lock file per run, and ending the runs whose process is gone. Does not belong here: running.

A killed in-process run stays "started" in Dagster's history and keeps its pool slot, for which the next run would wait
without end: the daemon that frees such slots runs only with `dagster dev`. The kernel drops a lock with its process,
however that ends, so a file that can be locked belongs to a dead run.
"""

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

log = logging.getLogger(__name__)


def runs_folder(dagster_home: Path) -> Path:
    """Where the lock files lie."""
    return dagster_home / "mm_runs"


@contextmanager
def marked_alive(dagster_home: Path, run_id: str) -> Iterator[None]:
    """Hold the run's lock file while the block runs."""
    folder = runs_folder(dagster_home)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / run_id
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def end_dead_runs(instance: dg.DagsterInstance, dagster_home: Path) -> list[str]:
    """Mark runs whose process is gone as failed and free their pool slots; returns their ids."""
    folder = runs_folder(dagster_home)
    ended = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # alive
            run = instance.get_run_by_id(path.name)
            if run is not None and not run.is_finished:
                instance.report_run_failed(run, "its process ended before the run did")
                log.warning("run %s was killed; it is marked as failed and its pool slots are free", path.name)
            if instance.event_log_storage.supports_global_concurrency_limits:
                instance.event_log_storage.free_concurrency_slots_for_run(path.name)
            ended.append(path.name)
            path.unlink(missing_ok=True)
    return ended
