"""The wing's asset that both organisations' data come from: X-rays, tables, and the answer key.

Belongs here: read, call a pure function, write, report metadata. Does not belong here: any rule; those are in the
modules named after them.

Only the auditor, who runs the whole simulation, sees this asset; each organisation starts from its own part of it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

from mm_assets.cloud_vision.profiles import CloudKnobs
from mm_assets.cloud_vision.schema import SPLITS
from mm_assets.records.publishing import materialized, publish
from resources.artifact_draft import Draft
from resources.artifact_record import Artifact
from resources.artifacts import ArtifactStore
from resources.dagster_resources import House
from resources.objects import ObjectStore, space_for

if TYPE_CHECKING:
    from mm_assets.cloud_vision.xray_source import RealXrays

OWNERS = ["team:cloud_vision"]


class XraySourceConfig(CloudKnobs):
    """The data set. Sizes are ignored where real X-rays are configured. Unset: the profile's, else the generator's."""

    train: int | None = None  # records, over both organisations
    validate_: int | None = None
    test: int | None = None
    shifted: int | None = None  # of another exposure and another mix of classes
    px: int | None = None  # side of an X-ray
    design: Literal["complementary", "separable"] = "complementary"
    difficulty: float | None = None  # 0 to 1
    common_share: float | None = None  # of records that both organisations hold
    seed: int = 0


@dg.asset(
    key=["cloud_vision", "source"], group_name="cloud_vision", owners=OWNERS, kinds={"jpeg", "parquet"},
    code_version="2",
)  # fmt: skip
def source(context: dg.AssetExecutionContext, house: House, config: XraySourceConfig) -> dg.MaterializeResult:
    """X-rays and both organisations' tables, with the answer key: drawn here, or, where real X-rays are configured,
    tables drawn around those. X-rays that cannot be used are quarantined."""
    from mm_assets.cloud_vision.ceilings import accuracy_ceilings
    from mm_assets.cloud_vision.source import DATA, noted_settings, published_set, table_ceilings
    from mm_assets.cloud_vision.synthetic.around_xrays import TablesConfig, write_around_xrays
    from mm_assets.cloud_vision.synthetic.dataset import GENERATOR_VERSION, XrayDataConfig, write_data
    from mm_assets.cloud_vision.xray_source import RealXrays

    settings, store = house.settings(), house.artifacts()
    filled = vars(config.filled(settings.profile))
    knobs = {name.rstrip("_"): value for name, value in filled.items() if value is not None}
    if settings.cloud_vision_url is not None:
        root = ObjectStore.at(settings.cloud_vision_url, gcs_user_project=settings.gcs_user_project)
        xrays = RealXrays(root, px=knobs.pop("px"), workers=settings.workers)
        tables = TablesConfig(**{name: value for name, value in knobs.items() if name not in SPLITS})
        noted = noted_settings(tables, kind="images", url=root.url, px=xrays.px)
        with store.draft("cloud_vision", "source") as draft, space_for(draft.folder):
            given = write_around_xrays(draft.path(DATA), xrays, tables)
            ceilings = table_ceilings(tables.law, [one.label for one in given if one.split == "train"])
            artifact = _published(context, draft, noted, ceilings, settings.workers, xrays)
        return materialized(store, artifact, _described(store, artifact))

    drawn = XrayDataConfig(**knobs, jobs=settings.workers)
    noted = noted_settings(drawn, kind="generator", generator=GENERATOR_VERSION)
    published = published_set(store, noted)
    if published is not None:
        context.log.info("the X-rays of these settings are already published; they are used as they are")
        return materialized(store, published, {"reused": True, **_described(store, published)})
    with store.draft("cloud_vision", "source") as draft, space_for(draft.folder):
        write_data(draft.path(DATA), drawn)
        artifact = _published(context, draft, noted, accuracy_ceilings(drawn.law), settings.workers)
    return materialized(store, artifact, _described(store, artifact))


def _published(
    context: dg.AssetExecutionContext,
    draft: Draft,
    noted: Mapping[str, Any],
    ceilings: Mapping[str, float | None],
    workers: int,
    xrays: "RealXrays | None" = None,
) -> Artifact:
    """The artifact of a draft that holds a data set, measured; xrays: where it was made around real ones."""
    from mm_assets.cloud_vision.source import DATA, film_statistics
    from mm_assets.cloud_vision.xray_source import rejected_table

    measured = film_statistics(draft.path(DATA), workers=workers)
    draft.write_json("source.json", noted)
    draft.write_json("film_statistics.json", measured)
    draft.write_json("ceilings.json", ceilings)
    draft.write_table("rejected.parquet", rejected_table(xrays.rejected if xrays else []))
    metrics = {f"grey_{name}": measured[name] for name in ("logistic", "boosting", "chance", "standard_error")}
    return publish(
        context, draft, upstream={}, synthetic=xrays is None,
        metrics={
            **metrics,
            "kind": noted["kind"],
            "exposure_gap": measured["exposure_gap"],
            "unreadable_share": xrays.unreadable_share if xrays else 0.0,
            "ceiling_joint": ceilings["joint"],
        },
    )  # fmt: skip


def _described(store: ArtifactStore, artifact: Artifact) -> dict[str, Any]:
    from mm_assets.cloud_vision.source import TRUTH, record_counts, some_films
    from mm_assets.learning.plots import as_markdown, contact_sheet

    films = some_films(store, artifact)
    sheet = as_markdown(contact_sheet(films, columns=3), "drawn X-rays, lesions outlined") if films else None
    return {
        "X-rays": dg.MetadataValue.md(sheet or "real ones, none is shown"),
        "records": dg.MetadataValue.json(record_counts(store.read_table(artifact, TRUTH))),
        "best possible accuracy": dg.MetadataValue.json(store.read_json(artifact, "ceilings.json")),
        "class guessed from grey levels": dg.MetadataValue.json(store.read_json(artifact, "film_statistics.json")),
        "quarantined": artifact.file("rejected.parquet").rows or 0,
    }


cloud_vision_data_assets = [source]
