import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_assets.cloud_vision.party_preprocessing import (
    PARTY_FEATURES,
    LabelInWrongParty,
    PreprocessorUnfit,
    SecondLabel,
    TabularPreprocessor,
    ValuesUnfit,
    WrongPartyColumns,
    check_one_target,
)

SPLITS = ["train", "validate", "test", "shifted"]


def rows_of(party, values, splits, labels=None):
    """values [N][5], None for missing."""
    columns = {name: pa.array([row[i] for row in values], pa.float32()) for i, name in enumerate(PARTY_FEATURES[party])}
    columns["split"] = pa.array(splits, pa.string())
    if party == "org2":
        columns["label"] = pa.array([0] * len(values) if labels is None else labels, pa.int32())
    return pa.table(columns)


def drawn(party, n=40, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(3, 2, (n, 5)).tolist()
    return rows_of(party, values, [SPLITS[i % 4] for i in range(n)], [i % 3 for i in range(n)])


value = st.none() | st.floats(-1e6, 1e6, width=32)
row = st.lists(value, min_size=5, max_size=5)
tables = st.lists(st.tuples(row, st.sampled_from(SPLITS)), max_size=20).map(lambda rows: [([0.5] * 5, "train"), *rows])


@settings(deadline=None)
@given(tables, st.sampled_from(["org2", "org3"]))
def test_through_json_to_the_bit_finite_and_blind_to_other_splits(drawn_rows, party):
    table = rows_of(party, [values for values, _ in drawn_rows], [split for _, split in drawn_rows])
    fitted = TabularPreprocessor.fit(table, party)
    stored = TabularPreprocessor.from_json(json.loads(json.dumps(fitted.as_json(), allow_nan=False)))
    assert stored == fitted
    found = fitted.transform(table)
    assert found.dtype == np.float32 and found.shape == (len(drawn_rows), 5) and np.isfinite(found).all()
    assert stored.transform(table).tobytes() == found.tobytes()
    train = [(values, split) for values, split in drawn_rows if split == "train"]
    alone = rows_of(party, [values for values, _ in train], [split for _, split in train])
    assert TabularPreprocessor.fit(alone, party) == fitted
    turned = table.take(list(range(len(table)))[::-1]).select(table.column_names[::-1])
    assert fitted.transform(turned).tobytes() == found[::-1].tobytes()


def test_train_rows_are_standardised():
    table = drawn("org3", 400)
    found = TabularPreprocessor.fit(table, "org3").transform(table)[::4]
    assert np.allclose(found.mean(0), 0, atol=1e-5) and np.allclose(found.std(0), 1, atol=1e-5)


def test_missing_becomes_the_median_of_train():
    values = [[1.0] * 5, [2.0] * 5, [9.0] * 5, [None, float("nan"), 2.0, 2.0, 2.0], [50.0] * 5]
    table = rows_of("org2", values, ["train", "train", "train", "test", "test"])
    fitted = TabularPreprocessor.fit(table, "org2")
    assert fitted.median == (2.0,) * 5
    assert len(set(fitted.transform(table)[3].tolist())) == 1
    assert fitted.mean == (4.0,) * 5


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e6, 1e-30])
def test_a_constant_feature_is_left_unscaled(constant):
    table = rows_of("org2", [[constant] * 5] * 7, ["train"] * 7)
    fitted = TabularPreprocessor.fit(table, "org2")
    assert fitted.std == (1.0,) * 5
    assert np.abs(fitted.transform(table)).max() < 1e-6


def test_targets_are_the_label_holders_alone():
    table = drawn("org2")
    org2, org3 = (TabularPreprocessor.fit(drawn(party), party) for party in ("org2", "org3"))
    assert org2.targets(table).tolist() == [i % 3 for i in range(40)]
    assert org2.targets(table).dtype == np.int64
    assert org2.targets(table.slice(0, 0)).shape == (0,)
    assert (org2.target, org3.target) == ("label", None)
    with pytest.raises(LabelInWrongParty, match="ask org2"):
        org3.targets(drawn("org3"))


@pytest.mark.parametrize("labels", [[0, None, 1], [0, 1, 3], [-1, 0, 1]])
def test_labels_that_are_no_class_are_counted(labels):
    table = rows_of("org2", [[1.0] * 5] * 3, ["train"] * 3, labels)
    with pytest.raises(ValuesUnfit, match="1 of 3 labels"):
        TabularPreprocessor.fit(table, "org2").targets(table)


