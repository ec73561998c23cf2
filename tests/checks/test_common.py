"""Tables and counts that checks read, of plain and of partitioned assets."""

from pathlib import Path

import pyarrow as pa

from checks.common import one_of, released_and_current, rows_of, table_of
from resources.artifact_record import Artifact
from resources.artifacts import ArtifactStore
from resources.dagster_resources import House


def publish(store: ArtifactStore, values: list[int], partition: str | None = None) -> Artifact:
    with store.draft("teeth", "records", partition) as draft:
        draft.write_table("records.parquet", pa.table({"id": values, "other": values}))
        draft.write_table("part/records.parquet", pa.table({"id": values[:1]}))
        return draft.publish(upstream={}, synthetic=True, run_id=None)


def test_a_partitioned_table_is_loaded_whole(tmp_path: Path) -> None:
    house = House(home=str(tmp_path / "home"), scratch=str(tmp_path / "scratch"))
    store = house.artifacts()
    artifact = publish(store, [1, 2], "p10")
    publish(store, [3], "p11")
    frame = table_of("teeth", "records", "records.parquet", ["id"])(house)
    assert list(frame["id"]) == [1, 2, 3] and list(frame.columns) == ["id"]
    assert rows_of(artifact, "records.parquet") == 3


def test_a_release_names_the_evaluation_it_was_made_from(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path / "home"), tmp_path / "scratch")
    for asset, content in (("evaluation", {}), ("released_model", {"upstream": {"teeth/evaluation": "old"}})):
        with store.draft("teeth", asset) as draft:
            draft.write_json("model.json", content)
            draft.publish(upstream={}, synthetic=True, run_id=None)
    found = released_and_current(store, "teeth")
    assert found == {"named": "old", "current": store.version("teeth", "evaluation")}


def test_the_name_of_a_check_has_no_spaces() -> None:
    assert one_of("No Finding", [1.0]).name == "no_finding_known"
