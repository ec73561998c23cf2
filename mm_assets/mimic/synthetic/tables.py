"""The CXR tables and the time-free ED tables in their published columns and conventions.

Belongs here: how a cohort becomes rows of metadata, labels, split, edstays, triage, patients and admissions.
Does not belong here: tables of charted events (`events.py`), which rows are wrong on purpose (`traps.py`).
Every function returns a frame whose columns are those of the published header, in order and sorted as
published.
"""

import numpy as np
import pandas as pd

from mm_assets.mimic.schema import (
    CXR_METADATA_COLUMNS,
    CXR_SPLIT_COLUMNS,
    EDSTAYS_COLUMNS,
    LABELS,
    PATIENTS_COLUMNS,
    TRIAGE_COLUMNS,
)
from mm_assets.mimic.synthetic.cohort import Cohort
from mm_assets.mimic.synthetic.vitals import TRIAGE_MISSING, acuity, as_charted, pain_text

# Order of the radiologist's file, which also has another name for Lung Opacity.
_RADIOLOGIST_ORDER = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Lesion", "Airspace Opacity", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other",
    "Fracture",
    "Support Devices",
)  # fmt: skip
_RADIOLOGIST_STUDIES = 687
_VIEW_MEANINGS = {
    "PA": "postero-anterior",
    "AP": "antero-posterior",
    "LATERAL": "lateral",
    "LL": "left lateral",
}
ADMISSIONS_COLUMNS: tuple[str, ...] = (
    "subject_id", "hadm_id", "admittime", "dischtime", "deathtime", "admission_type", "admit_provider_id",
    "admission_location", "discharge_location", "insurance", "language", "marital_status", "race",
    "edregtime",
    "edouttime", "hospital_expire_flag",
)  # fmt: skip


