"""A whole synthetic tree in the published layout, and the answer key that only tests read.

Belongs here: sizes and knobs, the order of drawing, folders, files, the report.
Does not belong here: what a table, a word or a film contains.

Layout below the target: `cxr/` (MIMIC-CXR-JPG 2.1.0), `ed/ed/` (MIMIC-IV-ED 2.2), `iv/hosp/` (MIMIC-IV 3.1)
and,
beside them, `answer_key/` (findings, complaints, traps as Parquet).
"""

import gzip
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mm_assets.mimic.schema import (
    CXR_CHEXPERT,
    CXR_IMAGE_LIST,
    CXR_METADATA,
    CXR_NEGBIO,
    CXR_RADIOLOGIST,
    CXR_SPLIT,
    LABELS,
    NO_FINDING,
    SPLITS,
)
from mm_assets.mimic.synthetic import events, tables
from mm_assets.mimic.synthetic.appearance import draw_appearance
from mm_assets.mimic.synthetic.cohort import Cohort, directory_of, draw_cohort
from mm_assets.mimic.synthetic.complaints import plant_leaks, symptom_table, write_complaints
from mm_assets.mimic.synthetic.films import FilmSpec, draw_film, film_jpeg
from mm_assets.mimic.synthetic.latent import observed_labels, second_labeler
from mm_assets.mimic.synthetic.medications import home_drugs
from mm_assets.mimic.synthetic.prevalence import PUBLISHED_RATES, planted_rates
from mm_assets.mimic.synthetic.traps import LINKING_TRAPS, REJECTED_TRAPS, plant_traps
from mm_assets.mimic.synthetic.vitals import triage_vitals
from resources.compute import map_items
from resources.errors import MendableError

# Raised with every change that changes bytes: a published tree of the same settings and version is not drawn
# again.
GENERATOR_VERSION = 1

DEMO_STUDIES = {"train": 1000, "validate": 200, "test": 400}
_STUDIES_PER_PATIENT = 1.6
_README = """SYNTHETIC DATA

Every patient, table row and image below this folder was made by a program. Nothing here comes from MIMIC or
from any person. File names, headers and value conventions follow MIMIC-CXR-JPG 2.1.0, MIMIC-IV-ED 2.2 and
MIMIC-IV 3.1, so that the real data can take the place of this tree.

Lateral films and films outside every ED stay have table rows but no image; IMAGE_FILENAMES lists
the films of this tree.
"""
# Words that open each random stream, so that one part can change without moving the others.
_STREAMS = ("cohort", "traps", "labels", "appearance", "words", "vitals", "events", "tables")


class TreeExists(MendableError):
    """The target already holds a tree."""


@dataclass(frozen=True)
class TreeConfig:
    """Size and knobs of a tree.

    linked_studies: studies inside an ED stay per split, as a correct pipeline counts them; the traps that end in
    quarantine come on top. linked_share: share of all frontal studies that they make up (as published:
    prevalence.PUBLISHED_LINKED_SHARE). prevalence_floor: least positive rate of a label, 0 for the published rates.
    scale: linear size of the films, 1 for full size (about 2544 x 3056 pixels). leaky_share: complaints with words
    that give the reading away. label_noise: share of findings that the labeler misses. jobs: processes that draw films.
    """

    linked_studies: dict[str, int] = field(default_factory=lambda: dict(DEMO_STUDIES))
    linked_share: float = 0.8
    prevalence_floor: float = 0.06
    scale: float = 0.25
    seed: int = 0
    leaky_share: float = 0.09
    label_noise: float = 0.02
    jobs: int = 2

    def __post_init__(self) -> None:
        if unknown := set(self.linked_studies) - set(SPLITS):
            raise ValueError(f"linked_studies: unknown split {sorted(unknown)[0]!r}, use {', '.join(SPLITS)}")
        if self.linked_studies.get("train", 0) < len(LINKING_TRAPS) + 1:
            raise ValueError(f"linked_studies: train needs at least {len(LINKING_TRAPS) + 1} studies, for the traps")
        for name, low, high in (("linked_share", 0.05, 1), ("prevalence_floor", 0, 0.3), ("scale", 0.01, 1),
                                ("leaky_share", 0, 1), ("label_noise", 0, 0.3)):  # fmt: skip
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must lie between {low} and {high}, not {getattr(self, name)}")

    @staticmethod
    def for_patients(patients: int, **knobs: Any) -> "TreeConfig":
        """A tree of about `patients` patients, split as the demo is; at least 20 patients."""
        studies = round(max(20, patients) * _STUDIES_PER_PATIENT)
        total = sum(DEMO_STUDIES.values())
        return TreeConfig({split: max(1, round(studies * n / total)) for split, n in DEMO_STUDIES.items()}, **knobs)


