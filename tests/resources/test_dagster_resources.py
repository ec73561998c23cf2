"""The resource that assets get: settings and store, with overrides, inside a materialization."""

from pathlib import Path

import dagster as dg
import pytest

from resources.dagster_resources import House
from resources.settings import SettingsError


def test_an_asset_publishes_through_the_house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MM_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setenv("MM_HOME", str(tmp_path / "unused"))

    @dg.asset(key=["wing", "asset"])
    def published(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
        with house.artifacts().draft("wing", "asset") as draft:
            draft.write_json("profile.json", house.settings().profile)
            artifact = draft.publish(upstream={}, synthetic=True, run_id=context.run.run_id)
        return dg.MaterializeResult(data_version=dg.DataVersion(artifact.version))

    house = House(home=str(tmp_path / "home"), profile="study")
    result = dg.materialize([published], resources={"house": house})
    found = house.artifacts().current("wing", "asset")
    assert result.success and found.run_id == result.run_id
    assert house.artifacts().read_json(found, "profile.json") == "study"
    assert not (tmp_path / "unused").exists()


def test_a_wrong_profile_is_refused() -> None:
    with pytest.raises(SettingsError, match="demo, study, full"):
        House(profile="huge").settings()
