"""What each party does by itself, with its own database, store and home: records, upload, features.

Belongs here: the steps, from a job of plain values to a published artifact of that party. Does not belong here: what
both parties do with each other (party_alignment.py, party_training.py), and the process of a step (party_process.py).

A job holds, beside what its step says, ``published``: the ``upstream``, ``synthetic``, ``run_id`` and ``metrics`` of
the artifact. A result holds the artifact's ``version`` and counts, never a row.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mm_assets.cloud_vision.ids import aligned_rows, ids_digest, read_ids
from mm_assets.cloud_vision.parties import PartyAccess
from mm_assets.cloud_vision.party_preprocessing import TabularPreprocessor
from mm_assets.cloud_vision.party_tables import read_party_table, write_party_table
from mm_assets.cloud_vision.schema import (
    ID_COLUMN,
    IMAGE_COLUMN,
    IMAGE_HOLDER,
    LABEL_HOLDER,
    Organisation,
)
from mm_assets.cloud_vision.xray_pixels import xray_pixels
from resources.artifact_draft import Draft
from resources.artifact_record import Artifact, ArtifactMissing
from resources.artifacts import ArtifactStore
from resources.compute import map_items
from resources.control_plane import ensure_bucket
from resources.errors import MendableError
from resources.object_uploads import UploadManifest
from resources.objects import ObjectStore, checked_path

WING = "cloud_vision"
# What a party is given: its table, and beside it the answers it expects (label holder) or its files' names in the
# cloud (image holder).
TABLE, EXPECTED, MAPPING = "table.parquet", "expected.parquet", "mapping.parquet"
_BESIDE: dict[Organisation, str] = {LABEL_HOLDER: EXPECTED, IMAGE_HOLDER: MAPPING}
# Files of its artifacts.
RECORDS, IDS_JSON, MANIFEST = "records.parquet", "ids.json", "manifest.json"
FEATURES, PREPROCESSOR, FEATURES_JSON = "features.safetensors", "preprocessor.json", "features.json"

Job = Mapping[str, Any]


class XrayNotUploaded(MendableError):
    """A common record's X-ray is not in the upload's manifest."""


def publish_records(access: PartyAccess, job: Job) -> dict[str, Any]:
    """``<party>_records``: the table in ``folder`` goes into the party's database, and from there, by id, each record
    once, into its home. Result: counts of rows and ids.

    Raises PartyDatabaseError, WrongPartyColumns and their kinds, MixedIds, ObjectAccessError.
    """
    delivered, store = Path(job["folder"]), access.artifacts()
    _check_home(store)
    write_party_table(access.database, pq.read_table(delivered / TABLE), access.party)
    records, counts = unique_records(read_party_table(access.database, access.party), access.party)
    with store.draft(WING, f"{access.party}_records") as draft:
        draft.write_table(RECORDS, records)
        draft.write_json(IDS_JSON, counts)
        beside = _BESIDE[access.party]
        draft.write_table(beside, pq.read_table(delivered / beside))
        return {"version": _published(draft, job).version, "ids": counts}


def unique_records(table: pa.Table, party: Organisation) -> tuple[pa.Table, dict[str, int]]:
    """Each record's first row, its id in the normalised spelling, sorted by it; and what became of the rows.

    Counts: ``rows`` of the table, ``unique`` ids, ``repeated`` rows (left out), rows ``without_id`` (left out) and
    ``other_spelling``, written in another way than normalised. Raises MixedIds.
    """
    ids = read_ids(table[ID_COLUMN].to_pylist(), party=party)
    records = table.take(aligned_rows(ids, ids.unique))
    place = records.schema.get_field_index(ID_COLUMN)
    records = records.set_column(place, table.schema.field(ID_COLUMN), [pa.array(ids.unique, pa.string())])
    return records, {
        "rows": table.num_rows,
        "unique": len(ids.unique),
        "repeated": sum(len(rows) - 1 for rows in ids.duplicates.values()),
        "without_id": len(ids.missing),
        "other_spelling": ids.respelled,
    }


def publish_upload(access: PartyAccess, job: Job) -> dict[str, Any]:
    """``upload``: every X-ray of the mapping travels from ``folder`` to the image holder's bucket under its cloud
    name, unless it is there; the bucket is made where it is missing. Result: ``files``, ``bytes``, ``sent`` files,
    ``sent_bytes`` and ``seconds``.

    Raises BucketNameIllegal and its like, ObjectConflict, ObjectChanged, ObjectAccessError, SourceUnreadable.
    """
    store, xrays, delivered = access.artifacts(), access.xrays(), Path(job["folder"])
    records = store.open_version(WING, f"{access.party}_records", job["records"])
    mapping = store.read_table(records, MAPPING).to_pylist()
    items = [(row["cloud"], delivered / checked_path(row["local"])) for row in mapping]
    known = _known_manifest(store, xrays)
    began = time.perf_counter()
    ensure_bucket(xrays.url, **access.store)
    manifest = xrays.put_many(items, progress="upload X-rays", replace=True, known=known)
    seconds = time.perf_counter() - began
    with store.draft(WING, "upload") as draft:
        # When an object travelled is no news of it: an upload that finds all in place keeps its version.
        same = known is not None and _contents(known) == _contents(manifest)
        draft.write_text(MANIFEST, (known if known and same else manifest).to_json())
        version = _published(draft, job).version
    return {
        "version": version,
        "files": len(manifest.objects),
        "bytes": manifest.size,
        "sent": manifest.uploaded,
        "sent_bytes": sum(one.size for one in manifest.objects if one.uploaded),
        "seconds": seconds,
    }


def publish_features(access: PartyAccess, job: Job) -> dict[str, Any]:
    """``<party>_features``: what the party's network reads of the ``common`` records, in their order, standardised
    with statistics of its own train rows; the label holder's with labels, the image holder's with X-rays of
    ``image_px``, fetched with their checksums from where the manifest of ``upload`` says. ``records``: the version.

    Raises UnknownIds, ValuesUnfit, WrongPartyColumns and its kinds, XrayNotUploaded, ObjectChanged, UnreadableImage.
    """
    from safetensors.numpy import save_file

    store, common = access.artifacts(), job["common"]
    artifact = store.open_version(WING, f"{access.party}_records", job["records"])
    table = store.read_table(artifact, RECORDS)
    rows = table.take(aligned_rows(read_ids(table[ID_COLUMN].to_pylist(), party=access.party), common))
    preprocessor = TabularPreprocessor.fit(rows, access.party)
    tensors = {"features": preprocessor.transform(rows)}
    if access.party == LABEL_HOLDER:
        tensors["labels"] = preprocessor.targets(rows)
    else:
        tensors["pixels"] = _pixels(access, store, artifact, rows[IMAGE_COLUMN].to_pylist(), job)
    with store.draft(WING, f"{access.party}_features") as draft:
        save_file(tensors, str(draft.path(FEATURES)))
        draft.write_json(PREPROCESSOR, preprocessor.as_json())
        draft.write_json(FEATURES_JSON, {"digest": ids_digest(common), "image_px": job["image_px"]})
        return {"version": _published(draft, job).version, "rows": rows.num_rows}


STEPS: Mapping[str, Callable[[PartyAccess, Job], dict[str, Any]]] = {
    "records": publish_records,
    "upload": publish_upload,
    "features": publish_features,
}


def _check_home(store: ArtifactStore) -> None:
    """Before anything is written: a refused listing tells wrong keys from a missing right, a refused lookup of one
    object (publishing begins with one) does not."""
    next(store.objects.list(WING), None)


def _published(draft: Draft, job: Job) -> Artifact:
    return draft.publish(**job["published"])


def _known_manifest(store: ArtifactStore, xrays: ObjectStore) -> UploadManifest | None:
    """The last upload's manifest, when it was to the same place."""
    try:
        artifact = store.current(WING, "upload")
    except ArtifactMissing:
        return None
    known = UploadManifest.from_json(store.local_file(artifact, MANIFEST).read_bytes())
    return known if known.store == xrays.url else None


