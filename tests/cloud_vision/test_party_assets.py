"""The parties' assets through Dagster, each step in its own process; and what a bad input says."""

import json

import numpy as np
import pyarrow as pa
import pytest

from mm_assets.cloud_vision.ids import ids_digest
from mm_assets.cloud_vision.party_alignment import SplitsDiffer
from mm_assets.cloud_vision.party_preprocessing import LabelInWrongParty, SecondLabel, ValuesUnfit, WrongPartyColumns
from mm_assets.cloud_vision.psi import EmptyIntersection
from mm_assets.records.staleness import StaleInputs
from resources.artifact_record import ArtifactMissing
from resources.control_plane import BucketNameIllegal
from resources.objects import ObjectChanged
from resources.settings import SettingsError
from tests.cloud_vision.party_house import PX

RECORDS = ("org2_records", "org3_records")
ALL = (*RECORDS, "upload", "alignment", "org2_features", "org3_features")


def current(house, name):
    party = name[:4] if name.startswith("org") else "org3" if name == "upload" else None
    store = house.access(party).artifacts() if party else house.store
    return store, store.current("cloud_vision", name)


def metadata(result, name):
    return next(
        event.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key.path == ["cloud_vision", name]
    )


def test_from_the_source_to_the_features_of_both(house):
    origin = house.publish_source()
    result = house.materialize(*ALL)
    made = {name: current(house, name) for name in ALL}
    for name, (store, artifact) in made.items():
        assert artifact.synthetic
        assert artifact.run_id == result.run_id
        for upstream, version in artifact.upstream.items():
            wanted = origin if upstream == "cloud_vision/source" else made[upstream.partition("/")[2]][1]
            assert version == wanted.version
        assert metadata(result, name)["dagster/uri"].value == f"{store.objects.url}/{artifact.folder}"
    store, artifact = made["alignment"]
    common = store.read_table(artifact, "common.parquet")
    ids = {
        party: set(
            made[f"{party}_records"][0]
            .read_table(made[f"{party}_records"][1], "records.parquet")["image_id"]
            .to_pylist()
        )
        for party in ("org2", "org3")
    }
    assert common["image_id"].to_pylist() == sorted(ids["org2"] & ids["org3"])
    noted = store.read_json(artifact, "alignment.json")
    assert noted["digest"] == ids_digest(common["image_id"].to_pylist())
    assert noted["sizes"] == {"org2": len(ids["org2"]), "org3": len(ids["org3"]), "common": common.num_rows}
    assert {count["kind"] for count in noted["counts"]} == {"psi/setup", "psi/request", "psi/result", "align/splits"}
    for party in ("org2", "org3"):
        store, artifact = made[f"{party}_features"]
        assert store.read_json(artifact, "features.json") == {"digest": noted["digest"], "image_px": PX}
    sent = metadata(result, "upload")
    assert sent["sent"].value == sent["files"].value > 0
    again = house.materialize("upload", "alignment", wire="in_process")
    assert metadata(again, "upload")["MB/s"].value == "nothing travelled"
    for name in ("upload", "alignment"):
        assert current(house, name)[1].version == made[name][1].version


def test_real_x_rays_do_not_make_the_tables_real(house, one_process):
    house.publish_source(synthetic=False)
    result = house.materialize(*ALL, wire="in_process")
    for name in set(ALL) - {"alignment"}:
        artifact = current(house, name)[1]
        assert not artifact.synthetic and artifact.metrics["synthetic_tables"] is True
        assert metadata(result, name)["synthetic_tables"].value is True
    assert {metadata(result, name)["credentials"].value for name in RECORDS} == {"own"}


def test_features_of_records_that_were_not_aligned_are_refused(house, one_process):
    house.publish_source()
    house.materialize(*RECORDS, "alignment", wire="in_process")
    house.change("org2", lambda table: table.slice(1))
    house.publish_source()
    house.materialize("org2_records")
    with pytest.raises(StaleInputs, match="run `mm materialize cloud_vision/alignment`"):
        house.materialize("org2_features")


def test_without_a_source_the_command_that_makes_it_is_told(house):
    with pytest.raises(ArtifactMissing, match="mm materialize cloud_vision/source"):
        house.materialize("org2_records")


