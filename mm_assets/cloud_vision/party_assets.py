"""The assets in which two parties prepare what they know: records, upload, alignment, features.

Belongs here: read, let a party's own process work, report metadata. Does not belong here: any rule, and anything that
needs rows of both parties (model_assets.py).

Each step runs in a process that holds the credentials of one party only (party_process.py). This one runs the
simulation: it hands each party its part of the source and shows counts.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

from mm_assets.cloud_vision.assets import OWNERS, source
from mm_assets.cloud_vision.parties import PartyAccess, party_access
from mm_assets.cloud_vision.party_alignment import ALIGNMENT_JSON, COMMON, alignment_message
from mm_assets.cloud_vision.profiles import CloudKnobs
from mm_assets.cloud_vision.schema import IMAGE_HOLDER, LABEL_HOLDER, ORGANISATIONS, Organisation
from mm_assets.records.publishing import materialized, publish
from mm_assets.records.staleness import require_versions
from resources.artifact_record import Artifact
from resources.artifacts import ArtifactStore
from resources.dagster_resources import House

if TYPE_CHECKING:
    import pyarrow as pa

_ASSET: dict[str, Any] = {"group_name": "cloud_vision", "owners": OWNERS}
# An artifact's ``synthetic`` is of the X-rays. Tables are made up around real ones too, and whoever sees a party's
# artifact, in Dagster or by `mm status --json`, is told so.
_TOLD = {"synthetic_tables": True}


class AlignmentConfig(dg.Config):
    """How the parties talk: over HTTP between two processes, or in this one, which then holds the rows of both."""

    wire: Literal["http", "in_process"] = "http"


class FeatureKnobs(CloudKnobs):
    """What the networks read. Unset: the profile's."""

    image_px: int | None = None  # side of the square X-rays


