"""Runs a selection of the graph in this process and reports what happened.

Belongs here: from a selection string to a finished run and its plain-value report.
Does not belong here: printing (ui.cli) and what assets do.
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from mm_assets.definitions import build_defs
from mm_assets.mimic.schema import DIRECTORIES
from resources.artifacts import ArtifactMissing, ArtifactStore
from resources.dagster_resources import House
from resources.errors import MendableError
from ui.home import prepare_dagster_home
from ui.live_runs import end_dead_runs, marked_alive

PARTITION_RANGE = re.compile(r"^(p\d\d)(?:\.\.(p\d\d))?$")


class SelectionError(MendableError):
    """The selection or partition does not name anything in the graph."""


@dataclass(frozen=True)
class StepReport:
    """One asset or check group of a run."""

    name: str
    is_asset: bool
    seconds: float
    succeeded: bool
    error: str | None


@dataclass(frozen=True)
class CheckReport:
    """One asset check of a run."""

    asset: str
    name: str
    passed: bool
    blocking: bool


@dataclass(frozen=True)
class RunReport:
    """What one run did; `succeeded` is false when a step failed or a blocking check did."""

    run_id: str
    succeeded: bool
    steps: tuple[StepReport, ...]
    checks: tuple[CheckReport, ...]


def asset_selection(text: str) -> dg.AssetSelection:
    """`mimic` (a wing), `mimic/links` (an asset), `+mimic/links` (with all upstream), or Dagster's own syntax."""
    if ":" in text or " " in text:
        return dg.AssetSelection.from_string(text)
    upstream, downstream = text.startswith("+"), text.endswith("+")
    name = text.strip("+")
    selection: dg.AssetSelection = (
        dg.AssetSelection.assets(dg.AssetKey(name.split("/"))) if "/" in name else dg.AssetSelection.groups(name)
    )
    if upstream:
        selection = selection.upstream()
    if downstream:
        selection = selection.downstream()
    return selection


def resolve(text: str) -> list[dg.AssetKey]:
    """The asset keys a selection names, sorted; SelectionError when there are none."""
    graph = build_defs().resolve_asset_graph()
    try:
        keys = asset_selection(text).resolve(graph)
    except Exception as error:  # dagster raises several types for a selection that does not fit
        raise SelectionError(
            f"'{text}' selects nothing: {str(error).splitlines()[0]}; `mm status` lists every asset"
        ) from error
    if not keys:
        raise SelectionError(f"'{text}' selects nothing; `mm status` lists every asset")
    return sorted(keys)


def with_missing_upstream(keys: list[dg.AssetKey], store: ArtifactStore) -> list[dg.AssetKey]:
    """The keys and, before them, every ancestor that has nothing published yet."""
    graph = build_defs().resolve_asset_graph()
    wanted, todo = set(keys), list(keys)
    while todo:
        for parent in graph.get(todo.pop()).parent_keys:
            if parent not in wanted and not is_published(store, parent, graph.get(parent).is_partitioned):
                wanted.add(parent)
                todo.append(parent)
    return sorted(wanted)


def is_published(store: ArtifactStore, key: dg.AssetKey, partitioned: bool) -> bool:
    """Whether the asset has a current artifact; a partitioned one, of every directory."""
    if partitioned:
        return set(DIRECTORIES) <= set(store.partitions(*key.path))
    try:
        store.version(*key.path)
    except ArtifactMissing:
        return False
    return True


def partition_tags(partition: str | None) -> dict[str, str]:
    """Run tags for one directory (`p12`), a range (`p10..p13`) or, unset, all of p10..p19 in one run."""
    if partition is None:
        first, last = DIRECTORIES[0], DIRECTORIES[-1]
    else:
        match = PARTITION_RANGE.match(partition)
        first, last = (match[1], match[2] or match[1]) if match else ("", "")
        if first not in DIRECTORIES or last not in DIRECTORIES or first > last:
            raise SelectionError(f"no partition '{partition}': give one of p10..p19, or a range such as p10..p13")
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def run_selection(
    keys: list[dg.AssetKey],
    *,
    partition: str | None = None,
    config: Mapping[str, Mapping[str, Any]] | None = None,
    house: House | None = None,
) -> RunReport:
    """Materialise the keys with their checks in this process; `config` is {"wing/asset": {knob: value}}.

    Versions that nothing current was made from are swept away afterwards.
    """
    house = house or House()
    job = dg.define_asset_job("mm_run", selection=dg.AssetSelection.assets(*keys))
    definitions = dg.Definitions.merge(build_defs(house), dg.Definitions(jobs=[job]))
    wanted = {"/".join(key.path) for key in keys}
    run_config = {
        "ops": {
            asset.replace("/", "__"): {"config": dict(knobs)}
            for asset, knobs in (config or {}).items()
            if asset in wanted
        },
        "loggers": {"steps": {}},
    }
    home, instance, run_id = prepare_dagster_home(), dg.DagsterInstance.get(), str(uuid.uuid4())
    end_dead_runs(instance, home)
    with marked_alive(home, run_id):
        result = definitions.resolve_job_def("mm_run").execute_in_process(
            instance=instance,
            run_id=run_id,
            tags=partition_tags(partition),
            run_config=run_config,
            raise_on_error=False,
        )
    house.artifacts().sweep()
    return RunReport(
        run_id=result.run_id,
        succeeded=result.success,
        steps=tuple(step_reports(result, wanted)),
        checks=tuple(check_reports(result)),
    )


def step_reports(result: dg.ExecuteInProcessResult, assets: set[str]) -> list[StepReport]:
    """Every step that ended, in order, with its seconds."""
    reports = []
    for event in result.all_events:
        name = (event.step_key or "").replace("__", "/")
        if event.event_type_value == "STEP_SUCCESS":
            seconds = event.step_success_data.duration_ms / 1000
            reports.append(StepReport(name, name in assets, seconds, True, None))
        elif event.event_type_value == "STEP_FAILURE":
            error = event.step_failure_data.error
            while error is not None and error.cause is not None:
                error = error.cause
            message = error.message.strip().splitlines()[0] if error else "failed"
            # "resources.artifacts.ArtifactMissing: no ..." -> the sentence alone
            reports.append(StepReport(name, name in assets, 0.0, False, re.sub(r"^[\w.]+: ", "", message)))
    return reports


def check_reports(result: dg.ExecuteInProcessResult) -> list[CheckReport]:
    """Every check that ran."""
    return [
        CheckReport(
            asset="/".join(evaluation.asset_key.path),
            name=evaluation.check_name,
            passed=evaluation.passed,
            blocking=evaluation.severity == dg.AssetCheckSeverity.ERROR,
        )
        for evaluation in result.get_asset_check_evaluations()
    ]
