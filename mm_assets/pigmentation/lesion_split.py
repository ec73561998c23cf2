"""Train, validate and test by patient, stratified on severity and skin tone; an official split is kept.

Belongs here: the strata, who keeps the split they have, what makes an official split usable, and the check that no
patient is in two splits. Does not belong here: the first division (`records/splits.py`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.pigmentation.schema import SPLIT_SCHEMA
from mm_assets.records.splits import DEFAULT_FRACTIONS, SPLIT_NAMES, grouped_stratified_split
from resources.errors import MendableError

ALL_STRATA = "all"  # beside the strata, whose names hold a bar


class SplitError(MendableError):
    """Records that cannot be divided: too few patients, or an official split that leaks or has holes."""


def split_lesions(
    lesions: pa.Table,
    seed: int,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    *,
    kept: Mapping[str, str] | None = None,
) -> pa.Table:
    """SPLIT_SCHEMA, sorted by record_id, from the columns record_id, patient_id, severity, tone, official_split.

    The official split where every record has one; otherwise ours: patients in `kept` (patient_id to split) stay where
    they are, new ones are divided so that the fractions hold over all. It depends on the set of records, on `kept` and
    the seed, not on the order of records. A record without a label counts as a severity of its own.
    Raises SplitError: an official split names some records only, lacks one of the three, or puts a patient in two; a
    split with a share above 0 would be empty.
    """
    table = lesions.select(["record_id", "patient_id", "severity", "tone", "official_split"]).sort_by("record_id")
    if table.num_rows == 0:
        raise SplitError("there is no record to divide: look into rejected.parquet for why images were not used")
    unnamed = table["official_split"].null_count
    if unnamed == table.num_rows:
        strata = [f"{severity}|{tone}" for severity, tone in zip(*_texts(table, "severity", "tone"), strict=True)]
        patients = table["patient_id"].to_pylist()
        placed = {patient: kept[patient] for patient in patients if patient in kept} if kept else {}
        if placed:
            place_new_patients(placed, patients, strata, fractions, seed)
            names = [placed[patient] for patient in patients]
        else:
            names = grouped_stratified_split(patients, strata, fractions, seed=seed).tolist()
        split = pa.array(names, pa.string())
    elif unnamed == 0:
        split, fractions = table["official_split"], (1.0, 1.0, 1.0)
    else:
        raise SplitError(
            f"the manifest names a split for {table.num_rows - unnamed} of {table.num_rows} records: name one for all "
            "of them, or for none"
        )
    divided = pa.Table.from_arrays([table["record_id"], table["patient_id"], split], schema=SPLIT_SCHEMA)
    torn = patients_in_two_splits(divided)
    if torn:
        raise SplitError(f"the official split puts {torn} patients in two of its parts: put each into one")
    present = set(divided["split"].to_pylist())
    empty = [name for name, share in zip(SPLIT_NAMES, fractions, strict=True) if share > 0 and name not in present]
    if empty:
        count = len(set(divided["patient_id"].to_pylist()))
        raise SplitError(
            f"no record is in {' or '.join(empty)} ({count} patients): add patients, or complete the official split"
        )
    return divided


def place_new_patients(
    placed: dict[str, str], patients: Sequence[str], strata: Sequence[str], fractions: Sequence[float], seed: int
) -> None:
    """Add to `placed` (patient_id to split) those of `patients` ([N], as `strata`) that it does not name.

    Each goes to the split that lacks most records: of the strata the patient has records in, and of all strata.
    """
    records: dict[str, Counter[str]] = {}
    for patient, stratum in zip(patients, strata, strict=True):
        records.setdefault(patient, Counter()).update((stratum, ALL_STRATA))
    totals = Counter([*strata, *[ALL_STRATA] * len(strata)])
    lacking = {stratum: np.asarray(fractions, float) * total for stratum, total in totals.items()}

    def place(patient: str, part: int) -> None:
        for stratum, count in records[patient].items():
            lacking[stratum][part] -= count

    for patient, name in placed.items():
        place(patient, SPLIT_NAMES.index(name))
    new = sorted(records.keys() - placed.keys())
    for position in np.random.default_rng(seed).permutation(len(new)):
        patient = new[position]
        part = int(np.sum([lacking[stratum] for stratum in records[patient]], axis=0).argmax())
        place(patient, part)
        placed[patient] = SPLIT_NAMES[part]


def labelled_records(lesions: pa.Table) -> pa.Table:
    """The records with a severity: only those are divided, since a model learns from and is judged on labels.

    Raises SplitError where none has one.
    """
    labelled = lesions.filter(pc.is_valid(lesions["severity"]))
    if lesions.num_rows and not labelled.num_rows:
        raise SplitError(
            f"none of {lesions.num_rows} records has a severity label: give label and label_source in the manifest"
        )
    return labelled


def patients_in_two_splits(split: pa.Table) -> int:
    """How many patients of a SPLIT_SCHEMA table have records in more than one split; 0 is right."""
    pairs = set(zip(*_texts(split, "patient_id", "split"), strict=True))
    return sum(count > 1 for count in Counter(patient for patient, _ in pairs).values())


def split_counts(lesions: pa.Table, split: pa.Table) -> dict[str, dict[str, int]]:
    """Per split: records, patients, and records of each severity and tone ("no label" where there is none)."""
    split_of = dict(zip(*_texts(split, "record_id", "split"), strict=True))
    patients = Counter(name for _, name in set(zip(*_texts(split, "patient_id", "split"), strict=True)))
    counts: dict[str, Counter[str]] = {name: Counter() for name in SPLIT_NAMES}
    for record, severity, tone in zip(*_texts(lesions, "record_id", "severity", "tone"), strict=True):
        counts[split_of[record]].update(("records", severity or "no label", tone))
    return {name: {"patients": patients[name], **dict(sorted(counts[name].items()))} for name in SPLIT_NAMES}


def _texts(table: pa.Table, *columns: str) -> list[list[str]]:
    return [table[column].to_pylist() for column in columns]
