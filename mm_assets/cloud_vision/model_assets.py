"""The wing's model assets: model, evaluation, released_model.

Belongs here: read, call a pure function, write, report metadata. Does not belong here: any rule.

All three read both parties' homes: they belong to the auditor who runs the simulation. The joint network alone is
trained as it would be in life, by two processes that hold one party's credentials each.
"""

import dagster as dg

from mm_assets.cloud_vision.assets import OWNERS, source
from mm_assets.cloud_vision.audit_assets import label_leak, misalignment
from mm_assets.cloud_vision.party_assets import alignment, org2_features, org2_records, org3_features, org3_records
from mm_assets.cloud_vision.profiles import CloudKnobs
from mm_assets.cloud_vision.schema import ORGANISATIONS
from mm_assets.cloud_vision.training_knobs import DEVICE, SplitTrainKnobs, split_config, split_knobs, workers_of
from mm_assets.records.publishing import materialized, publish
from resources.dagster_resources import House


class SplitEvaluationConfig(CloudKnobs):
    """Unset: the profile's."""

    replicates: int | None = None  # of the bootstrap over records


@dg.asset(
    key=["cloud_vision", "model"], deps=[org2_features, org3_features, alignment], group_name="cloud_vision",
    owners=OWNERS, kinds={"pytorch"}, code_version="1",
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
            context, draft, upstream=upstream_of(homes, "org2_features", "org3_features", "alignment"),
            synthetic=is_synthetic(homes),
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
    group_name="cloud_vision", owners=OWNERS, kinds={"pytorch"}, code_version="1",
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


cloud_vision_model_assets = [model, evaluation, released_model]