def with_column(name, values):
    return lambda table: table.append_column(name, pa.array(values(table), pa.int32()))


def replaced(name, values):
    def change(table):
        return table.set_column(table.column_names.index(name), name, values(table))

    return change


def other_ids(table):
    return pa.array([f"other-{row}" for row in range(table.num_rows)])


def one_split(table):
    return pa.array(["train"] * table.num_rows)


# Asset -> what is materialised before it, which party's table is changed and how, its error and what it says.
BAD_TABLES = {
    "a label at the wrong party": (
        "org3_records", (), "org3", with_column("label", lambda t: [0] * t.num_rows), LabelInWrongParty, "only org2 may"
    ),
    "a label under another name": (
        "org3_records", (), "org3", with_column("diagnosis", lambda t: [0] * t.num_rows), LabelInWrongParty, "diagnosis"
    ),
    "a second label": (
        "org2_records", (), "org2", with_column("target", lambda t: [0] * t.num_rows), SecondLabel, "exactly one target"
    ),
    "ids of another type": (
        "org2_records", (), "org2", replaced("image_id", lambda t: pa.array(np.arange(t.num_rows) + 0.5)),
        WrongPartyColumns, "image_id of org2 is of type double: store it as text",
    ),
    "no common id": (
        "alignment", RECORDS, "org3", replaced("image_id", other_ids), EmptyIntersection, "no id in common"
    ),
    "other splits": (
        "alignment", RECORDS, "org3", replaced("split", one_split), SplitsDiffer, "common records are in another split"
    ),
    "no label": (
        "org2_features", (*RECORDS, "alignment"), "org2",
        replaced("label", lambda t: pa.nulls(t.num_rows, pa.int32())), ValuesUnfit, "labels are missing",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_table_has_one_clear_error(house, one_process, case):
    asset, before, party, change, error, told = BAD_TABLES[case]
    house.change(party, change)
    house.publish_source()
    if before:
        house.materialize(*before, wire="in_process")
    with pytest.raises(error, match=told) as caught:
        house.materialize(asset, **({"wire": "in_process"} if asset == "alignment" else {}))
    assert "\n" not in str(caught.value)
    with pytest.raises(ArtifactMissing):
        current(house, asset)


@pytest.mark.parametrize(
    ("asset", "variable", "value", "error", "told"),
    [
        ("upload", "MM_ORG3_XRAYS_URL", "s3://Bad_Bucket/xrays", BucketNameIllegal, "'Bad_Bucket' cannot be a bucket"),
        ("upload", "MM_ORG3_XRAYS_URL", "az://no--such/xrays", BucketNameIllegal, "cannot be a container"),
        ("org2_records", "MM_ORG2_STORE", "AKIA-canary", SettingsError, "MM_ORG2_STORE is no JSON object"),
        ("org2_records", "MM_ORG2_HOME", "memory://org2", SettingsError, "set MM_ORG2_HOME"),
    ],
)
def test_a_bad_setting_has_one_clear_error(house, one_process, monkeypatch, asset, variable, value, error, told):
    house.publish_source()
    if asset == "upload":
        house.materialize("org3_records")
    monkeypatch.setenv("MM_ORG3_STORE", json.dumps({"account_name": "a", "account_key": "a2V5"}))
    if "s3://" in value:
        monkeypatch.setenv("MM_ORG3_STORE", json.dumps({"region": "us-east-1", "endpoint": "http://127.0.0.1:1"}))
    monkeypatch.setenv(variable, value)
    with pytest.raises(error, match=told) as caught:
        house.materialize(asset)
    assert "canary" not in str(caught.value)


def test_an_x_ray_changed_under_the_manifest_is_told(house, one_process):
    house.publish_source()
    house.materialize(*RECORDS, "upload", "alignment", wire="in_process")
    xrays = house.access("org3").xrays()
    for info in xrays.list():
        xrays.put(info.path, b"another film")
    with pytest.raises(ObjectChanged, match="other content than its manifest says"):
        house.materialize("org3_features")
    assert house.materialize("upload", "org3_features").success