@dataclass(frozen=True)
class TreeReport:
    """What was written. rates: per label the published and the planted share of 1, 0 and -1 in training
    studies."""

    root: Path
    linked_studies: dict[str, int]
    patients: int
    studies: int
    stays: int
    films_written: int
    film_bytes: int
    linked_share: float
    traps: int
    leaky_complaints: int
    rates: pd.DataFrame

    def describe(self) -> str:
        """The report as plain text."""
        splits = ", ".join(f"{split} {n}" for split, n in self.linked_studies.items())
        return (
            f"SYNTHETIC tree at {self.root}: {sum(self.linked_studies.values())} linked studies "
            f"({splits}), {self.patients} patients, "
            f"{self.studies} studies, {self.stays} ED stays, {self.films_written} films "
            f"({self.film_bytes / 1e6:.0f} MB), linked share {self.linked_share:.3f} (published 0.444), "
            f"{self.traps} traps, {self.leaky_complaints} leaky complaints\n"
            f"Share of training studies, published beside planted:\n{self.rates.round(3).to_string()}"
        )


def write_tree(to: Path, config: TreeConfig, *, progress: bool = True) -> TreeReport:
    """Write a synthetic tree below `to`; the same config gives the same bytes.

    Raises TreeExists when `to` already holds one.
    """
    if (to / "cxr").exists():
        raise TreeExists(f"{to} already holds a tree: choose another folder or delete this one")
    rng = {name: np.random.default_rng([config.seed, number]) for number, name in enumerate(_STREAMS)}
    linked = dict(config.linked_studies)
    linked["train"] -= len(LINKING_TRAPS)
    spare = len(LINKING_TRAPS) + len(REJECTED_TRAPS)
    cohort = draw_cohort(linked, spare, config.linked_share, config.prevalence_floor, rng["cohort"])
    traps = plant_traps(cohort, rng["traps"])
    cohort.films = cohort.films.reset_index(drop=True)
    observed = _observed(cohort, config, rng["labels"])
    seen = draw_appearance(cohort.studies[list(LABELS)], rng["appearance"])
    complaints = _write_ed(to, cohort, config, rng)
    _write_cxr_tables(to / "cxr", cohort, observed, config, rng["tables"])
    sizes = _write_films(to / "cxr", cohort, seen, config, progress)
    _write_answer_key(to / "answer_key", cohort, seen, complaints, traps)

    usable = int((cohort.studies["stay_id"] >= 0).sum())
    return TreeReport(
        root=to,
        linked_studies=dict(config.linked_studies),
        patients=len(cohort.subjects),
        studies=len(cohort.studies),
        stays=len(cohort.stays),
        films_written=len(sizes),
        film_bytes=sum(sizes),
        linked_share=usable / len(cohort.studies),
        traps=len(traps),
        leaky_complaints=int(complaints["phrase"].notna().sum()),
        rates=_rates(observed[cohort.studies["split"] == "train"]),
    )


def _observed(cohort: Cohort, config: TreeConfig, rng: np.random.Generator) -> pd.DataFrame:
    parts = []
    for split in SPLITS:
        findings = cohort.studies.loc[cohort.studies["split"] == split, list(LABELS)]
        rates = planted_rates(config.prevalence_floor, split)
        parts.append(observed_labels(findings, rates, config.label_noise, rng).set_axis(findings.index))
    return pd.concat(parts).sort_index()


