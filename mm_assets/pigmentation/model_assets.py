"""The wing's model assets: model, evaluation, released_model.

Belongs here: read, call a pure function, write, report metadata. Does not belong here: any rule.
"""

from functools import partial
from typing import Literal

import dagster as dg
from pydantic import Field

from mm_assets.pigmentation.assets import OWNERS, lesions, source, split
from mm_assets.pigmentation.profiles import SkinKnobs
from mm_assets.records.publishing import materialized, publish, upstream_versions
from resources.dagster_resources import House


class SkinTrainKnobs(SkinKnobs):
    """Training of every variant. Unset: the profile's; `full` has the original configuration's numbers."""

    seeds: list[int] | None = None
    encoder: str | None = None  # any timm name, one encoder per modality
    stage: int | None = None  # feature stage after which an encoder is cut; unset: the profile's, or the whole encoder
    image_size: int | None = None  # px the network reads
    # How photographs are read: absorbance above their own background, or colour for a pretrained encoder (inputs.py).
    photographs: str | None = Field(default=None, pattern="^(colour|absorbance)$")
    width: int | None = None  # of a token in the fusion
    attention_heads: int = 8
    epochs: int | None = None
    batch_size: int | None = None  # records a step
    learning_rate: float | None = None  # the peak, after the warm-up
    weight_decay: float | None = None  # of matrices; biases and norms do not decay
    warmup: float = 0.1  # share of all optimiser steps
    patience: int = 10  # epochs without a better mean absolute error on validate
    clip_norm: float = 1.0  # largest norm of the gradient
    dropout: float = 0.3  # of the head
    modality_dropout: float = Field(default=0.4, ge=0, lt=1)  # share of auxiliary images hidden in training
    head: Literal["regression", "classification"] = "regression"
    loss: Literal["mse", "heteroscedastic"] = "mse"
    # ImageNet weights of the encoder: from MM_HUB_DIR or the hub, at a pinned revision where resources/hub.py has the
    # network, else at `main` with a warning.
    pretrained: bool | None = None
    tensorboard: bool = True


class SkinEvaluationConfig(SkinKnobs):
    """Unset: the profile's."""

    replicates: int | None = None  # of the patient bootstrap
    deletion_records: int = 48  # test records whose attention is tried by deletion


@dg.asset(
    key=["pigmentation", "model"], deps=[lesions, split], group_name="pigmentation", owners=OWNERS, kinds={"pytorch"},
    pool="gpu", code_version="3",  # training.TRAINING_VERSION
)  # fmt: skip
def model(context: dg.AssetExecutionContext, house: House, config: SkinTrainKnobs) -> dg.MaterializeResult:
    """The fusion of spatial tokens with modality dropout, the original pooled-token design, and plain concatenation,
    trained end to end on the same records with the same knobs; each predicts every subset of the modalities."""
    from mm_assets.learning.plots import as_markdown, training_curves
    from mm_assets.learning.runs import clear_runs, curve_panels, curves_table, least_val_score
    from mm_assets.pigmentation.published import severity_thresholds, training_files
    from mm_assets.pigmentation.schema import VARIANTS
    from mm_assets.pigmentation.train_job import joined, pack_pixels, run_train_job, train_jobs, training_record
    from resources.compute import map_items, precision_for, resolve_device
    from resources.mirror import mirror_of

    settings, store = house.settings(), house.artifacts()
    knobs = config.filled(settings.profile)
    device, mirror = resolve_device(settings.device), mirror_of(settings)
    upstream = upstream_versions(store, ("pigmentation", "lesions"), ("pigmentation", "split"))
    files = training_files(store)
    packed = pack_pixels(
        files,
        knobs.image_size,
        settings.scratch / "pixels",
        photographs=knobs.photographs,
        versions=upstream,
        workers=settings.workers,
    )
    with store.draft("pigmentation", "model") as draft:
        jobs = train_jobs(
            files, packed, knobs, thresholds=severity_thresholds(store), variants=VARIANTS, versions=upstream,
            folder=draft.folder,
            scratch=settings.scratch / "training", precision=precision_for(device),
            accelerator="gpu" if device.startswith("cuda") else device, mirror=mirror,
        )  # fmt: skip
        # Two processes of one thread beat one of two threads on a busy machine; a GPU takes one job at a time.
        alone = device != "cpu" or settings.workers == 1
        each = partial(map_items, workers=1 if alone else settings.workers, kind="inline" if alone else "process")
        results = list(each(run_train_job, jobs, desc="train variants"))
        draft.write_table("predictions.parquet", joined(results))
        draft.write_table("curves.parquet", curves_table(results))
        draft.write_json("training.json", training_record(jobs, results))
        artifact = publish(
            context, draft, upstream=upstream, synthetic=store.current("pigmentation", "lesions").synthetic,
            metrics={"least_val_score": least_val_score(results)},
        )  # fmt: skip
    clear_runs(results, mirror)
    panels = curve_panels(results, score="minus MAE", losses_of="fused")
    look = {"tensorboard": dg.MetadataValue.text(f"tensorboard --logdir {settings.scratch / 'training'}")}
    return materialized(
        store,
        artifact,
        {
            **(look if knobs.tensorboard else {}),
            "curves": dg.MetadataValue.md(as_markdown(training_curves(panels), "training curves")),
            "parameters": dg.MetadataValue.json({r.variant: r.parameters for r in results}),
            "best epoch": dg.MetadataValue.json({f"{r.variant}-{r.seed}": r.best_epoch for r in results}),
            "encoder": f"{knobs.encoder}, {'pretrained' if knobs.pretrained else 'random start'}",
            "modalities read": ", ".join(jobs[0].spec.names),
            "device": device,
        },
    )


