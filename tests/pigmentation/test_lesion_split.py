import json
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_assets.pigmentation import assets
from mm_assets.pigmentation.lesion_split import SplitError, patients_in_two_splits, split_counts, split_lesions
from mm_assets.pigmentation.schema import SEVERITIES, SPLIT_SCHEMA, TONES
from resources.artifact_record import Artifact
from resources.dagster_resources import House


def lesions(patients: int, seed: int = 0, official: list[str | None] | None = None) -> pa.Table:
    """Patients with one to three records of random severity and one tone each."""
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(patients):
        tone = TONES[rng.integers(len(TONES))]
        for lesion in range(rng.integers(1, 4)):
            severity = (*SEVERITIES, None)[rng.integers(4)]
            rows.append({"record_id": f"{patient}-{lesion}@1", "patient_id": f"p{patient}", "severity": severity})
            rows[-1] |= {"tone": tone, "official_split": official[patient] if official else None}
    schema = pa.schema([(name, pa.string()) for name in rows[0]])
    return pa.Table.from_pylist(rows, schema=schema)


@settings(max_examples=25, deadline=None)
@given(patients=st.integers(30, 120), seed=st.integers(0, 1000))
def test_no_patient_is_in_two_splits_and_order_does_not_matter(patients: int, seed: int) -> None:
    table = lesions(patients, seed)
    split = split_lesions(table, seed=seed)
    assert split.schema == SPLIT_SCHEMA and patients_in_two_splits(split) == 0
    assert sorted(split["record_id"].to_pylist()) == sorted(table["record_id"].to_pylist())
    shuffled = table.take(np.random.default_rng(seed).permutation(table.num_rows))
    assert split_lesions(shuffled, seed=seed).equals(split)


def test_severities_and_tones_are_spread_over_all_splits() -> None:
    table = lesions(2000)
    split = split_lesions(table, seed=0, fractions=(0.6, 0.12, 0.28))
    counts = split_counts(table, split)
    total = table.num_rows
    assert counts["test"]["records"] / total == pytest.approx(0.28, abs=0.01)
    for name in (*SEVERITIES, *TONES, "no label"):
        everywhere = sum(counts[part][name] for part in counts)
        assert counts["test"][name] / everywhere == pytest.approx(0.28, abs=0.06), name


def test_another_seed_is_another_split() -> None:
    assert not split_lesions(lesions(100), seed=0).equals(split_lesions(lesions(100), seed=1))


def test_a_complete_official_split_is_kept() -> None:
    official = ["train", "validate", "test"] * 10
    table = lesions(30, official=official)
    split = split_lesions(table, seed=0)
    by_patient = dict(zip(split["patient_id"].to_pylist(), split["split"].to_pylist(), strict=True))
    assert by_patient == {f"p{n}": name for n, name in enumerate(official)}


@pytest.mark.parametrize(
    ("official", "match"),
    [
        (["train", "validate", None] * 10, "name one for all"),
        (["train", "test", "test"] * 10, "no record is in validate"),
    ],
)
def test_an_official_split_with_holes_is_refused(official: list[str | None], match: str) -> None:
    with pytest.raises(SplitError, match=match):
        split_lesions(lesions(30, official=official), seed=0)


def test_an_official_split_that_tears_a_patient_apart_is_refused() -> None:
    table = pa.table(
        {
            "record_id": ["a@1", "b@1", "c@1", "d@1"],
            "patient_id": ["p1", "p1", "p2", "p3"],
            "severity": ["Mild"] * 4,
            "tone": ["tan"] * 4,
            "official_split": ["train", "test", "validate", "test"],
        }
    )
    with pytest.raises(SplitError, match="1 patients"):
        split_lesions(table, seed=0)
    torn = pa.Table.from_arrays([table["record_id"], table["patient_id"], table["official_split"]], schema=SPLIT_SCHEMA)
    assert patients_in_two_splits(torn) == 1


def test_too_few_patients_and_no_records_say_so() -> None:
    with pytest.raises(SplitError, match="add patients"):
        split_lesions(lesions(2), seed=0)
    with pytest.raises(SplitError, match="no record to divide"):
        split_lesions(lesions(2).slice(0, 0), seed=0)


FRACTIONS = (0.6, 0.12, 0.28)


def split_of(divided: pa.Table) -> dict[str, str]:
    return dict(zip(divided["patient_id"].to_pylist(), divided["split"].to_pylist(), strict=True))


