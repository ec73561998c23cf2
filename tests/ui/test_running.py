"""Selections and partitions of the command line resolve to what they say, or are refused with the mend."""

import dagster as dg
import pytest

from mm_assets.mimic.schema import DIRECTORIES
from ui.demo import demo_config
from ui.running import SelectionError, partition_tags, resolve


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
