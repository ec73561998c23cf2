"""Assets that are read together must come from the same data."""

from pathlib import Path

import pytest

from mm_assets.records.staleness import StaleInputs, require_made_from, require_versions
from resources.artifact_record import Artifact
from resources.artifacts import ArtifactStore


def publish(store: ArtifactStore, asset: str, content: str, upstream: dict[str, str] | None = None) -> Artifact:
    with store.draft("teeth", asset) as draft:
        draft.write_text("content.txt", content)
        return draft.publish(upstream=upstream or {}, synthetic=True, run_id=None)


def test_another_version_than_the_current_one_is_refused_with_its_mend(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path / "home"), tmp_path / "scratch")
    source = publish(store, "source", "one")
    model = publish(store, "model", "weights", {"teeth/source": source.version})
    require_made_from(store, model, "teeth/source")
    publish(store, "source", "two")
    with pytest.raises(StaleInputs, match=r"another teeth/source .* run `mm materialize teeth/model`"):
        require_made_from(store, model, "teeth/source")


def test_versions_of_another_store_are_compared_as_given(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path / "home"), tmp_path / "scratch")
    model = publish(store, "model", "weights", {"elsewhere/rows": "one"})
    require_versions(model, {"elsewhere/rows": "one"})
    with pytest.raises(StaleInputs, match=r"another elsewhere/rows .* run `mm materialize teeth/model`"):
        require_versions(model, {"elsewhere/rows": "two"})


def test_an_artifact_of_before_the_asset_was_made_from_another_is_stale(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path / "home"), tmp_path / "scratch")
    audit = publish(store, "audit", "rows", {"teeth/features": "one"})
    with pytest.raises(StaleInputs, match=r"another teeth/model .* run `mm materialize teeth/audit`"):
        require_versions(audit, {"teeth/features": "one", "teeth/model": "two"})
