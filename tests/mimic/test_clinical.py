import math
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_assets.mimic.clinical import (
    VALID_RANGES,
    FutureFeature,
    chief_complaints,
    clinical_features,
    history_texts,
    parse_pain,
    refuse_future,
    repair_values,
)
from mm_assets.mimic.schema import CLINICAL_FEATURES, REPAIRABLE_FEATURES, VITALS

INTIME = pd.Timestamp("2150-03-01 10:00:00")
STUDY = pd.Timestamp("2150-03-01 12:00:00")


def links(**changes: object) -> pd.DataFrame:
    row = {
        "study_id": 50000001,
        "stay_id": 30000001,
        "study_dt": STUDY,
        "intime": INTIME,
        "gender": "F",
        "age": 70.0,
    }
    return pd.DataFrame([row | changes])


def edstays(transport: str | None = "AMBULANCE") -> pd.DataFrame:
    return pd.DataFrame([{"stay_id": 30000001, "arrival_transport": transport}])


def triage(**changes: object) -> pd.DataFrame:
    row = {
        "stay_id": 30000001,
        **dict.fromkeys(VITALS, 90.0),
        "temperature": 98.6,
        "pain": "3",
        "acuity": 2.0,
    }
    return pd.DataFrame([row | {"chiefcomplaint": "Dyspnea"} | changes])


def vitals(*rows: tuple[str, dict[str, object]]) -> pd.DataFrame:
    blank = {"stay_id": 30000001, **dict.fromkeys(VITALS, np.nan), "pain": None}
    frame = pd.DataFrame([blank | {"charttime": pd.Timestamp(f"2150-03-01 {at}")} | values for at, values in rows])
    return frame if rows else pd.DataFrame(columns=[*blank, "charttime"]).astype({"charttime": "datetime64[ns]"})


def features(vitalsign: pd.DataFrame, margin: float = 5, **changes: object) -> pd.Series:
    frame = clinical_features(links(**changes), edstays(), triage(), vitalsign, margin_minutes=margin)
    return frame.iloc[0]


def test_the_latest_value_before_the_margin_is_used() -> None:
    table = vitals(
        ("11:50:00", {"heartrate": 110.0}),
        ("11:00:00", {"heartrate": 100.0}),
        ("11:56:00", {"heartrate": 120.0}),
        ("12:30:00", {"heartrate": 130.0}),
    )
    assert features(table)["heartrate"] == 110
    assert features(table, margin=0)["heartrate"] == 120
    assert features(table, margin=15)["heartrate"] == 100
    assert features(table)["max_feature_time"] == pd.Timestamp("2150-03-01 11:50:00")


def test_an_event_at_the_time_of_the_film_is_never_used() -> None:
    table = vitals(("12:00:00", {"heartrate": 140.0}))
    assert features(table, margin=0)["heartrate"] == 90
    assert features(table, margin=0)["max_feature_time"] == INTIME


def test_an_event_exactly_at_the_margin_is_used() -> None:
    assert features(vitals(("11:55:00", {"heartrate": 140.0})))["heartrate"] == 140


def test_each_vital_sign_falls_back_on_its_own() -> None:
    row = features(vitals(("11:00:00", {"heartrate": 100.0}), ("11:30:00", {"sbp": 130.0, "heartrate": np.inf})))
    assert row["heartrate"] == 100  # the later, infinite value is missing
    assert row["sbp"] == 130
    assert row["dbp"] == 90  # triage
    assert row["max_feature_time"] == pd.Timestamp("2150-03-01 11:30:00")


def test_no_events_at_all_leaves_triage() -> None:
    row = features(vitals())
    assert row["temperature"] == 98.6 and row["pain"] == 3 and row["acuity"] == 2
    assert row["max_feature_time"] == INTIME
    assert not row[[f"{name}_repaired" for name in REPAIRABLE_FEATURES]].any()


