"""What is published and how it was judged, as plain values for `mm status`.

Belongs here: reading current artifacts and the latest check results. Does not belong here: printing.
"""

from datetime import datetime
from typing import Any

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from mm_assets.definitions import build_defs
from resources.artifacts import ArtifactMissing, ArtifactStore
from resources.settings import Settings
from ui.wings import store_of

ENDED = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}


def status(settings: Settings, instance: dg.DagsterInstance) -> dict[str, Any]:
    """`{"wings": {W: {"assets": {A: {version, materialized_at, synthetic, checks, metrics}}}}}`.

    `checks` counts the latest result of each check on what is current; an asset that was never published has nulls.
    """
    graph = build_defs().resolve_asset_graph()
    store = ArtifactStore(settings.home, settings.scratch)
    wings: dict[str, Any] = {}
    for key in sorted(graph.materializable_asset_keys):
        wing, asset = key.path
        entry = published(store_of(settings, store, wing, asset), wing, asset)
        checks = [check for check in graph.asset_check_keys if check.asset_key == key]
        entry["checks"] = check_counts(instance, checks, published_at=entry["materialized_at"])
        wings.setdefault(wing, {"assets": {}})["assets"][asset] = entry
    return {"wings": wings}


def published(store: ArtifactStore, wing: str, asset: str) -> dict[str, Any]:
    """Version, time, synthetic flag and metrics of what is current; nulls when nothing is."""
    try:
        version = store.version(wing, asset)
    except ArtifactMissing:
        return {"version": None, "materialized_at": None, "synthetic": None, "metrics": {}}
    parts = store.partitions(wing, asset)
    artifacts = list(parts.values()) or [store.current(wing, asset)]
    entry: dict[str, Any] = {
        "version": version,
        "materialized_at": max(artifact.created_at for artifact in artifacts),
        "synthetic": any(artifact.synthetic for artifact in artifacts),
        "metrics": {} if parts else dict(artifacts[0].metrics),
    }
    if parts:
        entry["partitions"] = sorted(parts)
    return entry


def check_counts(
    instance: dg.DagsterInstance, keys: list[dg.AssetCheckKey], *, published_at: str | None
) -> dict[str, int]:
    """How many checks last passed, failed with severity ERROR, or failed with WARN, of those that ran since.

    One that never came to a result after `published_at` (UTC, ISO 8601) counts nowhere: it judged another version, or
    was killed and left only its plan behind.
    """
    counts = {"passed": 0, "failed": 0, "warned": 0}
    if published_at is None:
        return counts
    since = datetime.fromisoformat(published_at).timestamp()
    for key in keys:
        for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=1, status=ENDED):
            evaluation = record.evaluation
            # The record's own time is that of the plan, which is made before the asset.
            if evaluation is None or record.event is None or record.event.timestamp < since:
                continue
            if evaluation.passed:
                counts["passed"] += 1
            elif evaluation.severity == dg.AssetCheckSeverity.ERROR:
                counts["failed"] += 1
            else:
                counts["warned"] += 1
    return counts
