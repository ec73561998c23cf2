"""Dividing records into train, validate and test so that no group (a patient) is in two of them.

Belongs here: the division itself, for data that comes without an official one.
Does not belong here: reading an official split, and the choice of groups and strata.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

SPLIT_NAMES = ("train", "validate", "test")
DEFAULT_FRACTIONS = (0.70, 0.15, 0.15)


def grouped_stratified_split(
    groups: npt.ArrayLike,
    strata: npt.ArrayLike,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    *,
    seed: int,
) -> npt.NDArray[np.str_]:
    """Name a split for every record: ``groups`` and ``strata`` are [N], so is the answer.

    All records of a group go to one split. A group counts under the rarest stratum among its records, so that
    rare strata are spread over all splits. Every split holds its fraction of all records within 4/3 of the
    largest group, and its fraction of the records that count under one stratum within twice the largest
    group.

    Depends on the set of records and the seed, not on their order. Raises ValueError: lengths differ, or the
    fractions are not three numbers from 0 to 1 that add up to 1.
    """
    shares = np.asarray(fractions, dtype=float)
    if shares.shape != (3,) or (shares < 0).any() or not np.isclose(shares.sum(), 1.0):
        raise ValueError(f"fractions must be three numbers from 0 to 1 that add up to 1, not {tuple(fractions)}")
    group_array, stratum_array = np.asarray(groups), np.asarray(strata)
    if group_array.ndim != 1 or group_array.shape != stratum_array.shape:
        raise ValueError(f"groups and strata must have one length, not {group_array.shape} and {stratum_array.shape}")

    names, group_of_record, sizes = np.unique(group_array, return_inverse=True, return_counts=True)
    _, stratum_of_record, frequency = np.unique(stratum_array, return_inverse=True, return_counts=True)
    rank = np.empty_like(frequency)
    rank[np.argsort(frequency, kind="stable")] = np.arange(len(frequency))  # 0 = rarest
    stratum_of_group = np.full(len(names), len(frequency))
    np.minimum.at(stratum_of_group, group_of_record, rank[stratum_of_record])

    shuffled = np.random.default_rng(seed).permutation(len(names))
    order = shuffled[np.argsort(stratum_of_group[shuffled], kind="stable")]
    split_of_group = np.zeros(len(names), dtype=np.int64)
    # Error diffusion: each group goes to the split that is furthest below its share of the records seen so
    # far. What is owed always adds up to zero after a step, which bounds it by 4/3 of the largest group.
    owed = np.zeros(3)
    for group in order:
        owed += shares * sizes[group]
        split_of_group[group] = int(owed.argmax())
        owed[split_of_group[group]] -= sizes[group]
    return np.array(SPLIT_NAMES)[split_of_group[group_of_record]]
