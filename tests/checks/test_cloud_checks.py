"""What the wing's checks read from the homes of both organisations and from the bucket, and that they run."""

import shutil

import dagster as dg
import pyarrow as pa
import pytest
from safetensors.numpy import save_file

from checks import cloud_vision
from checks import cloud_vision_judges as judges
from checks.cloud_vision import cloud_vision_data_checks, party_store
from mm_assets.cloud_vision.ids import ids_digest
from mm_assets.cloud_vision.parties import party_access
from mm_assets.cloud_vision.party_work import STEPS
from mm_assets.cloud_vision.schema import ORGANISATIONS
from mm_assets.cloud_vision.synthetic.dataset import XrayDataConfig, write_data
from resources.dagster_resources import House
from resources.object_uploads import UploadManifest
from resources.settings import Settings

ASSETS = ("source", "org2_records", "org3_records", "upload", "alignment", "org2_features", "org3_features")
PUBLISHED = {"upstream": {}, "synthetic": True, "run_id": None}
SIZES = {"train": 24, "validate": 8, "test": 8, "shifted": 8}


@pytest.fixture(scope="session")
def sound_root(tmp_path_factory):
    """A folder with everything up to the features of both parties, made by their own steps in this process."""
    root = tmp_path_factory.mktemp("sound")
    with pytest.MonkeyPatch.context() as patch:
        settings_in(root, patch)
        store = House().artifacts()
        with store.draft("cloud_vision", "source") as draft:
            write_data(draft.path("data"), XrayDataConfig(**SIZES, px=192, jobs=1), progress=False)
            measured = {"kind": "generator", "unreadable_share": 0.0, "exposure_gap": 2.5, "grey_chance": None}
            draft.publish(**PUBLISHED, metrics=measured)
        data = store.local_folder(store.current("cloud_vision", "source")) / "data"
        done = {party: run(party, task="records", folder=str(data / party)) for party in ORGANISATIONS}
        sent = run("org3", task="upload", records=done["org3"], folder=str(data / "org3"))
        rows = common_rows()
        align(rows)
        job = {"task": "features", "common": [name for name, _ in rows], "image_px": 32, "workers": 1}
        run("org2", **job, records=done["org2"])
        run("org3", **job, records=done["org3"], upload=sent)
    return root


@pytest.fixture
def published(sound_root, tmp_path, monkeypatch):
    """A copy of it to be spoilt."""
    settings_in(shutil.copytree(sound_root, tmp_path / "copy"), monkeypatch)


def settings_in(root, patch):
    for name in Settings.model_fields:
        patch.delenv(f"MM_{name.upper()}", raising=False)
    patch.setenv("MM_HOME", str(root / "home"))
    patch.setenv("MM_SCRATCH", str(root / "scratch"))


def run(party, **job):
    """Version of the artifact that a party's step makes."""
    access = party_access(House().settings(), party)
    return STEPS[job["task"]](access, {**job, "published": PUBLISHED})["version"]


def common_rows():
    """(id, split) of the records that both hold, by id."""
    tables = [cloud_vision.party_records(party)(House()) for party in ORGANISATIONS]
    split = dict(zip(tables[0]["image_id"], tables[0]["split"], strict=True))
    return [(name, split[name]) for name in sorted(set(tables[0]["image_id"]) & set(tables[1]["image_id"]))]


def align(rows):
    with House().artifacts().draft("cloud_vision", "alignment") as draft:
        ids, splits = (list(column) for column in zip(*rows, strict=True))
        draft.write_table("common.parquet", pa.table({"image_id": ids, "split": splits}))
        draft.write_json("alignment.json", {"digest": ids_digest(ids)})
        draft.publish(**PUBLISHED)


def evaluate(*names):
    """(asset, check) -> whether it passed, of all checks of these assets, which make nothing."""
    stubs = [dg.asset(key=["cloud_vision", name])(lambda: None) for name in names]
    checks = [one for one in cloud_vision_data_checks if next(iter(one.check_keys)).asset_key.path[1] in names]
    with dg.instance_for_test() as instance:
        done = dg.materialize([*stubs, *checks], resources={"house": House()}, instance=instance, raise_on_error=False)
        return {(one.asset_key.path[1], one.check_name): one.passed for one in done.get_asset_check_evaluations()}


def test_all_checks_of_sound_data_pass(published):
    found = evaluate(*ASSETS)
    assert {asset for asset, _ in found} == set(ASSETS) and len(found) > 45
    assert [name for name, passed in found.items() if not passed] == []


