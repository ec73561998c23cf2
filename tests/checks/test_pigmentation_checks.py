"""What the wing's checks read from published artifacts, and that every asset has some."""

from pathlib import Path

import pyarrow as pa
import pytest

from checks import pigmentation
from checks.pigmentation_judges import every_split_is_labelled, labels_are_not_derived, most_images_are_readable
from mm_assets.definitions import build_defs
from resources.artifacts import ArtifactStore


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "home"), tmp_path / "scratch")


def publish(store: ArtifactStore, asset: str, *, synthetic: bool = True, **tables: dict[str, list]) -> None:
    """Tables by name (`a__b` is the file `a/b.parquet`)."""
    with store.draft("pigmentation", asset) as draft:
        for name, columns in tables.items():
            draft.write_table(f"{name.replace('__', '/')}.parquet", pa.table(columns))
        draft.publish(upstream={}, synthetic=synthetic, run_id=None)


def test_images_spoilt_on_purpose_are_not_counted_as_unreadable(store: ArtifactStore) -> None:
    lesions = ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    publish(store, "source", manifest={"lesion_id": lesions}, tree__traps={"lesion_id": ["c"]})
    rejected = {"lesion_id": ["c", "c", "b"], "reason": ["image_empty", "no_clinical_image", "cube_wrong_bands"]}
    publish(store, "lesions", rejected=rejected)
    assert pigmentation.readable_images(store) == {"listed": 6, "rejected": 1}


# Rendered images may lie elsewhere, as `mm synth` writes them: nothing tells then what was spoilt.
@pytest.mark.parametrize("synthetic", [False, True])
def test_unreadable_images_of_a_configured_set_count_and_good_ones_without_a_photograph_do_not(
    store: ArtifactStore, synthetic: bool
) -> None:
    publish(store, "source", manifest={"lesion_id": ["a", "b", "b"]}, synthetic=synthetic)
    rejected = {"lesion_id": ["b", "b"], "reason": ["image_missing", "no_clinical_image"]}
    publish(store, "lesions", rejected=rejected, synthetic=synthetic)
    found = pigmentation.readable_images(store)
    assert found == {"listed": 3, "rejected": 1}
    assert not most_images_are_readable(found).passed


def test_labels_are_counted_by_split_and_source(store: ArtifactStore) -> None:
    publish(
        store, "lesions",
        lesions={
            "record_id": ["a@1", "b@1", "c@1", "d@1"], "score": [0.1, 0.9, 0.4, None],
            "label_source": ["rater", "rater", "derived_delta_melanin", None],
        },
    )  # fmt: skip
    publish(store, "split", split={"record_id": ["a@1", "b@1", "c@1"], "split": ["train", "train", "test"]})
    found = pigmentation.labels_by_split(store)
    assert found == {
        "labelled": {"train": 2, "validate": 0, "test": 1}, "sources": {"rater": 2, "derived_delta_melanin": 1}
    }  # fmt: skip
    assert "validate" in every_split_is_labelled(found).description
    assert not labels_are_not_derived(found).passed


def test_every_asset_has_checks_and_no_two_share_a_name() -> None:
    seen = [(key.asset_key, key.name) for check in pigmentation.pigmentation_checks for key in check.check_keys]
    assert len(seen) == len(set(seen)) > 25
    assets = build_defs().resolve_asset_graph().materializable_asset_keys
    assert {key for key, _ in seen} == {key for key in assets if key.path[0] == "pigmentation"}
