"""Clinical inputs of one study: vital signs, pain, acuity, arrival, complaint and home medication.

Belongs here: which event a value is taken from (never one at or after the film), and its repair.
Does not belong here: scaling for the model, notes, redaction, and age (computed when studies are linked).

All functions take one row per linked study (`links`, columns of `schema.LINK_COLUMNS`) and pandas frames of
the MIMIC-IV-ED tables, and return one row per link in the same order and with the same index.
"""

import math
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mm_assets.mimic.schema import CLINICAL_FEATURES, REPAIRABLE_FEATURES, VITALS
from resources.errors import MendableError

DEFAULT_MARGIN_MINUTES = 5.0  # skew between the film's clock and the time a nurse enters


class FutureFeature(MendableError):
    """A clinical feature was taken from an event at or after the film."""


@dataclass(frozen=True)
class ValidRange:
    """Below `outlier_low` or above `outlier_high` a value is missing; else it is clipped to [low, high]."""

    outlier_low: float
    low: float
    high: float
    outlier_high: float


def _fahrenheit(celsius: float) -> float:
    return celsius * 9 / 5 + 32


# Source: variable ranges of mimic4ed-benchmark (nliulab), its temperatures in Celsius.
# Pain deviates: there all above 10 is missing; here 11 to 20 is emphasis ("12 out of 10") and becomes 10.
VALID_RANGES: dict[str, ValidRange] = {
    "temperature": ValidRange(_fahrenheit(14.2), _fahrenheit(26), _fahrenheit(45), _fahrenheit(47)),
    "heartrate": ValidRange(0, 0, 350, 390),
    "resprate": ValidRange(0, 0, 300, 330),
    "o2sat": ValidRange(0, 0, 100, 150),
    "sbp": ValidRange(0, 0, 375, 375),
    "dbp": ValidRange(0, 0, 375, 375),
    "pain": ValidRange(0, 0, 10, 20),
    "acuity": ValidRange(1, 1, 5, 5),
}
# A body temperature between these numbers is Celsius: in Fahrenheit it would be deadly cold.
CELSIUS_RANGE = (25.0, 46.0)

AMBULANCE_TRANSPORTS = frozenset({"AMBULANCE", "HELICOPTER"})

_NUMBER = r"[0-9]{1,4}(?:\.[0-9]{1,4})?"
# A number or a range of two, perhaps "out of 10", with words but no further digit or sign around it.
_PAIN = re.compile(
    rf"[^0-9.\-–]*(?P<low>{_NUMBER})"
    rf"(?:\s*(?:-|–|to)\s*(?P<high>{_NUMBER}))?"
    r"(?:\s*(?:/|out of)\s*10)?"
    r"[^0-9]*",
    re.IGNORECASE,
)


def parse_pain(text: str | None) -> tuple[float, bool]:
    """Pain 0 to 10 out of free text, and whether it was repaired: (5.0, False) for "5" and "5/10".

    A range gives its mean, 11 to 20 gives 10, both repaired. Words without a number ("uta", "unable",
    "asleep"), a negative number, two unrelated numbers and anything above 20 are missing: (nan, False).
    """
    match = _PAIN.fullmatch(text.strip()) if text else None
    if match is None:
        return math.nan, False
    low = float(match["low"])
    value = low if match["high"] is None else (low + float(match["high"])) / 2
    valid = VALID_RANGES["pain"]
    if value > valid.outlier_high:
        return math.nan, False
    return min(value, valid.high), match["high"] is not None or value > valid.high


