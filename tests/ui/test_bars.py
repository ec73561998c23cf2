"""Bars: one scale for all rows, text from outside escaped."""

import re

from ui.pages.components.bars import change_bars, share_bars


def test_changes_go_to_both_sides_of_zero_on_one_scale() -> None:
    html = change_bars([("film", 0.2, "+20"), ("text", -0.1, "−10"), ("<b>", 0.0, "<i>")])
    assert re.findall(r"left:([0-9.]+)%;width:([0-9.]+)%", html) == [
        ("50.0", "50.0"),
        ("25.0", "25.0"),
        ("50.0", "0.0"),
    ]
    assert html.count('class="zero"') == 3 and "<b>" not in html and "<i>" not in html


def test_small_changes_look_small() -> None:
    assert "width:10.0%" in change_bars([("film", 0.01, "+1"), ("text", 0.005, "+0.5")])


def test_the_largest_share_stands_out() -> None:
    html = share_bars({"<b>a</b>": 0.25, "c": 0.75})
    assert "<strong>c</strong>" in html and "&lt;b&gt;a" in html and html.count("<strong>") == 1
    assert html.index("width:25.0%;background:var(--mm-calm)") < html.index("width:75.0%;background:var(--mm-for)")