def of_patients(table: pa.Table, first: int, last: int) -> pa.Table:
    """The records of patients first..last-1."""
    return table.filter(pc.is_in(table["patient_id"], pa.array([f"p{n}" for n in range(first, last)])))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), gone=st.integers(0, 59))
def test_a_patient_more_or_less_moves_nobody(seed: int, gone: int) -> None:
    table = lesions(61, seed)
    before = split_of(split_lesions(of_patients(table, 0, 60), seed, FRACTIONS))
    more = split_of(split_lesions(table, seed, FRACTIONS, kept=before))
    assert {patient: more[patient] for patient in before} == before and more.keys() - before.keys() == {"p60"}
    less = table.filter(pc.not_equal(table["patient_id"], f"p{gone}"))
    after = split_of(split_lesions(less, seed, FRACTIONS, kept=more))
    assert after == {patient: name for patient, name in more.items() if patient != f"p{gone}"}


def test_patients_that_come_one_by_one_are_spread_as_patients_that_come_at_once() -> None:
    table = lesions(900)
    divided = split_lesions(of_patients(table, 0, 300), 0, FRACTIONS)
    for patients in range(301, 500):
        divided = split_lesions(of_patients(table, 0, patients), 0, FRACTIONS, kept=split_of(divided))
    divided = split_lesions(table, 0, FRACTIONS, kept=split_of(divided))
    counts = split_counts(table, divided)
    for part, share in zip(("train", "validate", "test"), FRACTIONS, strict=True):
        assert counts[part]["records"] / table.num_rows == pytest.approx(share, abs=0.01)
        for name in (*SEVERITIES, *TONES, "no label"):
            everywhere = sum(counts[other][name] for other in counts)
            assert counts[part][name] / everywhere == pytest.approx(share, abs=0.06), (part, name)


def test_an_official_split_rules_over_the_one_before() -> None:
    table = lesions(30, official=["train", "validate", "test"] * 10)
    kept = {f"p{n}": "train" for n in range(30)}
    assert split_lesions(table, seed=0, kept=kept).equals(split_lesions(table, seed=0))


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setenv("MM_SCRATCH", str(tmp_path / "scratch"))
    return House(home=str(tmp_path / "home"))


def split_again(
    house: House, table: pa.Table, *, tree: dict[str, Any] | None = None, **config: float
) -> tuple[Artifact, str, dict[str, str]]:
    """Publish `table` as the lesions of an image set and materialise the split: artifact, what it tells, patients."""
    store = house.artifacts()
    with store.draft("pigmentation", "source") as draft:
        draft.write_json("source.json", {"tree": tree} if tree else {"url": "u", "layout": "manifest"})
        source = draft.publish(upstream={}, synthetic=tree is not None, run_id=None)
    with store.draft("pigmentation", "lesions") as draft:
        draft.write_table("lesions.parquet", table.filter(pc.is_valid(table["severity"])))
        draft.publish(upstream={"pigmentation/source": source.version}, synthetic=tree is not None, run_id=None)
    run_config = {"ops": {"pigmentation__split": {"config": config}}}
    with dg.instance_for_test() as instance:
        done = dg.materialize([assets.split], resources={"house": house}, run_config=run_config, instance=instance)
        (event,) = done.get_asset_materialization_events()
        told = event.materialization.metadata["patients seen before"].value
    artifact = store.current("pigmentation", "split")
    return artifact, str(told), split_of(store.read_table(artifact, "split.parquet"))


def test_the_published_split_is_frozen(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    table = lesions(61)
    first, told, before = split_again(house, of_patients(table, 0, 60))
    assert told.startswith("all divided: no version before")
    assert json.loads(house.artifacts().local_file(first, "split.json").read_bytes())["seed"] == 0
    again, told, _ = split_again(house, of_patients(table, 0, 60))
    assert (again.version, told) == (first.version, "keep their split")
    _, _, more = split_again(house, table)
    assert len(more) > len(before) and {patient: more[patient] for patient in before} == before
    _, told, shares = split_again(house, table, train=0.5, validate_=0.25, test=0.25)
    assert told == "all divided anew: the version before was made with other fractions" and shares != more
    _, told, rendered = split_again(house, table, tree={"patients": 61}, train=0.5, validate_=0.25, test=0.25)
    assert told.endswith("other rendered") and rendered == shares
    monkeypatch.setenv("MM_SEED", "7")
    _, told, seeded = split_again(house, table)
    assert told.endswith("other fractions, rendered, seed") and seeded != more
