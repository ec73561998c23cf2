"""How many images, studies and patients are left after each step of linking, and what each rule would link.

Belongs here: the counts behind a CONSORT diagram and the comparison of the two linking rules.
Does not belong here: deciding who is left (``linking.py``, which makes the tables that are counted here).
"""

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mm_assets.mimic.schema import SPLITS

if TYPE_CHECKING:
    import duckdb

FLOW_SCHEMA = pa.schema(
    [("step", pa.string()), ("images", pa.int64()), ("studies", pa.int64()), ("patients", pa.int64())]
)
SPLIT_STEP = "split: "

_ROW_IS_SOUND = """
    coalesce(reason, '') NOT IN ('bad_id', 'duplicate_dicom_id', 'bad_study_date', 'bad_study_time')
"""
# Step -> rows that pass it, in the order in which they are applied.
_STEPS = {
    "all images": "images",
    "valid id, date and time": f"images WHERE {_ROW_IS_SOUND}",
    "frontal view": f"images WHERE frontal AND {_ROW_IS_SOUND}",
    "labelled": """
        images WHERE frontal AND coalesce(reason, '') IN ('', 'patient_in_two_splits', 'missing_split')
    """,
    "in one split": "images WHERE frontal AND reason IS NULL",
    "patient known to the emergency department": "images WHERE frontal AND reason IS NULL AND known_to_ed",
    "linked to a stay": "linked",
    "one image per study": "linked_studies",
    "one study per stay": "links",
}


def count_flow(connection: "duckdb.DuckDBPyConnection", splits: pa.Table) -> pa.Table:
    """FLOW_SCHEMA: a row per step, in order, then a row ``split: NAME`` per split.

    Counts the tables that linking made on ``connection``; ``splits`` has subject_id, study_id, dicom_id and
    split of the final links. The step ``one study per stay`` repeats the one above it where all studies of a
    stay are kept.
    """
    connection.register("final_splits", splits)
    steps = {**_STEPS, **{f"{SPLIT_STEP}{name}": f"final_splits WHERE split = '{name}'" for name in SPLITS}}
    flow = connection.sql(
        " UNION ALL ".join(
            f"""
            SELECT {order} AS position, '{step}' AS step, count(*) AS images,
                   count(DISTINCT study_id) AS studies, count(DISTINCT subject_id) AS patients
            FROM {rows}
            """
            for order, (step, rows) in enumerate(steps.items())
        )
        + " ORDER BY position"
    )
    return flow.to_arrow_table().drop(["position"]).cast(FLOW_SCHEMA)


def count_rules(connection: "duckdb.DuckDBPyConnection", rule: str) -> dict[str, Any]:
    """What each linking rule links among the same images, before one image and one study are chosen.

    ``{"rule": the one in force, "eligible_images": n, "within_stay": {...}, "abs24h": {...}, "edstays":
    {...}}``; per rule ``images``, ``studies``, ``stays``, ``images_outside_stay`` (linked, but taken before
    arrival or after departure) and ``linked_share`` of the eligible images; for edstays ``rows``, ``usable``,
    ``bad``, ``duplicates``.
    """
    (eligible,) = _row(connection, "SELECT count(*) FROM images WHERE frontal AND reason IS NULL")
    counts: dict[str, Any] = {"rule": rule, "eligible_images": eligible}
    for name in ("within_stay", "abs24h"):
        images, studies, stays, outside = _row(
            connection,
            f"""
            SELECT count(*), count(DISTINCT study_id), count(DISTINCT stay_id), count(*) FILTER (NOT inside)
            FROM candidates WHERE by_{name} AND {name}_choice = 1
            """,
        )
        counts[name] = {
            "images": images,
            "studies": studies,
            "stays": stays,
            "images_outside_stay": outside,
            "linked_share": round(images / eligible, 6) if eligible else None,
        }
    rows, usable, bad = _row(
        connection,
        """
        SELECT (SELECT count(*) FROM edstays), (SELECT count(*) FROM stays),
               (SELECT count(*) FROM edstays WHERE EXISTS (
                    SELECT 1 FROM bad_stays WHERE bad_stays.stay_id IS NOT DISTINCT FROM edstays.stay_id))
        """,
    )
    counts["edstays"] = {"rows": rows, "usable": usable, "bad": bad, "duplicates": rows - usable - bad}
    return counts


def _row(connection: "duckdb.DuckDBPyConnection", query: str) -> tuple[Any, ...]:
    return connection.sql(query).fetchall()[0]
