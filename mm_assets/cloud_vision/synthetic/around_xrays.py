"""The files of a data set around real X-rays: their labels are kept, everything else of a record is drawn for them.

Belongs here: splits of X-rays that come without one, and writing. Does not belong here: finding and decoding X-rays
(`mm_assets/cloud_vision/xray_source.py`), what is in a record (cohort), the layout of the files (dataset).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from mm_assets.cloud_vision.schema import IMAGE_HOLDER
from mm_assets.cloud_vision.synthetic.cohort import COMMON_SHARE, GivenXray, image_path, plan_real_records
from mm_assets.cloud_vision.synthetic.dataset import make_folders, write_tables
from mm_assets.cloud_vision.synthetic.law import DEFAULT_DIFFICULTY, Design, PlantedLaw, planted_law
from mm_assets.records.splits import grouped_stratified_split

FRACTIONS = (0.64, 0.16, 0.20)  # of train, validate, test

_README = """REAL X-RAYS, SYNTHETIC TABLES

The X-rays below this folder and their labels come from the configured source. Every feature was made by a program to
fit the label, and so was the choice which organisation holds which record: what a model learns holds for no person.
"""


@dataclass(frozen=True)
class TablesConfig:
    """Knobs of the tables; as those of `dataset.XrayDataConfig`."""

    design: Design = "complementary"
    difficulty: float = DEFAULT_DIFFICULTY
    common_share: float = COMMON_SHARE
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.common_share <= 1.0:
            raise ValueError(f"common_share must lie above 0 and be at most 1, not {self.common_share}")
        planted_law(self.design, self.difficulty)

    @property
    def law(self) -> PlantedLaw:
        """What the features are drawn from."""
        return planted_law(self.design, self.difficulty)


def write_around_xrays(folder: Path, xrays: Iterable[pa.RecordBatch], config: TablesConfig) -> list[GivenXray]:
    """Write a data set below `folder` around X-rays in XRAY_SCHEMA, each id once; the same X-rays in another order and
    the same config give the same bytes. Returns every X-ray with its split.

    An X-ray of a record that organisation 3 does not hold is left out, as in life. Raises DataExist when `folder`
    already holds a data set.
    """
    make_folders(folder)
    found: list[tuple[str, int, str | None]] = []
    for batch in xrays:
        for row in batch.to_pylist():
            (folder / IMAGE_HOLDER / image_path(row["image_id"])).write_bytes(row["xray"])
            found.append((row["image_id"], row["label"], row["split"]))
    given = divided(found, config.seed)
    records = plan_real_records(config.law, given, config.common_share, config.seed)
    for record in records:
        if IMAGE_HOLDER not in record.holders:
            (folder / IMAGE_HOLDER / record.image).unlink()
    write_tables(folder, records, {}, config.seed)
    (folder / "README").write_text(_README)
    return given


def divided(found: Sequence[tuple[str, int, str | None]], seed: int) -> list[GivenXray]:
    """(image_id, label, split) with a split for each: an official one is kept, the others are divided into FRACTIONS,
    image by image and stratified by label."""
    undivided = [(image_id, label) for image_id, label, split in found if split is None]
    named: dict[str, str] = {}
    if undivided:
        ids, labels = zip(*undivided, strict=True)
        named = dict(zip(ids, grouped_stratified_split(ids, labels, FRACTIONS, seed=seed).tolist(), strict=True))
    return [GivenXray(image_id, label, split or named[image_id]) for image_id, label, split in found]
