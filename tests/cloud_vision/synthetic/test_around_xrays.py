"""Tables drawn around real X-rays: labels and official splits kept, features of the law, whatever the order."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mm_assets.cloud_vision.schema import ORG2_FEATURES, XRAY_SCHEMA
from mm_assets.cloud_vision.synthetic.around_xrays import TablesConfig, divided, write_around_xrays
from mm_assets.cloud_vision.synthetic.dataset import DataExist


def batches(rows: list[dict[str, object]]) -> list[pa.RecordBatch]:
    return [pa.RecordBatch.from_pylist(rows[at : at + 7], schema=XRAY_SCHEMA) for at in range(0, len(rows), 7)]


def xrays(count: int) -> list[dict[str, object]]:
    return [
        {"image_id": f"IMG_{n:04d}", "path": f"{n}.png", "label": n % 3, "split": None, "xray": f"jpeg {n}".encode()}
        for n in range(count)
    ]


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_order_of_the_xrays_changes_nothing_and_the_seed_does(tmp_path: Path) -> None:
    rows = xrays(30)
    write_around_xrays(tmp_path / "a", batches(rows), TablesConfig(seed=1))
    write_around_xrays(tmp_path / "b", batches(rows[::-1]), TablesConfig(seed=1))
    write_around_xrays(tmp_path / "c", batches(rows), TablesConfig(seed=2))
    first = digests(tmp_path / "a")
    assert first == digests(tmp_path / "b") and first != digests(tmp_path / "c")
    with pytest.raises(DataExist, match="already holds a data set"):
        write_around_xrays(tmp_path / "a", batches(rows), TablesConfig())


def test_xrays_keep_their_bytes_and_label_and_those_of_nobody_are_left_out(tmp_path: Path) -> None:
    rows = xrays(60)
    write_around_xrays(tmp_path, batches(rows), TablesConfig(common_share=0.5))
    truth = pq.read_table(tmp_path / "truth/records.parquet").to_pylist()
    assert {row["image_id"]: row["label"] for row in truth} == {row["image_id"]: row["label"] for row in rows}
    held = {row["image_id"] for row in truth if row["in_org3"]}
    common = sum(row["in_org2"] and row["in_org3"] for row in truth)
    assert abs(common - 30) <= 3 and abs(len(held) - 45) <= 3  # up to one in each split
    stored = {path.stem: path.read_bytes() for path in (tmp_path / "org3/images").iterdir()}
    assert stored == {row["image_id"]: row["xray"] for row in rows if row["image_id"] in held}
    mapping = pq.read_table(tmp_path / "org3/mapping.parquet").to_pylist()
    assert {row["local"] for row in mapping} == {f"images/{name}.jpg" for name in held}
    assert pq.read_table(tmp_path / "org2/expected.parquet").num_rows == common


def test_features_follow_the_label_as_the_law_says(tmp_path: Path) -> None:
    write_around_xrays(tmp_path, batches(xrays(900)), config := TablesConfig(common_share=1.0))
    table = pq.read_table(tmp_path / "org2/table.parquet").to_pandas()
    means = table.groupby("label")[list(ORG2_FEATURES)].mean().to_numpy()
    assert np.abs(means - config.law.means[:, :5]).max() < 0.3


def test_ours_is_a_stratified_split_and_an_official_one_stays() -> None:
    found = [(f"x{n}", n % 3, None) for n in range(150)]
    ours = divided(found, seed=0)
    counts = {name: [0, 0, 0] for name in ("train", "validate", "test")}
    for one in ours:
        counts[one.split][one.label] += 1
    assert [sum(count) for count in counts.values()] == [96, 24, 30]
    assert all(max(count) - min(count) <= 2 for count in counts.values())
    official = [(name, label, "shifted") for name, label, _ in found[:50]]
    assert [one.split for one in divided([*official, *found[50:]], seed=0)][:50] == ["shifted"] * 50


def test_a_share_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="common_share"):
        TablesConfig(common_share=0.0)