def _contents(manifest: UploadManifest) -> list[tuple[str, int, str, str | None]]:
    return [(one.key, one.size, one.sha256, one.etag) for one in manifest.objects]


def _pixels(
    access: PartyAccess, store: ArtifactStore, records: Artifact, images: Sequence[str | None], job: Job
) -> np.ndarray:
    """uint8 [n, S, S] of the X-rays named, in their order."""
    manifest = UploadManifest.from_json(
        store.local_file(store.open_version(WING, "upload", job["upload"]), MANIFEST).read_bytes()
    )
    cloud = {row["local"]: row["cloud"] for row in store.read_table(records, MAPPING).to_pylist()}
    uploaded = {one.key: one for one in manifest.objects}
    wanted = [uploaded.get(cloud.get(str(image), "")) for image in images]
    found = tuple(one for one in wanted if one is not None)
    if len(found) < len(wanted):
        raise XrayNotUploaded(
            f"{len(wanted) - len(found)} of {len(wanted)} common records have no X-ray in the upload's manifest: add "
            "them to the mapping and run `mm materialize cloud_vision/upload`"
        )
    paths = ObjectStore.at(manifest.store, **access.store).fetch_many(
        UploadManifest(manifest.store, found), access.scratch / "xrays", progress="fetch X-rays"
    )
    px = job["image_px"]
    decoded = map_items(
        lambda path: xray_pixels(path.read_bytes(), px),
        paths,
        workers=job["workers"],
        kind="thread",
        desc="read X-rays",
    )
    return np.stack(list(decoded))
