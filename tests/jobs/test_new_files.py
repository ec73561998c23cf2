"""The cursor: each file once, late older ones too, and nothing remembered for ever."""

import json

from jobs.new_files import OVERLAP_S, fresh_files

DAY = 86_400.0


def test_each_file_is_fresh_once_and_again_when_rewritten() -> None:
    fresh, cursor = fresh_files([(2 * DAY, "b"), (DAY, "a")], None)
    assert fresh == [(DAY, "a"), (2 * DAY, "b")]
    assert fresh_files([(DAY, "a"), (2 * DAY, "b")], cursor) == ([], cursor)
    fresh, cursor = fresh_files([(3 * DAY, "a"), (2 * DAY, "b")], cursor)
    assert fresh == [(3 * DAY, "a")]


def test_a_file_that_arrives_late_with_an_older_time_is_seen() -> None:
    _, cursor = fresh_files([(DAY, "a")], None)
    late = (DAY - OVERLAP_S / 2, "late")
    fresh, cursor = fresh_files([(DAY, "a"), late], cursor)
    assert fresh == [late]
    assert fresh_files([(DAY, "a"), late], cursor)[0] == []


def test_the_cursor_forgets_what_it_no_longer_needs() -> None:
    _, cursor = fresh_files([(DAY, "old"), (9 * DAY, "new")], None)
    assert json.loads(cursor) == {"mark": 9 * DAY, "seen": {"new": 9 * DAY}}
    assert fresh_files([], cursor) == ([], cursor)