def test_a_label_at_organisation_3_is_found_in_its_columns_and_tensors(published):
    home = party_store(House(), "org3")
    records = home.read_table(home.current("cloud_vision", "org3_records"), "records.parquet")
    with home.draft("cloud_vision", "org3_records") as draft:
        draft.write_table("records.parquet", records.append_column("label", pa.array([1] * records.num_rows)))
        draft.publish(**PUBLISHED)
    read = cloud_vision.names_held("org3", "org3_records")(House())
    assert read["foreign"] == ["label"] and not judges.nothing_of_the_other_party(read).passed

    features = cloud_vision.names_held("org3", "org3_features")
    assert features(House()) == {"foreign": [], "width": 5, "own_width": 5}
    with home.draft("cloud_vision", "org3_features") as draft:
        rows = records.num_rows
        wide = pa.array([[0.0] * 10] * rows).flatten().to_numpy().reshape(rows, 10)
        save_file({"features": wide, "labels": wide[:, 0]}, str(draft.path("features.safetensors")))
        draft.publish(**PUBLISHED)
    read = features(House())
    assert read == {"foreign": ["labels"], "width": 10, "own_width": 5}
    assert not judges.nothing_of_the_other_party({**read, "foreign": []}).passed


def test_unsound_records_fail_their_expectations(published):
    home = party_store(House(), "org3")
    records = home.read_table(home.current("cloud_vision", "org3_records"), "records.parquet")
    rows = records.to_pylist()
    rows[0] |= {"image_id": "IMG-1", "f5": float("inf"), "split": "holdout"}
    rows[1]["image_id"] = rows[2]["image_id"]
    with home.draft("cloud_vision", "org3_records") as draft:
        draft.write_table("records.parquet", pa.Table.from_pylist(rows, schema=records.schema))
        draft.publish(**PUBLISHED)
    assert {name for (_, name), passed in evaluate("org3_records").items() if not passed} == {
        "image_id_unique", "image_id_normalised", "f5_finite", "split_known"
    }  # fmt: skip


def test_xrays_that_are_lost_changed_or_doubled_are_counted(published):
    def wrong():
        read = cloud_vision.uploaded_xrays(House())
        assert judges.every_xray_is_uploaded(read).passed == (not any(read["wrong"].values()))
        return {name: count for name, count in read["wrong"].items() if count}

    assert wrong() == {}
    access = party_access(House().settings(), "org3")
    home, xrays = access.artifacts(), access.xrays()
    text = home.local_file(home.current("cloud_vision", "upload"), "manifest.json").read_bytes()
    manifest = UploadManifest.from_json(text)
    first, second, third = (one.key for one in manifest.objects[:3])
    xrays.delete([first])
    xrays.put(second, b"something else")
    assert wrong() == {"not in the bucket": 1, "of another size": 1}
    with home.draft("cloud_vision", "upload") as draft:
        kept = (*manifest.objects[2:], manifest.objects[3])
        draft.write_text("manifest.json", UploadManifest(manifest.store, kept).to_json().replace(third, "x.jpg"))
        draft.publish(**PUBLISHED)
    assert wrong() == {
        "not in the manifest": 3, "there more than once": 1, "not mapped": 1, "not in the bucket": 1,
        "of another checksum": 1,
    }  # fmt: skip


def test_an_alignment_of_as_many_other_ids_is_found(published):
    sound = cloud_vision.alignment_by_id(House())
    assert judges.records_are_aligned_by_id(sound).passed
    rows = common_rows()
    align([("img_000000x", rows[0][1]), *rows[1:]])
    other = cloud_vision.alignment_by_id(House())
    assert other["ids"] == {"common": len(rows), "missing": 1, "foreign": 1}
    assert not judges.records_are_aligned_by_id(other).passed
    align([rows[1], rows[0], *rows[2:]])
    assert not judges.records_are_aligned_by_id(cloud_vision.alignment_by_id(House())).passed
    align([(rows[0][0], "shifted" if rows[0][1] == "train" else "train"), *rows[1:]])
    other = cloud_vision.alignment_by_id(House())
    assert other["splits_apart"] == 1 and not judges.records_are_aligned_by_id(other).passed


def test_features_of_another_alignment_are_found(published):
    align(common_rows()[1:])
    for party in ORGANISATIONS:
        read = cloud_vision.features_of_alignment(party)(House())
        assert set(read["rows"].values()) == {read["rows_aligned"] + 1}
        assert not judges.features_follow_the_alignment(read).passed


def test_classes_are_counted_of_common_records_in_every_split(published):
    found = cloud_vision.classes_by_split(House().artifacts())["common"]
    assert list(found) == ["train", "validate", "test", "shifted"]
    assert sum(map(sum, found.values())) == len(common_rows())


def test_no_two_checks_share_a_name():
    seen = [(key.asset_key, key.name) for check in cloud_vision_data_checks for key in check.check_keys]
    assert len(seen) == len(set(seen))
    assert {key.path[1] for key, _ in seen} == set(ASSETS)
