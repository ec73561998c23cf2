"""From both parties' features to a released model, through Dagster, in one process and with next to no data."""

import json
import shutil
from dataclasses import replace

import dagster as dg
import pytest

from mm_assets.cloud_vision.assets import source
from mm_assets.cloud_vision.audit_jobs import AuditJob, aligned_rows, guesses, run_misalignment
from mm_assets.cloud_vision.central_training import predict_central, train_central
from mm_assets.cloud_vision.evaluation import NothingToJudge
from mm_assets.cloud_vision.model_assets import cloud_vision_model_assets
from mm_assets.cloud_vision.party_assets import cloud_vision_party_assets
from mm_assets.cloud_vision.predictor import SplitPredictor
from mm_assets.cloud_vision.published import audited_network, open_homes, require_current
from mm_assets.cloud_vision.row_files import open_rows
from mm_assets.cloud_vision.training_knobs import SplitTrainKnobs
from mm_assets.records.staleness import StaleInputs
from resources.dagster_resources import House
from tests.cloud_vision.party_house import PUBLISHED
from tests.cloud_vision.split_answers import CEILINGS

PARTIES = ("org2_records", "org3_records", "upload", "alignment", "org2_features", "org3_features")
MODELS = ("model", "misalignment", "label_leak", "evaluation", "released_model")
NETWORK = {"epochs": 1, "embedding": 4, "hidden": 8}
CONFIG = {
    "model": {**NETWORK, "seeds": [0, 1], "wire": "in_process"},
    "misalignment": {"shares": [0.5]},
    "evaluation": {"replicates": 20},
}


def publish_source(house):
    """As PartyHouse, with what the evaluation reads beside the data."""
    with house.store.draft("cloud_vision", "source") as draft:
        shutil.copytree(house.folder, draft.path("data"))
        draft.write_json("ceilings.json", CEILINGS)
        return draft.publish(**PUBLISHED)


def materialize(*names):
    return dg.materialize(
        [source, *cloud_vision_party_assets, *cloud_vision_model_assets],
        selection=dg.AssetSelection.keys(*(["cloud_vision", name] for name in names)),
        resources={"house": House()},
        run_config={"ops": {f"cloud_vision__{name}": {"config": CONFIG[name]} for name in names if name in CONFIG}},
    )


@pytest.fixture
def homes(house, one_process, monkeypatch):
    """Both parties' features are published; nothing is trained."""
    monkeypatch.setenv("MM_WORKERS", "1")
    publish_source(house)
    house.materialize(*PARTIES, wire="in_process")
    return open_homes(house.settings, house.store)


def test_from_features_to_a_released_model(homes, house):
    assert materialize(*MODELS).success
    trained = homes.current("model")
    names = {file.path for file in trained.files}
    runs = {f"{name}-{seed}" for name in ("joint", "org2", "org3", "image_only") for seed in (0, 1)} | {"central-0"}
    assert {name for name in names if name.startswith("runs/")} == {f"runs/{run}/model.safetensors" for run in runs}
    record = homes.json("model", "training.json")
    assert record["split_minus_central"] == 0.0
    assert record["carried"].keys() == {"0", "1"} and record["carried"]["0"]["bytes_per_epoch"] > 0
    assert set(homes.table("model", "predictions.parquet")["split"].to_pylist()) == {"validate", "test", "shifted"}
    judged = homes.current("evaluation")
    assert judged.synthetic and judged.metrics["n_seeds"] == 2
    assert judged.upstream == {
        f"cloud_vision/{name}": homes.current(name).version
        for name in ("model", "misalignment", "label_leak", "source")
    }
    released = homes.current("released_model")
    spec = homes.json("released_model", "model.json")
    assert spec["seed"] == judged.metrics["served_seed"] and spec["upstream"] == released.upstream
    assert spec["upstream"]["cloud_vision/org2_features"] == homes.current("org2_features").version
    predictor = SplitPredictor.load(house.store.local_folder(released), version="v", run_id=None)
    assert predictor.examples
    truth = house.store.read_table(homes.current("source"), "data/truth/records.parquet").to_pylist()
    told = house.store.read_table(released, "examples.parquet").to_pylist()
    splits = {row["image_id"].lower(): row["split"] for row in truth}
    assert {splits[row["image_id"]] for row in told} == {"test"}
    predictor.try_once()

    assert materialize(*MODELS).success
    assert homes.current("model").version == trained.version
    assert homes.current("released_model").version == released.version