def _rates(observed: pd.DataFrame) -> pd.DataFrame:
    rows: dict[str, dict[str, float]] = {}
    for label in LABELS:
        published = PUBLISHED_RATES[label]
        for name, value in (("positive", 1), ("negative", 0), ("uncertain", -1)):
            rows.setdefault(label, {})[f"{name} published"] = getattr(published, name)
            rows[label][f"{name} planted"] = float((observed[label] == value).mean())
    return pd.DataFrame.from_dict(rows, orient="index")


def _write_ed(to: Path, cohort: Cohort, config: TreeConfig, rng: dict[str, np.random.Generator]) -> pd.DataFrame:
    """Write the ED and hospital tables; returns the complaints with their clean twins, one row per stay."""
    studies = cohort.studies
    stays = cohort.stays.assign(film_dt=cohort.stays["study"].map(studies["study_dt"]))
    # A visit without a film is one without findings.
    has_film = (stays["study"] >= 0).to_numpy()
    shaped = studies[list(LABELS)].reindex(stays["study"], fill_value=False).reset_index(drop=True)
    shaped.loc[~has_film, NO_FINDING] = True

    complaints = _complaints(stays, shaped, has_film, config, rng["words"])
    vitals = triage_vitals(shaped, rng["vitals"])
    taken = home_drugs(shaped, rng["words"])
    ed, hosp = to / "ed" / "ed", to / "iv" / "hosp"
    written = complaints["chiefcomplaint"].tolist()
    _write_gz(ed / "edstays.csv.gz", tables.edstays_table(cohort))
    _write_gz(ed / "triage.csv.gz", tables.triage_table(stays, vitals, shaped, written, rng["vitals"]))
    _write_gz(ed / "vitalsign.csv.gz", events.vitalsign_table(stays, vitals, shaped, rng["vitals"]))
    _write_gz(ed / "medrecon.csv.gz", events.medrecon_table(stays, taken, rng["events"]))
    _write_gz(ed / "pyxis.csv.gz", events.pyxis_table(stays, shaped, rng["events"]))
    _write_gz(ed / "diagnosis.csv.gz", events.diagnosis_table(stays, shaped, rng["events"]))
    _write_gz(hosp / "patients.csv.gz", tables.patients_table(cohort, rng["tables"]))
    _write_gz(hosp / "admissions.csv.gz", tables.admissions_table(cohort, rng["tables"]))
    return complaints


def _complaints(
    stays: pd.DataFrame,
    findings: pd.DataFrame,
    has_film: np.ndarray,
    config: TreeConfig,
    rng: np.random.Generator,
) -> pd.DataFrame:
    items = write_complaints(symptom_table(findings, rng), rng)
    planted = plant_leaks(items, findings, config.leaky_share, rng)
    study_of_stay = np.where(has_film, stays["study"], -1)
    return pd.DataFrame(
        {
            "stay_id": stays["stay_id"],
            "study_row": study_of_stay,
            "chiefcomplaint": [case.text for case in planted],
            "clean": [case.clean for case in planted],
            "phrase": [case.phrase for case in planted],
            "label": [case.label for case in planted],
            "independent": [case.independent for case in planted],
        }
    )


def _write_cxr_tables(
    root: Path, cohort: Cohort, observed: pd.DataFrame, config: TreeConfig, rng: np.random.Generator
) -> None:
    _write_gz(root / f"{CXR_METADATA}.gz", tables.metadata_table(cohort, config.scale, rng))
    _write_gz(root / f"{CXR_SPLIT}.gz", tables.split_table(cohort))
    _write_gz(root / f"{CXR_CHEXPERT}.gz", tables.label_table(cohort, observed))
    _write_gz(root / f"{CXR_NEGBIO}.gz", tables.label_table(cohort, second_labeler(observed, rng)))
    tables.radiologist_table(cohort).to_csv(root / CXR_RADIOLOGIST, index=False, lineterminator="\n")
    (root / "README").write_text(_README)


