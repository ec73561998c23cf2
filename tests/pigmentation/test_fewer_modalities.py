"""A set in which nobody took a kind of image: it is trained, evaluated, released and served without that kind."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from mm_assets.pigmentation.assets import pigmentation_data_assets
from mm_assets.pigmentation.case import SkinCase, UnusableImage
from mm_assets.pigmentation.model_assets import pigmentation_model_assets
from mm_assets.pigmentation.predictor import SkinPredictor
from mm_assets.pigmentation.schema import subset_name, subsets
from mm_assets.pigmentation.synthetic.tree import SkinTreeConfig, write_tree
from resources.artifacts import ArtifactStore
from resources.dagster_resources import House
from tests.ui.fakes import FakeStore
from tests.ui.skin_models import skin_model
from ui.server import assemble

KNOBS = {
    "lesions": {"stored_px": 32, "cube_px": 16},
    "model": {"epochs": 1, "image_size": 24, "seeds": [0], "width": 16, "tensorboard": False},
    "evaluation": {"replicates": 20, "deletion_records": 2},
}
READ = ("clinical", "multispectral")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered set whose manifest lists no dermoscopy."""
    folder = tmp_path_factory.mktemp("images") / "tree"
    write_tree(folder, SkinTreeConfig(patients=24, rgb_px=32, cube_px=16, jobs=1, traps=False))
    rows = pq.read_table(folder / "manifest.parquet")
    pq.write_table(rows.filter(pc.not_equal(rows["modality"], "dermoscopy")), folder / "manifest.parquet")
    return folder


@pytest.fixture(scope="module")
def store(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArtifactStore]:
    """Everything from that manifest to the released model."""
    root = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as environment, dg.instance_for_test() as instance:
        environment.setenv("MM_PIGMENTATION_URL", str(tree))
        environment.setenv("MM_SCRATCH", str(root / "scratch"))
        environment.setenv("MM_WORKERS", "1")
        house = House(home=str(root / "home"))
        dg.materialize(
            [*pigmentation_data_assets, *pigmentation_model_assets],
            resources={"house": house},
            run_config={"ops": {f"pigmentation__{name}": {"config": knobs} for name, knobs in KNOBS.items()}},
            instance=instance,
        )
        yield house.artifacts()


@pytest.fixture(scope="module")
def folder(store: ArtifactStore) -> Path:
    return store.local_folder(store.current("pigmentation", "released_model"))


@pytest.fixture(scope="module")
def whole(tree: Path) -> SkinCase:
    """A lesion with a file of every kind, dermoscopy too."""
    found = {path.parent.name: path for path in sorted((tree / "images").rglob("*-V1-*"), reverse=True)}
    return SkinCase(**{name: path.read_bytes() for name, path in found.items()})


def test_the_evaluation_is_of_the_modalities_there_are(store: ArtifactStore) -> None:
    judged = store.current("pigmentation", "evaluation")
    table = store.read_table(judged, "subsets.parquet")
    assert set(table["subset"].to_pylist()) == {subset_name(chosen) for chosen in subsets(READ)}
    rows = {(row["variant"], row["subset"]): row for row in table.to_pylist()}
    assert judged.metrics["mae_all"] == pytest.approx(rows["fused", "clinical+multispectral"]["mae"])
    assert judged.metrics["mae_clinical_only"] == pytest.approx(rows["fused", "clinical"]["mae"])
    card = store.local_file(judged, "card.md").read_text(encoding="utf-8")
    assert "dermoscopy" not in card.lower()


def test_nothing_is_packed_for_a_kind_that_nobody_took(store: ArtifactStore, tmp_path: Path) -> None:
    from mm_assets.pigmentation.datasets import pack_pixels
    from mm_assets.pigmentation.published import training_files

    packed = pack_pixels(training_files(store), 24, tmp_path, photographs="absorbance", versions={})
    assert tuple(stored.name for stored in packed.modalities) == READ
    assert packed.present().shape[1] == 2 and not (packed.folder / "dermoscopy.npy").exists()


def test_the_released_model_answers_with_what_it_reads(folder: Path, whole: SkinCase) -> None:
    predictor = SkinPredictor.load(folder, version="v", run_id=None)
    answer = predictor.predict(whole.without(["dermoscopy"]))
    assert tuple(answer.modalities) == READ and answer.missing == [] and set(answer.without) == {"multispectral"}
    assert answer.provenance.value is not None
    assert predictor.predict(SkinCase(whole.clinical)).missing == ["multispectral"]
    with pytest.raises(UnusableImage, match="Dermoscopy image: This model was trained without any"):
        predictor.predict(whole)
    with pytest.raises(UnusableImage) as refused:
        predictor.picture("dermoscopy", whole.clinical)
    assert refused.value.code == "modality_not_read"
    assert all(tuple(example.case.images()) == READ for example in predictor.examples)


def test_the_service_refuses_an_image_that_the_model_does_not_read(folder: Path, whole: SkinCase) -> None:
    client = TestClient(assemble({"pigmentation": skin_model(FakeStore(str(folder)))}), raise_server_exceptions=False)
    files = {f"{name}_image": (name, data) for name, data in whole.images().items()}
    refused = client.post("/predict/pigmentation", files=files)
    assert refused.status_code == 422 and refused.json()["code"] == "modality_not_read"
    assert "leave it out" in refused.text
    del files["dermoscopy_image"]
    answer = client.post("/predict/pigmentation", files=files)
    assert answer.status_code == 200 and answer.json()["modalities"] == list(READ)


def test_a_kind_that_a_split_lacks_beside_all_others_is_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from mm_assets.pigmentation.datasets import input_spec, pack_pixels, split_records
    from tests.pigmentation.skin_data import lesion_rows, write_files

    rows = lesion_rows(20, lacking=0.0)
    for number, row in enumerate(rows):  # train is 0 to 11
        row["dermoscopy"] = row["dermoscopy"] if number < 6 else None
    files = write_files(tmp_path, rows)
    packed = pack_pixels(files, 16, tmp_path / "pixels", photographs="absorbance", versions={})
    assert packed.present()[:, 1].sum() == 6
    assert input_spec(split_records(files), packed).names == READ
    assert "dermoscopy is not read" in caplog.text
