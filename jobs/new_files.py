"""Sensors that ask for a run when a source file is new or was rewritten.

Belongs here: the listing of a location, and the cursor, which remembers objects, their times and sizes, and never the
wall clock. Does not belong here: which files a wing watches and what its run is tagged with (`jobs/<wing>.py`).
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import dagster as dg

from resources.dagster_resources import House
from resources.objects import ObjectStore

# Up to so many files each one is remembered (16 characters in the cursor); above it, only times are.
MOST_REMEMBERED = 20_000
# Above it an object that arrives with a time up to this much older than the newest one seen is picked up, seconds.
OVERLAP_S = 3600.0


class FoundFile(NamedTuple):
    """One object of a listing; ``time`` is its own, in seconds. The order is by time."""

    time: float
    url: str
    size: int  # bytes: a file that is rewritten within one tick of its store's clock still changes


def files_below(url: str | None, *, gcs_user_project: str | None) -> list[FoundFile]:
    """Every file below `url`, at any depth, oldest first; none where `url` is None: nothing is configured.

    `gcs_user_project` is billed for a requester-pays bucket.
    """
    if url is None:
        return []
    store = ObjectStore.at(url, gcs_user_project=gcs_user_project)
    return sorted(
        FoundFile(info.last_modified.timestamp(), f"{store.url}/{info.path}", info.size) for info in store.list()
    )


def fresh_files(found: list[FoundFile], cursor: str | None) -> tuple[list[FoundFile], str | None]:
    """What of `found` the cursor has not seen, oldest first, and the next cursor; the same one where nothing is fresh.

    Of up to MOST_REMEMBERED files the cursor holds a digest of each with its time and size, so that a new or rewritten
    file is seen whatever its time (copies that keep times: `rsync -a`, `cp -p`). Of more it holds the newest object
    time and the objects around it: a file that arrives with a time more than OVERLAP_S older than that is then missed.
    """
    state: dict[str, Any] = json.loads(cursor) if cursor else {"mark": 0.0, "known": []}
    if "known" in state:
        known = set(state["known"])
        fresh = [file for file in sorted(found) if _digest(file) not in known]
    else:
        since, seen = state["mark"] - OVERLAP_S, state["seen"]
        fresh = [file for file in sorted(found) if file.time > since and seen.get(file.url) != [file.time, file.size]]
    if not fresh:
        return [], cursor
    # The newest of all, not of the fresh: a listing that shrank below the bound and grew again starts from it.
    mark = max(state["mark"], max(file.time for file in found))
    if len(found) <= MOST_REMEMBERED:
        return fresh, json.dumps({"mark": mark, "known": sorted(map(_digest, found))})
    recent = {file.url: [file.time, file.size] for file in found if file.time > mark - OVERLAP_S}
    return fresh, json.dumps({"mark": mark, "seen": recent}, sort_keys=True)


def _digest(file: FoundFile) -> str:
    return hashlib.sha256(repr(tuple(file)).encode()).hexdigest()[:16]


def new_files_sensor(
    name: str,
    job: Any,
    files: Callable[[House], list[FoundFile]],
    *,
    watched: str,
    tags: Mapping[str, str] | None = None,
) -> dg.SensorDefinition:
    """A sensor, off until somebody turns it on, that asks for one run of `job` for all new files together.

    `files` lists what is there now; `watched` is what they are, in the plural; `tags` go on the run.
    """

    @dg.sensor(
        name=name,
        job=job,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=f"Asks for one run of the wing when {watched} are new or were rewritten. Up to "
        f"{MOST_REMEMBERED:,} files their times do not matter; of more, a file that arrives with a time over "
        f"{OVERLAP_S / 3600:g} h older than the newest one seen is missed.",
    )
    def new_files(context: dg.SensorEvaluationContext, house: House) -> dg.SensorResult | dg.SkipReason:
        fresh, cursor = fresh_files(files(house), context.cursor)
        if not fresh:
            return dg.SkipReason(f"no new {watched}")
        newest = fresh[-1]
        # Hashed: names of files are often those of patients, and a run key is kept and shown with the run.
        run_key = hashlib.sha256(f"{newest.url}:{newest.time}:{newest.size}:{len(fresh)}".encode()).hexdigest()
        request = dg.RunRequest(run_key=run_key, tags={**(tags or {}), "mm/new_files": str(len(fresh))})
        return dg.SensorResult(run_requests=[request], cursor=cursor)

    return new_files