def test_the_label_is_no_feature():
    table = drawn("org2")
    fitted = TabularPreprocessor.fit(table, "org2")
    assert "label" not in fitted.features
    other = table.set_column(table.column_names.index("label"), "label", pa.array([2] * 40, pa.int32()))
    assert fitted.transform(other).tobytes() == fitted.transform(table).tobytes()
    assert TabularPreprocessor.fit(other, "org2") == fitted
    # A case to be answered has none.
    assert fitted.transform(table.drop_columns(["label", "split"])).tobytes() == fitted.transform(table).tobytes()


@pytest.mark.parametrize(
    ("party", "extra", "error"),
    [
        ("org2", "label", SecondLabel),
        ("org2", "label_2", SecondLabel),
        ("org2", "Diagnosis", SecondLabel),
        ("org2", "class_name", SecondLabel),
        ("org3", "label", LabelInWrongParty),
        ("org3", " LABEL", LabelInWrongParty),
        ("org3", "y", LabelInWrongParty),
        ("org3", "f0", WrongPartyColumns),
        ("org2", "image", WrongPartyColumns),
        ("org2", "f0", WrongPartyColumns),
        ("org3", "age", WrongPartyColumns),
    ],
)
def test_columns_that_do_not_belong_are_refused_by_name(party, extra, error):
    table = drawn(party)
    fitted = TabularPreprocessor.fit(table, party)
    more = table.append_column(extra, pa.array(range(40), pa.int32()))
    for call in (lambda: fitted.transform(more), lambda: TabularPreprocessor.fit(more, party)):
        with pytest.raises(error, match=repr(extra)) as caught:
            call()
        assert type(caught.value) is error


def test_what_is_missing_or_of_another_type_is_named():
    table = drawn("org3")
    fitted = TabularPreprocessor.fit(table, "org3")
    with pytest.raises(WrongPartyColumns, match="lacks 'f7'"):
        fitted.transform(table.drop_columns(["f7"]))
    with pytest.raises(WrongPartyColumns, match="f5 of org3 is of type string"):
        fitted.transform(table.set_column(0, "f5", pa.array(["1"] * 40)))
    with pytest.raises(WrongPartyColumns, match="lacks 'split'"):
        TabularPreprocessor.fit(table.drop_columns(["split"]), "org3")


def test_values_that_cannot_be_used_are_refused():
    table = drawn("org2")
    fitted = TabularPreprocessor.fit(table, "org2")
    for bad, told in ((np.inf, "infinite"), (1e300, "too large")):
        column = pa.array([bad] + [0.0] * 39, pa.float64())
        for call in (fitted.transform, lambda rows: TabularPreprocessor.fit(rows, "org2")):
            with pytest.raises(ValuesUnfit, match=told):
                call(table.set_column(0, "f0", column))
    with pytest.raises(ValuesUnfit, match="no row whose split is 'train'"):
        TabularPreprocessor.fit(table.slice(1, 3), "org2")
    with pytest.raises(ValuesUnfit, match="no value of f0"):
        TabularPreprocessor.fit(table.set_column(0, "f0", pa.nulls(40)), "org2")
    assert np.isfinite(fitted.transform(table.set_column(0, "f0", pa.nulls(40)))).all()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"mean": [0.0] * 4}, "one value per feature"),
        ({"std": [0.0] * 5}, "std"),
        ({"std": [float("nan")] * 5}, "std"),
        ({"target": None}, "target of org2"),
        ({"features": ["f0", "f1", "f2", "f3", "label"]}, "features of org2"),
        ({"second_target": "label"}, "second_target"),
        ({"party": "org3"}, "org3"),
    ],
)
def test_a_stored_preprocessor_that_does_not_fit_is_refused(change, told):
    stored = TabularPreprocessor.fit(drawn("org2"), "org2").as_json()
    with pytest.raises(PreprocessorUnfit, match=told):
        TabularPreprocessor.from_json({**stored, **change})


def test_a_model_has_exactly_one_target():
    org2, org3 = (TabularPreprocessor.fit(drawn(party), party) for party in ("org2", "org3"))
    check_one_target([org3, org2])
    for wrong in ([], [org2], [org3], [org2, org2], [org2, org3, org2]):
        with pytest.raises(PreprocessorUnfit, match="one target"):
            check_one_target(wrong)
