"""Selections and partitions of the command line resolve to what they say, or are refused with the mend."""

import dagster as dg
import pytest

from mm_assets.cloud_vision.parties import party_access
from mm_assets.mimic.schema import DIRECTORIES
from resources.dagster_resources import House
from ui.demo import demo_config
from ui.running import SelectionError, partition_tags, resolve, sweep


def names(text: str) -> set[str]:
    return {"/".join(key.path) for key in resolve(text)}


def test_a_wing_an_asset_and_its_neighbours() -> None:
    assert names("mimic/links") == {"mimic/links"}
    assert names("+mimic/links") == {"mimic/links", "mimic/tables", "mimic/source"}
    assert names("mimic/evaluation+") == {"mimic/evaluation", "mimic/released_model"}
    assert names('key:"mimic/links"') == {"mimic/links"}
    assert len(names("mimic")) == 14


@pytest.mark.parametrize("text", ["mimic/nothing", "nowing", "key:"])
def test_an_unknown_selection_is_refused(text: str) -> None:
    with pytest.raises(SelectionError, match="mm status"):
        resolve(text)


def test_partitions() -> None:
    start, end = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
    assert partition_tags(None, DIRECTORIES) == {start: "p10", end: "p19"}
    assert partition_tags("p12", DIRECTORIES) == {start: "p12", end: "p12"}
    assert partition_tags("p10..p13", DIRECTORIES) == {start: "p10", end: "p13"}
    for wrong in ("p20", "p13..p10", "12", "p10-p12"):
        with pytest.raises(SelectionError, match=r"p10\.\.p19"):
            partition_tags(wrong, DIRECTORIES)


def test_demo_limit_keeps_the_proportions() -> None:
    assert demo_config(None) == {}
    sizes = demo_config(80)["mimic/source"]
    assert sizes == {"train_studies": 50, "validate_studies": 10, "test_studies": 20}


def test_graph_has_one_group_per_wing() -> None:
    assert dg.AssetKey(["mimic", "phase1"]) in resolve("mimic")


def test_the_homes_of_parties_are_swept_after_a_run_that_succeeded(tmp_path, monkeypatch) -> None:
    for party in ("ORG2", "ORG3"):
        monkeypatch.delenv(f"MM_{party}_HOME", raising=False)
    monkeypatch.setenv("MM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MM_SCRATCH", str(tmp_path / "scratch"))
    house = House()
    home = party_access(house.settings(), "org2").artifacts()
    for number in range(4):
        with home.draft("cloud_vision", "org2_records") as draft:
            draft.write_json("ids.json", number)
            draft.publish(upstream={}, synthetic=True, run_id=None)
    keys = [dg.AssetKey(["cloud_vision", name]) for name in ("source", "org2_records")]
    for everywhere, left in ((False, 4), (True, 2)):
        sweep(house, keys, everywhere=everywhere)
        assert len(list((tmp_path / "home/parties/org2/cloud_vision/org2_records").glob("*/"))) == left
