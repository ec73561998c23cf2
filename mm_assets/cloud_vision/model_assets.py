"""The wing's model assets: model, its audits misalignment and label_leak, evaluation, released_model.

Belongs here: read, call a pure function, write, report metadata. Does not belong here: any rule.

All read both parties' homes: they belong to the auditor who runs the simulation. The joint network alone is trained as
it would be in life, by two processes that hold one party's credentials each.
"""

import dagster as dg
from pydantic import Field

from mm_assets.cloud_vision.assets import OWNERS, source
from mm_assets.cloud_vision.party_assets import alignment, org2_features, org2_records, org3_features, org3_records
from mm_assets.cloud_vision.profiles import CloudKnobs
from mm_assets.cloud_vision.schema import ORGANISATIONS
from mm_assets.cloud_vision.training_knobs import DEVICE, SplitTrainKnobs, split_config, split_knobs, workers_of
from mm_assets.records.publishing import materialized, publish
from resources.dagster_resources import House

_FEATURES = ("org2_features", "org3_features", "alignment")
_AUDITED = ("model", *_FEATURES)


class MisalignmentKnobs(CloudKnobs):
    """Unset: the profile's. The network and its training are the model's."""

    shares: list[float] | None = None  # of train rows that are joined to another record, beside none
    seeds: int | None = Field(default=None, ge=1)  # at most so many of the model's, from its first on


class TriedDefence(dg.Config):
    """A defence of `defence.KINDS`: what strength means is said there; `merged` is of `merged_labels` alone."""

    kind: str
    strength: float
    merged: list[int] = Field(default_factory=list)


class LeakKnobs(CloudKnobs):
    """Unset: the profile's. The network and its training are the model's."""

    defences: list[TriedDefence] | None = None  # beside no defence, which is always tried
    seeds: int | None = Field(default=None, ge=1)  # at most so many of the model's, from its first on


class SplitEvaluationConfig(CloudKnobs):
    """Unset: the profile's."""

    replicates: int | None = None  # of the bootstrap over records


@dg.asset(
    key=["cloud_vision", "model"], deps=[org2_features, org3_features, alignment], group_name="cloud_vision",
    owners=OWNERS, kinds={"pytorch"}, code_version="2",
)  # fmt: skip
def model(context: dg.AssetExecutionContext, house: House, config: SplitTrainKnobs) -> dg.MaterializeResult:
    """The joint network, trained by both organisations over the wire; beside it the same trained in one place, which
    has to have the same weights to the bit, each organisation alone, and the X-ray alone."""
    from mm_assets.cloud_vision.published import (
        features_version,
        image_px,
        is_synthetic,
        open_homes,
        row_files,
        upstream_of,
    )
    from mm_assets.cloud_vision.train_job import (
        BothParties,
        joined,
        run_train_job,
        train_jobs,
        training_record,
        wire_bytes_per_epoch,
    )
    from mm_assets.learning.plots import as_markdown, training_curves
    from mm_assets.learning.runs import curve_panels, curves_table, least_val_score
    from resources.compute import map_items

    context.log.info("trained on the %s", DEVICE)
    settings, store = house.settings(), house.artifacts()
    homes = open_homes(settings, store)
    knobs = config.filled(settings.profile)
    upstream = upstream_of(homes, *_FEATURES)
    versions: dict[str, str] = {party: features_version(homes, party) for party in ORGANISATIONS}
    parties = BothParties(homes.org2, homes.org3, versions, knobs.wire)
    with store.draft("cloud_vision", "model") as draft:
        jobs = train_jobs(
            row_files(homes), parties, split_config(knobs, image_px(homes)), split_knobs(knobs), knobs.seeds,
            draft.folder / "runs",
        )  # fmt: skip
        results = list(map_items(run_train_job, jobs, **workers_of(settings), desc="train networks"))
        record = training_record(jobs, results)
        draft.write_table("predictions.parquet", joined(results))
        draft.write_table("curves.parquet", curves_table(results))
        draft.write_json("training.json", record)
        artifact = publish(
            context, draft, upstream=upstream, synthetic=is_synthetic(homes),
            metrics={
                "least_val_score": least_val_score(results),
                "split_minus_central": record["split_minus_central"],
                "wire_bytes_per_epoch": wire_bytes_per_epoch(results),
            },
        )  # fmt: skip
    panels = curve_panels(results, score="minus loss", losses_of="joint")
    return materialized(
        store,
        artifact,
        {
            "curves": dg.MetadataValue.md(as_markdown(training_curves(panels), "training curves")),
            "carried": dg.MetadataValue.json(record["carried"]),
            "split minus central, largest weight difference": record["split_minus_central"],
            "parameters": dg.MetadataValue.json(record["parameters"]),
            "best epoch": dg.MetadataValue.json(record["best_epoch"]),
            "wire": knobs.wire,
            "device": DEVICE,
        },
    )


