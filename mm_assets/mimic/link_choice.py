"""Which stay a film is linked to, which film stands for a study, and which study for a stay.

Belongs here: the linking rules, the three choices, and the row of a link.
Does not belong here: which films and stays may take part (``linking.py``), counting (``cohort.py``).

MIMIC-CXR and MIMIC-IV-ED share no key but the patient and the (consistently shifted) calendar. The rules:

- ``within_stay`` (default): intime - pre <= study <= outtime + post.
- ``abs24h``: |study - intime| <= 24 h, the rule of earlier work. It links films taken after discharge and
  loses films of patients who board for longer than a day; both rules are always counted side by side.

Among several candidate stays: the one that contains the study, then one already begun, then the nearest
intime, then the lowest stay_id.
"""

from typing import TYPE_CHECKING, Literal

from mm_assets.mimic.schema import FRONTAL_VIEWS, MAX_AGE

if TYPE_CHECKING:
    import duckdb

Rule = Literal["within_stay", "abs24h"]
StudiesPerStay = Literal["first", "last", "all"]


def join_images_to_stays(connection: "duckdb.DuckDBPyConnection", *, pre_hours: float, post_hours: float) -> None:
    """Make ``candidates`` from ``images`` and ``stays``: a row per image and stay that either rule allows.

    ``pre_hours`` and ``post_hours`` widen ``within_stay``.
    For each rule: ``by_RULE`` (it allows the stay), ``RULE_candidates`` (stays it allows for the image) and
    ``RULE_choice`` (1 = the stay it chooses). The last two mean something only where ``by_RULE`` is true.
    No text column takes part: text would cost more than the join itself.
    """
    best_first = "inside DESC, intime <= study_dt DESC, abs(epoch_us(study_dt) - epoch_us(intime)), stay_id"
    connection.execute(
        f"""
        CREATE TEMP TABLE candidates AS
        WITH pairs AS (
            SELECT
                images.rowid AS image, study_id, study_dt, stay_id, intime, outtime,
                study_dt BETWEEN intime AND outtime AS inside,
                study_dt BETWEEN intime - to_microseconds($pre) AND outtime + to_microseconds($post)
                    AS by_within_stay,
                abs(epoch_us(study_dt) - epoch_us(intime)) <= $day AS by_abs24h
            FROM images JOIN stays ON stays.subject_id = images.subject_id
            WHERE reason IS NULL AND frontal AND (by_within_stay OR by_abs24h)
        )
        SELECT *,
            count(*) OVER (PARTITION BY image, by_within_stay) AS within_stay_candidates,
            row_number() OVER (PARTITION BY image, by_within_stay ORDER BY {best_first})
                AS within_stay_choice,
            count(*) OVER (PARTITION BY image, by_abs24h) AS abs24h_candidates,
            row_number() OVER (PARTITION BY image, by_abs24h ORDER BY {best_first}) AS abs24h_choice
        FROM pairs
        """,
        {
            "pre": round(pre_hours * 3_600_000_000),
            "post": round(post_hours * 3_600_000_000),
            "day": 24 * 3_600_000_000,
        },
    )


def choose_links(
    connection: "duckdb.DuckDBPyConnection", rule: Rule, studies_per_stay: StudiesPerStay, *, with_age: bool
) -> None:
    """Make ``linked`` (images), ``linked_studies`` (their best image each) and ``links`` (LINK_COLUMNS).

    Reads ``images``, ``stays``, ``candidates`` and, if ``with_age``, patients; without it the age is null.
    """
    connection.execute(
        f"""
        CREATE TEMP TABLE linked AS
        SELECT
            images.* EXCLUDE (reason, detail), candidates.stay_id, candidates.intime, candidates.outtime,
            inside, gender, race, {rule}_candidates AS n_candidates
        FROM candidates
        JOIN images ON images.rowid = candidates.image
        JOIN stays ON stays.stay_id = candidates.stay_id
        WHERE by_{rule} AND {rule}_choice = 1
        """
    )
    # The frontal view with the truer heart size first, then the finer film; the id makes ties reproducible.
    connection.execute(
        f"""
        CREATE TEMP TABLE linked_studies AS
        SELECT * FROM linked
        QUALIFY row_number() OVER (
            PARTITION BY subject_id, study_id
            ORDER BY list_position({list(FRONTAL_VIEWS)}, view), pixels DESC NULLS LAST, dicom_id
        ) = 1
        """
    )
    one_per_stay = {
        "first": "QUALIFY row_number() OVER (PARTITION BY stay_id ORDER BY study_dt, study_id) = 1",
        "last": "QUALIFY row_number() OVER (PARTITION BY stay_id ORDER BY study_dt DESC, study_id DESC) = 1",
        "all": "",
    }[studies_per_stay]
    if with_age:
        # least() passes over nulls and would call an unknown patient 91.
        years = "anchor_age + year(study_dt) - anchor_year"
        age = f"CASE WHEN {years} > {MAX_AGE} THEN {MAX_AGE} ELSE {years} END"
        anchors = """
            SELECT subject_id, min(anchor_age) AS anchor_age, min(anchor_year) AS anchor_year
            FROM patients GROUP BY subject_id
        """
    else:
        age = "NULL"
        anchors = "SELECT NULL::BIGINT AS subject_id WHERE false"
    connection.execute(
        f"""
        CREATE TEMP TABLE links AS
        SELECT
            study.subject_id, study_id, dicom_id, stay_id, study_dt, intime, outtime,
            (epoch_us(study_dt) - epoch_us(intime)) / 60e6 AS delta_to_intime_min,
            inside AS within_stay, n_candidates, '{rule}' AS rule, view, split,
            'p' || left(study.subject_id::VARCHAR, 2) AS directory,
            concat_ws('/', 'files', directory, 'p' || study.subject_id, 's' || study_id, dicom_id || '.jpg')
                AS image_path,
            gender, race, {age} AS age
        FROM linked_studies AS study LEFT JOIN ({anchors}) AS anchors ON anchors.subject_id = study.subject_id
        {one_per_stay}
        """
    )
