"""What the wing's checks read from published artifacts, and that every asset has some."""

from pathlib import Path

import pyarrow as pa
import pytest

from checks import mimic
from checks.common import released_and_current
from checks.mimic_judges import every_record_has_features, required_tables_are_listed
from mm_assets.definitions import build_defs
from resources.artifacts import ArtifactStore


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "home"), tmp_path / "scratch")


def publish(
    store: ArtifactStore,
    asset: str,
    partition: str | None = None,
    *,
    rows: dict[str, int] | None = None,
    sizes: dict[str, int] | None = None,
    json: dict[str, object] | None = None,
    synthetic: bool = True,
) -> str:
    """Tables of so many rows, files of so many bytes, JSON files; returns the version."""
    with store.draft("mimic", asset, partition) as draft:
        for name, count in (rows or {}).items():
            draft.write_table(name, pa.table({"study_id": range(count)}))
        for name, size in (sizes or {}).items():
            draft.write_bytes(name, b"0" * size)
        for name, value in (json or {}).items():
            draft.write_json(name, value)
        return draft.publish(upstream={}, synthetic=synthetic, run_id=None).version


def test_film_features_are_counted_in_the_directories_that_were_encoded(store: ArtifactStore) -> None:
    for part, films, encoded in (("p10", 3, 3), ("p11", 4, 2)):
        publish(store, "phase1", part, rows={"records.parquet": films, "rejected.parquet": 9})
        publish(store, "image_features", part, rows={"index.parquet": encoded},
                sizes={"features-00000.safetensors": 1000 * encoded, "encoder.json": 77})  # fmt: skip
    publish(store, "phase1", "p12", rows={"records.parquet": 8})
    found = mimic.film_features(store)
    assert found == {"records": 7, "encoded": 5, "differing": ["p11"], "bytes": 5000}
    assert "p11" in every_record_has_features(found).description


def test_note_features_are_counted_over_all_parts(store: ArtifactStore) -> None:
    publish(store, "phase3", rows={"records.parquet": 5})
    publish(
        store, "text_features", rows={"part-00000/index.parquet": 3, "part-00001/index.parquet": 2},
        sizes={"part-00000/features-00000.safetensors": 30, "part-00001/features-00000.safetensors": 20,
               "passages.safetensors": 99},
    )  # fmt: skip
    assert mimic.note_features(store) == {"records": 5, "encoded": 5, "differing": [], "bytes": 50}
    publish(store, "phase3", rows={"records.parquet": 6})
    assert not every_record_has_features(mimic.note_features(store)).passed


def test_a_synthetic_source_holds_the_required_tables_as_files(store: ArtifactStore) -> None:
    names = ["cxr/mimic-cxr-2.0.0-metadata.csv.gz", "cxr/mimic-cxr-2.0.0-chexpert.csv", "ed/edstays.csv.gz"]
    publish(store, "source", sizes={f"tree/{name}": 1 for name in names})
    assert mimic.source_contents(store) == {"absent": ["triage"], "listed": 3}
    publish(store, "source", sizes={f"tree/{name}": 1 for name in [*names, "ed/triage.csv.gz"]})
    assert required_tables_are_listed(mimic.source_contents(store)).passed


def test_a_real_source_lists_the_required_tables_in_its_manifest(store: ArtifactStore) -> None:
    with store.draft("mimic", "source") as draft:
        draft.write_table("manifest.parquet", pa.table({"table": ["cxr_metadata", "cxr_chexpert", "triage"]}))
        draft.publish(upstream={}, synthetic=False, run_id=None)
    assert mimic.source_contents(store) == {"absent": ["edstays"], "listed": 3}


def test_release_is_compared_with_the_current_evaluation(store: ArtifactStore) -> None:
    first = publish(store, "evaluation", json={"evaluation.json": {"macro_auroc": 0.8}})
    publish(store, "released_model", json={"model.json": {"upstream": {"mimic/evaluation": first}}})
    assert released_and_current(store, "mimic") == {"named": first, "current": first}
    second = publish(store, "evaluation", json={"evaluation.json": {"macro_auroc": 0.7}})
    assert released_and_current(store, "mimic") == {"named": first, "current": second}


def test_every_asset_has_checks_and_no_two_share_a_name() -> None:
    seen = [(key.asset_key, key.name) for check in mimic.mimic_checks for key in check.check_keys]
    assert len(seen) == len(set(seen)) > 70
    assets = build_defs().resolve_asset_graph().materializable_asset_keys
    assert {key for key, _ in seen} == {key for key in assets if key.path[0] == "mimic"}