def test_a_model_of_an_older_alignment_is_not_evaluated(homes, house):
    materialize("model", "misalignment", "label_leak")
    house.change("org2", lambda table: table.slice(2))
    publish_source(house)
    house.materialize(*PARTIES, wire="in_process")
    with pytest.raises(StaleInputs, match="run `mm materialize cloud_vision/model`"):
        require_current(homes, "model", "alignment")
    with pytest.raises(StaleInputs, match="run `mm materialize cloud_vision/model`"):
        materialize("evaluation")


@pytest.mark.parametrize(("first", "audit"), [("misalignment", "label_leak"), ("label_leak", "misalignment")])
def test_an_audit_of_another_network_is_refused(homes, monkeypatch, first, audit):
    materialize("model", "misalignment", "label_leak")
    monkeypatch.setitem(CONFIG, "model", {**CONFIG["model"], "epochs": 2, "hidden": 12})
    materialize("model", first)
    with pytest.raises(StaleInputs, match=f"run `mm materialize cloud_vision/{audit}`"):
        materialize("evaluation")
    result = materialize(audit)
    told = next(iter(result.get_asset_materialization_events())).materialization.metadata
    assert told["device"].value == "cpu"
    assert materialize("evaluation").success


def test_the_audits_are_of_the_trained_network(homes):
    """What they read of the model instead of training it again is what training it again would give."""
    materialize("model")
    network = audited_network(homes, 1)
    assert (network.seeds, network.config.hidden, network.knobs.epochs) == ((0,), 8, 1)
    again = AuditJob(network.files, network.config, replace(network.knobs, seed=0), share=0.0)
    assert aligned_rows(network) == [run_misalignment(again)]
    rows = open_rows(network.files)
    train, validate, test = (rows.places[name] for name in ("train", "validate", "test"))
    alone = train_central(network.config, rows.org2, rows.org3, train, validate, again.knobs, parties="org3").model
    answered = predict_central(alone, rows.org2, rows.org3, test).argmax(1)
    assert guesses(network) == {0: (answered == rows.org2.labels[test]).mean()}


def test_an_audit_asks_for_no_more_seeds_than_there_are_and_takes_the_configured_first(homes, monkeypatch):
    monkeypatch.setitem(CONFIG, "model", {**CONFIG["model"], "seeds": [4, 1]})
    materialize("model")
    assert audited_network(homes, 1).seeds == (4,)
    assert audited_network(homes, 5).seeds == (4, 1)


def test_without_test_records_in_common_there_is_nothing_to_audit(homes, monkeypatch):
    materialize("model")
    monkeypatch.setattr("mm_assets.cloud_vision.predictions.split_answers", lambda *_: {})
    with pytest.raises(NothingToJudge, match="no test records in common"):
        audited_network(homes, 1)


def test_the_demo_trains_over_http():
    defaults = SplitTrainKnobs().filled("demo")
    assert (defaults.seeds, defaults.wire) == ([0], "http")


def test_a_source_that_nobody_has_read_yet_does_not_judge_the_model(homes, house):
    """Its answer key and ceilings would be those of other records."""
    materialize("model", "misalignment", "label_leak")
    house.change("org2", lambda table: table.slice(2))
    publish_source(house)
    for asset in ("model", "evaluation"):
        with pytest.raises(StaleInputs, match="run `mm materialize cloud_vision/org2_records`"):
            materialize(asset)


def test_no_raw_value_of_a_party_is_in_what_is_shared(homes):
    """What all may read holds no feature of either party; ids and labels' counts alone are the auditor's to tell."""
    materialize("model")
    artifact = homes.current("model")
    assert set(artifact.schema["predictions.parquet"]) == {
        "image_id", "split", "model", "seed", "logit_0", "logit_1", "logit_2"
    }  # fmt: skip
    text = json.dumps(homes.json("model", "training.json"))
    for name in ("f0", "f5", "labels", "pixels"):
        assert f'"{name}"' not in text
