"""`mm predict mimic`: every field of a case is an option, in the words and bounds of the case."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mm_assets.mimic.case import ChestCase
from resources.settings import Settings
from ui import cli
from ui.mimic import commands, prediction
from ui.mimic.prediction import CaseError, predict_chest


def test_every_field_of_a_case_is_an_option_with_its_own_words() -> None:
    (command,) = (found for found in cli.predict_app.registered_commands if found.name == "mimic")
    options = {
        option.name: option
        for option in typer.main.get_command_from_info(
            command, pretty_exceptions_short=True, rich_markup_mode=None
        ).params
    }
    assert set(ChestCase.model_fields) == set(options) - {"as_json"}
    for name, field in ChestCase.model_fields.items():
        assert options[name].help.startswith(field.description), name  # type: ignore[attr-defined, arg-type]


def test_help_gives_the_bounds_of_the_case() -> None:
    assert commands.field_help("age") == "Age in years: 0 to 120."
    assert commands.field_help("sex") == "Sex: F or M."
    assert "up to 46 is read as Celsius" in commands.field_help("temperature")
    assert commands.field_help("complaint") == "Chief complaint at triage."


@pytest.mark.parametrize(
    ("arguments", "arrival"), [([], None), (["--arrived-by-ambulance"], True), (["--walked-in"], False)]
)
def test_arrival_reaches_the_case(monkeypatch: pytest.MonkeyPatch, arguments: list[str], arrival: bool | None) -> None:
    seen: dict[str, object] = {}

    def answer(settings: Settings, image: Path | None, fields: dict[str, object]) -> None:
        seen.update(fields)

    monkeypatch.setattr(prediction, "predict_chest", answer)
    monkeypatch.setattr(prediction, "print_prediction", lambda answer: None)
    result = CliRunner().invoke(cli.app, ["predict", "mimic", "--minutes-since-arrival", "90", *arguments])
    assert result.exit_code == 0, result.output
    assert seen["minutes_since_arrival"] == 90 and seen["arrived_by_ambulance"] is arrival


def test_a_value_out_of_bounds_names_its_option(tmp_path: Path) -> None:
    settings = Settings(home=str(tmp_path / "home"), scratch=tmp_path / "scratch")
    with pytest.raises(CaseError, match=r"^--minutes-since-arrival -5\.0: .*greater than or equal to 0"):
        predict_chest(settings, None, {"minutes_since_arrival": -5.0})
