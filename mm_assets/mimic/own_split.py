"""Train, validate and test where the official split file is absent: whole patients, stratified by label.

Belongs here: the strata. Does not belong here: the division itself (``records/splits.py``) and the official split.
"""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mm_assets.mimic.schema import LABELS
from mm_assets.records.splits import grouped_stratified_split

if TYPE_CHECKING:
    import duckdb


def own_split(connection: "duckdb.DuckDBPyConnection", fractions: tuple[float, float, float], seed: int) -> pa.Array:
    """A split per row of ``links`` in the order of subject_id, study_id; the stratum is the rarest positive label.

    Reads ``links`` and cxr_chexpert on ``connection``; ``fractions`` of train, validate, test.
    """
    positive = ", ".join(f'coalesce("{label}" = 1, false) AS "{label}"' for label in LABELS)
    table = connection.sql(
        f"""
        SELECT links.subject_id, {positive}
        FROM links JOIN (SELECT DISTINCT * FROM cxr_chexpert) AS labels USING (subject_id, study_id)
        ORDER BY links.subject_id, study_id
        """
    ).to_arrow_table()
    positives = np.column_stack([table[label].to_numpy() for label in LABELS])
    rarest_first = np.argsort(positives.sum(axis=0), kind="stable")
    ranked = positives[:, rarest_first]
    strata = np.where(ranked.any(axis=1), ranked.argmax(axis=1), len(LABELS))
    split = grouped_stratified_split(table["subject_id"].to_numpy(), strata, fractions, seed=seed)
    return pa.array(split, pa.string())