@dg.asset(
    key=["pigmentation", "evaluation"], deps=[model, lesions, split], group_name="pigmentation", owners=OWNERS,
    kinds={"json"}, code_version="2",
)  # fmt: skip
def evaluation(context: dg.AssetExecutionContext, house: House, config: SkinEvaluationConfig) -> dg.MaterializeResult:
    """Every variant and every subset of modalities on the held-out test split, by skin tone, with patient-bootstrap
    and conformal intervals, beside the mean, a hand-made melanin index and concatenation."""
    from mm_assets.learning.plots import as_markdown
    from mm_assets.pigmentation.evaluation import EvaluationSettings, best_seed, evaluate
    from mm_assets.pigmentation.evaluation_figures import figures
    from mm_assets.pigmentation.model_card import model_card
    from mm_assets.pigmentation.published import (
        attention_curves,
        card_facts,
        evaluation_inputs,
        severity_thresholds,
    )

    settings, store = house.settings(), house.artifacts()
    knobs = config.filled(settings.profile)
    upstream = upstream_versions(
        store, ("pigmentation", "model"), ("pigmentation", "lesions"), ("pigmentation", "split")
    )
    inputs = evaluation_inputs(store, workers=settings.workers)
    result = evaluate(
        inputs,
        EvaluationSettings(replicates=knobs.replicates, seed=settings.seed, thresholds=severity_thresholds(store)),
        deletion=attention_curves(store, best_seed(inputs), records=knobs.deletion_records),
    )
    pictures = figures(result, inputs)
    with store.draft("pigmentation", "evaluation") as draft:
        draft.write_json("evaluation.json", result.as_json())
        for name, table in result.tables.items():
            draft.write_table(f"{name}.parquet", table)
        draft.write_text("metrics.csv", result.metrics_csv)
        for name in ("score_distribution", "severity_distribution"):
            draft.path(f"{name}.png").write_bytes(pictures[name])
        draft.write_text("card.md", model_card(result, card_facts(store)))
        artifact = publish(
            context, draft, upstream=upstream, synthetic=store.current("pigmentation", "model").synthetic,
            metrics=result.headline,
        )  # fmt: skip
    plots = {name: dg.MetadataValue.md(as_markdown(png, name)) for name, png in pictures.items()}
    numbers = {name: value for name, value in result.headline.items() if isinstance(value, int | float)}
    return materialized(store, artifact, {**plots, **numbers})


@dg.asset(
    key=["pigmentation", "released_model"], deps=[evaluation, model, lesions, split, source],
    group_name="pigmentation", owners=OWNERS, kinds={"pytorch"}, code_version="2",
)  # fmt: skip
def released_model(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """The fused model as a bundle with its preprocessing, severity thresholds, conformal intervals, the fastest CPU
    runtime that agrees with it, examples and card: what the page, the API and `mm predict` read. It runs after the
    blocking checks of the evaluation."""
    from mm_assets.pigmentation.published import release_inputs
    from mm_assets.pigmentation.release import write_release

    store = house.artifacts()
    upstream = upstream_versions(
        store, *(("pigmentation", name) for name in ("evaluation", "model", "split", "lesions", "source"))
    )
    judged = store.current("pigmentation", "evaluation")
    with store.draft("pigmentation", "released_model") as draft:
        released = write_release(release_inputs(store), draft.folder, upstream)
        artifact = publish(context, draft, upstream=upstream, synthetic=judged.synthetic, metrics=judged.metrics)
    return materialized(
        store,
        artifact,
        {
            "card": dg.MetadataValue.md(released.card),
            "compute": dg.MetadataValue.md(released.compute.markdown()),
            "runtime": dg.MetadataValue.json(released.runtime_trial),
        },
    )


pigmentation_model_assets = [model, evaluation, released_model]