@dg.asset(
    key=["cloud_vision", "misalignment"], deps=[model, org2_features, org3_features, alignment],
    group_name="cloud_vision", owners=OWNERS, kinds={"pytorch"}, code_version="2",
)  # fmt: skip
def misalignment(context: dg.AssetExecutionContext, house: House, config: MisalignmentKnobs) -> dg.MaterializeResult:
    """The joint network trained on rows of which some are joined to another record, as a join by place would, and
    tested on aligned ones: a few percent cost little and show nowhere, so ids are compared, never counts."""
    import pyarrow as pa

    from mm_assets.cloud_vision.audit_jobs import aligned_rows, misalignment_jobs, run_misalignment
    from mm_assets.cloud_vision.evaluation_figures import misalignment_curve
    from mm_assets.cloud_vision.evaluation_tables import misalignment_rows
    from mm_assets.cloud_vision.published import audited_network, is_synthetic, open_homes, upstream_of
    from mm_assets.learning.plots import as_markdown
    from resources.compute import map_items

    context.log.info("trained on the %s", DEVICE)
    settings, store = house.settings(), house.artifacts()
    homes = open_homes(settings, store)
    knobs = config.filled(settings.profile)
    upstream = upstream_of(homes, *_AUDITED)  # before it is read: one that is replaced meanwhile makes this stale
    network = audited_network(homes, knobs.seeds)
    jobs = misalignment_jobs(network, knobs.shares)
    trained = map_items(run_misalignment, jobs, **workers_of(settings), desc="train on misaligned rows")
    found = [*aligned_rows(network), *trained]
    summary = misalignment_rows(found)
    with store.draft("cloud_vision", "misalignment") as draft:
        draft.write_table("misalignment.parquet", pa.Table.from_pylist(found))
        artifact = publish(
            context, draft, upstream=upstream, synthetic=is_synthetic(homes),
            metrics={f"accuracy_{round(100 * row['share'])}": row["accuracy"] for row in summary},
        )  # fmt: skip
    return materialized(
        store,
        artifact,
        {
            "device": DEVICE,
            "seeds": str(list(network.seeds)),
            "curve": dg.MetadataValue.md(as_markdown(misalignment_curve(summary), "accuracy by misaligned share")),
            **{f"accuracy at {row['share']:.0%}": row["accuracy"] for row in summary},
        },
    )


@dg.asset(
    key=["cloud_vision", "label_leak"], deps=[model, org2_features, org3_features, alignment],
    group_name="cloud_vision", owners=OWNERS, kinds={"pytorch"}, code_version="2",
)  # fmt: skip
def label_leak(context: dg.AssetExecutionContext, house: House, config: LeakKnobs) -> dg.MaterializeResult:
    """Which labels organisation 3 could read from the gradients that it receives, without and with a defence, beside
    what it could guess from its own data and the same attack on random labels."""
    import pyarrow as pa

    from mm_assets.cloud_vision.audit_jobs import guesses, leak_jobs, leak_records, leak_verdict, run_leak
    from mm_assets.cloud_vision.defence import OPEN, Defence
    from mm_assets.cloud_vision.evaluation_figures import leak_map
    from mm_assets.cloud_vision.evaluation_tables import leak_rows
    from mm_assets.cloud_vision.model_card import leak_table
    from mm_assets.cloud_vision.published import audited_network, is_synthetic, open_homes, upstream_of
    from mm_assets.learning.plots import as_markdown
    from resources.compute import map_items

    context.log.info("trained on the %s", DEVICE)
    settings, store = house.settings(), house.artifacts()
    homes = open_homes(settings, store)
    knobs = config.filled(settings.profile)
    upstream = upstream_of(homes, *_AUDITED)  # before it is read: one that is replaced meanwhile makes this stale
    network = audited_network(homes, knobs.seeds)
    tried = [Defence(one["kind"], one["strength"], tuple(one.get("merged", ()))) for one in knobs.defences]
    jobs, guessed = leak_jobs(network, [OPEN, *tried]), guesses(network)
    found = list(map_items(run_leak, jobs, **workers_of(settings), desc="attack the gradients"))
    records, verdict = leak_records(jobs, found, guessed), leak_verdict(found, guessed)
    summary = leak_rows(records)
    with store.draft("cloud_vision", "label_leak") as draft:
        draft.write_table("leak.parquet", pa.Table.from_pylist(records))
        draft.write_json("leak.json", verdict)
        artifact = publish(
            context, draft, upstream=upstream, synthetic=is_synthetic(homes),
            metrics={
                "guess": verdict["guess"], "reached": int(verdict["reached"]), "defence": verdict["defence"],
                "verdict": verdict["text"], **{f"leak {row['defence']}": row["leak"] for row in summary},
            },
        )  # fmt: skip
    return materialized(
        store,
        artifact,
        {
            "device": DEVICE,
            "seeds": str(list(network.seeds)),
            "table": dg.MetadataValue.md(leak_table(summary)),
            "accuracy against leak": dg.MetadataValue.md(as_markdown(leak_map(summary), "accuracy against leak")),
            "verdict": verdict["text"],
        },
    )


