"""The form of a card: front matter a parser reads, tables that survive any cell."""

import yaml

from mm_assets.learning.cards import Section, bullets, markdown_table, render_card, upstream_table, with_interval


def test_front_matter_is_yaml_and_sections_follow_in_order() -> None:
    card = render_card(
        "A: b", {"tags": ["x", "y: z"], "synthetic_data": True}, [Section("One", "a\n"), Section("Two", "b")]
    )
    _, head, body = card.split("---\n", 2)
    assert yaml.safe_load(head) == {"tags": ["x", "y: z"], "synthetic_data": True}
    assert body == "\n# A: b\n\n## One\n\na\n\n## Two\n\nb\n"


def test_cells_cannot_break_the_table() -> None:
    table = markdown_table(("a|b", "c"), [("x\ny", 0.12345), (None, float("nan")), (3, 1.0)])
    assert table.split("\n") == [
        "| a\\|b | c |",
        "| --- | --- |",
        "| x y | 0.123 |",
        "| – | – |",
        "| 3 | 1.000 |",
    ]


def test_intervals_are_written_only_where_they_exist() -> None:
    assert with_interval(0.8121, 0.79, 0.8333) == "0.812 (0.790 to 0.833)"
    assert with_interval(0.05, 0.01, 0.09, signed=True) == "+0.050 (+0.010 to +0.090)"
    assert with_interval(0.8, None, 0.9) == "0.800"
    assert with_interval(float("nan"), 0.1, 0.2) == with_interval(None, None, None) == "–"


def test_upstream_is_listed_by_name() -> None:
    assert upstream_table({"b/model": "2", "a/data": "1"}) == markdown_table(
        ("upstream", "version"), [("a/data", "1"), ("b/model", "2")]
    )


def test_bullets() -> None:
    assert bullets(["a", "b"]) == "- a\n- b"
