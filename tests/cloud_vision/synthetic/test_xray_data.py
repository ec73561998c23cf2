"""The data set as its organisations would read it: tables, ids, films, what must not be in whose folder."""

import errno
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mm_assets.cloud_vision.ids import normalise_id
from mm_assets.cloud_vision.schema import (
    CLASSES,
    EXPECTED_SCHEMA,
    MAPPING_SCHEMA,
    ORG2_FEATURES,
    ORG2_SCHEMA,
    ORG3_FEATURES,
    ORG3_SCHEMA,
    PATTERNS,
    SPLITS,
)
from mm_assets.cloud_vision.synthetic.cohort import OTHER_SPELLING_SHARE, SPELLINGS, plan_records, plan_rows
from mm_assets.cloud_vision.synthetic.dataset import (
    ROW_SCHEMA,
    TRUTH_SCHEMA,
    DataExist,
    XrayDataConfig,
    XrayDataReport,
    write_data,
)
from mm_assets.cloud_vision.synthetic.law import planted_law
from resources.objects import DiskFull

TABLES = {
    "org2/table": ORG2_SCHEMA,
    "org2/expected": EXPECTED_SCHEMA,
    "org3/table": ORG3_SCHEMA,
    "org3/mapping": MAPPING_SCHEMA,
    "truth/records": TRUTH_SCHEMA,
    "truth/rows": ROW_SCHEMA,
}
SIZES = {"train": 400, "validate": 100, "test": 200, "shifted": 200}


