"""Which emergency stay a chest film belongs to: one row per linked study.

Belongs here: the order of the steps, which films and stays may take part, and the reason for every row that may not.
Does not belong here: the time of a film (``study_time.py``), the rules and every choice (``link_choice.py``), a split
of our own (``own_split.py``), counting who is left after which step (``cohort.py``), reading files (``source.py``),
and everything that looks at an image or at a clinical value.

No outcome of the program depends on the order of rows in a file.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from mm_assets.mimic import cohort
from mm_assets.mimic.link_choice import Rule, StudiesPerStay, choose_links, join_images_to_stays
from mm_assets.mimic.own_split import own_split
from mm_assets.mimic.schema import FRONTAL_VIEWS, KNOWN_VIEWS, LINK_COLUMNS, SPLITS
from mm_assets.mimic.study_time import STUDY_DAY, STUDY_MICROSECONDS
from mm_assets.records.splits import DEFAULT_FRACTIONS

if TYPE_CHECKING:
    import duckdb

# Code in `rejected.parquet` -> what it means. Films that are merely not wanted (lateral views, patients never
# seen in the emergency department, films outside every stay) are not faults: the cohort flow counts them.
REASONS: dict[str, str] = {
    "bad_id": "dicom_id, study_id or subject_id is missing, or subject_id is outside p10 to p19",
    "duplicate_dicom_id": "a further row of one image; every row of it where they contradict each other",
    "bad_study_date": "StudyDate is missing or no date (YYYYMMDD)",
    "bad_study_time": "StudyTime is missing or no time of day (HHMMSS.fff, leading zeros optional)",
    "missing_view": "ViewPosition is blank",
    "unknown_view": "ViewPosition is none of the codes in the published data",
    "no_labels": "no CheXpert row for this study and patient",
    "conflicting_labels": "several CheXpert rows for this study that contradict each other",
    "missing_split": "the official split file has no row for this image, or no known split in it",
    "patient_in_two_splits": "the split file puts images of this patient into more than one split",
    "bad_stay": "a stay without id, patient or times, ending before it begins, or contradicting its copy",
}

LINK_SCHEMA = pa.schema(
    [
        ("subject_id", pa.int64()),
        ("study_id", pa.int64()),
        ("dicom_id", pa.string()),
        ("stay_id", pa.int64()),
        ("study_dt", pa.timestamp("us")),
        ("intime", pa.timestamp("us")),
        ("outtime", pa.timestamp("us")),
        ("delta_to_intime_min", pa.float64()),  # minutes from arrival to the film; negative before arrival
        ("within_stay", pa.bool_()),  # intime <= study_dt <= outtime, whatever the rule
        ("n_candidates", pa.int32()),  # stays that the rule allowed
        ("rule", pa.string()),
        ("view", pa.string()),
        ("split", pa.string()),
        ("directory", pa.string()),  # p10 .. p19
        ("image_path", pa.string()),  # below the root of MIMIC-CXR-JPG
        ("gender", pa.string()),
        ("race", pa.string()),
        ("age", pa.int32()),  # years at the study, at most 91; null without MIMIC-IV
    ]
)
assert tuple(LINK_SCHEMA.names) == LINK_COLUMNS
REJECTED_SCHEMA = pa.schema(
    [
        ("subject_id", pa.int64()),
        ("study_id", pa.int64()),
        ("dicom_id", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)

# What the directories p10 to p19 hold.
SUBJECT_IDS = (10_000_000, 19_999_999)


@dataclass(frozen=True)
class LinkConfig:
    """How films are linked to stays; the defaults are the strict reading of "during the stay"."""

    rule: Rule = "within_stay"
    pre_hours: float = 0.0  # within_stay only: a film may precede arrival by this much
    post_hours: float = 0.0  # within_stay only: ... and follow departure by this much
    studies_per_stay: StudiesPerStay = "first"
    split_fractions: tuple[float, float, float] = DEFAULT_FRACTIONS  # only without the official split file
    seed: int = 0  # only without the official split file


@dataclass(frozen=True)
class LinkResult:
    links: pa.Table  # LINK_SCHEMA, sorted by subject_id, study_id
    rejected: pa.Table  # REJECTED_SCHEMA, sorted by every column
    flow: pa.Table  # cohort.FLOW_SCHEMA
    rule_counts: dict[str, Any]  # see cohort.count_rules
    split_source: Literal["official", "patient_grouped"]


def link_studies(tables: Mapping[str, pa.Table | Path], config: LinkConfig | None = None) -> LinkResult:
    """Link every usable frontal film to its emergency stay.

    ``tables`` maps ``cxr_metadata``, ``cxr_chexpert``, ``edstays`` and, where there are any, ``cxr_split``
    and ``patients`` to a table with the columns of ``schema.py`` or to a Parquet file of it. Without
    ``cxr_split`` the patients are divided by grouped_stratified_split, stratified by the rarest positive
    label; without ``patients`` the age is null. Raises KeyError where one of the first three is missing.
    """
    import duckdb

    config = config or LinkConfig()
    with duckdb.connect() as connection:
        for name in ("cxr_metadata", "cxr_chexpert", "edstays"):
            _register(connection, name, tables[name])
        for name in ("cxr_split", "patients"):
            if tables.get(name) is not None:
                _register(connection, name, tables[name])
        official = tables.get("cxr_split") is not None
        prepare_images(connection, official_split=official)
        prepare_stays(connection)
        join_images_to_stays(connection, pre_hours=config.pre_hours, post_hours=config.post_hours)
        choose_links(connection, config.rule, config.studies_per_stay, with_age=tables.get("patients") is not None)
        links = connection.sql("SELECT * FROM links ORDER BY subject_id, study_id").to_arrow_table()
        if not official:
            split = own_split(connection, config.split_fractions, config.seed)
            links = links.set_column(links.schema.get_field_index("split"), "split", split)
        rejected = connection.sql(
            """
            SELECT subject_id, study_id, dicom_id, reason, detail FROM images WHERE reason IS NOT NULL
            UNION ALL
            SELECT subject_id, NULL, NULL, 'bad_stay', 'stay_id ' || coalesce(stay_id::VARCHAR, 'missing')
            FROM bad_stays
            ORDER BY ALL
            """
        ).to_arrow_table()
        return LinkResult(
            links=links.cast(LINK_SCHEMA),
            rejected=rejected.cast(REJECTED_SCHEMA),
            flow=cohort.count_flow(connection, links),
            rule_counts=cohort.count_rules(connection, config.rule),
            split_source="official" if official else "patient_grouped",
        )


def prepare_images(connection: "duckdb.DuckDBPyConnection", *, official_split: bool) -> None:
    """Make ``images``: a row per metadata row with study_dt, view, split, and the first reason against it.

    Reads cxr_metadata, cxr_chexpert, edstays and, if ``official_split``, cxr_split. Rows that are ``frontal``
    and have no ``reason`` go on to the join; ``known_to_ed`` says whether the patient has any stay at all.
    """
    if official_split:
        splits = "SELECT dicom_id, min(split) AS split FROM cxr_split GROUP BY dicom_id"
        # Over all films, wanted or not: a patient in two splits is a fault of the file, not of the cohort.
        in_two_splits = """
            SELECT film.subject_id FROM cxr_metadata AS film JOIN cxr_split USING (dicom_id)
            GROUP BY film.subject_id HAVING min(split) <> max(split)
        """
        without_split = f"split IS NULL OR split NOT IN {_sql_list(SPLITS)}"
    else:
        splits = "SELECT NULL::VARCHAR AS dicom_id, NULL::VARCHAR AS split WHERE false"
        in_two_splits = "SELECT NULL::BIGINT AS subject_id WHERE false"
        without_split = "false"
    connection.execute(
        f"""
        CREATE TEMP TABLE images AS
        WITH parsed AS (
            SELECT
                dicom_id, subject_id, study_id, "Rows"::BIGINT * "Columns" AS pixels,
                nullif(upper(trim(ViewPosition)), '') AS view,
                {STUDY_DAY} AS study_day, {STUDY_MICROSECONDS} AS study_us
            FROM cxr_metadata
        ),
        repeated AS (
            SELECT dicom_id FROM cxr_metadata WHERE dicom_id IS NOT NULL GROUP BY dicom_id HAVING count(*) > 1
        ),
        contradicting AS (
            SELECT dicom_id FROM (
                SELECT DISTINCT dicom_id, subject_id, study_id, view, study_day, study_us
                FROM parsed SEMI JOIN repeated USING (dicom_id)
            ) GROUP BY dicom_id HAVING count(*) > 1
        ),
        copies AS (
            SELECT *, 1 AS copy FROM parsed ANTI JOIN repeated USING (dicom_id)
            UNION ALL
            SELECT *, row_number() OVER (PARTITION BY dicom_id ORDER BY pixels DESC NULLS LAST)
            FROM parsed SEMI JOIN repeated USING (dicom_id)
        ),
        labelled AS (
            SELECT subject_id, study_id, count(*) AS versions
            FROM (SELECT DISTINCT * FROM cxr_chexpert) GROUP BY subject_id, study_id
        ),
        splits AS ({splits}),
        in_two_splits AS ({in_two_splits})
        SELECT
            film.dicom_id, film.subject_id, film.study_id, pixels, view, split,
            study_day + to_microseconds(study_us) AS study_dt,
            coalesce(view IN {_sql_list(FRONTAL_VIEWS)}, false) AS frontal,
            known.subject_id IS NOT NULL AS known_to_ed,
            CASE
                WHEN film.dicom_id IS NULL OR film.study_id IS NULL OR film.subject_id IS NULL
                     OR film.subject_id NOT BETWEEN {SUBJECT_IDS[0]} AND {SUBJECT_IDS[1]} THEN 'bad_id'
                WHEN copy > 1 OR contradicting.dicom_id IS NOT NULL THEN 'duplicate_dicom_id'
                WHEN study_day IS NULL THEN 'bad_study_date'
                WHEN study_us IS NULL THEN 'bad_study_time'
                WHEN view IS NULL THEN 'missing_view'
                WHEN view NOT IN {_sql_list(sorted(KNOWN_VIEWS))} THEN 'unknown_view'
                WHEN NOT frontal THEN NULL
                WHEN versions IS NULL THEN 'no_labels'
                WHEN versions > 1 THEN 'conflicting_labels'
                WHEN in_two_splits.subject_id IS NOT NULL THEN 'patient_in_two_splits'
                WHEN {without_split} THEN 'missing_split'
            END AS reason,
            CASE
                WHEN contradicting.dicom_id IS NOT NULL THEN 'the copies contradict each other: none is kept'
                WHEN copy > 1 THEN 'a further copy'
                WHEN reason = 'unknown_view' THEN view
            END AS detail
        FROM copies AS film
        LEFT JOIN contradicting ON contradicting.dicom_id = film.dicom_id
        LEFT JOIN labelled ON labelled.subject_id = film.subject_id AND labelled.study_id = film.study_id
        LEFT JOIN splits ON splits.dicom_id = film.dicom_id
        LEFT JOIN in_two_splits ON in_two_splits.subject_id = film.subject_id
        LEFT JOIN (SELECT DISTINCT subject_id FROM edstays) AS known ON known.subject_id = film.subject_id
        """
    )


def prepare_stays(connection: "duckdb.DuckDBPyConnection") -> None:
    """Make ``stays`` (one usable row per stay_id) and ``bad_stays`` (subject_id, stay_id) from edstays."""
    connection.execute(
        """
        CREATE TEMP TABLE bad_stays AS
        WITH repeated AS (SELECT stay_id FROM edstays GROUP BY stay_id HAVING count(*) > 1),
        contradicting AS (
            SELECT stay_id FROM edstays SEMI JOIN repeated USING (stay_id) GROUP BY stay_id
            HAVING count(DISTINCT (subject_id, intime, outtime)) > 1
        )
        SELECT DISTINCT subject_id, stay_id FROM edstays LEFT JOIN contradicting USING (stay_id)
        WHERE edstays.stay_id IS NULL OR subject_id IS NULL OR intime IS NULL OR outtime IS NULL
              OR outtime < intime OR contradicting.stay_id IS NOT NULL
        """
    )
    connection.execute(
        """
        CREATE TEMP TABLE stays AS
        WITH usable AS (
            SELECT stay_id, subject_id, intime, outtime, gender, race
            FROM edstays ANTI JOIN bad_stays ON bad_stays.stay_id IS NOT DISTINCT FROM edstays.stay_id
        ),
        repeated AS (SELECT stay_id FROM usable GROUP BY stay_id HAVING count(*) > 1)
        SELECT * FROM usable ANTI JOIN repeated USING (stay_id)
        UNION ALL
        SELECT stay_id, min(subject_id), min(intime), min(outtime), min(gender), min(race)
        FROM usable SEMI JOIN repeated USING (stay_id) GROUP BY stay_id
        """
    )


def _register(connection: "duckdb.DuckDBPyConnection", name: str, table: pa.Table | Path) -> None:
    if isinstance(table, Path):
        connection.read_parquet(str(table)).create_view(name)
    else:
        connection.register(name, table)


def _sql_list(values: Iterable[object]) -> str:
    return "(" + ", ".join(f"'{value}'" for value in values) + ")"