@dg.asset(key=["cloud_vision", "org2_records"], deps=[source], kinds={"duckdb"}, code_version="1", **_ASSET)
def org2_records(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """Organisation 2's table, labels and features, in its own database; each record once, by normalised id, in its own
    home. Repeated rows and other spellings are counted."""
    return _records(context, house, LABEL_HOLDER)


@dg.asset(key=["cloud_vision", "org3_records"], deps=[source], kinds={"duckdb"}, code_version="1", **_ASSET)
def org3_records(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """Organisation 3's table, features and names of X-rays, in its own database; each record once, by normalised id,
    in its own home, with every X-ray's local and cloud name."""
    return _records(context, house, IMAGE_HOLDER)


@dg.asset(key=["cloud_vision", "upload"], deps=[source, org3_records], kinds={"jpeg"}, code_version="1", **_ASSET)
def upload(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """Organisation 3's X-rays in its bucket, verified by listing; only what is missing travels. The manifest holds
    keys, sizes and checksums, and no secret."""
    from mm_assets.cloud_vision.party_process import run_step

    access, store = party_access(house.settings(), IMAGE_HOLDER), house.artifacts()
    records, origin = access.artifacts().current("cloud_vision", "org3_records"), _source(store)
    upstream = {"cloud_vision/source": origin.version, "cloud_vision/org3_records": records.version}
    job = {"task": "upload", "records": records.version, "folder": _delivered(store, origin, IMAGE_HOLDER)}
    done = run_step(access, {**job, "published": _published(context, upstream, records)})
    artifact = access.artifacts().open_version("cloud_vision", "upload", done["version"])
    rate = done["sent_bytes"] / max(done["seconds"], 1e-9) / 1e6 if done["sent"] else None
    return materialized(
        access.artifacts(),
        artifact,
        {
            **_TOLD,
            "to": str(access.xrays().url),
            "files": done["files"],
            "sent": done["sent"],
            "already there": done["files"] - done["sent"],
            "size (MB)": round(done["bytes"] / 1e6, 1),
            "MB/s": dg.MetadataValue.text("nothing travelled" if rate is None else f"{rate:.1f}"),
        },
    )


@dg.asset(
    key=["cloud_vision", "alignment"], deps=[org2_records, org3_records], kinds={"parquet"}, code_version="1", **_ASSET
)
def alignment(context: dg.AssetExecutionContext, house: House, config: AlignmentConfig) -> dg.MaterializeResult:
    """The records that both organisations hold, found by private set intersection between their two processes; neither
    shows the other an id that it does not have. Every later step joins on these ids, never on the place of a row."""
    import pyarrow as pa

    from mm_assets.cloud_vision.party_process import exchange

    accesses = _accesses(house)
    records = {party: accesses[party].artifacts().current("cloud_vision", f"{party}_records") for party in accesses}
    job = alignment_message({party: artifact.version for party, artifact in records.items()})
    found = exchange(accesses["org2"], accesses["org3"], job, wire=config.wire)
    store = house.artifacts()
    with store.draft("cloud_vision", "alignment") as draft:
        common = {"image_id": pa.array(found["common"], pa.string()), "split": pa.array(found["splits"], pa.string())}
        draft.write_table(COMMON, pa.table(common))
        draft.write_json(ALIGNMENT_JSON, {name: found[name] for name in ("digest", "sizes", "counts")})
        artifact = publish(
            context, draft, upstream={f"cloud_vision/{party}_records": a.version for party, a in records.items()},
            synthetic=records["org2"].synthetic, metrics={"common": found["sizes"]["common"]},
        )  # fmt: skip
    return materialized(
        store,
        artifact,
        {
            "records": dg.MetadataValue.json(found["sizes"]),
            "bytes on the wire": sum(count["bytes"] for count in found["counts"]),
            "messages": dg.MetadataValue.json(found["counts"]),
            "wire": config.wire,
        },
    )


@dg.asset(
    key=["cloud_vision", "org2_features"], deps=[org2_records, alignment], kinds={"safetensors"}, code_version="1",
    **_ASSET,
)  # fmt: skip
def org2_features(context: dg.AssetExecutionContext, house: House, config: FeatureKnobs) -> dg.MaterializeResult:
    """Labels and standardised features of the common records, in organisation 2's home, with the preprocessor fitted on
    its train rows."""
    return _features(context, house, config, LABEL_HOLDER)


@dg.asset(
    key=["cloud_vision", "org3_features"], deps=[org3_records, upload, alignment], kinds={"safetensors"},
    code_version="1", **_ASSET,
)  # fmt: skip
def org3_features(context: dg.AssetExecutionContext, house: House, config: FeatureKnobs) -> dg.MaterializeResult:
    """Standardised features and small X-rays of the common records, in organisation 3's home; the X-rays come from its
    bucket, each with the checksum that the upload noted."""
    return _features(context, house, config, IMAGE_HOLDER)


def _records(context: dg.AssetExecutionContext, house: House, party: Organisation) -> dg.MaterializeResult:
    from mm_assets.cloud_vision.party_process import run_step

    access, store = party_access(house.settings(), party), house.artifacts()
    if access.borrowed:
        context.log.warning(
            "%s opens its stores with the credentials of whoever started this: give it its own, MM_%s_STORE",
            party, party.upper(),
        )  # fmt: skip
    origin = _source(store)
    upstream = {"cloud_vision/source": origin.version}
    job = {"task": "records", "folder": _delivered(store, origin, party)}
    done = run_step(access, {**job, "published": _published(context, upstream, origin)})
    artifact = access.artifacts().open_version("cloud_vision", f"{party}_records", done["version"])
    return materialized(
        access.artifacts(),
        artifact,
        {
            "ids": dg.MetadataValue.json(done["ids"]),
            **_TOLD,
            "credentials": access.credentials,
        },
    )


def _features(
    context: dg.AssetExecutionContext, house: House, config: FeatureKnobs, party: Organisation
) -> dg.MaterializeResult:
    from mm_assets.cloud_vision.party_process import run_step

    settings, store = house.settings(), house.artifacts()
    access = party_access(settings, party)
    records = access.artifacts().current("cloud_vision", f"{party}_records")
    aligned, common = _common(store, records)
    upstream = {f"cloud_vision/{party}_records": records.version, "cloud_vision/alignment": aligned.version}
    job = {
        "task": "features",
        "records": records.version,
        "common": common["image_id"].to_pylist(),
        "image_px": config.filled(settings.profile).image_px,
        "workers": settings.workers,
    }
    if party == IMAGE_HOLDER:
        job["upload"] = _upload_of(access.artifacts(), records).version
        upstream["cloud_vision/upload"] = job["upload"]
    done = run_step(access, {**job, "published": _published(context, upstream, records)})
    artifact = access.artifacts().open_version("cloud_vision", f"{party}_features", done["version"])
    return materialized(
        access.artifacts(),
        artifact,
        {
            "common records": done["rows"],
            "image_px": job["image_px"],
            **_TOLD,
        },
    )


def _accesses(house: House) -> dict[Organisation, PartyAccess]:
    settings = house.settings()
    return {party: party_access(settings, party) for party in ORGANISATIONS}


def _source(store: ArtifactStore) -> Artifact:
    return store.current("cloud_vision", "source")


def _delivered(store: ArtifactStore, origin: Artifact, party: Organisation) -> str:
    """The folder that a party is handed: its part of the source, and nothing beside it."""
    from mm_assets.cloud_vision.source import DATA

    return str(store.local_folder(origin) / DATA / party)


def _published(context: dg.AssetExecutionContext, upstream: Mapping[str, str], made_from: Artifact) -> dict[str, Any]:
    """How a party's process publishes: as this run, of these versions."""
    return {
        "upstream": dict(upstream),
        "synthetic": made_from.synthetic,
        "run_id": context.run.run_id,
        "metrics": dict(_TOLD),
    }


def _common(store: ArtifactStore, records: Artifact) -> tuple[Artifact, "pa.Table"]:
    """The alignment of these records, and its rows. Raises StaleInputs."""
    aligned = store.current("cloud_vision", "alignment")
    require_versions(aligned, {"/".join(records.key): records.version})
    return aligned, store.read_table(aligned, COMMON)


def _upload_of(store: ArtifactStore, records: Artifact) -> Artifact:
    """The upload of these records' X-rays. Raises StaleInputs."""
    uploaded = store.current("cloud_vision", "upload")
    require_versions(uploaded, {"/".join(records.key): records.version})
    return uploaded


cloud_vision_party_assets = [org2_records, org3_records, upload, alignment, org2_features, org3_features]