def _read(root: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(root / f"{name}.parquet")


def _usual(written: str) -> str:
    return written.strip().upper().replace("-", "_")


def _digests(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_tables_have_their_schemas(xray_root: Path) -> None:
    for name, schema in TABLES.items():
        assert pq.read_schema(xray_root / f"{name}.parquet").remove_metadata() == schema


def test_same_config_gives_the_same_bytes_also_in_processes(
    xray_root: Path, xray_config: XrayDataConfig, tmp_path: Path
) -> None:
    write_data(tmp_path / "again", replace(xray_config, jobs=2), progress=False)
    first, again = _digests(xray_root), _digests(tmp_path / "again")
    assert first.keys() == again.keys()
    assert [name for name in first if first[name] != again[name]] == []


def test_existing_data_are_not_written_over(xray_root: Path, xray_config: XrayDataConfig) -> None:
    with pytest.raises(DataExist, match="already holds a data set"):
        write_data(xray_root, xray_config, progress=False)


def test_each_organisation_has_its_own_columns_and_no_others(xray_root: Path) -> None:
    org2, org3 = _read(xray_root, "org2/table"), _read(xray_root, "org3/table")
    assert set(org2) - set(org3) == {*ORG2_FEATURES, "label"}
    assert set(org3) - set(org2) == {*ORG3_FEATURES, "image"}
    files = {path.relative_to(xray_root).parts[0] for path in xray_root.rglob("*.jpg")}
    assert files == {"org3"}


def test_nothing_at_organisation_3_names_a_class(xray_root: Path) -> None:
    paths = [*_read(xray_root, "org3/mapping")["cloud"], *_read(xray_root, "org3/table")["image"]]
    assert all(word not in path.lower() for path in paths for word in ("covid", "normal", "viral", "pneumonia"))


def test_rows_are_the_records_as_the_truth_has_them(xray_root: Path) -> None:
    truth, rows = _read(xray_root, "truth/records").set_index("image_id"), _read(xray_root, "truth/rows")
    for name in ("org2", "org3"):
        table, mine = _read(xray_root, f"{name}/table"), rows[rows["organisation"] == name]
        assert table["image_id"].tolist() == mine["written"].tolist() and mine["row"].tolist() == list(range(len(mine)))
        assert [_usual(written) for written in table["image_id"]] == mine["image_id"].tolist()
        assert set(mine["image_id"]) == set(truth.index[truth[f"in_{name}"]])
        assert mine["repeated"].tolist() == mine["image_id"].duplicated().tolist() and mine["repeated"].any()
        assert table["split"].tolist() == truth.loc[mine["image_id"], "split"].tolist()
        assert set(mine["spelling"]) <= set(SPELLINGS) and mine["spelling"].nunique() > 2
        values = table.drop(columns="image_id").assign(key=mine["image_id"].to_numpy())
        assert values.groupby("key").nunique(dropna=False).max().max() == 1  # what is there twice is the same
    labels = _read(xray_root, "org2/table")["label"].tolist()
    assert labels == truth.loc[rows[rows["organisation"] == "org2"]["image_id"], "label"].tolist()


def test_spellings_of_an_id_are_different_and_mean_the_same() -> None:
    written = [spell("IMG_004217") for spell in SPELLINGS.values()]
    assert len(set(written)) == len(written)
    assert len({normalise_id(one) for one in written}) == 1
    assert normalise_id("IMG_004218") not in {normalise_id(one) for one in written}


def test_the_organisations_keep_their_rows_in_different_orders(xray_root: Path) -> None:
    orders = [[_usual(x) for x in _read(xray_root, f"{name}/table")["image_id"]] for name in ("org2", "org3")]
    common = set(orders[0]) & set(orders[1])
    kept = [list(dict.fromkeys(x for x in order if x in common)) for order in orders]
    same_place = np.mean([a == b for a, b in zip(*kept, strict=True)])
    assert same_place < 0.2 and kept[0] != sorted(kept[0])


def test_expected_outcomes_are_the_common_records(xray_root: Path) -> None:
    truth, expected = _read(xray_root, "truth/records"), _read(xray_root, "org2/expected")
    common = truth[truth["in_org2"] & truth["in_org3"]]
    assert expected["image_id"].tolist() == common["image_id"].tolist()
    assert expected["label"].tolist() == common["label"].tolist()
    assert expected["class_name"].tolist() == [CLASSES[label] for label in common["label"]]


def test_every_film_is_there_and_mapped_to_a_cloud_name(xray_root: Path, xray_config: XrayDataConfig) -> None:
    mapping, table = _read(xray_root, "org3/mapping"), _read(xray_root, "org3/table")
    assert set(mapping["local"]) == set(table["image"]) and mapping["local"].is_unique and mapping["cloud"].is_unique
    assert {p.relative_to(xray_root / "org3").as_posix() for p in xray_root.rglob("*.jpg")} == set(mapping["local"])
    for local in mapping["local"][:5]:
        with Image.open(xray_root / "org3" / local) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "L", (xray_config.px,) * 2)
    assert set(mapping["content_type"]) == {"image/jpeg"}


def test_masks_and_severities_are_those_of_films_with_a_lesion(xray_root: Path) -> None:
    truth = _read(xray_root, "truth/records")
    ill = truth["pattern"] != "clear"
    assert truth["mask"].notna().tolist() == (ill & truth["in_org3"]).tolist()
    assert truth["image"].notna().tolist() == truth["in_org3"].tolist()
    assert (truth["severity"] > 0).tolist() == ill.tolist()
    for mask in truth["mask"].dropna():
        with Image.open(io.BytesIO(mask)) as image:
            assert image.mode == "1" and np.asarray(image).any()


def test_report_counts_what_was_written(xray_data: XrayDataReport) -> None:
    truth = _read(xray_data.root, "truth/records")
    assert xray_data.records == len(truth) == sum(xray_data.per_split.values()) == sum(xray_data.per_class.values())
    assert xray_data.common == int((truth["in_org2"] & truth["in_org3"]).sum())
    assert xray_data.films == int(truth["in_org3"].sum())
    assert "SYNTHETIC" in xray_data.describe() and "Viral pneumonia" in xray_data.describe()
    assert "SYNTHETIC" in (xray_data.root / "README").read_text()


def test_a_larger_cohort_has_the_shares_that_were_promised() -> None:
    law = planted_law()
    records = plan_records(law, SIZES, common_share=0.7, seed=1)
    assert len({record.image_id for record in records}) == len(records) == 900
    for split in SPLITS:
        mine = [record for record in records if record.split == split]
        holders = pd.Series([len(record.holders) for record in mine])
        assert (holders == 2).mean() == pytest.approx(0.7, abs=0.01)
        counts = np.bincount([record.label for record in mine], minlength=3)
        prior = law.shifted_prior if split == "shifted" else law.prior
        assert np.abs(counts - prior * len(mine)).max() <= 1
        assert {record.film.other_exposure for record in mine} == {split == "shifted"}
    rows = plan_rows(records, "org2", seed=1)
    other = np.mean([row.spelling != "usual" for row in rows])
    assert other == pytest.approx(OTHER_SPELLING_SHARE, abs=0.05)


def test_ids_tell_neither_class_nor_split_nor_place() -> None:
    records = plan_records(planted_law(), SIZES, common_share=0.7, seed=2)
    numbers = np.array([int(record.image_id[4:]) for record in records])
    for values in (np.arange(900), [record.label for record in records], [record.label == 1 for record in records]):
        assert abs(np.corrcoef(numbers, values)[0, 1]) < 0.1


def test_patterns_follow_the_class_as_the_law_says() -> None:
    records = plan_records(planted_law("separable"), SIZES, common_share=1.0, seed=2)
    assert {record.film.pattern for record in records if record.label == 1} == {"clear"}
    assert {(record.label, record.film.pattern) for record in records} == {
        (0, "ground-glass"), (1, "clear"), (2, "interstitial")
    }  # fmt: skip
    mixed = plan_records(planted_law(), SIZES, common_share=1.0, seed=2)
    assert {record.film.pattern for record in mixed if record.label == 0} == set(PATTERNS)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [({"train": 0}, "train"), ({"px": 100}, "px"), ({"px": 193}, "px"), ({"common_share": 0.0}, "common_share"),
     ({"design": "plain"}, "design"), ({"difficulty": 2.0}, "difficulty")],
)  # fmt: skip
def test_impossible_knobs_are_named(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        XrayDataConfig(**knobs)


def test_a_full_disk_has_one_clear_error(tmp_path: Path) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    config = XrayDataConfig(train=3, validate=3, test=3, shifted=3, px=192, jobs=1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(DiskFull, match=r"no space left .* free some and run again"):
            write_data(tmp_path / "data", config, progress=False)
