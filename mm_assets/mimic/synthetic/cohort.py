"""Who came when: subjects, ED stays, studies and films on one shifted time line, before any table is written.

Belongs here: identifiers, times, demographics, views, and which study belongs to which stay.
Does not belong here: published headers and missing values (tables), what is wrong with a film (traps).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mm_assets.mimic.schema import DIRECTORIES, LABELS
from mm_assets.mimic.synthetic.latent import draw_findings
from mm_assets.mimic.synthetic.prevalence import planted_rates

# Studies per patient differ by split: the 293 test patients have 10 each, thinned here to keep clusters many.
_STUDIES_PER_PATIENT = {"train": 1.6, "validate": 1.6, "test": 2.0}
# ED stays without a film, per stay with one.
_EXTRA_STAYS = 0.25
# Film sizes (rows, columns) by view and how often they occur; the rest of the portables are spread evenly.
_FILM_SIZES = {"PA": ((3056, 2544), (2544, 3056)), "AP": ((2544, 3056), (3056, 2544), (2705, 2539))}
_FILM_SIZE_SHARES = {"PA": (0.9, 0.1), "AP": (0.35, 0.30, 0.15)}
# More common of the 33 race strings of MIMIC-IV-ED, with about their shares.
RACES: dict[str, float] = {
    "WHITE": 0.53, "BLACK/AFRICAN AMERICAN": 0.17, "OTHER": 0.045, "HISPANIC/LATINO - PUERTO RICAN": 0.035,
    "WHITE - OTHER EUROPEAN": 0.025, "HISPANIC/LATINO - DOMINICAN": 0.025,
    "UNKNOWN": 0.02, "ASIAN - CHINESE": 0.02,
    "WHITE - RUSSIAN": 0.02, "BLACK/CAPE VERDEAN": 0.02, "HISPANIC OR LATINO": 0.015, "ASIAN": 0.015,
    "BLACK/AFRICAN": 0.01, "BLACK/CARIBBEAN ISLAND": 0.01, "WHITE - BRAZILIAN": 0.01, "PORTUGUESE": 0.01,
    "HISPANIC/LATINO - GUATEMALAN": 0.01, "ASIAN - SOUTH EAST ASIAN": 0.005, "UNABLE TO OBTAIN": 0.005,
    "PATIENT DECLINED TO ANSWER": 0.005, "AMERICAN INDIAN/ALASKA NATIVE": 0.005,
}  # fmt: skip
_AGE_SHIFTS = {
    "Edema": 6, "Cardiomegaly": 5, "Pleural Effusion": 3, "Fracture": 3, "Lung Lesion": 5, "Atelectasis": 2,
    "Enlarged Cardiomediastinum": 3, "Pneumothorax": -6, "No Finding": -6, "Support Devices": 2,
}  # fmt: skip


@dataclass
class Cohort:
    """Three frames that the traps may still change.

    subjects (index subject_id): split, gender, race, birth_year, dod
    stays: stay_id, subject_id, intime, outtime, study (row label of the film that shapes the stay, -1 none),
        hadm_id (Int64), arrival_transport, disposition, celsius (triage temperature in degrees Celsius)
    studies: study_id, subject_id, split, study_dt, stay_id (the stay it must be linked to, -1 none), spare
        (set aside for a trap), has_labels, study_time_text and study_date_text (as written when not derived
        from
        study_dt), 14 bool findings
    films: dicom_id, study_id, subject_id, view, rows, columns (full size, pixels), in_split, copies (metadata
        rows), fault (None or what is wrong with the file)
    """

    subjects: pd.DataFrame
    stays: pd.DataFrame
    studies: pd.DataFrame
    films: pd.DataFrame


def draw_cohort(
    linked: dict[str, int], spare: int, linked_share: float, prevalence_floor: float, rng: np.random.Generator
) -> Cohort:
    """Draw subjects, stays, studies and films.

    linked: studies per split that lie inside an ED stay. linked_share: share of all frontal studies that they
    make up; the others are taken days after a stay, as films of inpatients are. spare: further training
    patients with one stay and one linked study each, for the traps.
    """
    parts = [_draw_split(split, n, linked_share, prevalence_floor, rng) for split, n in linked.items() if n]
    parts += [_draw_split("train", spare, 1.0, prevalence_floor, rng, spare=True)] if spare else []
    studies = pd.concat([part[0] for part in parts], ignore_index=True)
    stays = pd.concat([part[1] for part in parts], ignore_index=True)

    # Local patient numbers become subject_ids; the first ten patients cover p10..p19.
    patients = pd.unique(stays["patient"])
    leading = np.concatenate([np.arange(10), rng.integers(0, 10, len(patients))])[: len(patients)]
    suffix = rng.choice(1_000_000 - 100, len(patients), replace=False) + 32
    subject_ids = dict(zip(patients, (10 + leading) * 1_000_000 + suffix, strict=True))
    for frame in (studies, stays):
        frame.insert(0, "subject_id", frame.pop("patient").map(subject_ids).astype("int64"))
    studies["study_id"] = 50_000_000 + rng.choice(9_999_000, len(studies), replace=False)
    stays["stay_id"] = 30_000_000 + rng.choice(9_999_000, len(stays), replace=False)
    has_stay = studies["stay"] >= 0
    studies["stay_id"] = -1
    stay_of_study = stays[stays["study"] != ""].set_index("study")["stay_id"]
    studies.loc[has_stay, "stay_id"] = studies.loc[has_stay, "key"].map(stay_of_study)
    row_of_key = dict(zip(studies["key"], studies.index, strict=True))
    stays["study"] = stays["study"].map(row_of_key).fillna(-1).astype("int64")
    studies = studies.drop(columns=["stay", "key"])

    subjects = _draw_subjects(studies, stays, rng)
    _draw_outcomes(stays, studies, rng)
    studies = studies.assign(has_labels=True, study_time_text=None, study_date_text=None)
    return Cohort(subjects, stays, studies, _draw_films(studies, rng))


def directory_of(subject_id: int) -> str:
    """Top folder of a subject, `p10` to `p19`."""
    directory = f"p{str(subject_id)[:2]}"
    if directory not in DIRECTORIES:
        raise ValueError(f"subject_id {subject_id} is outside 10000000..19999999")
    return directory


def new_dicom_id(rng: np.random.Generator) -> str:
    """Five groups of eight hex digits."""
    return "-".join(f"{value:08x}" for value in rng.integers(0, 2**32, 5))


def _draw_split(
    split: str, n: int, linked_share: float, floor: float, rng: np.random.Generator, spare: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Studies and stays of one split, keyed by local names; times are final."""
    group = "spare" if spare else split
    n_patients = n if spare else max(1, round(n / _STUDIES_PER_PATIENT[split]))
    with_film = np.concatenate([np.arange(n_patients), rng.integers(0, n_patients, n)])[:n]
    without_film = rng.integers(0, n_patients, 0 if spare else round(n * _EXTRA_STAYS))
    stays = pd.DataFrame({"patient": np.concatenate([with_film, without_film])})
    stays["study"] = [f"{group}{i}" for i in range(n)] + [""] * len(without_film)
    stays["order"] = rng.random(len(stays))
    stays = stays.sort_values(["patient", "order"]).reset_index(drop=True)

    # 30 days or more apart: nothing overlaps unless a trap says so.
    first_day = pd.Timestamp("2110-01-01") + pd.to_timedelta(rng.integers(0, 32_000, n_patients), unit="D")
    gaps = pd.Series(rng.integers(30, 500, len(stays)) * 1440 * 60 + rng.integers(0, 86_400, len(stays)))
    since = pd.to_timedelta(gaps.groupby(stays["patient"]).cumsum(), unit="s")
    stays["intime"] = first_day[stays["patient"]] + since
    film_after = np.clip(rng.gamma(2.0, 45.0, len(stays)), 12, 320)
    stays["study_dt"] = stays["intime"] + pd.to_timedelta((film_after * 60_000).round(), unit="ms")
    stays["outtime"] = (
        stays["study_dt"] + pd.to_timedelta((rng.gamma(2.0, 130.0, len(stays)) + 45).round() * 60, unit="s")
    ).dt.floor("s")

    linked = stays.loc[stays["study"] != "", ["patient", "study", "study_dt"]]
    linked = linked.rename(columns={"study": "key"})
    linked["stay"] = 0
    n_unlinked = round(n * (1.0 / linked_share - 1.0))
    after = stays.iloc[rng.integers(0, len(stays), n_unlinked)]
    delay = pd.to_timedelta((rng.uniform(1.5, 20, n_unlinked) * 86_400_000).round(), unit="ms")
    unlinked = pd.DataFrame(
        {
            "patient": after["patient"].to_numpy(),
            "key": [f"{group}u{i}" for i in range(n_unlinked)],
            "study_dt": (after["outtime"].reset_index(drop=True) + delay).to_numpy(),
            "stay": -1,
        }
    )
    studies = pd.concat([linked, unlinked], ignore_index=True)
    findings = draw_findings(studies["patient"].to_numpy(), planted_rates(floor, split), rng)
    studies = pd.concat([studies, findings], axis=1).assign(split=split, spare=spare)
    for frame in (studies, stays):
        frame["patient"] = group + frame["patient"].astype(str)
    return studies, stays.drop(columns=["order", "study_dt"])


