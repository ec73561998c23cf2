"""Checks from the two factories, run inside Dagster on a real artifact store."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest

from checks.expectations import CheckOutcome, Expected, expectation_checks, metric_check
from resources.artifacts import ArtifactStore
from resources.dagster_resources import House

SECRET = "Alice-10001234"


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setenv("MM_SCRATCH", str(tmp_path / "scratch"))
    return House(home=str(tmp_path / "home"))


@dg.asset(key=["mimic", "links"])
def links(house: House) -> dg.MaterializeResult:
    with house.artifacts().draft("mimic", "links") as draft:
        draft.write_table("links.parquet", pa.table({"id": [10001234, 10001234, 7], "name": [SECRET, SECRET, "b"]}))
        draft.write_json("counts.json", {"linked": 3, "rejected": 9})
        draft.publish(upstream={}, synthetic=True, run_id=None, metrics={"share": 0.25})
    return dg.MaterializeResult()


@dg.asset(key=["mimic", "phase1"], deps=[dg.AssetKey(["mimic", "links"])])
def downstream() -> None: ...


def load(house: House) -> pd.DataFrame:
    store = house.artifacts()
    return store.read_table(store.current("mimic", "links"), "links.parquet").to_pandas()


def materialize(house: House, *checks: dg.AssetChecksDefinition) -> dg.ExecuteInProcessResult:
    return dg.materialize([links, downstream, *checks], resources={"house": house}, raise_on_error=False)


def ran(result: dg.ExecuteInProcessResult) -> bool:
    return ["mimic", "phase1"] in [event.asset_key.path for event in result.get_asset_materialization_events()]


UNIQUE: dict[str, Any] = {"expectation": "ExpectColumnValuesToBeUnique", "kwargs": {"column": "id"}}


def test_a_failed_critical_expectation_blocks_downstream(house: House) -> None:
    result = materialize(house, expectation_checks(("mimic", "links"), [Expected("unique", **UNIQUE)], load))
    (found,) = result.get_asset_check_evaluations()
    assert (found.check_name, found.passed, found.severity) == ("unique", False, dg.AssetCheckSeverity.ERROR)
    assert not ran(result)


def test_a_failed_warning_is_shown_and_does_not_block(house: House) -> None:
    expected = [
        Expected("unique", **UNIQUE, severity="warning"),
        Expected("rows", "ExpectTableRowCountToBeBetween", {"min_value": 1}),
    ]
    result = materialize(house, expectation_checks(("mimic", "links"), expected, load))
    found = {e.check_name: e for e in result.get_asset_check_evaluations()}
    assert (found["unique"].passed, found["unique"].severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found["rows"].passed and found["rows"].metadata["observed_value"].value == 3
    assert result.success and ran(result)


def test_the_same_expectation_twice_keeps_names_and_severities_apart(house: House) -> None:
    expected = [
        Expected("mostly", UNIQUE["expectation"], {"column": "id", "mostly": 0.3}),
        Expected("unique_warns", **UNIQUE, severity="warning"),
        Expected("unique", **UNIQUE),
    ]
    result = materialize(house, expectation_checks(("mimic", "links"), expected, load, blocking=False))
    found = {e.check_name: (e.passed, e.severity.value) for e in result.get_asset_check_evaluations()}
    assert found == {"mostly": (True, "ERROR"), "unique_warns": (False, "WARN"), "unique": (False, "ERROR")}
    assert ran(result)  # blocking=False


def test_results_show_counts_and_never_values_of_rows(house: House) -> None:
    expected = [
        Expected("unique", **UNIQUE),
        Expected("set", "ExpectColumnValuesToBeInSet", {"column": "name", "value_set": ["x"]}),
        Expected("distinct", "ExpectColumnDistinctValuesToBeInSet", {"column": "name", "value_set": ["x"]}),
        Expected("max", "ExpectColumnMaxToBeBetween", {"column": "id", "max_value": 5}),
        Expected("common", "ExpectColumnMostCommonValueToBeInSet", {"column": "name", "value_set": ["x"]}),
        Expected("type_error", "ExpectColumnValuesToBeBetween", {"column": "name", "min_value": 0}),
    ]
    result = materialize(house, expectation_checks(("mimic", "links"), expected, load))
    evaluations = result.get_asset_check_evaluations()
    assert len(evaluations) == 6 and not any(e.passed for e in evaluations)
    shown = repr([(e.description, e.metadata) for e in evaluations])
    assert SECRET not in shown and "10001234" not in shown
    unique = next(e for e in evaluations if e.check_name == "unique")
    assert unique.metadata["unexpected_count"].value == 2
    assert "not_evaluated" in next(e for e in evaluations if e.check_name == "type_error").metadata


def test_a_missing_column_fails_its_check_and_is_named(house: House) -> None:
    expected = [Expected("known", "ExpectColumnValuesToNotBeNull", {"column": "stay_id"})]
    result = materialize(house, expectation_checks(("mimic", "links"), expected, load))
    (found,) = result.get_asset_check_evaluations()
    assert not found.passed and "stay_id" in found.metadata["not_evaluated"].value
    assert not ran(result)


def test_a_table_that_cannot_be_read_fails_the_run_and_blocks(house: House) -> None:
    def broken(house: House) -> pd.DataFrame:
        return house.artifacts().read_table(house.artifacts().current("mimic", "nothing"), "x").to_pandas()

    result = materialize(house, expectation_checks(("mimic", "links"), [Expected("unique", **UNIQUE)], broken))
    assert not result.success and not ran(result)


def test_names_must_differ() -> None:
    with pytest.raises(ValueError, match="share a name"):
        expectation_checks(("mimic", "links"), [Expected("a", **UNIQUE), Expected("a", **UNIQUE)], load)


def share_at_least(limit: float) -> Callable[[dict[str, Any]], CheckOutcome]:
    def judge(numbers: dict[str, Any]) -> CheckOutcome:
        """Enough studies were linked."""
        return CheckOutcome(numbers["share"] >= limit, f"share {numbers['share']}", {"limit": limit})

    return judge


@pytest.mark.parametrize(
    ("limit", "severity", "passes", "goes_on"),
    [(0.2, "critical", True, True), (0.5, "critical", False, False), (0.5, "warning", False, True)],
)
def test_measured_numbers_are_judged(house: House, limit: float, severity: Any, passes: bool, goes_on: bool) -> None:
    check = metric_check(("mimic", "links"), "share", share_at_least(limit), severity=severity)
    result = materialize(house, check)
    (found,) = result.get_asset_check_evaluations()
    assert found.passed is passes and ran(result) is goes_on
    assert found.description == "share 0.25" and found.metadata["limit"].value == limit


def test_a_judge_sees_what_was_read_from_published_files(house: House) -> None:
    def read(store: ArtifactStore) -> dict[str, Any]:
        return store.read_json(store.current("mimic", "links"), "counts.json")

    check = metric_check(
        ("mimic", "links"),
        "rejected",
        lambda counts: CheckOutcome(counts["rejected"] <= counts["linked"], f"{counts['rejected']} rejected"),
        read=read,
    )
    (found,) = materialize(house, check).get_asset_check_evaluations()
    assert not found.passed and found.description == "9 rejected"


def test_several_tables_of_an_asset_keep_their_checks_apart(house: House) -> None:
    rows = Expected("rows", "ExpectTableRowCountToBeBetween", {"min_value": 3})
    result = materialize(
        house,
        expectation_checks(("mimic", "links"), [rows], load, table="whole"),
        expectation_checks(("mimic", "links"), [rows], lambda house: load(house).head(2), table="head"),
    )
    found = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
    assert found == {"whole_rows": True, "head_rows": False}


def test_declaring_checks_does_not_import_great_expectations() -> None:
    import subprocess
    import sys

    program = (
        "import sys; from checks.expectations import Expected, expectation_checks;"
        "unique = Expected('n', 'ExpectColumnValuesToBeUnique', {'column': 'id'});"
        "expectation_checks(('a', 'b'), [unique], None);"
        "print([m for m in ('great_expectations', 'pandas', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
