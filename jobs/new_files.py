"""Sensors that ask for a run when a source file is new or was rewritten.

Belongs here: the cursor, which remembers object times and never the wall clock. Does not belong here: which files a
wing watches and what its run is tagged with (`jobs/<wing>.py`).
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from resources.dagster_resources import House

# An object that arrives with a time up to this much older than the newest one seen is still picked up, seconds.
OVERLAP_S = 3600.0

FileTimes = list[tuple[float, str]]  # time of the object, its URL


def fresh_files(found: FileTimes, cursor: str | None) -> tuple[FileTimes, str]:
    """What of `found` the cursor has not seen, oldest first, and the next cursor.

    The cursor holds the newest object time seen and the objects seen around it.
    """
    state: dict[str, Any] = json.loads(cursor) if cursor else {"mark": 0.0, "seen": {}}
    fresh = [
        (time, key)
        for time, key in sorted(found)
        if time > state["mark"] - OVERLAP_S and state["seen"].get(key) != time
    ]
    mark = max([state["mark"], *(time for time, _ in fresh)])
    seen = {**state["seen"], **{key: time for time, key in fresh}}
    kept = {"mark": mark, "seen": {key: time for key, time in seen.items() if time > mark - OVERLAP_S}}
    return fresh, json.dumps(kept, sort_keys=True)


def new_files_sensor(
    name: str,
    job: Any,
    files: Callable[[House], FileTimes],
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
        description=f"Asks for one run of the wing when {watched} are new or were rewritten.",
    )
    def new_files(context: dg.SensorEvaluationContext, house: House) -> dg.SensorResult | dg.SkipReason:
        fresh, cursor = fresh_files(files(house), context.cursor)
        if not fresh:
            return dg.SkipReason(f"no new {watched}")
        time, key = fresh[-1]
        request = dg.RunRequest(
            run_key=f"{key}:{time}:{len(fresh)}", tags={**(tags or {}), "mm/new_files": str(len(fresh))}
        )
        return dg.SensorResult(run_requests=[request], cursor=cursor)

    return new_files
