"""The time of a film out of the published text of its date and time."""

import datetime

import duckdb
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mm_assets.mimic.study_time import STUDY_DAY, STUDY_MICROSECONDS


def parsed(date: str | None, time: str | None) -> datetime.datetime | None:
    query = f"""
        SELECT {STUDY_DAY} + to_microseconds({STUDY_MICROSECONDS})
        FROM (SELECT ?::VARCHAR AS StudyDate, ?::VARCHAR AS StudyTime)
    """
    return duckdb.sql(query, params=[date, time]).fetchall()[0][0]


@settings(max_examples=50, deadline=None)
@given(
    st.datetimes(datetime.datetime(2100, 1, 1), datetime.datetime(2219, 12, 31)),
    st.sampled_from(["dicom", "float", "artefact"]),
)
@example(datetime.datetime(2180, 5, 6, 0, 0, 5), "float")
@example(datetime.datetime(2180, 5, 6, 21, 30, 14, 531000), "artefact")
@example(datetime.datetime(2180, 5, 6, 23, 59, 59, 999000), "artefact")
def test_study_time_survives_how_it_was_written(moment: datetime.datetime, spelling: str) -> None:
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    padded = moment.strftime("%H%M%S.") + f"{moment.microsecond // 1000:03d}"
    if spelling == "dicom":
        date, time = moment.strftime("%Y%m%d"), padded
    else:
        value = float(padded)
        if spelling == "artefact" and value:
            value = float(np.nextafter(value, np.inf))
        date, time = moment.strftime("%Y%m%d") + ".0", repr(value)
    assert parsed(date, time) == moment


@pytest.mark.parametrize("time", ["80556.875", "080556.875", " 80556.875 ", "80556.8750000001"])
def test_lost_zero_is_eight_in_the_morning(time: str) -> None:
    assert parsed("21800506", time) == datetime.datetime(2180, 5, 6, 8, 5, 56, 875000)


@pytest.mark.parametrize(
    "time",
    [
        "240000.0",
        "126000",
        "125960",
        "-5",
        "+5",
        ".5",
        "5.",
        "21:30:14",
        "noon",
        "",
        None,
        "1e5",
        "1e9",
        "0x1",
        "inf",
        "nan",
        "0080556",
    ],
)
def test_no_time_of_day_is_no_time(time: str | None) -> None:
    assert parsed("21800506", time) is None


@pytest.mark.parametrize(
    "date",
    [
        "21800230",
        "21801301",
        "2180506",
        "2180-05-06",
        "0",
        "",
        None,
        "218005061",
        "2.1800506e7",
        "21800506.7",
        "-21800506",
    ],
)
def test_no_date_is_no_date(date: str | None) -> None:
    assert parsed(date, "80556.875") is None


def test_fraction_is_cut_and_never_reaches_the_next_day() -> None:
    assert parsed("21800506", "235959.9999999") == datetime.datetime(2180, 5, 6, 23, 59, 59, 999999)
    assert parsed("21800506", "235959.99999999999999") == datetime.datetime(2180, 5, 6, 23, 59, 59, 999999)
    assert parsed("21800506", "80556.0000009") == datetime.datetime(2180, 5, 6, 8, 5, 56)


@settings(max_examples=50, deadline=None)
@given(st.text("0123456789.e+-: ", max_size=12))
def test_whatever_is_written_a_time_lies_within_its_day(time: str) -> None:
    moment = parsed("21800506", time)
    assert moment is None or moment.date() == datetime.date(2180, 5, 6)
