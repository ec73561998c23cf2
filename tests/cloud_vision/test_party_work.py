"""Each party's own steps, without a process of their own."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from mm_assets.cloud_vision.ids import ids_digest
from mm_assets.cloud_vision.party_preprocessing import TabularPreprocessor
from mm_assets.cloud_vision.party_work import STEPS, XrayNotUploaded, unique_records
from mm_assets.cloud_vision.schema import ORG2_SCHEMA
from mm_assets.cloud_vision.xray_pixels import xray_pixels
from resources.object_uploads import UploadManifest
from tests.cloud_vision.party_house import PUBLISHED, PX, records_job


def run(house, party, job):
    return STEPS[job["task"]](house.access(party), job)


def upload_job(house, records):
    folder = str(house.folder / "org3")
    return {"task": "upload", "records": records["version"], "folder": folder, "published": PUBLISHED}


def features_job(records, common, **more):
    return {
        "task": "features", "records": records["version"], "common": common, "image_px": PX, "workers": 1,
        "published": PUBLISHED, **more,
    }  # fmt: skip


def org2_table(ids):
    rows = [
        {"image_id": name, **{f"f{i}": float(row) for i in range(5)}, "label": row % 3, "split": "train"}
        for row, name in enumerate(ids)
    ]
    return pa.Table.from_pylist(rows, schema=ORG2_SCHEMA)


def test_each_record_once_by_its_normalised_id():
    records, counts = unique_records(org2_table(["img-2", "IMG_1 ", None, "img_2", "img_3"]), "org2")
    assert records["image_id"].to_pylist() == ["img_1", "img_2", "img_3"]
    assert records["f0"].to_pylist() == [1.0, 0.0, 4.0]
    assert records.schema == ORG2_SCHEMA
    assert counts == {"rows": 5, "unique": 3, "repeated": 1, "without_id": 1, "other_spelling": 2}


def test_records_come_from_the_database_with_what_lies_beside_the_table(house):
    for party, beside in (("org2", "expected.parquet"), ("org3", "mapping.parquet")):
        done = run(house, party, records_job(house, party))
        store = house.access(party).artifacts()
        artifact = store.open_version("cloud_vision", f"{party}_records", done["version"])
        ids = store.read_table(artifact, "records.parquet")["image_id"].to_pylist()
        assert ids == sorted(set(ids))
        assert done["ids"] == store.read_json(artifact, "ids.json")
        assert len(ids) == done["ids"]["unique"] == done["ids"]["rows"] - done["ids"]["repeated"]
        assert store.read_table(artifact, beside) == pq.read_table(house.folder / party / beside)
        assert run(house, party, records_job(house, party))["version"] == done["version"]


def test_an_upload_sends_only_what_is_missing_and_keeps_its_version(house):
    records = run(house, "org3", records_job(house, "org3"))
    first = run(house, "org3", upload_job(house, records))
    assert first["sent"] == first["files"] == len(list((house.folder / "org3" / "images").iterdir()))
    again = run(house, "org3", upload_job(house, records))
    assert (again["sent"], again["sent_bytes"], again["version"]) == (0, 0, first["version"])
    access = house.access("org3")
    gone = sorted(access.xrays().list(), key=lambda info: info.path)[:5]
    access.xrays().delete([info.path for info in gone])
    assert run(house, "org3", upload_job(house, records))["sent"] == 5


def test_features_of_the_common_records_in_their_order(house):
    records = {party: run(house, party, records_job(house, party)) for party in ("org2", "org3")}
    upload = run(house, "org3", upload_job(house, records["org3"]))
    tables, found = {}, {}
    for party in records:
        store = house.access(party).artifacts()
        tables[party] = store.read_table(store.current("cloud_vision", f"{party}_records"), "records.parquet")
    ids = {party: table["image_id"].to_pylist() for party, table in tables.items()}
    common = sorted(set(ids["org2"]) & set(ids["org3"]))
    for party in records:
        run(house, party, features_job(records[party], common, upload=upload["version"]))
        store = house.access(party).artifacts()
        artifact = store.current("cloud_vision", f"{party}_features")
        assert store.read_json(artifact, "features.json") == {"digest": ids_digest(common), "image_px": PX}
        found[party] = load_file(store.local_file(artifact, "features.safetensors"))
        rows = tables[party].take([ids[party].index(name) for name in common])
        preprocessor = TabularPreprocessor.from_json(store.read_json(artifact, "preprocessor.json"))
        assert preprocessor == TabularPreprocessor.fit(rows, party)
        assert np.array_equal(found[party]["features"], preprocessor.transform(rows))
    labels = tables["org2"].take([ids["org2"].index(name) for name in common])["label"].to_numpy()
    assert np.array_equal(found["org2"]["labels"], labels)
    assert set(found["org3"]) == {"features", "pixels"}
    images = dict(zip(ids["org3"], tables["org3"]["image"].to_pylist(), strict=True))
    for row in (0, len(common) - 1):
        film = (house.folder / "org3" / images[common[row]]).read_bytes()
        assert np.array_equal(found["org3"]["pixels"][row], xray_pixels(film, PX))


def test_a_record_without_an_uploaded_x_ray_is_told(house):
    house.change("org3", lambda mapping: mapping.slice(3), "mapping.parquet")
    records = run(house, "org3", records_job(house, "org3"))
    upload = run(house, "org3", upload_job(house, records))
    store = house.access("org3").artifacts()
    ids = store.read_table(store.current("cloud_vision", "org3_records"), "records.parquet")["image_id"].to_pylist()
    with pytest.raises(XrayNotUploaded, match=f"3 of {len(ids)} common records"):
        run(house, "org3", features_job(records, ids, upload=upload["version"]))


def test_the_manifest_says_where_each_x_ray_lies_and_nothing_else(house):
    records = run(house, "org3", records_job(house, "org3"))
    run(house, "org3", upload_job(house, records))
    store = house.access("org3").artifacts()
    text = store.local_file(store.current("cloud_vision", "upload"), "manifest.json").read_text()
    manifest = UploadManifest.from_json(text)
    assert manifest.store == house.access("org3").xrays().url
    assert set(json.loads(text)["objects"][0]) == {"key", "size", "sha256", "etag", "content_type", "uploaded"}
