"""Expectations and readings that the checks of several wings share.

Belongs here: short names for common expectations, and loading a published table. Does not belong here: which asset has
which expectation (a file per wing) and turning one into a Dagster check (`checks/expectations.py`).
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from checks.expectations import Expected, Severity
from resources.dagster_resources import House

if TYPE_CHECKING:
    import pandas as pd

    from resources.artifact_record import Artifact
    from resources.artifacts import ArtifactStore

not_empty = Expected("not_empty", "ExpectTableRowCountToBeBetween", {"min_value": 1})


def unique(column: str, *, severity: Severity = "critical") -> Expected:
    """No value twice."""
    return Expected(f"{column}_unique", "ExpectColumnValuesToBeUnique", {"column": column}, severity)


def present(column: str, *, mostly: float = 1.0) -> Expected:
    """No nulls, or few."""
    return Expected(f"{column}_present", "ExpectColumnValuesToNotBeNull", {"column": column, "mostly": mostly})


def one_of(column: str, values: Sequence[Any], *, severity: Severity = "critical") -> Expected:
    """Only these values; nulls do not count."""
    name = column.lower().replace(" ", "_")
    kwargs = {"column": column, "value_set": list(values)}
    return Expected(f"{name}_known", "ExpectColumnValuesToBeInSet", kwargs, severity)


def mostly_between(column: str, low: float, high: float, mostly: float = 0.95) -> Expected:
    """A warning when more than a few values lie outside of `low` to `high`."""
    return Expected(
        f"{column}_plausible",
        "ExpectColumnValuesToBeBetween",
        {"column": column, "min_value": low, "max_value": high, "mostly": mostly},
        severity="warning",
    )


def table_of(
    wing: str, asset: str, file: str, columns: Sequence[str] | None = None
) -> Callable[[House], "pd.DataFrame"]:
    """Loads a published table; of a partitioned asset all current partitions."""

    def load(house: House) -> "pd.DataFrame":
        import pandas as pd

        store = house.artifacts()
        artifacts = list(store.partitions(wing, asset).values()) or [store.current(wing, asset)]
        wanted = list(columns) if columns is not None else None
        frames = [store.read_table(artifact, file, wanted).to_pandas() for artifact in artifacts]
        return pd.concat(frames, ignore_index=True)

    return load


def rows_of(artifact: "Artifact", name: str) -> int:
    """Published rows of the tables of that name, in all folders of the artifact."""
    return sum(file.rows or 0 for file in artifact.files if file.path.rsplit("/", 1)[-1] == name)


def released_and_current(store: "ArtifactStore", wing: str) -> dict[str, Any]:
    """Version of the evaluation that the wing's released bundle names, and the current one."""
    spec = store.read_json(store.current(wing, "released_model"), "model.json")
    return {"named": spec["upstream"][f"{wing}/evaluation"], "current": store.version(wing, "evaluation")}
