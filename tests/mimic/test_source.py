from functools import partial
from pathlib import Path

import pytest

from mm_assets.mimic.source import (
    PUBLISHED_COUNTS,
    TABLES,
    MimicSource,
    SourceError,
    configured_source,
    load_tables,
    local_table,
    locate,
)
from mm_assets.records.tables import TableError
from resources.objects import ObjectStore
from tests.mimic.tiny_tables import image, labels, stay, write_csv

open_store = partial(ObjectStore.at)


def write_cxr(root: Path, end: str = ".gz") -> None:
    write_csv(root / f"{TABLES['cxr_metadata'].file}{end}", "cxr_metadata", [image(1)])
    write_csv(root / f"{TABLES['cxr_chexpert'].file}{end}", "cxr_chexpert", [labels(50_000_001)])


def write_ed(folder: Path, end: str = ".gz") -> None:
    write_csv(folder / f"edstays.csv{end}", "edstays", [stay(1, "07:00:00", "12:00:00")])
    write_csv(folder / f"triage.csv{end}", "triage", [{"subject_id": 1, "stay_id": 2}])


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("folder", ["", "ed"])
def test_ed_root_may_be_the_release_or_its_folder(tmp_path: Path, folder: str, end: str) -> None:
    write_cxr(tmp_path / "cxr", end)
    write_ed(tmp_path / "mimic-iv-ed/2.2/ed", end)
    root = tmp_path / "mimic-iv-ed/2.2" / folder
    layout = locate(MimicSource(str(tmp_path / "cxr"), str(root)), open_store)
    assert set(layout.tables) == {"cxr_metadata", "cxr_chexpert", "edstays", "triage"}
    assert set(layout.absent) == {"cxr_split", "vitalsign", "medrecon", "patients"}
    assert "age" in layout.absent["patients"] and "70/15/15" in layout.absent["cxr_split"]


@pytest.mark.parametrize("folder", ["", "hosp"])
def test_iv_root_may_be_the_release_or_its_folder(tmp_path: Path, folder: str) -> None:
    write_cxr(tmp_path)
    write_ed(tmp_path)
    write_csv(tmp_path / "3.1/hosp/patients.csv.gz", "patients", [])
    source = MimicSource(str(tmp_path), str(tmp_path), str(tmp_path / "3.1" / folder))
    assert "patients" in locate(source, open_store).tables


def test_folder_without_emergency_data_says_where_they_live(tmp_path: Path) -> None:
    write_cxr(tmp_path)
    write_csv(tmp_path / "mimiciv/3.1/hosp/patients.csv.gz", "patients", [])
    with pytest.raises(SourceError, match=r"edstays\.csv.*mimic-iv-ed/2\.2/ed/, not inside mimiciv/.*MM_MIMIC_ED_URL"):
        locate(MimicSource(str(tmp_path), str(tmp_path / "mimiciv/3.1")), open_store)


@pytest.mark.parametrize("name", ["cxr_metadata", "cxr_chexpert", "edstays", "triage"])
def test_required_tables_are_required(tmp_path: Path, name: str) -> None:
    write_cxr(tmp_path, "")
    write_ed(tmp_path, "")
    (tmp_path / TABLES[name].file).unlink()
    with pytest.raises(SourceError, match=TABLES[name].file):
        locate(MimicSource(str(tmp_path), str(tmp_path)), open_store)


def test_iv_configured_but_empty_is_an_error_not_a_missing_age(tmp_path: Path) -> None:
    write_cxr(tmp_path)
    write_ed(tmp_path)
    with pytest.raises(SourceError, match="MM_MIMIC_IV_URL"):
        locate(MimicSource(str(tmp_path), str(tmp_path), str(tmp_path / "nowhere")), open_store)


def test_absent_events_are_a_table_without_rows(tmp_path: Path) -> None:
    write_cxr(tmp_path)
    write_ed(tmp_path)
    tables = dict(load_tables(locate(MimicSource(str(tmp_path), str(tmp_path)), open_store), open_store, tmp_path))
    assert set(tables) == {"cxr_metadata", "cxr_chexpert", "edstays", "triage", "vitalsign", "medrecon"}
    assert tables["vitalsign"].num_rows == 0 and tables["vitalsign"].column_names[2] == "charttime"
    assert tables["cxr_metadata"]["StudyTime"].to_pylist() == ["80556.875"]


def test_remote_tables_are_copied_once_and_again_when_they_change(tmp_path: Path) -> None:
    write_cxr(tmp_path / "tree")
    write_ed(tmp_path / "tree")
    remote = ObjectStore.at("memory://mimic-source-test")
    for file in (tmp_path / "tree").iterdir():
        remote.put(file.name, file.read_bytes())
    source = MimicSource(remote.url, remote.url)
    layout = locate(source, open_store)
    first = local_table(layout, "edstays", open_store, tmp_path / "scratch")
    assert first.read_bytes() == remote.get("edstays.csv.gz") and first.is_relative_to(tmp_path / "scratch")
    assert local_table(layout, "edstays", open_store, tmp_path / "scratch") == first
    remote.put("edstays.csv.gz", b"another release")
    changed = local_table(locate(source, open_store), "edstays", open_store, tmp_path / "scratch")
    assert changed != first and changed.read_bytes() == b"another release"
    with pytest.raises(TableError, match="gzip"):
        list(load_tables(locate(source, open_store), open_store, tmp_path / "scratch"))


def test_local_tables_are_read_in_place(tmp_path: Path) -> None:
    write_cxr(tmp_path)
    write_ed(tmp_path)
    layout = locate(MimicSource(str(tmp_path), str(tmp_path)), open_store)
    assert local_table(layout, "triage", open_store, tmp_path / "scratch") == tmp_path / "triage.csv.gz"


def test_settings_name_a_whole_source_or_none() -> None:
    assert configured_source(None, None, None) is None
    assert configured_source("c", "e", None) == MimicSource("c", "e")
    assert configured_source("c", "gs://b/mimic-iv-ed-demo/2.2", None).preset == "ed-demo"  # type: ignore[union-attr]
    with pytest.raises(SourceError, match="MM_MIMIC_ED_URL"):
        configured_source("c", None, None)
    with pytest.raises(SourceError, match="MM_MIMIC_CXR_URL"):
        configured_source(None, "e", None)


def test_published_counts_are_of_known_tables() -> None:
    assert all(set(counts) <= set(TABLES) for counts in PUBLISHED_COUNTS.values())


def test_a_generated_tree_used_as_a_source_stays_synthetic(tmp_path: Path) -> None:
    write_cxr(tmp_path)
    write_ed(tmp_path)
    source = MimicSource(str(tmp_path), str(tmp_path))
    assert locate(source, open_store).source.synthetic is False
    (tmp_path / "README").write_text("SYNTHETIC DATA\n\nmade by a program")
    assert locate(source, open_store).source.synthetic is True