def _draw_subjects(studies: pd.DataFrame, stays: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    first = studies.sort_values(["subject_id", "study_dt"]).drop_duplicates("subject_id")
    first = first.set_index("subject_id")
    subjects = pd.DataFrame({"split": first["split"]})
    n = len(subjects)
    age = 57 + rng.normal(0, 16, n) + sum(shift * first[label] for label, shift in _AGE_SHIFTS.items())
    start = stays.groupby("subject_id")["intime"].min().reindex(subjects.index)
    subjects["birth_year"] = start.dt.year - np.clip(age, 18, 97).round().astype(int)
    subjects["gender"] = np.where(rng.random(n) < 0.52, "F", "M")
    shares = np.array(list(RACES.values()))
    subjects["race"] = rng.choice(list(RACES), n, p=shares / shares.sum())
    last = pd.concat([studies[["subject_id", "study_dt"]].set_axis(["subject_id", "t"], axis=1),
                      stays[["subject_id", "outtime"]].set_axis(["subject_id", "t"], axis=1)])  # fmt: skip
    end = last.groupby("subject_id")["t"].max().reindex(subjects.index)
    died = rng.random(n) < np.where(first["No Finding"], 0.05, 0.22)
    dod = (end + pd.to_timedelta(rng.integers(2, 365, n), unit="D")).dt.floor("D")
    subjects["dod"] = dod.where(died)
    return subjects.sort_index()


def _draw_outcomes(stays: pd.DataFrame, studies: pd.DataFrame, rng: np.random.Generator) -> None:
    """Arrival (known before the film) and disposition, hadm_id (both decided after it)."""
    sick = _severity(studies).reindex(stays["study"], fill_value=0.0).to_numpy()
    n = len(stays)
    ambulance = rng.random(n) < 1 / (1 + np.exp(0.9 - 0.5 * sick))
    other = rng.choice(["WALK IN", "UNKNOWN", "OTHER", "HELICOPTER"], n, p=[0.935, 0.057, 0.005, 0.003])
    stays["arrival_transport"] = np.where(ambulance, "AMBULANCE", other)
    admitted = rng.random(n) < 1 / (1 + np.exp(0.9 - 0.9 * sick))
    sent = rng.choice(
        ["HOME", "TRANSFER", "LEFT WITHOUT BEING SEEN", "ELOPED", "OTHER", "LEFT AGAINST MEDICAL ADVICE",
         "EXPIRED"], n, p=[0.906, 0.026, 0.023, 0.021, 0.015, 0.007, 0.002],
    )  # fmt: skip
    stays["disposition"] = np.where(admitted, "ADMITTED", sent)
    hadm_id = pd.Series(20_000_000 + rng.choice(9_999_000, n, replace=False), dtype="Int64")
    stays["hadm_id"] = hadm_id.where(admitted)
    stays["celsius"] = rng.random(n) < 0.004


def _severity(studies: pd.DataFrame) -> pd.Series:
    pathological = [label for label in LABELS if label != "No Finding"]
    return studies[pathological].sum(axis=1).astype(float)


def _draw_films(studies: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    logit = -0.5 + 1.1 * studies["Support Devices"] + 0.8 * studies["Edema"] + 0.25 * _severity(studies)
    portable = rng.random(len(studies)) < 1 / (1 + np.exp(-logit.to_numpy()))
    rows = []
    for study, is_portable in zip(studies.itertuples(index=False), portable, strict=True):
        views = ["AP" if is_portable else "PA"]
        if not is_portable and rng.random() < 0.75:
            views.append("LATERAL" if rng.random() < 0.7 else "LL")
        if rng.random() < 0.06:
            views.append("AP" if rng.random() < 0.6 else views[0])
        for view in views:
            film_rows, columns = _film_size("AP" if view == "AP" else "PA", rng)
            rows.append((new_dicom_id(rng), study.study_id, study.subject_id, view, film_rows, columns))
    films = pd.DataFrame(rows, columns=["dicom_id", "study_id", "subject_id", "view", "rows", "columns"])
    return films.assign(in_split=True, copies=1, fault=None)


def _film_size(view: str, rng: np.random.Generator) -> tuple[int, int]:
    chance = rng.random()
    for size, share in zip(_FILM_SIZES[view], _FILM_SIZE_SHARES[view], strict=True):
        chance -= share
        if chance < 0:
            return size
    return int(rng.integers(2000, 3057)), int(rng.integers(2000, 3057))
