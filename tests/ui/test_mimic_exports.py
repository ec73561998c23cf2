"""The small sample of phase 1 in the formats of `mm export mimic small_sample`."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mm_assets.mimic.phase1 import PHASE1_SCHEMA, small_sample
from mm_assets.mimic.schema import DIRECTORIES, SPLITS
from resources.artifacts import ArtifactStore
from resources.settings import Settings
from ui.exports import ExportError, export_stage
from ui.mimic.exports import small_sample_size

PER_SPLIT = 4  # records of each split in a directory


def publish_phase1(settings: Settings, sizes: dict[str, int]) -> ArtifactStore:
    """Ten directories of twelve records; `sizes`: directory -> knob `small_sample`, 0 where it is not named."""
    store = ArtifactStore(settings.home, settings.scratch)
    with store.draft("mimic", "links") as draft:
        draft.write_table("links.parquet", pa.table({"study_id": [1]}))
        links = draft.publish(upstream={}, synthetic=True, run_id=None)
    for number, directory in enumerate(DIRECTORIES):
        rows = [
            {
                "study_id": 100 * number + i,
                "split": SPLITS[i % 3],
                "image": b"\xff\xd8film",
                "attention_regions": bytes(256),
            }
            for i in range(3 * PER_SPLIT)
        ]
        records = pa.Table.from_pylist(rows, schema=PHASE1_SCHEMA)
        size = sizes.get(directory, 0)
        with store.draft("mimic", "phase1", directory) as draft:
            draft.write_table("records.parquet", records)
            draft.write_json("films.json", {"image_size": 518})
            if size:
                draft.write_table("small_sample.parquet", small_sample(records.to_batches(), size))
            draft.publish(
                upstream={"mimic/links": links.version}, synthetic=True, run_id=None,
                metrics={"small_sample": size} if size else None,
            )  # fmt: skip
    return store


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=str(tmp_path / "home"), scratch=tmp_path / "scratch")


def test_sample_has_the_first_of_each_split_over_all_directories_with_films(settings: Settings, tmp_path: Path) -> None:
    store = publish_phase1(settings, dict.fromkeys(DIRECTORIES, 6))
    assert small_sample_size(store.partitions("mimic", "phase1").values()) == 6
    (path,) = export_stage(settings, "mimic", "small_sample", "parquet", tmp_path / "out")
    table = pq.read_table(path)
    assert table.schema.equals(PHASE1_SCHEMA)
    assert table["split"].to_pylist() == [split for split in SPLITS for _ in range(6)]
    # Four of the first directory, so two of the second.
    assert table["study_id"].to_pylist()[:6] == [0, 3, 6, 9, 100, 103]
    assert table["image"][0].as_py() == b"\xff\xd8film"


def test_text_formats_leave_the_films_out(settings: Settings, tmp_path: Path) -> None:
    publish_phase1(settings, dict.fromkeys(DIRECTORIES, 1))
    (path,) = export_stage(settings, "mimic", "small_sample", "csv", tmp_path)
    header, *rows = path.read_text().splitlines()
    assert len(rows) == 3 and "study_id" in header.split(",")
    assert not {"image", "attention_regions"} & set(header.split(","))
    (path,) = export_stage(settings, "mimic", "small_sample", "json", tmp_path)
    assert [row["study_id"] for row in json.loads(path.read_text())] == [0, 1, 2]


def test_sample_that_not_all_directories_stored_says_how_to_get_one(settings: Settings, tmp_path: Path) -> None:
    publish_phase1(settings, {"p10": 5, "p13": 5})
    with pytest.raises(ExportError, match=r"mm materialize mimic/phase1 --config FILE.*small_sample: 100"):
        export_stage(settings, "mimic", "small_sample", "csv", tmp_path)