@dg.asset(
    key=["cloud_vision", "evaluation"], deps=[model, misalignment, label_leak, source], group_name="cloud_vision",
    owners=OWNERS, kinds={"json"}, code_version="1",
)  # fmt: skip
def evaluation(context: dg.AssetExecutionContext, house: House, config: SplitEvaluationConfig) -> dg.MaterializeResult:
    """The joint network on held-out and on shifted records with bootstrap intervals, beside each organisation alone,
    the X-ray alone, an independent model with all columns, and the best that anybody could do; with both audits."""
    from mm_assets.cloud_vision.evaluation import EvaluationSettings, evaluate
    from mm_assets.cloud_vision.evaluation_figures import figures
    from mm_assets.cloud_vision.model_card import leak_table, model_card
    from mm_assets.cloud_vision.published import card_facts, evaluation_inputs, is_synthetic, open_homes, upstream_of
    from mm_assets.learning.plots import as_markdown

    settings, store = house.settings(), house.artifacts()
    homes = open_homes(settings, store)
    knobs = config.filled(settings.profile)
    upstream = upstream_of(homes, "model", "misalignment", "label_leak", "source")
    result = evaluate(evaluation_inputs(homes), EvaluationSettings(knobs.replicates, settings.seed))
    pictures = figures(result)
    with store.draft("cloud_vision", "evaluation") as draft:
        draft.write_json("evaluation.json", result.as_json())
        for name, table in result.tables.items():
            draft.write_table(f"{name}.parquet", table)
        draft.write_text("card.md", model_card(result, card_facts(homes)))
        artifact = publish(
            context, draft, upstream=upstream, synthetic=is_synthetic(homes), metrics=result.headline
        )  # fmt: skip
    plots = {name: dg.MetadataValue.md(as_markdown(png, name)) for name, png in pictures.items()}
    numbers = {name: value for name, value in result.headline.items() if isinstance(value, int | float)}
    leaks = dg.MetadataValue.md(leak_table(result.tables["leak"].to_pylist()))
    return materialized(store, artifact, {**plots, "leak table": leaks, **numbers})


@dg.asset(
    key=["cloud_vision", "released_model"],
    deps=[evaluation, model, org2_features, org3_features, alignment, org2_records, org3_records, source],
    group_name="cloud_vision", owners=OWNERS, kinds={"pytorch"}, code_version="2",
)  # fmt: skip
def released_model(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """The joint network as a bundle with each organisation's network alone, both preprocessors, temperature, examples
    and card: what the page, the API and `mm predict` read. It runs after the blocking checks of the evaluation."""
    from mm_assets.cloud_vision.published import open_homes, release_inputs, upstream_of
    from mm_assets.cloud_vision.release import write_release

    store = house.artifacts()
    homes = open_homes(house.settings(), store)
    upstream = upstream_of(homes, "evaluation", "model", "org2_features", "org3_features", "alignment", "source")
    judged = homes.current("evaluation")
    with store.draft("cloud_vision", "released_model") as draft:
        card = write_release(release_inputs(homes), draft.folder, upstream)
        artifact = publish(context, draft, upstream=upstream, synthetic=judged.synthetic, metrics=judged.metrics)
    return materialized(store, artifact, {"card": dg.MetadataValue.md(card)})


cloud_vision_model_assets = [model, misalignment, label_leak, evaluation, released_model]
