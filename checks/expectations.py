"""Two factories of asset checks: expectations on a table, and judgements of numbers an asset has measured.

Belongs here: turning a declared expectation into a Dagster check. Does not belong here: which expectations an
asset has (a file per wing) and computing what is judged (the assets).

A critical failure is an ERROR and blocks what is downstream; a warning is shown and does not. Results carry
counts and bounds, never values of a table: rows are about patients. Great Expectations costs seconds to
import, so it is imported when a check runs, once per asset.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

from resources.dagster_resources import House

if TYPE_CHECKING:
    import pandas as pd

    from resources.artifacts import ArtifactStore

Severity = Literal["critical", "warning"]
SEVERITIES = {"critical": dg.AssetCheckSeverity.ERROR, "warning": dg.AssetCheckSeverity.WARN}

# What of a result may be shown: aggregates. Left out are partial_unexpected_list, partial_unexpected_counts,
# unexpected_index_list and details, which quote rows.
COUNTS = (
    "element_count", "missing_count", "missing_percent", "unexpected_count",
    "unexpected_percent", "unexpected_percent_nonmissing", "unexpected_percent_total",
)  # fmt: skip
# Expectations whose observed_value sums up many rows. A maximum, a minimum or a distinct value is a row's own
# value.
OBSERVED_AGGREGATES = (
    "ExpectTableRowCount", "ExpectTableColumnCount", "ExpectColumnMean", "ExpectColumnStdev",
    "ExpectColumnProportionOf", "ExpectColumnUniqueValueCount",
)  # fmt: skip


@dataclass(frozen=True)
class Expected:
    """The name of a check, a class of ``great_expectations.expectations`` and its arguments."""

    name: str
    expectation: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    severity: Severity = "critical"
    description: str | None = None


@dataclass(frozen=True)
class CheckOutcome:
    """What a judge says; ``metadata`` shows measured numbers and their bounds, no values of rows."""

    passed: bool
    description: str
    metadata: Mapping[str, float | int | str | bool] = field(default_factory=dict)


def expectation_checks(
    asset_key: Sequence[str],
    expected: Sequence[Expected],
    load: Callable[[House], "pd.DataFrame"],
    *,
    table: str | None = None,
    blocking: bool = True,
) -> dg.AssetChecksDefinition:
    """One multi-check for an asset: the frame is loaded and Great Expectations imported once for all of them.

    ``load`` reads the published table. Where an asset has several, ``table`` names it and begins the names of its
    checks. Critical expectations block downstream assets when ``blocking``; warnings never do. Raises ValueError
    when two expectations share a name.
    """
    key = dg.AssetKey(list(asset_key))
    names = [f"{table}_{item.name}" if table else item.name for item in expected]
    if len(set(names)) != len(names):
        raise ValueError(f"checks of {'/'.join(asset_key)} share a name; give each expectation its own")
    specs = [
        dg.AssetCheckSpec(
            name,
            asset=key,
            description=item.description,
            blocking=blocking and item.severity == "critical",
            metadata={"expectation": item.expectation, "severity": item.severity},
        )
        for name, item in zip(names, expected, strict=True)
    ]

    @dg.multi_asset_check(name="__".join((*asset_key, *([table] if table else []), "expectations")), specs=specs)
    def check(house: House) -> Iterator[dg.AssetCheckResult]:
        judged = _validate(load(house), expected)
        for name, item, (passed, metadata) in zip(names, expected, judged, strict=True):
            yield dg.AssetCheckResult(
                asset_key=key,
                check_name=name,
                passed=passed,
                severity=SEVERITIES[item.severity],
                metadata=metadata,
            )

    return check


def metric_check(
    asset_key: Sequence[str],
    name: str,
    judge: Callable[[dict[str, Any]], CheckOutcome],
    *,
    read: Callable[["ArtifactStore"], dict[str, Any]] | None = None,
    severity: Severity = "critical",
    blocking: bool = True,
    description: str | None = None,
) -> dg.AssetChecksDefinition:
    """A check of numbers that the asset measured and published.

    ``judge`` gets the artifact's metrics, or what ``read`` finds in the records and files of published artifacts. It
    only compares: what it needs must have been measured by the asset.
    """
    wing, asset = asset_key

    def found(house: House) -> dict[str, Any]:
        store = house.artifacts()
        return read(store) if read else dict(store.current(wing, asset).metrics)

    return house_check(
        asset_key, name, judge, read=found, severity=severity, blocking=blocking, description=description
    )


def house_check(
    asset_key: Sequence[str],
    name: str,
    judge: Callable[[dict[str, Any]], CheckOutcome],
    *,
    read: Callable[[House], dict[str, Any]],
    severity: Severity = "critical",
    blocking: bool = True,
    description: str | None = None,
) -> dg.AssetChecksDefinition:
    """As ``metric_check``, for what lies elsewhere than in the project's own artifacts."""

    @dg.asset_check(
        asset=dg.AssetKey(list(asset_key)),
        name=name,
        description=description or judge.__doc__,
        blocking=blocking and severity == "critical",
        metadata={"severity": severity},
    )
    def check(house: House) -> dg.AssetCheckResult:
        outcome = judge(read(house))
        return dg.AssetCheckResult(
            passed=outcome.passed,
            severity=SEVERITIES[severity],
            description=outcome.description,
            metadata=dict(outcome.metadata),
        )

    return check


def _validate(frame: "pd.DataFrame", expected: Sequence[Expected]) -> list[tuple[bool, dict[str, Any]]]:
    """Run the expectations on a frame; one (passed, metadata) each, in order."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when the library is imported
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("frame").add_dataframe_asset("frame")
    batch = source.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": frame})
    suite = gx.ExpectationSuite(
        name="expected",
        expectations=[
            getattr(gx.expectations, item.expectation)(
                **item.kwargs, severity=item.severity, meta={"position": position}
            )
            for position, item in enumerate(expected)
        ],
    )
    results = batch.validate(suite, result_format="BASIC").results
    # The library groups results by column: the order of the suite is restored here.
    ordered: list[Any] = sorted(results, key=_position)
    return [
        (bool(result.success), _shown(item.expectation, result)) for item, result in zip(expected, ordered, strict=True)
    ]


def _position(result: Any) -> int:
    return result.expectation_config.meta["position"]


def _shown(expectation: str, result: Any) -> dict[str, Any]:
    """The aggregates of one result; for an expectation that could not be evaluated, why."""
    content = result.result or {}
    # float() and int() also turn NumPy scalars, which Dagster refuses as metadata, into plain numbers.
    shown: dict[str, Any] = {
        name: _plain(content[name]) for name in COUNTS if isinstance(content.get(name), int | float)
    }
    observed = content.get("observed_value")
    if expectation.startswith(OBSERVED_AGGREGATES) and isinstance(observed, int | float):
        shown["observed_value"] = _plain(observed)
    raised = _exceptions(result.exception_info or {})
    if raised:
        shown["not_evaluated"] = "; ".join(raised)
    return shown


def _exceptions(info: Mapping[str, Any]) -> list[str]:
    """What kept an expectation from running; other messages than a missing column's may quote values."""
    entries = [info] if "raised_exception" in info else [entry for entry in info.values() if isinstance(entry, dict)]
    found = []
    for entry in entries:
        if entry.get("raised_exception"):
            message = str(entry.get("exception_message") or "")
            missing = 'column "' in message and "does not exist" in message
            found.append(message if missing else "the expectation raised an error; run it on the frame to see it")
    return sorted(set(found))


def _plain(value: float) -> float:
    return int(value) if isinstance(value, int) else float(value)
