"""The wing's assets from raw files to one record per study: source, tables, links, phase1.

Belongs here: read, call a pure function, write, report metadata. Does not belong here: any rule; those are in the
modules named after them.
"""

from typing import TYPE_CHECKING, Literal

import dagster as dg
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mm_assets.mimic.profiles import MimicKnobs
from mm_assets.mimic.schema import DIRECTORIES
from mm_assets.records.publishing import materialized, publish
from resources.dagster_resources import House

if TYPE_CHECKING:
    from mm_assets.mimic.phase1 import Rejection

OWNERS = ["team:mimic"]
# Records per Parquet row group: a writer keeps about 1.2 kB of metadata a group and column until it closes, so that
# with small groups memory grew with the number of films (docs/benchmarks.md).
RECORD_GROUP = 256
directories = dg.StaticPartitionsDefinition(list(DIRECTORIES))
# One run may cover any range of directories; each is published on its own, so a retry repeats only what is missing.
one_run = dg.BackfillPolicy.single_run()


class SourceConfig(MimicKnobs):
    """Size and difficulty of the synthetic tree; ignored where real data is configured. Unset: the profile's."""

    train_studies: int | None = None  # linked studies per split
    validate_studies: int | None = None
    test_studies: int | None = None
    linked_share: float | None = None  # of frontal images; synthetic.prevalence.PUBLISHED_LINKED_SHARE as published
    prevalence_floor: float | None = None  # least share of positives per label; 0 as published
    film_scale: float | None = None  # 1 draws 2544x3056 px
    seed: int = 0


class LinkingConfig(dg.Config):
    """How a film finds its emergency stay."""

    rule: Literal["within_stay", "abs24h"] = "within_stay"
    pre_hours: float = 0.0
    post_hours: float = 0.0
    studies_per_stay: Literal["first", "last", "all"] = "first"


class Phase1Knobs(dg.Config):
    """How films are stored and what counts as known before the film."""

    image_size: int = 518  # px, square
    resize_mode: Literal["squash", "letterbox", "crop"] = "squash"
    quality_mode: Literal["default", "fast"] = "default"
    margin_minutes: float = 5.0  # an event must be charted at least this long before the film
    small_sample: int = 0  # records per split to store beside the whole, for `mm export mimic small_sample`; 0: none


@dg.asset(key=["mimic", "source"], group_name="mimic", owners=OWNERS, kinds={"csv", "jpeg"}, code_version="1")
def source(context: dg.AssetExecutionContext, house: House, config: SourceConfig) -> dg.MaterializeResult:
    """Where the raw files are: MIMIC-CXR-JPG, MIMIC-IV-ED and MIMIC-IV at the configured roots, or, where none is
    configured, a synthetic tree in the same layout, generated here."""
    from dataclasses import asdict

    from mm_assets.mimic.published import store_opener, tree_of_same_settings
    from mm_assets.mimic.source import configured_source, locate, manifest_table, stamps
    from mm_assets.mimic.synthetic.prevalence import PUBLISHED_LINKED_SHARE
    from mm_assets.mimic.synthetic.tree import GENERATOR_VERSION, TreeConfig, write_tree

    settings, store = house.settings(), house.artifacts()
    real = configured_source(settings.mimic_cxr_url, settings.mimic_ed_url, settings.mimic_iv_url)
    if real is not None:
        layout = locate(real, store_opener(settings))
        with store.draft("mimic", "source") as draft:
            draft.write_json("source.json", asdict(layout.source))
            draft.write_table("manifest.parquet", manifest_table(layout))
            artifact = publish(context, draft, upstream={}, synthetic=layout.source.synthetic, metrics=stamps(layout))
        return materialized(store, artifact, {"absent": dg.MetadataValue.json(layout.absent)})

    knobs = config.filled(settings.profile)
    tree = TreeConfig(
        linked_studies={
            "train": knobs.train_studies, "validate": knobs.validate_studies, "test": knobs.test_studies
        },
        linked_share=knobs.linked_share,
        prevalence_floor=knobs.prevalence_floor,
        scale=knobs.film_scale,
        seed=knobs.seed,
        jobs=settings.workers,
    )  # fmt: skip
    noted = {"synthetic": True, "generator": GENERATOR_VERSION, "tree": {**asdict(tree), "jobs": None}}
    published = tree_of_same_settings(store, noted)
    if published is not None:
        context.log.info("the synthetic tree of these settings is already published; it is used as it is")
        return materialized(store, published, {"reused": True})
    with store.draft("mimic", "source") as draft:
        report = write_tree(draft.path("tree"), tree)
        draft.write_json("source.json", noted)
        artifact = publish(context, draft, upstream={}, synthetic=True)
    return materialized(
        store,
        artifact,
        {
            "what was planted": dg.MetadataValue.md(f"```\n{report.describe()}\n```"),
            "films": report.films_written,
            "linked share": report.linked_share,
            "linked share as published": PUBLISHED_LINKED_SHARE,
        },
    )


