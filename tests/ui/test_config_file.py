"""`mm materialize --config`: knobs reach their asset, or the message says which line is wrong."""

from pathlib import Path

import dagster as dg
import pytest

from resources.dagster_resources import House
from tests.ui.second_wing import two_wings
from ui.config_file import ConfigFile, ConfigFileError, read_config_file
from ui.running import KnobError, SelectionError, partition_tags, run_selection

__all__ = ["two_wings"]  # a fixture


def written(folder: Path, text: str) -> Path:
    path = folder / "knobs.yaml"
    path.write_text(text)
    return path


def test_knobs_by_asset(tmp_path: Path) -> None:
    path = written(tmp_path, "mimic/model:\n  max_epochs: 3\n  seeds: [0, 1]\nmimic/source:\n")
    assert read_config_file(path) == ConfigFile({"mimic/model": {"max_epochs": 3, "seeds": [0, 1]}, "mimic/source": {}})


@pytest.mark.usefixtures("two_wings")
def test_a_file_of_an_earlier_program_is_read_by_its_wing(tmp_path: Path) -> None:
    found = read_config_file(written(tmp_path, "mouth: 3\n"))
    assert found == ConfigFile({"teeth/source": {"mouths": 3}}, {"MM_SEED": "7"})
    with pytest.raises(ConfigFileError, match="has nose, which names no asset"):
        read_config_file(written(tmp_path, "nose: 1\nmimic/source: {}\n"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "is not YAML"),
        ("- one\n- two\n", "is not a mapping"),
        ("", "is not a mapping"),
        ("mimic/model: 3\n", "below mimic/model is not a mapping"),
        ("3: 4\n", "is not a mapping"),
    ],
)
def test_a_file_that_says_nothing_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigFileError, match=said):
        read_config_file(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigFileError, match="there is no file"):
        read_config_file(tmp_path / "absent.yaml")


def test_a_wrong_asset_or_knob_is_named_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    house, keys = House(home=str(tmp_path / "home")), [dg.AssetKey(["mimic", "source"])]
    with pytest.raises(SelectionError, match="no asset mimic/sauce to configure"):
        run_selection(keys, config={"mimic/sauce": {}}, house=house)
    with pytest.raises(KnobError, match=r'entry "sede" at mimic/source\. Expected: .*seed'):
        run_selection(keys, config={"mimic/source": {"sede": 1}}, house=house)
    with pytest.raises(KnobError, match=r"at mimic/source:seed\. Value \"x\""):
        run_selection(keys, config={"mimic/source": {"seed": "x"}}, house=house)
    assert not (tmp_path / "home").exists()


def test_a_selection_without_partitions_has_no_range() -> None:
    assert partition_tags(None, []) == {}
    with pytest.raises(SelectionError, match="leave out --partition p10"):
        partition_tags("p10", [])
