"""What is not set comes from the profile of the wing; what is set stays."""

from typing import ClassVar

from mm_assets.records.knobs import Knobs, Profiles


class TeethKnobs(Knobs):
    profiles: ClassVar[Profiles] = {
        "demo": {"TeethConfig": {"count": 20, "width": 4}},
        "full": {"TeethConfig": {"count": 32, "width": 8}},
    }


class TeethConfig(TeethKnobs):
    count: int | None = None
    width: int | None = None
    seed: int = 0


class OtherConfig(TeethKnobs):
    depth: int | None = None


def test_unset_fields_take_the_value_of_the_profile() -> None:
    filled = TeethConfig(width=5).filled("demo")
    assert (filled.count, filled.width, filled.seed) == (20, 5, 0)
    assert TeethConfig().filled("full").count == 32
    # Profiles are no knob of the launchpad.
    assert set(TeethConfig.model_fields) == {"count", "width", "seed"}


def test_a_config_without_a_section_keeps_what_is_set() -> None:
    assert OtherConfig(depth=2).filled("demo").depth == 2