@dg.asset(
    key=["mimic", "tables"], deps=[source], group_name="mimic", owners=OWNERS, kinds={"parquet", "duckdb"},
    code_version="1",
)  # fmt: skip
def tables(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """The raw tables, typed: film metadata, CheXpert labels, official split, emergency stays, triage, vital signs,
    home medicines and patients. A wrong header or a truncated file is an error that names it."""
    from mm_assets.mimic.published import current_source, require_unchanged, store_opener
    from mm_assets.mimic.source import load_tables, locate

    settings, store = house.settings(), house.artifacts()
    upstream, roots = current_source(store)
    open_store = store_opener(settings)
    layout = locate(roots, open_store)
    require_unchanged(upstream, layout)
    rows = {}
    with store.draft("mimic", "tables") as draft:
        for name, table in load_tables(layout, open_store, settings.scratch):
            rows[name] = draft.write_table(f"{name}.parquet", table, row_group_rows=100_000)
        artifact = publish(context, draft, upstream={"mimic/source": upstream.version}, synthetic=upstream.synthetic)
    return materialized(
        store, artifact, {"rows": dg.MetadataValue.json(rows), "absent": dg.MetadataValue.json(layout.absent)}
    )


@dg.asset(
    key=["mimic", "links"], deps=[tables], group_name="mimic", owners=OWNERS, kinds={"parquet", "duckdb"},
    code_version="1",
)  # fmt: skip
def links(context: dg.AssetExecutionContext, house: House, config: LinkingConfig) -> dg.MaterializeResult:
    """One row per study that belongs to an emergency stay, by an interval join on the patient; what cannot be used
    is quarantined with its reason, and the cohort is counted after every filter."""
    from mm_assets.learning.plots import FlowStep, as_markdown, cohort_flow
    from mm_assets.mimic.linking import LinkConfig, link_studies
    from mm_assets.mimic.published import tables_by_name
    from mm_assets.mimic.quality import patients_in_two_splits

    store = house.artifacts()
    raw = store.current("mimic", "tables")
    result = link_studies(tables_by_name(store, raw), LinkConfig(**config.model_dump(), seed=house.settings().seed))
    with store.draft("mimic", "links") as draft:
        draft.write_table("links.parquet", result.links)
        draft.write_table("rejected.parquet", result.rejected)
        draft.write_table("cohort_flow.parquet", result.flow)
        draft.write_json("rule_counts.json", {**result.rule_counts, "split_source": result.split_source})
        artifact = publish(
            context, draft, upstream={"mimic/tables": raw.version}, synthetic=raw.synthetic,
            metrics={
                "rule": config.rule,
                "pre_hours": config.pre_hours,
                "earliest_min": pc.min(result.links["delta_to_intime_min"]).as_py(),
                "patients_in_two_splits": patients_in_two_splits(result.links),
            },
        )  # fmt: skip
    steps = [FlowStep(**row) for row in result.flow.to_pylist()]
    return materialized(
        store,
        artifact,
        {
            "cohort": dg.MetadataValue.md(as_markdown(cohort_flow(steps), "cohort flow")),
            "both linking rules": dg.MetadataValue.json(result.rule_counts),
            "split": result.split_source,
            "quarantined": result.rejected.num_rows,
        },
    )


@dg.asset(
    key=["mimic", "phase1"], deps=[links, tables, source], partitions_def=directories, backfill_policy=one_run,
    group_name="mimic", owners=OWNERS, kinds={"parquet", "jpeg"}, code_version="1",
)  # fmt: skip
def phase1(context: dg.AssetExecutionContext, house: House, config: Phase1Knobs) -> dg.MaterializeResult:
    """One record per linked study: the film at 518 px as JPEG, what was known before it (triage and earlier vital
    signs, complaint, home medicines), raw labels, and edge energy inside the lung field."""
    from mm_assets.learning.plots import as_markdown, contact_sheet
    from mm_assets.mimic.phase1 import Phase1Config, build_records, rejection_table, small_sample
    from mm_assets.mimic.published import current_source, film_reader, phase1_tables, some_films

    settings, store = house.settings(), house.artifacts()
    root, roots = current_source(store)
    raw, linked = store.current("mimic", "tables"), store.current("mimic", "links")
    all_links = store.read_table(linked, "links.parquet")
    inputs = phase1_tables(store, raw)
    read_film = film_reader(roots, settings)
    knobs = Phase1Config(**config.model_dump(exclude={"small_sample"}), workers=settings.workers)
    upstream = {
        "mimic/source": root.version, "mimic/tables": raw.version, "mimic/links": linked.version
    }  # fmt: skip
    noted = {"small_sample": config.small_sample} if config.small_sample else None
    written = []
    for directory in context.partition_keys:
        rows = all_links.filter(pc.equal(all_links["directory"], directory))
        rejected: list[Rejection] = []
        with store.draft("mimic", "phase1", directory) as draft:
            batches = build_records(rows, inputs, read_film, knobs, rejected.append, desc=f"phase1 {directory}")
            draft.write_table("records.parquet", batches, row_group_rows=RECORD_GROUP)
            draft.write_table("rejected.parquet", rejection_table(rejected))
            draft.write_json("films.json", config.model_dump(include={"image_size", "resize_mode", "quality_mode"}))
            if config.small_sample:
                stored = pq.ParquetFile(draft.path("records.parquet")).iter_batches(256)
                draft.write_table("small_sample.parquet", small_sample(stored, config.small_sample))
            written.append(publish(context, draft, upstream=upstream, synthetic=raw.synthetic, metrics=noted))
    films = some_films(store, written, 12)
    return materialized(
        store,
        written,
        {
            "films": dg.MetadataValue.md(as_markdown(contact_sheet(films), "stored films") if films else "none"),
            "quarantined": sum(artifact.file("rejected.parquet").rows or 0 for artifact in written),
            "partitions": dg.MetadataValue.json({str(artifact.partition): artifact.version for artifact in written}),
        },
    )


mimic_data_assets = [source, tables, links, phase1]