def repair_values(feature: str, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of one feature in its unit, NaN where missing, and a bool array: converted or clipped.

    values: [N] float; NaN, infinite and outlying values (`VALID_RANGES`) become NaN and are not called
    repaired. Temperatures in `CELSIUS_RANGE` are converted to Fahrenheit.
    """
    valid = VALID_RANGES[feature]
    fixed = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    if feature == "temperature":
        celsius = (fixed >= CELSIUS_RANGE[0]) & (fixed <= CELSIUS_RANGE[1])
        fixed = np.where(celsius, fixed * 9 / 5 + 32, fixed)
    fixed = np.where((fixed < valid.outlier_low) | (fixed > valid.outlier_high), np.nan, fixed)
    fixed = np.clip(fixed, valid.low, valid.high)
    return fixed, ~np.isnan(fixed) & (fixed != values)


def clinical_features(
    links: pd.DataFrame,
    edstays: pd.DataFrame,
    triage: pd.DataFrame,
    vitalsign: pd.DataFrame,
    *,
    margin_minutes: float = DEFAULT_MARGIN_MINUTES,
) -> pd.DataFrame:
    """`schema.CLINICAL_FEATURES` (float64, NaN missing), `<feature>_repaired` (bool) and `max_feature_time`.

    A vital sign is its latest usable value in `vitalsign` with charttime <= study_dt - margin_minutes (and
    < study_dt at margin 0), else that of triage. Triage has no time of its own: it counts as intime and needs
    no margin. Where the stay begins at or after the film, nothing of the stay is used.
    `max_feature_time` is the latest event used, NaT where there is none.
    Raises FutureFeature if any event is not before its film, ValueError for a negative margin.
    """
    if margin_minutes < 0:
        raise ValueError(f"margin_minutes is {margin_minutes}, it must be 0 or more")
    study_dt = links["study_dt"].to_numpy("datetime64[ns]")
    intime = links["intime"].to_numpy("datetime64[ns]")
    arrived = _arrived(links)
    at_triage = _one_row_per_link(links, triage, [*VITALS, "pain", "acuity"])
    events = _events_before(links, vitalsign, margin_minutes)

    columns: dict[str, np.ndarray] = {}
    latest = np.where(arrived, intime, np.datetime64("NaT", "ns"))
    for feature in REPAIRABLE_FEATURES:
        values, repaired = _repaired_column(feature, at_triage[feature])
        values = np.where(arrived, values, np.nan)
        repaired &= arrived
        rows, times, event_values, event_repaired = _last_usable(feature, events)
        values[rows] = event_values
        repaired[rows] = event_repaired
        latest[rows] = np.fmax(latest[rows], times)
        columns[feature], columns[f"{feature}_repaired"] = values, repaired
    acuity, _ = repair_values("acuity", at_triage["acuity"].to_numpy(np.float64, na_value=np.nan))
    columns["acuity"] = np.where(arrived, acuity, np.nan)
    columns["age"] = links["age"].to_numpy(np.float64, na_value=np.nan)
    columns["sex_female"] = links["gender"].map({"F": 1.0, "M": 0.0}).to_numpy(np.float64)
    minutes = (study_dt - intime) / np.timedelta64(1, "m")
    columns["minutes_since_arrival"] = np.where(arrived, minutes, np.nan)
    transport = _one_row_per_link(links, edstays, ["arrival_transport"])["arrival_transport"]
    by_ambulance = transport.isin(AMBULANCE_TRANSPORTS).to_numpy(np.float64)
    # UNKNOWN is a fact about the record, not a way to arrive.
    known = arrived & (transport.notna() & (transport != "UNKNOWN")).to_numpy()
    columns["arrived_by_ambulance"] = np.where(known, by_ambulance, np.nan)

    refuse_future(study_dt, latest)
    columns["max_feature_time"] = latest
    flags = [f"{feature}_repaired" for feature in REPAIRABLE_FEATURES]
    order = [*CLINICAL_FEATURES, *flags, "max_feature_time"]
    return pd.DataFrame({name: columns[name] for name in order}, index=links.index)


def refuse_future(study_dt: np.ndarray, max_feature_time: np.ndarray) -> None:
    """Raise FutureFeature, with counts, unless each max_feature_time (datetime64 or NaT) is < study_dt."""
    future = ~np.isnat(max_feature_time) & ~(max_feature_time < study_dt)
    if future.any():
        raise FutureFeature(
            f"{int(future.sum())} of {len(study_dt)} studies use an event at or after their film;"
            " raise margin_minutes or mend the charttime column"
        )


def chief_complaints(links: pd.DataFrame, triage: pd.DataFrame) -> pd.Series:
    """Triage complaint with single spaces, `___` (de-identified) kept, "" where missing or after the film."""
    complaint = _one_row_per_link(links, triage, ["chiefcomplaint"])["chiefcomplaint"]
    text = complaint.fillna("").astype(str).str.split().str.join(" ")
    known = np.where(_arrived(links), text, "")
    return pd.Series(known, index=links.index, name="chief_complaint", dtype=object)


def history_texts(
    links: pd.DataFrame,
    medrecon: pd.DataFrame,
    *,
    margin_minutes: float = DEFAULT_MARGIN_MINUTES,
    max_classes: int = 12,
) -> pd.Series:
    """Classes of home medication known before the film, "Loop Diuretics; Statins", "" where there are none.

    One class per drug (etc_rn 1), its name where the class is blank; without doubles, in alphabetical order,
    the first `max_classes`. A row counts with charttime <= study_dt - margin_minutes (and < study_dt).
    """
    drugs = medrecon.loc[medrecon["etc_rn"] == 1, ["stay_id", "charttime", "name", "etcdescription"]]
    known = _events_before(links, drugs, margin_minutes)
    kind = known["etcdescription"].fillna("").astype(str).str.split().str.join(" ")
    name = known["name"].fillna("").astype(str).str.split().str.join(" ")
    classes = pd.DataFrame({"row": known["row"], "kind": kind.where(kind != "", name)})
    classes = classes[classes["kind"] != ""].drop_duplicates().sort_values(["row", "kind"])
    lists = classes.groupby("row").head(max_classes).groupby("row")["kind"].agg("; ".join)
    texts = lists.reindex(range(len(links)), fill_value="")
    return pd.Series(texts.to_numpy(), index=links.index, name="history", dtype=object)


def _arrived(links: pd.DataFrame) -> np.ndarray:
    """True where the stay begins before the film: only then is anything of the stay an input."""
    return (links["intime"] < links["study_dt"]).to_numpy(bool)


def _one_row_per_link(links: pd.DataFrame, table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Columns of a table with one row per stay, aligned with the links; a doubled stay counts once."""
    unique = table[["stay_id", *columns]].drop_duplicates("stay_id")
    return links[["stay_id"]].merge(unique, on="stay_id", how="left")[columns]


def _events_before(links: pd.DataFrame, events: pd.DataFrame, margin_minutes: float) -> pd.DataFrame:
    """Events of each link's stay that were known before its film, with `row`, the link's position."""
    films = pd.DataFrame(
        {
            "stay_id": links["stay_id"].to_numpy(),
            "study_dt": links["study_dt"].to_numpy("datetime64[ns]"),
            "row": np.arange(len(links)),
        }
    )
    joined = events.merge(films[_arrived(links)], on="stay_id")
    cutoff = joined["study_dt"] - pd.Timedelta(minutes=margin_minutes)
    known = (joined["charttime"] <= cutoff) & (joined["charttime"] < joined["study_dt"])
    return joined[known].drop(columns="study_dt")


def _repaired_column(feature: str, column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    if feature != "pain":
        return repair_values(feature, column.to_numpy(np.float64, na_value=np.nan))
    # Free text repeats itself: each spelling is parsed once.
    codes, spellings = pd.factorize(column.astype(object))
    parsed = [*(parse_pain(str(spelling)) for spelling in spellings), (math.nan, False)]  # code -1 is null
    values = np.array([value for value, _ in parsed])
    repaired = np.array([flag for _, flag in parsed])
    return values[codes], repaired[codes]


def _last_usable(feature: str, events: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(link rows, times, values, repaired) of the latest event of each link whose value is usable."""
    values, repaired = _repaired_column(feature, events[feature])
    usable = ~np.isnan(values)
    rows = events["row"].to_numpy()[usable]
    times = events["charttime"].to_numpy("datetime64[ns]")[usable]
    values, repaired = values[usable], repaired[usable]
    # Value and flag as last keys: two entries of one minute give the same answer in any file order.
    order = np.lexsort((repaired, values, times, rows))
    last = order[np.append(rows[order][1:] != rows[order][:-1], True)[: len(order)]]
    return rows[last], times[last], values[last], repaired[last]
