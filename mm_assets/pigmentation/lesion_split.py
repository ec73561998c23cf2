"""Train, validate and test by patient, stratified on severity and skin tone; an official split is kept.

Belongs here: the strata, what makes an official split usable, and the check that no patient is in two splits.
Does not belong here: the division itself (`records/splits.py`).
"""

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.pigmentation.schema import SPLIT_SCHEMA
from mm_assets.records.splits import DEFAULT_FRACTIONS, SPLIT_NAMES, grouped_stratified_split
from resources.errors import MendableError


class SplitError(MendableError):
    """Records that cannot be divided: too few patients, or an official split that leaks or has holes."""


def split_lesions(lesions: pa.Table, seed: int, fractions: Sequence[float] = DEFAULT_FRACTIONS) -> pa.Table:
    """SPLIT_SCHEMA, sorted by record_id, from the columns record_id, patient_id, severity, tone, official_split.

    The official split where every record has one; otherwise ours, which depends on the set of records and the seed,
    not on their order. A record without a label counts as a severity of its own.
    Raises SplitError: an official split names some records only, lacks one of the three, or puts a patient in two; a
    split with a share above 0 would be empty.
    """
    table = lesions.select(["record_id", "patient_id", "severity", "tone", "official_split"]).sort_by("record_id")
    if table.num_rows == 0:
        raise SplitError("there is no record to divide: look into rejected.parquet for why images were not used")
    unnamed = table["official_split"].null_count
    if unnamed == table.num_rows:
        strata = [f"{severity}|{tone}" for severity, tone in zip(*_texts(table, "severity", "tone"), strict=True)]
        names = grouped_stratified_split(table["patient_id"].to_pylist(), strata, fractions, seed=seed)
        split = pa.array(names.tolist(), pa.string())
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
        patients = len(set(divided["patient_id"].to_pylist()))
        raise SplitError(
            f"no record is in {' or '.join(empty)} ({patients} patients): add patients, or complete the official split"
        )
    return divided


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
