"""Which records there are, who holds them, and how each organisation writes them down, before anything is drawn.

Belongs here: classes, splits, features, ids and their spellings, rows that are missing or repeated. Does not belong
here: the law behind the numbers (`law.py`), films (`films.py`), files (`dataset.py`).

As in life: each organisation lacks some of the other's records, writes a part of the ids in a spelling of its own, has
sent some rows twice, and keeps its rows in an order of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mm_assets.cloud_vision.schema import (
    CLASSES,
    FEATURES,
    IMAGE_COLUMN,
    IMAGE_HOLDER,
    LABEL_COLUMN,
    LABEL_HOLDER,
    ORG2_FEATURES,
    ORG3_FEATURES,
    ORGANISATIONS,
    PATTERNS,
    SPLITS,
    Organisation,
)
from mm_assets.cloud_vision.synthetic.films import FilmPlan
from mm_assets.cloud_vision.synthetic.law import PlantedLaw, draw_features, draw_patterns

COMMON_SHARE = 0.70  # of all records are at both organisations; the rest is at one, half of it at each
OTHER_SPELLING_SHARE = 0.20  # of rows
REPEATED_SHARE = 0.03  # of rows are there twice, the second time in any spelling
SEVERITY_RANGE = (0.35, 1.0)  # of films with a lesion

# Name -> how an id is written; the first is the usual one.
SPELLINGS: Mapping[str, Callable[[str], str]] = {
    "usual": lambda image_id: image_id,
    "small letters": lambda image_id: image_id.lower(),
    "hyphen": lambda image_id: image_id.replace("_", "-"),
    "space after": lambda image_id: f"{image_id} ",
    "space before, small letters": lambda image_id: f" {image_id.lower()}",
}

_IDS = 1_000_000
# Words that open each random stream.
_RECORDS, _ROWS, _FILMS = range(3)


@dataclass(frozen=True)
class RecordPlan:
    """One record: image_id in the usual spelling, label a place in CLASSES, features f0 to f9, its film still to be
    drawn, and who holds it."""

    image_id: str
    split: str
    label: int
    features: tuple[float, ...]
    film: FilmPlan
    holders: tuple[Organisation, ...]

    @property
    def image(self) -> str:
        """Path of the X-ray below organisation 3's folder."""
        return f"images/{self.image_id}.jpg"


@dataclass(frozen=True)
class PlannedRow:
    """A record as an organisation wrote it down. spelling: one of SPELLINGS; repeated: the record has a row before."""

    record: RecordPlan
    image_id: str
    spelling: str
    repeated: bool

    def values(self, organisation: Organisation) -> dict[str, Any]:
        """The row of that organisation's table."""
        record = self.record
        features = dict(zip(FEATURES, record.features, strict=True))
        row: dict[str, Any] = {"image_id": self.image_id, "split": record.split}
        if organisation == LABEL_HOLDER:
            return row | {name: features[name] for name in ORG2_FEATURES} | {LABEL_COLUMN: record.label}
        return row | {name: features[name] for name in ORG3_FEATURES} | {IMAGE_COLUMN: record.image}


def plan_records(law: PlantedLaw, sizes: Mapping[str, int], common_share: float, seed: int) -> list[RecordPlan]:
    """All records, `sizes` of each split, in the order of SPLITS.

    Every split has its mix of classes up to one record, and its share of common records up to one.
    """
    rng = np.random.default_rng((seed, _RECORDS))
    numbers = rng.choice(_IDS, sum(sizes.values()), replace=False)
    records: list[RecordPlan] = []
    for split in SPLITS:
        size = sizes[split]
        prior = law.shifted_prior if split == "shifted" else law.prior
        labels = rng.permutation(np.repeat(np.arange(len(CLASSES)), _quotas(prior, size)))
        features, patterns = draw_features(law, labels, rng), draw_patterns(law, labels, rng)
        severities = rng.uniform(*SEVERITY_RANGE, size)
        apart = (1 - common_share) / 2
        holders = rng.permutation(np.repeat(np.arange(3), _quotas(np.array([common_share, apart, apart]), size)))
        for row in range(size):
            number = len(records)
            pattern = PATTERNS[patterns[row]]
            film = FilmPlan(
                seed=(seed, _FILMS, number),
                pattern=pattern,
                severity=0.0 if pattern == "clear" else float(severities[row]),
                contrast=law.contrast,
                other_exposure=split == "shifted",
            )
            records.append(
                RecordPlan(
                    image_id=f"IMG_{numbers[number]:06d}",
                    split=split,
                    label=int(labels[row]),
                    features=tuple(float(value) for value in features[row]),
                    film=film,
                    holders=(ORGANISATIONS, (LABEL_HOLDER,), (IMAGE_HOLDER,))[holders[row]],
                )
            )
    return records


def plan_rows(records: list[RecordPlan], organisation: Organisation, seed: int) -> list[PlannedRow]:
    """The rows of an organisation's table, in its order."""
    rng = np.random.default_rng((seed, _ROWS, ORGANISATIONS.index(organisation)))
    held = [record for record in records if organisation in record.holders]
    names = list(SPELLINGS)
    rows = []
    seen: set[str] = set()
    twice = rng.choice(len(held), round(REPEATED_SHARE * len(held)), replace=False)
    every = rng.permutation(np.concatenate([np.arange(len(held)), twice]))
    for place in every:
        record = held[place]
        other = rng.random() < OTHER_SPELLING_SHARE
        spelling = names[int(rng.integers(1, len(names)))] if other else names[0]
        rows.append(PlannedRow(record, SPELLINGS[spelling](record.image_id), spelling, record.image_id in seen))
        seen.add(record.image_id)
    return rows


def _quotas(shares: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers that add up to `total`, each its share of it up to one; the largest remainders round up."""
    exact = shares * total
    counts = np.floor(exact + 1e-9).astype(int)
    for place in np.argsort(-(exact - counts), kind="stable")[: total - int(counts.sum())]:
        counts[place] += 1
    return counts
