from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from mm_assets.mimic.source import TABLES, MimicSource
from mm_assets.mimic.verify import Finding, Verification, estimate_run, verify
from resources.objects import ObjectStore
from resources.settings import Settings
from tests.mimic.tiny_tables import PATIENT, image, labels, split, stay, write_csv

PATIENTS = range(PATIENT, PATIENT + 6)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Six patients with a film in a stay each, in the published layout, all in one folder."""
    root = tmp_path / "tree"
    rows = {
        "cxr_metadata": [image(n, subject=s, study=n) for n, s in enumerate(PATIENTS)],
        "cxr_chexpert": [labels(n, subject=s) for n, s in enumerate(PATIENTS)],
        "cxr_split": [split(n, subject=s, study=n) for n, s in enumerate(PATIENTS)],
        "edstays": [stay(n, "07:00:00", "12:00:00", subject=s) for n, s in enumerate(PATIENTS)],
        "triage": [{"subject_id": s, "stay_id": 30_000_000 + n} for n, s in enumerate(PATIENTS)],
        "vitalsign": [{"subject_id": PATIENT, "stay_id": 30_000_000}],
        "medrecon": [{"subject_id": PATIENT, "stay_id": 30_000_000}],
        "patients": [{"subject_id": s, "anchor_age": 40, "anchor_year": 2170} for s in PATIENTS],
    }
    for name, part in rows.items():
        write_csv(path_of(root, name), name, part)
    for n, subject in enumerate(PATIENTS):
        film = root / f"files/p10/p{subject}/s{n}/dicom-{n:03d}.jpg"
        film.parent.mkdir(parents=True)
        film.write_bytes(b"x" * 1_000_000)
    return root


def path_of(root: Path, name: str) -> Path:
    return root / f"{TABLES[name].file}.gz"


def run(root: Path, tmp_path: Path, iv: bool = True) -> Verification:
    settings = Settings(scratch=tmp_path / "scratch", home=str(tmp_path / "home"), workers=2)
    source = MimicSource(str(root), str(root), str(root) if iv else None)
    return verify(source, partial(ObjectStore.at), settings)


def at(verification: Verification, level: str) -> list[Finding]:
    return [finding for finding in verification.findings if finding.level == level]


def test_small_whole_tree_passes_with_counts_as_warnings(tree: Path, tmp_path: Path) -> None:
    verification = run(tree, tmp_path)
    assert verification.passed
    warnings = [finding.what for finding in at(verification, "warn")]
    assert len(warnings) == len(TABLES) and all("are published" in what for what in warnings)
    assert verification.estimate is not None and verification.estimate.studies == 6
    assert verification.estimate.read_bytes == 6_000_000
    assert any("all 6 linked films" in finding.what for finding in at(verification, "ok"))
    assert not (tmp_path / "scratch").exists()


def test_both_folders_need_room_and_one_disk_is_asked_once(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disks = [finding.what for finding in run(tree, tmp_path).findings if "GB free" in finding.what]
    assert len(disks) == 1 and disks[0].startswith("disk of MM_HOME")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    (short,) = [finding for finding in at(run(tree, tmp_path), "warn") if "a run needs" in finding.what]
    assert "MM_HOME" in short.mend
    settings = Settings(scratch=tmp_path / "scratch", home="memory://verify", workers=2)
    found = verify(MimicSource(str(tree), str(tree), None), partial(ObjectStore.at), settings)
    assert any("memory://verify: free space there is not looked at" in finding.what for finding in found.findings)
    assert any("MM_SCRATCH" in finding.mend for finding in at(found, "warn"))


def test_missing_options_are_named_with_what_follows(tree: Path, tmp_path: Path) -> None:
    path_of(tree, "cxr_split").unlink()
    verification = run(tree, tmp_path, iv=False)
    assert verification.passed
    said = " ".join(finding.what for finding in at(verification, "warn"))
    assert "70/15/15" in said and "age is missing" in said


def test_truncated_table_is_an_error_and_the_rest_is_still_looked_at(tree: Path, tmp_path: Path) -> None:
    path = path_of(tree, "vitalsign")
    path.write_bytes(path.read_bytes()[:-9])
    verification = run(tree, tmp_path)
    (error,) = at(verification, "error")
    assert "vitalsign.csv.gz" in error.what and "SHA256SUMS" in error.mend
    assert not verification.passed and verification.estimate is None
    assert any("medrecon" in finding.what for finding in verification.findings)


def test_patient_in_two_splits_is_an_error(tree: Path, tmp_path: Path) -> None:
    rows = [split(n, subject=s, study=n) for n, s in enumerate(PATIENTS)]
    write_csv(path_of(tree, "cxr_split"), "cxr_split", [*rows, split(99, "test")])
    (error,) = at(run(tree, tmp_path), "error")
    assert error.what.startswith("1 patients are in more than one split")


def test_films_are_looked_up(tree: Path, tmp_path: Path) -> None:
    films = sorted((tree / "files").rglob("*.jpg"))
    films[0].unlink()
    films[1].write_bytes(b"")
    assert any(
        "of 6 linked films looked up, 1 are missing and 1 are empty" in finding.what
        for finding in at(run(tree, tmp_path), "warn")
    )
    for film in films[1:]:
        film.unlink()
    (error,) = at(run(tree, tmp_path), "error")
    assert "none of 6 linked films" in error.what and "MM_MIMIC_CXR_URL" in error.mend


def test_tables_that_do_not_belong_together_are_an_error(tree: Path, tmp_path: Path) -> None:
    write_csv(path_of(tree, "edstays"), "edstays", [stay(1, "2150-01-01 07:00:00", "2150-01-01 09:00:00")])
    (error,) = at(run(tree, tmp_path), "error")
    assert "no film falls into an emergency stay" in error.what


def test_folder_without_emergency_data_is_one_finding(tree: Path, tmp_path: Path) -> None:
    path_of(tree, "edstays").unlink()
    (error,) = run(tree, tmp_path).findings
    assert error.level == "error" and "MM_MIMIC_ED_URL" in error.mend


def test_findings_quote_no_value_of_a_table(tree: Path, tmp_path: Path) -> None:
    write_csv(path_of(tree, "triage"), "triage", [{"subject_id": PATIENT, "stay_id": 1, "temperature": "hot 98,6"}])
    text = " ".join(finding.what + finding.mend for finding in run(tree, tmp_path).findings)
    assert "column temperature" in text and "hot" not in text and str(PATIENT) not in text


def test_estimate_grows_with_studies_and_film_size_and_shrinks_with_workers() -> None:
    base = estimate_run(studies=107_949, film_bytes=1.5e6, table_bytes=0, workers=1)
    assert 30 * 60 < base.cpu_seconds < 6 * 3600
    assert base.stored_bytes == 107_949 * 215_000 and base.read_bytes == 107_949 * 1_500_000
    two = estimate_run(studies=107_949, film_bytes=1.5e6, table_bytes=0, workers=2)
    assert two.wall_seconds == pytest.approx(base.wall_seconds / 2) and two.memory_bytes > base.memory_bytes
    larger = estimate_run(studies=107_949, film_bytes=3e6, table_bytes=10**11, workers=2)
    assert larger.cpu_seconds > base.cpu_seconds and larger.memory_bytes == 10**11
