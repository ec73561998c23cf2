"""Cases that a careless pipeline gets wrong, each planted once or twice in patients of their own.

Belongs here: what is spoilt or made awkward, and the outcome that a correct pipeline must reach.
Does not belong here: the rules that a pipeline follows.

Each trap takes the spare study set aside for it and changes the cohort's frames in place. Expected outcomes:
`linked:<stay_id>`, `not_linked`, or `rejected:<reason>` with a reason of linking or of phase 1.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from mm_assets.mimic.synthetic.cohort import Cohort, new_dicom_id

TRAP_COLUMNS: tuple[str, ...] = ("trap", "subject_id", "study_id", "dicom_id", "expected")
_Expected = list[tuple[int, str, str]]  # study_id, dicom_id, outcome
_Trap = Callable[[Cohort, int, np.random.Generator], _Expected]


def plant_traps(cohort: Cohort, rng: np.random.Generator) -> pd.DataFrame:
    """Turn the cohort's spare studies into traps; returns the list with columns TRAP_COLUMNS.

    Spare studies take the traps in order: LINKING_TRAPS, then REJECTED_TRAPS.
    """
    rows = []
    spare = cohort.studies.index[cohort.studies["spare"]].to_numpy()
    for row, (name, trap) in zip(spare, [*LINKING_TRAPS, *REJECTED_TRAPS], strict=False):
        _keep_one_pa_film(cohort, int(_value(cohort.studies, row, "study_id")), rng)
        subject_id = int(_value(cohort.studies, row, "subject_id"))
        for study_id, dicom_id, expected in trap(cohort, int(row), rng):
            rows.append((name, subject_id, study_id, dicom_id, expected))
    return pd.DataFrame(rows, columns=list(TRAP_COLUMNS))


def _keep_one_pa_film(cohort: Cohort, study_id: int, rng: np.random.Generator) -> None:
    """Leave the study a single PA film, so that no second film rescues it."""
    of_study = cohort.films.index[cohort.films["study_id"] == study_id]
    cohort.films.drop(index=of_study[1:], inplace=True)
    cohort.films.at[of_study[0], "view"] = "PA"
    cohort.films.at[of_study[0], "rows"] = 3056
    cohort.films.at[of_study[0], "columns"] = 2544


def _appended(frame: pd.DataFrame, values: dict[str, Any]) -> pd.DataFrame:
    added = pd.DataFrame([values], index=[frame.index.max() + 1]).astype(frame.dtypes.to_dict())
    return pd.concat([frame, added])


def _like(frame: pd.DataFrame, row: int, **changes: Any) -> dict[str, Any]:
    """The values of a row with some of them changed."""
    return {column: _value(frame, row, column) for column in frame.columns} | changes


def _value(frame: pd.DataFrame, row: int, column: str) -> Any:
    return frame.at[row, column]


def _film(cohort: Cohort, row: int) -> int:
    return int(cohort.films.index[cohort.films["study_id"] == _value(cohort.studies, row, "study_id")][0])


def _stay(cohort: Cohort, row: int) -> int:
    return int(cohort.stays.index[cohort.stays["stay_id"] == _value(cohort.studies, row, "stay_id")][0])


def _outcome(cohort: Cohort, row: int, expected: str | None = None) -> _Expected:
    study_id, stay_id = (int(_value(cohort.studies, row, column)) for column in ("study_id", "stay_id"))
    dicom_id = str(_value(cohort.films, _film(cohort, row), "dicom_id"))
    return [(study_id, dicom_id, expected or f"linked:{stay_id}")]


def _add_stay(cohort: Cohort, like: int, intime: pd.Timestamp, outtime: pd.Timestamp) -> None:
    """Another stay of the same patient, with the lowest stay_id of all so that file order misleads."""
    stay_id = int(cohort.stays["stay_id"].min()) - 1
    changes = {"stay_id": stay_id, "intime": intime, "outtime": outtime, "study": -1, "hadm_id": pd.NA}
    cohort.stays = _appended(cohort.stays, _like(cohort.stays, like, **changes, celsius=False))


def _move_film(cohort: Cohort, row: int, to: pd.Timestamp) -> None:
    cohort.studies.at[row, "study_dt"] = to


def celsius_triage(cohort: Cohort, row: int, rng: np.random.Generator) -> _Expected:
    """Triage temperature in degrees Celsius."""
    cohort.stays.at[_stay(cohort, row), "celsius"] = True
    return _outcome(cohort, row)


def overlapping_stays(cohort: Cohort, row: int, rng: np.random.Generator) -> _Expected:
    """Two stays contain the film: the one with the later arrival wins."""
    stay = _stay(cohort, row)
    intime, outtime = (_value(cohort.stays, stay, column) for column in ("intime", "outtime"))
    _add_stay(cohort, stay, intime - pd.Timedelta(hours=3), outtime + pd.Timedelta(hours=1))
    return _outcome(cohort, row)


def just_after_midnight(cohort: Cohort, row: int, rng: np.random.Generator) -> _Expected:
    """Film at 00:00:05, written as 5.0, of a patient who came the evening before."""
    midnight = _value(cohort.studies, row, "study_dt").ceil("D")
    stay = _stay(cohort, row)
    cohort.stays.at[stay, "intime"] = midnight - pd.Timedelta(hours=1)
    cohort.stays.at[stay, "outtime"] = midnight + pd.Timedelta(hours=5)
    _move_film(cohort, row, midnight + pd.Timedelta(seconds=5))
    return _outcome(cohort, row)


def stays_a_day_apart(cohort: Cohort, row: int, rng: np.random.Generator) -> _Expected:
    """An earlier stay began within 24 h before the film and ended before it; it has the lower stay_id."""
    begin = _value(cohort.studies, row, "study_dt").floor("s") - pd.Timedelta(hours=23)
    _add_stay(cohort, _stay(cohort, row), begin, begin + pd.Timedelta(hours=4))
    return _outcome(cohort, row)


def boarder(cohort: Cohort, row: int, rng: np.random.Generator) -> _Expected:
    """Film 26 h after arrival of a patient still in the ED: inside the stay, beyond 24 h from arrival."""
    stay = _stay(cohort, row)
    arrival = _value(cohort.stays, stay, "intime")
    cohort.stays.at[stay, "outtime"] = arrival + pd.Timedelta(hours=31)
    _move_film(cohort, row, arrival + pd.Timedelta(hours=26))
    return _outcome(cohort, row)


def two_frontals(cohort: Cohort, row: int, rng: np.random.Generator) -> _Expected:
    """One study with an AP and a PA film: the PA film is taken although the AP film is larger."""
    changes = {"dicom_id": new_dicom_id(rng), "view": "AP", "rows": 3056, "columns": 3056}
    cohort.films = _appended(cohort.films, _like(cohort.films, _film(cohort, row), **changes))
    return _outcome(cohort, row)


def two_studies_in_stay(cohort: Cohort, row: int, rng: np.random.Generator) -> _Expected:
    """Two studies in one stay: the first is kept."""
    study_id, dicom_id = int(cohort.studies["study_id"].min()) - 1, new_dicom_id(rng)
    later = _value(cohort.studies, row, "study_dt") + pd.Timedelta(minutes=30)
    stay, film = _stay(cohort, row), _film(cohort, row)
    cohort.stays.at[stay, "outtime"] = max(_value(cohort.stays, stay, "outtime"), later.ceil("h"))
    second = _like(cohort.studies, row, study_id=study_id, study_dt=later, stay_id=-1)
    cohort.studies = _appended(cohort.studies, second)
    cohort.films = _appended(cohort.films, _like(cohort.films, film, study_id=study_id, dicom_id=dicom_id))
    return [*_outcome(cohort, row), (study_id, dicom_id, "not_linked")]


def duplicate_row(cohort: Cohort, row: int, rng: np.random.Generator) -> _Expected:
    """The metadata row of a film stands there twice: one copy is kept, the other is reported."""
    cohort.films.at[_film(cohort, row), "copies"] = 2
    return _outcome(cohort, row) + _outcome(cohort, row, "rejected:duplicate_dicom_id")


def after_discharge(cohort: Cohort, row: int, rng: np.random.Generator) -> _Expected:
    """Film three hours after discharge and within 24 h of arrival."""
    stay = _stay(cohort, row)
    cohort.stays.at[stay, "study"] = -1
    _move_film(cohort, row, _value(cohort.stays, stay, "outtime") + pd.Timedelta(hours=3))
    cohort.studies.at[row, "stay_id"] = -1
    return _outcome(cohort, row, "not_linked")


def before_arrival(cohort: Cohort, row: int, rng: np.random.Generator) -> _Expected:
    """Film two hours before arrival, as in another hospital or clinic."""
    stay = _stay(cohort, row)
    cohort.stays.at[stay, "study"] = -1
    _move_film(cohort, row, _value(cohort.stays, stay, "intime") - pd.Timedelta(hours=2))
    cohort.studies.at[row, "stay_id"] = -1
    return _outcome(cohort, row, "not_linked")


def _bad_study_value(column: str, value: str, reason: str) -> _Trap:
    def trap(cohort: Cohort, row: int, rng: np.random.Generator) -> _Expected:
        cohort.studies.at[row, column] = value
        return _outcome(cohort, row, f"rejected:{reason}")

    return trap


def _bad_film_value(column: str, value: Any, reason: str) -> _Trap:
    def trap(cohort: Cohort, row: int, rng: np.random.Generator) -> _Expected:
        cohort.films.at[_film(cohort, row), column] = value
        return _outcome(cohort, row, f"rejected:{reason}")

    return trap


def without_labels(cohort: Cohort, row: int, rng: np.random.Generator) -> _Expected:
    """No row in the chexpert and negbio files."""
    cohort.studies.at[row, "has_labels"] = False
    return _outcome(cohort, row, "rejected:no_labels")


# Each of these yields exactly one usable linked study.
LINKING_TRAPS: tuple[tuple[str, _Trap], ...] = (
    ("celsius_triage", celsius_triage),
    ("overlapping_stays", overlapping_stays),
    ("just_after_midnight", just_after_midnight),
    ("stays_a_day_apart", stays_a_day_apart),
    ("boarder", boarder),
    ("two_frontals", two_frontals),
    ("two_studies_in_stay", two_studies_in_stay),
    ("duplicate_row", duplicate_row),
)
# None of these does: they come on top of the linked studies that were asked for.
REJECTED_TRAPS: tuple[tuple[str, _Trap], ...] = (
    ("after_discharge", after_discharge),
    ("before_arrival", before_arrival),
    ("bad_study_time", _bad_study_value("study_time_text", "256199.0", "bad_study_time")),
    ("bad_study_date", _bad_study_value("study_date_text", "21801345", "bad_study_date")),
    ("missing_view", _bad_film_value("view", None, "missing_view")),
    ("unknown_view", _bad_film_value("view", "SKYLINE", "unknown_view")),
    ("missing_split", _bad_film_value("in_split", False, "missing_split")),
    ("without_labels", without_labels),
    ("image_missing", _bad_film_value("fault", "missing", "image_missing")),
    ("image_empty", _bad_film_value("fault", "empty", "image_empty")),
    ("image_truncated", _bad_film_value("fault", "truncated", "image_truncated")),
    ("image_is_a_web_page", _bad_film_value("fault", "web_page", "image_format_unsupported")),
)
