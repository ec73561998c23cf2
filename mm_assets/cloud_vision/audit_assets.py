"""The wing's audits: misalignment, label_leak.

Belongs here: read, call a pure function, write, report metadata. Does not belong here: any rule.

Both read both parties' homes and train in one place: they belong to the auditor who runs the simulation.
"""

import dagster as dg
from pydantic import Field

from mm_assets.cloud_vision.assets import OWNERS
from mm_assets.cloud_vision.party_assets import alignment, org2_features, org3_features
from mm_assets.cloud_vision.profiles import CloudKnobs
from mm_assets.cloud_vision.training_knobs import DEVICE, SplitNetworkKnobs, split_config, split_knobs, workers_of
from mm_assets.records.publishing import materialized, publish
from resources.dagster_resources import House

_ROWS = ("org2_features", "org3_features", "alignment")


class MisalignmentKnobs(CloudKnobs):
    """Unset: the profile's. `training` has to be what the model is trained with: the evaluation compares."""

    shares: list[float] | None = None  # of train rows that are joined to another record
    seeds: list[int] | None = None
    training: SplitNetworkKnobs = Field(default_factory=SplitNetworkKnobs)


class TriedDefence(dg.Config):
    """A defence of `defence.KINDS`: what strength means is said there; `merged` is of `merged_labels` alone."""

    kind: str
    strength: float
    merged: list[int] = Field(default_factory=list)


class LeakKnobs(CloudKnobs):
    """Unset: the profile's. `training` has to be what the model is trained with: the evaluation compares."""

    defences: list[TriedDefence] | None = None  # beside no defence, which is always tried
    seeds: list[int] | None = None
    training: SplitNetworkKnobs = Field(default_factory=SplitNetworkKnobs)


@dg.asset(
    key=["cloud_vision", "misalignment"], deps=[org2_features, org3_features, alignment], group_name="cloud_vision",
    owners=OWNERS, kinds={"pytorch"}, code_version="1",
)  # fmt: skip
def misalignment(context: dg.AssetExecutionContext, house: House, config: MisalignmentKnobs) -> dg.MaterializeResult:
    """The joint network trained on rows of which some are joined to another record, as a join by place would, and
    tested on aligned ones: a few percent cost little and show nowhere, so ids are compared, never counts."""
    import pyarrow as pa

    from mm_assets.cloud_vision.audit_jobs import misalignment_jobs, run_misalignment
    from mm_assets.cloud_vision.evaluation_figures import misalignment_curve
    from mm_assets.cloud_vision.evaluation_tables import misalignment_rows
    from mm_assets.cloud_vision.published import image_px, is_synthetic, open_homes, row_files, upstream_of
    from mm_assets.cloud_vision.train_job import network_record
    from mm_assets.learning.plots import as_markdown
    from resources.compute import map_items

    context.log.info("trained on the %s", DEVICE)
    settings, store = house.settings(), house.artifacts()
    homes = open_homes(settings, store)
    knobs, trained = config.filled(settings.profile), config.training.filled(settings.profile)
    network, training = split_config(trained, image_px(homes)), split_knobs(trained)
    jobs = misalignment_jobs(row_files(homes), network, training, knobs.shares, knobs.seeds)
    found = list(map_items(run_misalignment, jobs, **workers_of(settings), desc="train on misaligned rows"))
    summary = misalignment_rows(found)
    with store.draft("cloud_vision", "misalignment") as draft:
        draft.write_table("misalignment.parquet", pa.Table.from_pylist(found))
        draft.write_json("training.json", network_record(network, training))
        artifact = publish(
            context, draft, upstream=upstream_of(homes, *_ROWS), synthetic=is_synthetic(homes),
            metrics={f"accuracy_{round(100 * row['share'])}": row["accuracy"] for row in summary},
        )  # fmt: skip
    return materialized(
        store,
        artifact,
        {
            "device": DEVICE,
            "curve": dg.MetadataValue.md(as_markdown(misalignment_curve(summary), "accuracy by misaligned share")),
            **{f"accuracy at {row['share']:.0%}": row["accuracy"] for row in summary},
        },
    )


@dg.asset(
    key=["cloud_vision", "label_leak"], deps=[org2_features, org3_features, alignment], group_name="cloud_vision",
    owners=OWNERS, kinds={"pytorch"}, code_version="1",
)  # fmt: skip
def label_leak(context: dg.AssetExecutionContext, house: House, config: LeakKnobs) -> dg.MaterializeResult:
    """Which labels organisation 3 could read from the gradients that it receives, without and with a defence, beside
    what it could guess from its own data and the same attack on random labels."""
    import pyarrow as pa

    from mm_assets.cloud_vision.audit_jobs import leak_jobs, leak_records, leak_verdict, run_leak
    from mm_assets.cloud_vision.defence import OPEN, Defence
    from mm_assets.cloud_vision.evaluation_figures import leak_map
    from mm_assets.cloud_vision.evaluation_tables import leak_rows
    from mm_assets.cloud_vision.model_card import leak_table
    from mm_assets.cloud_vision.published import image_px, is_synthetic, open_homes, row_files, upstream_of
    from mm_assets.cloud_vision.train_job import network_record
    from mm_assets.learning.plots import as_markdown
    from resources.compute import map_items

    context.log.info("trained on the %s", DEVICE)
    settings, store = house.settings(), house.artifacts()
    homes = open_homes(settings, store)
    knobs, trained = config.filled(settings.profile), config.training.filled(settings.profile)
    tried = [Defence(one["kind"], one["strength"], tuple(one.get("merged", ()))) for one in knobs.defences]
    network, training = split_config(trained, image_px(homes)), split_knobs(trained)
    jobs = leak_jobs(row_files(homes), network, training, [OPEN, *tried], knobs.seeds)
    found = list(map_items(run_leak, jobs, **workers_of(settings), desc="attack the gradients"))
    records, verdict = leak_records(jobs, found), leak_verdict(found)
    summary = leak_rows(records)
    with store.draft("cloud_vision", "label_leak") as draft:
        draft.write_table("leak.parquet", pa.Table.from_pylist(records))
        draft.write_json("leak.json", verdict)
        draft.write_json("training.json", network_record(network, training))
        artifact = publish(
            context, draft, upstream=upstream_of(homes, *_ROWS), synthetic=is_synthetic(homes),
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
            "table": dg.MetadataValue.md(leak_table(summary)),
            "accuracy against leak": dg.MetadataValue.md(as_markdown(leak_map(summary), "accuracy against leak")),
            "verdict": verdict["text"],
        },
    )


cloud_vision_audit_assets = [misalignment, label_leak]
