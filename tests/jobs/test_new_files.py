"""The listing: every file below a location. The cursor: each file once, whatever its time while files are few, and
nothing remembered for ever."""

import json
import os
from pathlib import Path

import pytest

from jobs import new_files
from jobs.new_files import OVERLAP_S, FoundFile, files_below, fresh_files

DAY = 86_400.0


def of(time: float, url: str, size: int = 7) -> FoundFile:
    return FoundFile(time, url, size)


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any listing is too long to be remembered."""
    monkeypatch.setattr(new_files, "MOST_REMEMBERED", 0)


def test_the_files_below_a_location_are_those_at_any_depth_oldest_first(tmp_path: Path) -> None:
    for path, time, data in (("a.png", 3000, b"xyz"), ("deep/er/b.png", 1000, b"x"), ("deep/c.csv", 2000, b"")):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        os.utime(file, (time, time))
    found = files_below(str(tmp_path), gcs_user_project=None)
    assert [(file.time, file.size) for file in found] == [(1000, 1), (2000, 0), (3000, 3)]
    # Written as a URL or as a plain folder, a location gives the same names: the cursor goes by them.
    assert [file.url.rpartition(tmp_path.name)[2] for file in found] == ["/deep/er/b.png", "/deep/c.csv", "/a.png"]
    assert files_below(tmp_path.as_uri(), gcs_user_project=None) == found


def test_no_location_and_an_absent_folder_hold_no_file(tmp_path: Path) -> None:
    assert files_below(None, gcs_user_project=None) == []
    assert files_below(str(tmp_path / "not made yet"), gcs_user_project=None) == []


def test_each_file_is_fresh_once_and_again_when_rewritten() -> None:
    fresh, cursor = fresh_files([of(2 * DAY, "b"), of(DAY, "a")], None)
    assert fresh == [of(DAY, "a"), of(2 * DAY, "b")]
    assert fresh_files([of(DAY, "a"), of(2 * DAY, "b")], cursor) == ([], cursor)
    fresh, cursor = fresh_files([of(3 * DAY, "a"), of(2 * DAY, "b")], cursor)
    assert fresh == [of(3 * DAY, "a")]


def test_a_file_copied_with_its_old_time_is_seen_once() -> None:
    _, cursor = fresh_files([of(9 * DAY, "a")], None)
    old = of(DAY, "old")
    fresh, cursor = fresh_files([of(9 * DAY, "a"), old], cursor)
    assert fresh == [old]
    assert fresh_files([old, of(9 * DAY, "a")], cursor) == ([], cursor)
    assert fresh_files([of(2 * DAY, "old"), of(9 * DAY, "a")], cursor)[0] == [of(2 * DAY, "old")]
    # Rewritten with an older time: an earlier copy was put back.
    assert fresh_files([of(DAY / 2, "old"), of(9 * DAY, "a")], cursor)[0] == [of(DAY / 2, "old")]


@pytest.mark.parametrize("bound", [0, 10])
def test_a_file_rewritten_with_its_time_is_told_by_its_size(bound: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_files, "MOST_REMEMBERED", bound)
    _, cursor = fresh_files([of(DAY, "a", 10), of(DAY, "b", 10)], None)
    longer = of(DAY, "a", 11)
    fresh, cursor = fresh_files([longer, of(DAY, "b", 10)], cursor)
    assert fresh == [longer]
    assert fresh_files([longer, of(DAY, "b", 10)], cursor)[0] == []


def test_a_listing_that_grows_over_the_bound_and_back_asks_for_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_files, "MOST_REMEMBERED", 2)
    files = [of(DAY, "a"), of(2 * DAY, "b")]
    _, cursor = fresh_files(files, None)
    files.append(of(DAY / 2, "c"))
    fresh, cursor = fresh_files(files, cursor)
    assert fresh == [files[-1]] and fresh_files(files, cursor)[0] == []
    assert fresh_files([*files, of(DAY / 3, "missed")], cursor)[0] == []
    files = [of(2 * DAY, "b"), of(3 * DAY, "d")]
    fresh, cursor = fresh_files(files, cursor)
    assert fresh == [of(3 * DAY, "d")] and fresh_files([*files, of(DAY, "e")], cursor)[0] == [of(DAY, "e")]


def test_the_cursor_of_few_files_holds_those_that_are_there_and_no_name() -> None:
    _, cursor = fresh_files([of(DAY, "gone"), of(2 * DAY, "b")], None)
    _, cursor = fresh_files([of(2 * DAY, "b"), of(3 * DAY, "c")], cursor)
    assert len(json.loads(cursor)["known"]) == 2 and not {"b", "c"} & set(json.loads(cursor)["known"])


@pytest.mark.usefixtures("many")
def test_of_many_files_one_that_arrives_late_with_an_older_time_is_seen() -> None:
    _, cursor = fresh_files([of(DAY, "a")], None)
    late = of(DAY - OVERLAP_S / 2, "late")
    fresh, cursor = fresh_files([of(DAY, "a"), late], cursor)
    assert fresh == [late]
    assert fresh_files([of(DAY, "a"), late], cursor)[0] == []


@pytest.mark.usefixtures("many")
def test_the_cursor_of_many_files_forgets_what_it_no_longer_needs() -> None:
    _, cursor = fresh_files([of(DAY, "old"), of(9 * DAY, "new")], None)
    assert json.loads(cursor) == {"mark": 9 * DAY, "seen": {"new": [9 * DAY, 7]}}
    assert fresh_files([], cursor) == ([], cursor)
