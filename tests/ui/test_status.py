"""What `mm status` counts: the latest results on what is published now."""

from pathlib import Path

import dagster as dg
import pytest

from resources.artifacts import ArtifactStore
from ui.status import check_counts, published

KEY = dg.AssetKey(["mimic", "links"])


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "home"), tmp_path / "scratch")


def publish(store: ArtifactStore, content: str, *, partition: str | None = None) -> str:
    """A new version; returns when it was published."""
    with store.draft("mimic", "links", partition) as draft:
        draft.write_text("links.txt", content)
        draft.publish(upstream={}, synthetic=True, run_id=None, metrics={"rows": len(content)})
    return published(store, "mimic", "links")["materialized_at"]


def made_and_checked(store: ArtifactStore, instance: dg.DagsterInstance, content: str, *, checked: bool) -> str:
    """One run that publishes the asset and, if `checked`, judges it: a check passes, one fails, one warns."""

    @dg.asset(key=KEY)
    def links() -> None:
        publish(store, content)

    @dg.asset_check(asset=KEY)
    def sound() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    @dg.asset_check(asset=KEY)
    def broken() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False)

    @dg.asset_check(asset=KEY)
    def odd() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN)

    checks = [sound, broken, odd] if checked else []
    assert dg.materialize([links, *checks], instance=instance, raise_on_error=False).success
    return published(store, "mimic", "links")["materialized_at"]


def test_results_of_an_earlier_version_do_not_count(store: ArtifactStore) -> None:
    keys = [dg.AssetCheckKey(KEY, name) for name in ("sound", "broken", "odd", "never_ran")]
    nothing = {"passed": 0, "failed": 0, "warned": 0}
    with dg.DagsterInstance.ephemeral() as instance:
        assert check_counts(instance, keys, published_at=None) == nothing
        first = made_and_checked(store, instance, "one", checked=True)
        assert check_counts(instance, keys, published_at=first) == {"passed": 1, "failed": 1, "warned": 1}
        second = made_and_checked(store, instance, "two", checked=False)
        assert check_counts(instance, keys, published_at=second) == nothing
        third = made_and_checked(store, instance, "three", checked=True)
        assert check_counts(instance, keys, published_at=third) == {"passed": 1, "failed": 1, "warned": 1}


def test_published_tells_version_time_and_metrics(store: ArtifactStore) -> None:
    assert published(store, "mimic", "links") == {
        "version": None, "materialized_at": None, "synthetic": None, "metrics": {}
    }  # fmt: skip
    at = publish(store, "abc")
    found = published(store, "mimic", "links")
    assert found["version"] == store.current("mimic", "links").version
    assert (found["materialized_at"], found["synthetic"], found["metrics"]) == (at, True, {"rows": 3})


def test_a_partitioned_asset_is_as_new_as_its_newest_partition(store: ArtifactStore) -> None:
    publish(store, "a", partition="p10")
    at = publish(store, "b", partition="p11")
    found = published(store, "mimic", "links")
    assert (found["partitions"], found["materialized_at"]) == (["p10", "p11"], at)
    assert found["version"] == store.version("mimic", "links")