def study_time_text(times: pd.Series, rng: np.random.Generator) -> np.ndarray:
    """StudyTime as published: HHMMSS.fff written as a float, so leading zeros are gone (5.0 is 00:00:05).

    A few values carry the float's rounding error in the last digits, as numbers that went through a
    spreadsheet do.
    """
    t = times.dt
    millis = ((t.hour * 10_000 + t.minute * 100 + t.second) * 1000 + t.microsecond // 1000).to_numpy()
    text = np.array([repr(value / 1000) for value in millis.tolist()], dtype=object)
    artefact = (rng.random(len(text)) < 0.01) & (millis % 1000 > 0)
    for row in np.flatnonzero(artefact):
        text[row] = f"{millis[row] // 1000}.{millis[row] % 1000:03d}00000000002"
    return text


def metadata_table(cohort: Cohort, scale: float, rng: np.random.Generator) -> pd.DataFrame:
    """One row per film (more where `copies` says so), sorted by subject, study; Rows, Columns as stored."""
    studies = cohort.studies.assign(_time=study_time_text(cohort.studies["study_dt"], rng)).set_index("study_id")
    films = cohort.films
    of_study = studies.loc[films["study_id"]].reset_index()
    portable = of_study["study_id"].map(films[films["view"] == "AP"].groupby("study_id").size()).fillna(0) > 0
    procedure = np.where(portable, "CHEST (PORTABLE AP)", "CHEST (PA AND LAT)")
    erect = np.where(films["view"].to_numpy() == "AP", "Recumbent", "Erect")
    table = pd.DataFrame(
        {
            "dicom_id": films["dicom_id"].to_numpy(),
            "subject_id": films["subject_id"].to_numpy(),
            "study_id": films["study_id"].to_numpy(),
            "PerformedProcedureStepDescription": procedure,
            "ViewPosition": films["view"].to_numpy(),
            "Rows": scaled(films["rows"].to_numpy(), scale),
            "Columns": scaled(films["columns"].to_numpy(), scale),
            "StudyDate": of_study["study_date_text"].fillna(of_study["study_dt"].dt.strftime("%Y%m%d")),
            "StudyTime": of_study["study_time_text"].fillna(of_study["_time"]),
            "ProcedureCodeSequence_CodeMeaning": procedure,
            "ViewCodeSequence_CodeMeaning": films["view"].map(_VIEW_MEANINGS).to_numpy(),
            "PatientOrientationCodeSequence_CodeMeaning": pd.Series(erect).where(rng.random(len(films)) >= 0.1),
        }
    )[list(CXR_METADATA_COLUMNS)]
    table = table.loc[table.index.repeat(films["copies"].to_numpy())]
    return table.sort_values(["subject_id", "study_id"], kind="stable")


def scaled(pixels: np.ndarray | int, scale: float) -> np.ndarray:
    """Side length in pixels of a film drawn at `scale` of its linear size."""
    return np.maximum(32, np.round(np.asarray(pixels) * scale)).astype(int)


def split_table(cohort: Cohort) -> pd.DataFrame:
    """One row per image that has a split."""
    films = cohort.films[cohort.films["in_split"]]
    split = cohort.studies.set_index("study_id")["split"]
    table = films[["dicom_id", "study_id", "subject_id"]].assign(split=films["study_id"].map(split))
    return table.sort_values(["subject_id", "study_id"], kind="stable")[list(CXR_SPLIT_COLUMNS)]


def label_table(cohort: Cohort, observed: pd.DataFrame) -> pd.DataFrame:
    """Labeler output per study (chexpert and negbio files); `observed` is aligned with the studies."""
    table = pd.concat([cohort.studies[["subject_id", "study_id"]], observed[list(LABELS)]], axis=1)
    return table[cohort.studies["has_labels"]].sort_values(["subject_id", "study_id"])


def radiologist_table(cohort: Cohort) -> pd.DataFrame:
    """Test studies as one radiologist labelled them: the true findings as 1 and 0, at most 687 studies."""
    studies = cohort.studies[cohort.studies["split"] == "test"].sort_values("study_id")
    studies = studies.head(_RADIOLOGIST_STUDIES).rename(columns={"Lung Opacity": "Airspace Opacity"})
    return studies[["study_id", *_RADIOLOGIST_ORDER]].astype("int64")


def edstays_table(cohort: Cohort) -> pd.DataFrame:
    """One row per stay."""
    stays = cohort.stays
    table = stays.assign(
        gender=stays["subject_id"].map(cohort.subjects["gender"]),
        race=stays["subject_id"].map(cohort.subjects["race"]),
    )
    return table.sort_values(["subject_id", "intime", "stay_id"])[list(EDSTAYS_COLUMNS)]


def triage_table(
    stays: pd.DataFrame,
    vitals: pd.DataFrame,
    findings: pd.DataFrame,
    complaints: list[str],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """One row per stay; the other arguments have a row per stay in the same order."""
    charted = as_charted(vitals, TRIAGE_MISSING, stays["celsius"].to_numpy(dtype=bool), rng)
    level = acuity(vitals, rng)
    level[rng.random(len(stays)) < TRIAGE_MISSING["acuity"]] = np.nan
    table = pd.concat([stays[["subject_id", "stay_id"]], charted], axis=1)
    table = table.assign(pain=pain_text(findings, rng), acuity=level, chiefcomplaint=complaints)
    return table.sort_values(["subject_id", "stay_id"])[list(TRIAGE_COLUMNS)]


def patients_table(cohort: Cohort, rng: np.random.Generator) -> pd.DataFrame:
    """MIMIC-IV patients: age at the anchor year, which is a year of the shifted calendar; over 89 becomes
    91."""
    subjects = cohort.subjects
    first_year = cohort.stays.groupby("subject_id")["intime"].min().dt.year.reindex(subjects.index)
    anchor_year = first_year - rng.integers(0, 3, len(subjects))
    age = anchor_year - subjects["birth_year"]
    groups = rng.choice(["2008 - 2010", "2011 - 2013", "2014 - 2016"], len(subjects), p=[0.15, 0.45, 0.4])
    table = pd.DataFrame(
        {
            "subject_id": subjects.index,
            "gender": subjects["gender"].to_numpy(),
            "anchor_age": np.where(age > 89, 91, age.clip(lower=18)),
            "anchor_year": anchor_year.to_numpy(),
            "anchor_year_group": groups,
            "dod": subjects["dod"].dt.strftime("%Y-%m-%d").to_numpy(),
        }
    )
    return table[list(PATIENTS_COLUMNS)]


def admissions_table(cohort: Cohort, rng: np.random.Generator) -> pd.DataFrame:
    """One row per admitted stay."""
    stays = cohort.stays[cohort.stays["hadm_id"].notna()]
    n = len(stays)
    discharge = stays["outtime"] + pd.to_timedelta((rng.gamma(2.0, 48.0, n) * 60).round(), unit="min")
    table = pd.DataFrame(
        {
            "subject_id": stays["subject_id"],
            "hadm_id": stays["hadm_id"],
            "admittime": stays["outtime"] - pd.to_timedelta(rng.integers(5, 120, n), unit="min"),
            "dischtime": discharge.dt.floor("min"),
            "deathtime": pd.NaT,
            "admission_type": rng.choice(["EW EMER.", "OBSERVATION ADMIT", "EU OBSERVATION", "URGENT"], n),
            "admit_provider_id": [f"P{number}" for number in rng.integers(100, 1000, n)],
            "admission_location": "EMERGENCY ROOM",
            "discharge_location": rng.choice(["HOME", "HOME HEALTH CARE", "SKILLED NURSING FACILITY",
                                             "REHAB"], n),
            "insurance": rng.choice(["Medicare", "Medicaid", "Private", "Other"], n, p=[0.47, 0.19, 0.28,
                                    0.06]),
            "language": rng.choice(["English", "Spanish", "Russian", "Portuguese"], n, p=[0.9, 0.05, 0.03,
                                   0.02]),
            "marital_status": rng.choice(["MARRIED", "SINGLE", "WIDOWED", "DIVORCED"], n),
            "race": stays["subject_id"].map(cohort.subjects["race"]),
            "edregtime": stays["intime"],
            "edouttime": stays["outtime"],
            "hospital_expire_flag": 0,
        }
    )  # fmt: skip
    return table.sort_values(["subject_id", "admittime"])[list(ADMISSIONS_COLUMNS)]
