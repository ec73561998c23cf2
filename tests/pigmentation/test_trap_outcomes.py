"""Every trap of the rendered image set reaches the outcome that it says, from the manifest to the records."""

from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mm_assets.pigmentation.layouts import detect_layout, read_layout
from mm_assets.pigmentation.lesions import Rejection, build_lesions, capture_settings, rejected_table
from mm_assets.pigmentation.manifest import check_manifest
from mm_assets.pigmentation.synthetic.traps import TRAPS
from mm_assets.pigmentation.synthetic.tree import SkinTreeConfig, write_tree
from resources.objects import ObjectStore

Outcome = tuple[dict[str, dict], dict[str, set[str]]]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tree")
    write_tree(folder, SkinTreeConfig(patients=len(TRAPS) + 12, rgb_px=48, cube_px=16, jobs=1))
    return folder


@pytest.fixture(scope="module")
def outcome(tree: Path) -> Outcome:
    """Records by lesion, and the reasons of every capture that was not used."""
    root = ObjectStore.at(str(tree))
    assert detect_layout(root) == "manifest"
    checked = check_manifest(read_layout(root, "manifest"))
    settings = capture_settings(checked.rows, root.get, stored_px=48, cube_px=16, multispectral="cube")
    rejected: list[Rejection] = []
    batches = build_lesions(checked.rows, root.get, settings, rejected.append, workers=2)
    records = {row["lesion_id"]: row for row in pa.Table.from_batches(batches).to_pylist()}
    reasons: dict[str, set[str]] = defaultdict(set)
    for row in pa.concat_tables([checked.rejected, rejected_table(rejected)]).to_pylist():
        reasons[row["capture_id"]].add(row["reason"])
    return records, reasons


@pytest.mark.parametrize("kind", [trap.__name__ for trap in TRAPS])
def test_the_trap_ends_as_it_says(kind: str, tree: Path, outcome: Outcome) -> None:
    records, reasons = outcome
    planted = [row for row in pq.read_table(tree / "traps.parquet").to_pylist() if row["kind"] == kind]
    assert planted
    for trap in planted:
        record, expected = records.get(trap["lesion_id"]), trap["expected"]
        if expected.startswith("quarantined:"):
            assert record is None and expected.partition(":")[2] in reasons[trap["capture_id"]]
            continue
        assert record is not None
        if expected == "record":
            assert not reasons[trap["capture_id"]]
        elif expected == "not_trained":
            assert record["score"] is None and record["severity"] is None
        else:
            assert record[expected.partition(":")[2]] is None and reasons[trap["capture_id"]]
