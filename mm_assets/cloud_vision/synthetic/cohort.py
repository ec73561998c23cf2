"""Which records there are, who holds them, and how each organisation writes them down, before anything is drawn.

Belongs here: classes, splits, features, ids and their spellings, rows that are missing or repeated, also of records
whose X-ray is a real one. Does not belong here: the law behind the numbers (`law.py`), films (`films.py`), files
(`dataset.py`).

As in life: each organisation lacks some of the other's records, writes a part of the ids in a spelling of its own, has
sent some rows twice, and keeps its rows in an order of its own.
"""

from collections.abc import Callable, Mapping, Sequence
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
_RECORDS, _ROWS, _FILMS, _REAL = range(4)


@dataclass(frozen=True)
class GivenXray:
    """A real X-ray: its id, its class as a place in CLASSES, and its split."""

    image_id: str
    label: int
    split: str


@dataclass(frozen=True)
class RecordPlan:
    """One record: image_id in the usual spelling, label a place in CLASSES, features f0 to f9, its film still to be
    drawn (None: it has a real X-ray), and who holds it."""

    image_id: str
    split: str
    label: int
    features: tuple[float, ...]
    film: FilmPlan | None
    holders: tuple[Organisation, ...]

    @property
    def image(self) -> str:
        """Path of the X-ray below organisation 3's folder."""
        return image_path(self.image_id)


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


def image_path(image_id: str) -> str:
    """Path of an X-ray below organisation 3's folder."""
    return f"images/{image_id}.jpg"


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
        holders = _draw_holders(common_share, size, rng)
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
                    holders=holders[row],
                )
            )
    return records


def plan_real_records(law: PlantedLaw, xrays: Sequence[GivenXray], common_share: float, seed: int) -> list[RecordPlan]:
    """A record of each real X-ray, in the order of SPLITS and of ids: features drawn for its label, and who holds it.

    The same X-rays in another order give the same records. Every split has its share of common records up to one.
    """
    rng = np.random.default_rng((seed, _REAL))
    records: list[RecordPlan] = []
    for split in SPLITS:
        given = sorted((xray for xray in xrays if xray.split == split), key=lambda xray: xray.image_id)
        features = draw_features(law, np.array([xray.label for xray in given], int), rng)
        for xray, values, holders in zip(given, features, _draw_holders(common_share, len(given), rng), strict=True):
            records.append(RecordPlan(xray.image_id, split, xray.label, tuple(values.tolist()), None, holders))
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


def _draw_holders(common_share: float, size: int, rng: np.random.Generator) -> list[tuple[Organisation, ...]]:
    """Who holds each of `size` records; those that are not common are divided evenly."""
    apart = (1 - common_share) / 2
    groups: tuple[tuple[Organisation, ...], ...] = (ORGANISATIONS, (LABEL_HOLDER,), (IMAGE_HOLDER,))
    places = np.repeat(np.arange(len(groups)), _quotas(np.array([common_share, apart, apart]), size))
    return [groups[place] for place in rng.permutation(places)]


def _quotas(shares: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers that add up to `total`, each its share of it up to one; the largest remainders round up."""
    exact = shares * total
    counts = np.floor(exact + 1e-9).astype(int)
    for place in np.argsort(-(exact - counts), kind="stable")[: total - int(counts.sum())]:
        counts[place] += 1
    return counts
