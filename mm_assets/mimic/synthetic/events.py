"""Tables of charted ED events: vitalsign, medrecon, pyxis and the discharge diagnoses.

Belongs here: when each event is charted relative to the film. Every table holds events from before and after
it, and those from after it give the label away, as the real ones do.
Does not belong here: physiology (`vitals.py`), drug lists (`medications.py`).

Every function takes `stays` (stay_id, subject_id, intime, outtime, film_dt: time of the film or NaT) and rows
of findings in the same order, and returns the published columns, sorted.
"""

import numpy as np
import pandas as pd

from mm_assets.mimic.schema import (
    DIAGNOSIS_COLUMNS,
    LABELS,
    MEDRECON_COLUMNS,
    PYXIS_COLUMNS,
    VITALS,
    VITALSIGN_COLUMNS,
)
from mm_assets.mimic.synthetic.medications import DRUGS_AFTER_FILM, DRUGS_ANY_TIME, HOME_DRUGS, drug_codes
from mm_assets.mimic.synthetic.vitals import VITALSIGN_MISSING, as_charted, later_vitals, pain_text

# Discharge diagnoses (ICD-10-CM code, title) by finding, and some that follow from none.
_DIAGNOSES: dict[str, tuple[str, str]] = {
    "Atelectasis": ("J9811", "Atelectasis"),
    "Cardiomegaly": ("I517", "Cardiomegaly"),
    "Consolidation": ("J181", "Lobar pneumonia, unspecified organism"),
    "Edema": ("I509", "Heart failure, unspecified"),
    "Enlarged Cardiomediastinum": ("I7101", "Dissection of thoracic aorta"),
    "Fracture": ("S2239XA", "Fracture of one rib, unspecified side, init for clos fx"),
    "Lung Lesion": ("R911", "Solitary pulmonary nodule"),
    "Pleural Effusion": ("J90", "Pleural effusion, not elsewhere classified"),
    "Pleural Other": ("J929", "Pleural plaque without asbestos"),
    "Pneumonia": ("J189", "Pneumonia, unspecified organism"),
    "Pneumothorax": ("J939", "Pneumothorax, unspecified"),
}
_OTHER_DIAGNOSES = (
    ("I10", "Essential (primary) hypertension"), ("R0789", "Other chest pain"),
    ("R0600", "Dyspnea, unspecified"),
    ("E119", "Type 2 diabetes mellitus without complications"), ("R109", "Unspecified abdominal pain"),
    ("F10129", "Alcohol abuse with intoxication, unspecified"),
)  # fmt: skip


