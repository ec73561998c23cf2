"""How every asset of every wing ends: publish one artifact, tell Dagster what is in it.

Belongs here: the step from a finished draft to a MaterializeResult. Does not belong here: what is in the draft.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from resources.artifact_draft import Draft
from resources.artifact_record import Artifact
from resources.artifacts import ArtifactStore


def upstream_versions(store: ArtifactStore, *keys: tuple[str, str]) -> dict[str, str]:
    """`{"wing/asset": version}` of what is current; a partitioned asset's version is the digest of its partitions'.

    Raises ArtifactMissing, whose message names the command that makes what is missing.
    """
    return {f"{wing}/{asset}": store.version(wing, asset) for wing, asset in keys}


def publish(
    context: dg.AssetExecutionContext,
    draft: Draft,
    *,
    upstream: Mapping[str, str],
    synthetic: bool,
    metrics: Mapping[str, Any] | None = None,
) -> Artifact:
    """Publish a draft under the run that made it."""
    return draft.publish(
        upstream=dict(upstream),
        synthetic=synthetic,
        run_id=context.run.run_id,
        metrics=dict(metrics) if metrics else None,
    )


def materialized(
    store: ArtifactStore, artifacts: Artifact | Iterable[Artifact], metadata: Mapping[str, Any] | None = None
) -> dg.MaterializeResult:
    """MaterializeResult of one artifact, or of all the partitions a single-run backfill wrote.

    The data version is the artifact's version; row count and column schema are those of its first table.
    """
    written = [artifacts] if isinstance(artifacts, Artifact) else list(artifacts)
    first = written[0]
    if len(written) == 1 and first.partition is None:
        version = first.version
    else:
        version = store.version(*first.key)
    rows = [file.rows for artifact in written for file in artifact.files if file.rows is not None]
    described: dict[str, Any] = {
        "dagster/uri": f"{store.objects.url}/{first.folder}",
        "version": version,
        "synthetic": first.synthetic,
        "bytes": sum(file.bytes for artifact in written for file in artifact.files),
        "upstream": dg.MetadataValue.json(dict(first.upstream)),
    }
    if rows:
        main = main_table(first)
        described["dagster/row_count"] = sum(
            file.rows or 0 for artifact in written for file in artifact.files if file.path == main
        )
        described["dagster/column_schema"] = dg.TableSchema(
            columns=[dg.TableColumn(name, type_) for name, type_ in first.schema[main].items()]
        )
    return dg.MaterializeResult(metadata={**described, **(metadata or {})}, data_version=dg.DataVersion(version))


def main_table(artifact: Artifact) -> str:
    """The table with most columns: the one a person means by "the table of this asset"."""
    return max(sorted(artifact.schema), key=lambda path: len(artifact.schema[path]))
