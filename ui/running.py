"""Runs a selection of the graph in this process and reports what happened.

Belongs here: from a selection string to a finished run and its plain-value report.
Does not belong here: printing (ui.cli) and what assets do.
"""

import logging
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from mm_assets.definitions import build_defs
from resources.artifacts import ArtifactMissing, ArtifactStore
from resources.dagster_resources import House
from resources.errors import MendableError
from resources.objects import ObjectAccessError
from resources.settings import Settings
from ui.home import prepare_dagster_home
from ui.live_runs import end_dead_runs, marked_alive
from ui.wings import RunConfig, store_of

log = logging.getLogger(__name__)


class SelectionError(MendableError):
    """The selection, partition or configuration does not name anything in the graph."""


class KnobError(MendableError):
    """A knob is not one of its asset, or has a value that it cannot take."""


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

    def succeeded_in(self, wing: str) -> bool:
        """Whether the run had assets of the wing, and none of its steps or blocking checks failed."""
        steps = [step for step in self.steps if step.name.startswith(f"{wing}/")]
        stopped = any(c.blocking and not c.passed for c in self.checks if c.asset.startswith(f"{wing}/"))
        return any(step.is_asset for step in steps) and all(step.succeeded for step in steps) and not stopped


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


def with_missing_upstream(keys: list[dg.AssetKey], settings: Settings) -> list[dg.AssetKey]:
    """The keys and, before them, every ancestor that has nothing published yet."""
    graph = build_defs().resolve_asset_graph()
    store = ArtifactStore(settings.home, settings.scratch)
    wanted, todo = set(keys), list(keys)
    while todo:
        for parent in graph.get(todo.pop()).parent_keys:
            home = store_of(settings, store, *parent.path)
            if parent not in wanted and not is_published(home, parent, partition_names(graph.get(parent))):
                wanted.add(parent)
                todo.append(parent)
    return sorted(wanted)


def is_published(store: ArtifactStore, key: dg.AssetKey, partitions: Sequence[str]) -> bool:
    """Whether the asset has a current artifact; a partitioned one, of every partition."""
    if partitions:
        return set(partitions) <= set(store.partitions(*key.path))
    try:
        store.version(*key.path)
    except ArtifactMissing:
        return False
    return True


def partition_names(node: Any) -> list[str]:
    """The partitions of an asset of the graph, in order; none where it has none."""
    return list(node.partitions_def.get_partition_keys()) if node.is_partitioned else []


def partition_tags(partition: str | None, names: Sequence[str]) -> dict[str, str]:
    """Run tags for one partition (`p12`), a range (`p10..p13`) or, unset, all of the names in one run.

    Without names nothing selected is partitioned, and there are no tags. Raises SelectionError.
    """
    if not names:
        if partition is not None:
            raise SelectionError(f"nothing selected has partitions: leave out --partition {partition}")
        return {}
    first, _, last = (partition or f"{names[0]}..{names[-1]}").partition("..")
    last = last or first
    if first not in names or last not in names or names.index(first) > names.index(last):
        raise SelectionError(
            f"no partition '{partition}': give one of {names[0]}..{names[-1]}, or a range such as "
            f"{names[0]}..{names[min(3, len(names) - 1)]}"
        )
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def run_selection(
    keys: list[dg.AssetKey],
    *,
    partition: str | None = None,
    config: RunConfig | None = None,
    house: House | None = None,
) -> RunReport:
    """Materialise the keys with their checks in this process; knobs of assets that are not selected wait for theirs.

    Versions that nothing current was made from are swept away afterwards. Raises SelectionError, KnobError.
    """
    house = house or House()
    job = dg.define_asset_job("mm_run", selection=dg.AssetSelection.assets(*keys))
    definitions = dg.Definitions.merge(build_defs(house), dg.Definitions(jobs=[job]))
    graph = definitions.resolve_asset_graph()
    unknown = set(config or {}) - {"/".join(key.path) for key in graph.materializable_asset_keys}
    if unknown:
        raise SelectionError(f"no asset {', '.join(sorted(unknown))} to configure; `mm status` lists every asset")
    partitionings = {tuple(partition_names(graph.get(key))) for key in keys} - {()}
    if len(partitionings) > 1:
        raise SelectionError("the selected assets have different partitions: materialise one kind after the other")
    tags = partition_tags(partition, next(iter(partitionings), ()))
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
        try:
            result = definitions.resolve_job_def("mm_run").execute_in_process(
                instance=instance, run_id=run_id, tags=tags, run_config=run_config, raise_on_error=False
            )
        except dg.DagsterInvalidConfigError as error:
            raise KnobError(f"the configuration does not fit: {knob_errors(error)}") from None
    wings = {key.path[0] for key in keys}
    made = [key for key in graph.materializable_asset_keys if key.path[0] in wings]
    sweep(house, made, everywhere=result.success)
    return RunReport(
        run_id=result.run_id,
        succeeded=result.success,
        steps=tuple(step_reports(result, wanted)),
        checks=tuple(check_reports(result)),
    )


def sweep(house: House, keys: Sequence[dg.AssetKey], *, everywhere: bool) -> None:
    """Sweep MM_HOME and, ``everywhere``, the other stores that assets of ``keys`` are published in. Not so after a run
    that failed: it may have failed for what is set there. What may not be deleted stays, and is told."""
    settings, store = house.settings(), house.artifacts()
    beside = [store_of(settings, store, *key.path) for key in keys] if everywhere else []
    try:
        store.sweep(beside=beside)
    except ObjectAccessError as error:
        log.warning("old versions stay where they are: %s", error)


def knob_errors(error: dg.DagsterInvalidConfigError) -> str:
    """What is wrong with which knob of which asset, in one line."""
    # "... at path root:ops:mimic__source:config:seed." -> "... at mimic/source:seed."
    return " ".join(re.sub(r"path root:ops:(\w+?)__(\w+):config", r"\1/\2", item.message) for item in error.errors)


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