def test_a_stay_that_begins_after_the_film_gives_nothing() -> None:
    late = STUDY + pd.Timedelta(hours=1)
    row = features(vitals(("11:00:00", {"heartrate": 100.0})), intime=late)
    static = {"age", "sex_female"}
    assert row[[name for name in CLINICAL_FEATURES if name not in static]].isna().all()
    assert row["age"] == 70 and row["sex_female"] == 1 and pd.isna(row["max_feature_time"])
    assert chief_complaints(links(intime=late), triage()).tolist() == [""]


def test_celsius_and_outliers() -> None:
    values, repaired = repair_values("temperature", np.array([37.0, 98.6, 20.0, 60.0, 114.0, 500.0, np.nan]))
    assert values[:2] == pytest.approx([98.6, 98.6])
    assert repaired.tolist() == [True, False, False, True, True, False, False]
    assert np.isnan(values[[2, 5, 6]]).all()
    assert values[3] == pytest.approx(78.8) and values[4] == pytest.approx(113)


def test_the_repaired_flag_belongs_to_the_value_used() -> None:
    row = features(vitals(("11:00:00", {"temperature": 38.5}), ("11:30:00", {"o2sat": 104.0})))
    assert row["temperature"] == pytest.approx(101.3) and row["temperature_repaired"]
    assert row["o2sat"] == 100 and row["o2sat_repaired"]
    later = features(vitals(("11:00:00", {"temperature": 38.5}), ("11:30:00", {"temperature": 99.0})))
    assert later["temperature"] == 99 and not later["temperature_repaired"]


@settings(max_examples=50, deadline=None)
@given(st.sampled_from([*VITALS, "acuity"]), st.lists(st.floats(width=32), max_size=20))
def test_repaired_values_are_valid_or_missing(feature: str, raw: list[float]) -> None:
    values, repaired = repair_values(feature, np.array(raw, dtype=np.float64))
    valid = VALID_RANGES[feature]
    assert ((values >= valid.low) & (values <= valid.high) | np.isnan(values)).all()
    assert not (repaired & np.isnan(values)).any()
    again, _ = repair_values(feature, values)
    assert np.array_equal(again, values, equal_nan=True)


@pytest.mark.parametrize(
    ("text", "value", "repaired"),
    [
        ("0", 0, False), ("10", 10, False), ("7.5", 7.5, False), ("8/10", 8, False),
        ("7 out of 10", 7, False),
        ("5-7", 6, True), ("5 - 7", 6, True), ("3 to 4", 3.5, True), ("5–7/10", 6, True),
        ("8+", 8, False), ("~6", 6, False), ("6 in back", 6, False), ("pain 4", 4, False),
        ("12", 10, True), (">10", 10, False), ("15/10", 10, True),
    ],
)  # fmt: skip
def test_pain_that_is_a_number(text: str, value: float, repaired: bool) -> None:
    assert parse_pain(text) == (value, repaired)


@pytest.mark.parametrize(
    "text", [None, "", " ", "uta", "UTA", "unable", "asleep", "-5", "99", "2 now 8 before", "yes", "..", "٣"]
)
def test_pain_that_is_missing(text: str | None) -> None:
    value, repaired = parse_pain(text)
    assert math.isnan(value) and not repaired


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=30) | st.text("0123456789 -/.to", max_size=12))
def test_any_pain_text_gives_0_to_10_or_missing(text: str) -> None:
    value, repaired = parse_pain(text)
    assert math.isnan(value) or 0 <= value <= 10
    assert not (math.isnan(value) and repaired)


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 10).map(lambda pain: round(pain, 2)))
def test_a_plain_number_is_read_as_it_is(pain: float) -> None:
    assert parse_pain(str(pain)) == (pain, False)


@pytest.mark.parametrize(
    ("transport", "expected"),
    [("AMBULANCE", 1), ("HELICOPTER", 1), ("WALK IN", 0), ("OTHER", 0), ("UNKNOWN", None), (None, None)],
)
def test_arrival(transport: str | None, expected: int | None) -> None:
    row = clinical_features(links(), edstays(transport), triage(), vitals()).iloc[0]
    assert (row["arrived_by_ambulance"] == expected) or (expected is None and pd.isna(row["arrived_by_ambulance"]))
    assert row["minutes_since_arrival"] == 120


