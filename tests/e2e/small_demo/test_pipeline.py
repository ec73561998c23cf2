"""The wing `mimic` from source to released model through `mm`, on a handful of synthetic studies."""

import csv
import json
from pathlib import Path

import pandas as pd
import torch
from pydicom.data import get_testdata_file

from mm_assets.mimic.schema import LABELS
from resources.artifacts import ArtifactStore
from tests.e2e.conftest import LIMIT, REPOSITORY, House

EVALUATION_KEYS = {
    "macro_auroc", "macro_auroc_image", "macro_auroc_text", "macro_auroc_tabular",
    "gain_over_best_single", "gain_ci_low", "gain_ci_high", "ece_before", "ece_after",
}  # fmt: skip


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_status_lists_every_asset_with_checks_and_metrics(house: House) -> None:
    assets = house.status("mimic")
    expected = json.loads((REPOSITORY / "tests/house/graph.json").read_text())
    assert {f"mimic/{name}" for name in assets} == {key for key in expected if key.startswith("mimic/")}
    for name, asset in assets.items():
        assert asset["version"] and asset["materialized_at"], name
        assert asset["checks"]["failed"] == 0, name
        counted = sum(asset["checks"].values())
        assert counted == len(expected[f"mimic/{name}"]["checks"]), name
    assert set(assets["evaluation"]["metrics"]) >= EVALUATION_KEYS
    assert assets["source"]["synthetic"] is True and assets["released_model"]["synthetic"] is True


def test_links_and_quarantine_agree_with_the_answer_key(house: House, tmp_path: Path) -> None:
    house.mm("export", "mimic", "links", "--to", str(tmp_path))
    house.mm("export", "mimic", "quarantine", "--to", str(tmp_path))
    links = {int(row["study_id"]): row for row in read_csv(tmp_path / "links.csv")}
    quarantined = {(row["dicom_id"], row["reason"]) for row in read_csv(tmp_path / "quarantine.csv")}

    (tree,) = (house.home / "mimic" / "source").glob("*/tree")
    findings = pd.read_parquet(tree / "answer_key" / "findings.parquet")
    traps = pd.read_parquet(tree / "answer_key" / "traps.parquet")
    assert len(traps) > 15
    for trap in traps.itertuples():
        kind, _, value = trap.expected.partition(":")
        if kind == "linked":
            assert int(links[trap.study_id]["stay_id"]) == int(value), trap
        elif kind == "not_linked":
            assert trap.study_id not in links, trap
        else:
            assert (trap.dicom_id, value) in quarantined, trap
    # Whoever is linked is linked to the stay the generator put the film in.
    stays = dict(zip(findings["study_id"], findings["stay_id"], strict=True))
    trapped = set(traps["study_id"])
    ordinary = [row for study, row in links.items() if study not in trapped]
    assert len(ordinary) > LIMIT / 2
    assert all(int(row["stay_id"]) == stays[int(row["study_id"])] for row in ordinary)


def test_flow_ends_at_the_links(house: House, tmp_path: Path) -> None:
    house.mm("export", "mimic", "cohort_flow", "--to", str(tmp_path))
    flow = {row["step"]: int(row["studies"]) for row in read_csv(tmp_path / "cohort_flow.csv")}
    house.mm("export", "mimic", "links", "--to", str(tmp_path))
    assert flow["one study per stay"] == len(read_csv(tmp_path / "links.csv"))
    assert sum(n for step, n in flow.items() if step.startswith("split: ")) == flow["one study per stay"]


def test_phase3_exports_the_tensor_files(house: House, tmp_path: Path) -> None:
    house.mm("export", "mimic", "phase3", "--format", "pt", "--to", str(tmp_path))
    metadata = json.loads((tmp_path / "metadata.json").read_text())
    records = torch.load(tmp_path / "train_final.pt", weights_only=True)
    assert len(records) == metadata["n_train"] > 0
    first = records[0]
    assert first["image"].shape == (3, 518, 518)
    assert set(first["labels"]) == set(LABELS)
    assert first["phase3_integrated"] is True


def test_predicts_a_real_film_in_dicom(house: House) -> None:
    film = get_testdata_file("RG1_UNCR.dcm")
    answer = json.loads(
        house.mm("predict", "mimic", "--image", str(film), "--complaint", "cough", "--age", "60", "--json").stdout
    )
    assert [finding["label"] for finding in answer["findings"]] == list(LABELS)
    assert all(0 <= finding["probability"] <= 1 for finding in answer["findings"])
    assert answer["provenance"]["synthetic"] is True
    assert answer["provenance"]["model_version"] == house.status("mimic")["released_model"]["version"]
    assert "synthetic_model" in {warning["code"] for warning in answer["warnings"]}


def test_bad_film_and_empty_case_are_one_line(house: House, tmp_path: Path) -> None:
    garbage = tmp_path / "film.jpg"
    garbage.write_bytes(b"not a film")
    for arguments in (["--image", str(garbage)], [], ["--image", str(tmp_path / "absent.jpg")], ["--age", "500"]):
        done = house.mm("predict", "mimic", *arguments, code=2)
        assert done.stdout == ""
        said = [line for line in done.stderr.splitlines() if line.startswith("mm: ")]
        assert len(said) == 1 and "Traceback" not in done.stderr, done.stderr


def test_second_run_gives_the_same_versions(house: House) -> None:
    # The model's versions after a kill are compared in test_killed.py.
    before = {name: asset["version"] for name, asset in house.status("mimic").items()}
    house.mm("materialize", '+key:"mimic/phase3" and not key:"mimic/source"')
    house.mm("materialize", "mimic/evaluation+")
    assert {name: asset["version"] for name, asset in house.status("mimic").items()} == before


def test_half_a_source_is_refused_with_its_mend(house: House, tmp_path: Path) -> None:
    done = house.mm("verify", "mimic", code=2, MM_MIMIC_CXR_URL=str(tmp_path))
    assert "MM_MIMIC_ED_URL" in done.stderr
    done = house.mm("materialize", "mimic/nothing", code=2)
    assert "mm status" in done.stderr


def test_released_bundle_reads_without_dagster(house: House) -> None:
    store = ArtifactStore(str(house.home), house.root / "scratch")
    released = store.current("mimic", "released_model")
    names = {file.path for file in released.files}
    assert {"model.safetensors", "model.json", "card.md", "index.faiss", "passages.parquet"} <= names
    card = store.local_file(released, "card.md").read_text()
    assert "SYNTHETIC" in card and "not a diagnostic device" in card.lower()
