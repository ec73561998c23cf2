"""What is not set comes from the profile of the wing; what is set stays."""

from typing import ClassVar

from mm_assets.records.knobs import Knobs, Profiles


class TeethKnobs(Knobs):
    profiles: ClassVar[Profiles] = {
        "demo": {"TeethConfig": {"count": 20, "width": 4}, "LongTeethConfig": {"length": 9, "width": 3}},
        "full": {"TeethConfig": {"count": 32, "width": 8}},
    }


class TeethConfig(TeethKnobs):
    count: int | None = None
    width: int | None = None
    seed: int = 0


class LongTeethConfig(TeethConfig):
    length: int | None = None


class OtherConfig(TeethKnobs):
    depth: int | None = None


def test_unset_fields_take_the_value_of_the_profile() -> None:
    filled = TeethConfig(width=5).filled("demo")
    assert (filled.count, filled.width, filled.seed) == (20, 5, 0)
    assert TeethConfig().filled("full").count == 32
    # Profiles are no knob of the launchpad.
    assert set(TeethConfig.model_fields) == {"count", "width", "seed"}


def test_what_a_config_extends_has_its_values_too() -> None:
    filled = LongTeethConfig(count=6).filled("demo")
    assert (filled.count, filled.width, filled.length) == (6, 3, 9)
    assert (LongTeethConfig().filled("full").width, LongTeethConfig().filled("full").length) == (8, None)
    assert TeethConfig().filled("demo").width == 4


def test_a_config_without_a_section_keeps_what_is_set() -> None:
    assert OtherConfig(depth=2).filled("demo").depth == 2