def test_a_negative_margin_and_a_future_event_are_refused() -> None:
    with pytest.raises(ValueError, match="margin_minutes"):
        features(vitals(), margin=-1)
    times = np.array(["2150-01-01T00:00", "2150-01-02T00:00", "NaT"], dtype="datetime64[ns]")
    refuse_future(times[[1, 1, 1]], times[[0, 0, 2]])
    with pytest.raises(FutureFeature, match="2 of 3"):
        refuse_future(times[[1, 1, 0]], times[[1, 0, 1]])


def test_order_and_index_follow_the_links() -> None:
    two = pd.concat([links(study_id=2, study_dt=INTIME + pd.Timedelta(minutes=30)), links(study_id=1)])
    two.index = pd.Index([7, 3])
    frame = clinical_features(two, edstays(), triage(), vitals(("11:00:00", {"sbp": 150.0})))
    assert frame.index.tolist() == [7, 3]
    assert frame["sbp"].tolist() == [90, 150]


def test_doubled_events_give_the_same_answer_in_any_order() -> None:
    rows: list[tuple[str, dict[str, object]]] = [("11:00:00", {"sbp": 150.0}), ("11:00:00", {"sbp": 140.0})]
    assert features(vitals(*rows))["sbp"] == features(vitals(*reversed(rows)))["sbp"]


def test_complaints_keep_the_mark_of_removed_names() -> None:
    table = triage(chiefcomplaint="  Chest pain,\n s/p ___  fall ")
    assert chief_complaints(links(), table).tolist() == ["Chest pain, s/p ___ fall"]
    assert chief_complaints(links(), triage(chiefcomplaint=None)).tolist() == [""]
    assert chief_complaints(links(stay_id=1), triage()).tolist() == [""]


def test_history_is_sorted_single_and_from_before_the_film() -> None:
    def drug(at: str, name: str, kind: str | None, rank: int = 1) -> dict[str, object]:
        at_time = pd.Timestamp(f"2150-03-01 {at}")
        return {
            "stay_id": 30000001,
            "charttime": at_time,
            "name": name,
            "etc_rn": rank,
            "etcdescription": kind,
        }

    table = pd.DataFrame(
        [
            drug("10:10:00", "simvastatin", "Statins"),
            drug("10:10:00", "furosemide", "Loop  Diuretics"),
            drug("10:10:00", "furosemide", "Edema Therapy", rank=2),
            drug("10:10:00", "atorvastatin", "Statins"),
            drug("10:10:00", "oxygen", None),
            drug("11:58:00", "heparin", "Heparins"),
        ]
    )
    assert history_texts(links(), table).tolist() == ["Loop Diuretics; Statins; oxygen"]
    assert history_texts(links(), table, max_classes=1).tolist() == ["Loop Diuretics"]
    assert history_texts(links(), table, margin_minutes=0).tolist() == ["Heparins; Loop Diuretics; Statins; oxygen"]
    assert history_texts(links(stay_id=1), table).tolist() == [""]


def test_it_is_one_join_and_not_a_loop_over_studies() -> None:
    rng = np.random.default_rng([0, 3])
    stays = np.arange(3000)
    many = pd.DataFrame(
        {"stay_id": stays, "study_dt": STUDY, "intime": INTIME, "gender": "M", "age": 50.0, "study_id": stays}
    )
    events = pd.DataFrame({"stay_id": rng.choice(stays, 40_000), "pain": "5"})
    events["charttime"] = INTIME + pd.to_timedelta(rng.integers(0, 240, len(events)), unit="m")
    for vital in VITALS:
        events[vital] = rng.normal(90, 5, len(events))
    at_triage = pd.DataFrame({"stay_id": stays, **dict.fromkeys(VITALS, 90.0), "pain": "1", "acuity": 3.0})
    start = time.process_time()
    frame = clinical_features(many, edstays(), at_triage, events)
    assert time.process_time() - start < 2
    assert len(frame) == 3000 and frame["heartrate"].notna().all()