def vitalsign_table(
    stays: pd.DataFrame, arrival: pd.DataFrame, findings: pd.DataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    """Vitals every one to four hours, at least one row before and one after the film of a stay that has
    one."""
    rows, times = [], []
    for row, stay in enumerate(stays.to_dict("records")):
        moments = [stay["intime"] + pd.Timedelta(minutes=int(rng.integers(3, 25)))]
        while moments[-1] < stay["outtime"]:
            moments.append(moments[-1] + pd.Timedelta(minutes=int(rng.integers(60, 240))))
        if pd.notna(stay["film_dt"]):
            moments[0] = min(moments[0], stay["film_dt"].floor("min") - pd.Timedelta(minutes=6))
            moments.append(stay["film_dt"].ceil("min") + pd.Timedelta(minutes=int(rng.integers(1, 40))))
        kept = sorted({moment.floor("min") for moment in moments if stay["intime"] <= moment <= stay["outtime"]})
        rows += [row] * len(kept)
        times += kept
    index = np.array(rows, dtype=int)
    charttime = pd.Series(times, dtype="datetime64[ns]")
    film_dt = stays["film_dt"].iloc[index].reset_index(drop=True)
    of_row = findings.iloc[index].reset_index(drop=True)
    true = later_vitals(arrival.iloc[index].reset_index(drop=True), of_row, (charttime > film_dt).to_numpy(), rng)
    rhythm = pd.Series(rng.choice(["Sinus Rhythm", "afib", "NSR"], len(index))).where(rng.random(len(index)) < 0.04)
    table = pd.concat(
        [
            stays[["subject_id", "stay_id"]].iloc[index].reset_index(drop=True),
            charttime.rename("charttime"),
            as_charted(true, VITALSIGN_MISSING, rng.random(len(index)) < 0.002, rng)[list(VITALS)],
        ],
        axis=1,
    ).assign(rhythm=rhythm, pain=pain_text(of_row, rng))
    return table.sort_values(["subject_id", "stay_id", "charttime"])[list(VITALSIGN_COLUMNS)]


def medrecon_table(stays: pd.DataFrame, taken: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """Home drugs, one row per drug and therapeutic class; reconciled after the film in about one stay of
    eight."""
    rows = []
    for stay, drugs in zip(stays.to_dict("records"), taken, strict=True):
        film_dt = stay["film_dt"] if pd.notna(stay["film_dt"]) else stay["outtime"]
        early = stay["intime"] + (film_dt - stay["intime"]) * rng.uniform(0.05, 0.6)
        late = film_dt + (stay["outtime"] - film_dt) * rng.uniform(0.1, 0.9)
        charttime = (late if rng.random() < 0.12 else early).floor("s")
        for index in rng.permutation(np.flatnonzero(drugs)):
            drug = HOME_DRUGS[index]
            name = str(rng.choice(drug.names))
            gsn, ndc, _ = drug_codes(name)
            for number, etc in enumerate(drug.etc, start=1):
                code = drug_codes(etc)[2]
                rows.append((stay["subject_id"], stay["stay_id"], charttime, name, gsn, ndc, number, code, etc))
    table = pd.DataFrame(rows, columns=list(MEDRECON_COLUMNS))
    return table.sort_values(["subject_id", "stay_id"], kind="stable")


def pyxis_table(stays: pd.DataFrame, findings: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Drugs dispensed in the ED: everyday ones at any time, treatment of the findings only after the film."""
    rows = []
    for stay, present in zip(stays.to_dict("records"), findings.to_dict("records"), strict=True):
        given: list[tuple[pd.Timestamp, str]] = []
        for _ in range(rng.poisson(1.3)):
            given.append(
                (
                    stay["intime"] + (stay["outtime"] - stay["intime"]) * rng.random(),
                    str(rng.choice(DRUGS_ANY_TIME)),
                )
            )
        if pd.notna(stay["film_dt"]):
            for label, drugs in DRUGS_AFTER_FILM.items():
                if present[label] and rng.random() < 0.75:
                    moment = stay["film_dt"] + (stay["outtime"] - stay["film_dt"]) * rng.uniform(0.1, 0.8)
                    given.append((moment, str(rng.choice(drugs))))
        for number, (moment, name) in enumerate(sorted(given), start=1):
            rows.append((stay["subject_id"], stay["stay_id"], moment.floor("s"), number, name, 1, drug_codes(name)[0]))
    table = pd.DataFrame(rows, columns=list(PYXIS_COLUMNS))
    return table.sort_values(["subject_id", "stay_id", "med_rn"], kind="stable")


def diagnosis_table(stays: pd.DataFrame, findings: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Diagnoses, determined after discharge: they repeat the findings."""
    rows = []
    for stay, present in zip(stays.to_dict("records"), findings[list(LABELS)].to_dict("records"), strict=True):
        codes = [code for label, code in _DIAGNOSES.items() if present[label] and rng.random() < 0.8]
        extra = rng.permutation(len(_OTHER_DIAGNOSES))[: rng.integers(0 if codes else 1, 3)]
        codes += [_OTHER_DIAGNOSES[index] for index in extra]
        for number, (code, title) in enumerate(codes, start=1):
            rows.append((stay["subject_id"], stay["stay_id"], number, code, 10, title))
    table = pd.DataFrame(rows, columns=list(DIAGNOSIS_COLUMNS))
    return table.sort_values(["subject_id", "stay_id", "seq_num"])