@dataclass(frozen=True)
class _FilmJob:
    path: Path
    spec: FilmSpec
    fault: str | None


def _write_films(root: Path, cohort: Cohort, seen: pd.DataFrame, config: TreeConfig, progress: bool) -> list[int]:
    """Draw the frontal films of linked and trapped studies; returns their sizes in bytes."""
    strengths = dict(zip(cohort.studies["study_id"], seen.to_dict("records"), strict=True))
    drawn = cohort.studies.loc[(cohort.studies["stay_id"] >= 0) | cohort.studies["spare"], "study_id"]
    films = cohort.films[cohort.films["study_id"].isin(drawn) & ~cohort.films["view"].isin(["LATERAL", "LL"])]
    female = cohort.subjects["gender"] == "F"
    jobs = []
    for number, film in enumerate(films.sort_values("dicom_id").to_dict("records")):
        subject_id, study_id = int(film["subject_id"]), int(film["study_id"])
        folder = root / "files" / directory_of(subject_id) / f"p{subject_id}" / f"s{study_id}"
        spec = FilmSpec(
            seed=(config.seed, len(_STREAMS), study_id, number),
            rows=int(tables.scaled(film["rows"], config.scale)),
            columns=int(tables.scaled(film["columns"], config.scale)),
            view=film["view"] or "PA",
            female=bool(female[subject_id]),
            seen={label: value for label, value in strengths[study_id].items() if value > 0},
        )
        jobs.append(_FilmJob(folder / f"{film['dicom_id']}.jpg", spec, film["fault"]))
    sizes = list(
        map_items(
            _write_film,
            jobs,
            workers=config.jobs,
            kind="process" if config.jobs > 1 else "inline",
            desc="drawing films" if progress else None,
        )
    )
    # The list names what should exist: a missing file is in it.
    listed = sorted(job.path.relative_to(root).as_posix() for job in jobs)
    (root / CXR_IMAGE_LIST).write_text("".join(f"{path}\n" for path in listed))
    return [size for size in sizes if size is not None]


def _write_film(job: _FilmJob) -> int | None:
    """Draw and write one film, spoilt where the job says so; returns its size, None where no file is left."""
    if job.fault == "missing":
        return None
    data = film_jpeg(draw_film(job.spec))
    if job.fault == "empty":
        data = b""
    elif job.fault == "truncated":
        data = data[: len(data) * 2 // 3]
    elif job.fault == "web_page":
        data = b"<html><body>503 Service Unavailable</body></html>\n" * 40
    job.path.parent.mkdir(parents=True, exist_ok=True)
    job.path.write_bytes(data)
    return len(data)


def _write_answer_key(
    root: Path, cohort: Cohort, seen: pd.DataFrame, complaints: pd.DataFrame, traps: pd.DataFrame
) -> None:
    root.mkdir(parents=True, exist_ok=True)
    keys = ["subject_id", "study_id", "split", "stay_id", "study_dt"]
    findings = pd.concat([cohort.studies[[*keys, *LABELS]], seen.add_prefix("seen_")], axis=1)
    findings.to_parquet(root / "findings.parquet", index=False)
    study_ids = cohort.studies["study_id"]
    complaints = complaints.assign(study_id=complaints["study_row"].map(study_ids).astype("Int64"))
    complaints = complaints.drop(columns="study_row")
    complaints.to_parquet(root / "complaints.parquet", index=False)
    traps.to_parquet(root / "traps.parquet", index=False)


def _write_gz(path: Path, table: pd.DataFrame) -> None:
    """Gzipped CSV without name and time in its header, so that equal tables are equal files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = table.to_csv(index=False, date_format="%Y-%m-%d %H:%M:%S", lineterminator="\n")
    with path.open("wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as file:
        file.write(text.encode())
