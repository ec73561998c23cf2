import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_assets.cloud_vision.ids import (
    MixedIds,
    UnknownIds,
    aligned_rows,
    ids_digest,
    misaligned_order,
    normalise_id,
    read_ids,
)

VARIANTS = ["IMG_001 ", "img_001", "IMG-001", " Img 001", "img__001", "ＩＭＧ＿００１", "\timg.001\n"]


@pytest.mark.parametrize("raw", VARIANTS)
def test_variants_of_one_id_are_one(raw):
    assert normalise_id(raw) == "img_001"


def test_leading_zeros_tell_records_apart():
    assert normalise_id("IMG_1") != normalise_id("IMG_001")


@given(st.text())
def test_normalising_twice_changes_nothing(raw):
    once = normalise_id(raw)
    assert normalise_id(once) == once


def test_duplicates_and_missing_ids_are_reported_and_kept_out():
    ids = read_ids(["IMG_2", None, "img-2 ", "img_1", "  ", "img_3"], party="org3")
    assert ids.unique == ("img_1", "img_2", "img_3")
    assert ids.duplicates == {"img_2": (0, 2)}
    assert ids.missing == (1, 4)
    assert ids.describe() == "6 rows, 3 ids; 1 doubled, 2 without an id, 2 spelled another way"


def test_an_id_of_nothing_but_separators_is_missing():
    assert read_ids(["_-_", "a"], party="org2").missing == (0,)


def test_numbers_are_read_as_their_digits():
    assert read_ids([3, np.int64(12)], party="org2").unique == ("12", "3")


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (["img_1", 2], "text and whole number"),
        ([1.0, 2.0], "float"),
        ([True, False], "bool"),
        ([b"img_1", "img_2"], "bytes and text"),
    ],
)
def test_mixed_types_are_one_clear_error(column, told):
    with pytest.raises(MixedIds, match=told) as caught:
        read_ids(column, party="org3")
    assert "org3's ids" in str(caught.value)
    assert "img_" not in str(caught.value)


def test_rows_are_found_by_id_and_not_by_place():
    ids = read_ids(["c", "a", None, "B", "a"], party="org2")
    assert aligned_rows(ids, ["a", "b", "c"]).tolist() == [1, 3, 0]
    assert aligned_rows(ids, ["c", "a"]).tolist() == [0, 1]


def test_an_id_that_is_gone_is_told_without_naming_it():
    ids = read_ids(["a", "b"], party="org2")
    with pytest.raises(UnknownIds, match="1 of 2") as caught:
        aligned_rows(ids, ["a", "secret"])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("share", [0, 0.05, 0.2, 0.5, 1])
def test_a_share_of_rows_is_put_out_of_order(share):
    order = misaligned_order(200, share, seed=0)
    assert sorted(order) == list(range(200))
    assert (order != np.arange(200)).sum() == 200 * share
    assert np.array_equal(order, misaligned_order(200, share, seed=0))


def test_digest_tells_order_and_borders_apart():
    assert ids_digest(["ab", "c"]) == ids_digest(("ab", "c"))
    assert len({ids_digest(names) for names in (["ab", "c"], ["c", "ab"], ["a", "bc"], ["ab"])}) == 4
