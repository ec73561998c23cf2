"""The wing's model assets: image_features, text_features, model, evaluation, released_model.

Belongs here: read, call a pure function, write, report metadata. Does not belong here: any rule.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
from pydantic import Field

from mm_assets.mimic.assets import OWNERS, directories, one_run, phase1
from mm_assets.mimic.profiles import MimicKnobs
from mm_assets.mimic.text_assets import knowledge_base, phase2, phase3
from mm_assets.records.publishing import materialized, publish, upstream_versions
from resources.dagster_resources import House

if TYPE_CHECKING:
    from mm_assets.mimic.features import DtypeTrial


class ImageFeatureConfig(MimicKnobs):
    """Which frozen encoder sees the films, and how fine its patch grid is stored. Unset: the profile's."""

    encoder: str | None = None  # a vision name of resources.hub
    grid: int | None = None  # patches per side after pooling, at most 8
    # measured: bfloat16 on a CPU where a trial shows it faster; answers are still encoded in float32.
    cpu_dtype: Literal["float32", "measured"] = "float32"


class TextFeatureConfig(MimicKnobs):
    """How many token vectors of a note are stored. Unset: the profile's."""

    max_tokens: int | None = None
    cpu_dtype: Literal["float32", "measured"] = "float32"  # as for the films


class TrainKnobs(MimicKnobs):
    """Training of every variant. Unset: the profile's."""

    seeds: list[int] | None = None
    max_epochs: int | None = None
    width: int | None = None  # of a token in the fusion network
    batch_size: int = 64  # records a step
    accumulate: int = 1  # steps per optimiser step
    learning_rate: float = 1e-3  # the peak, after the warm-up
    warmup: float = 0.1  # share of all optimiser steps
    weight_decay: float = 0.05  # of matrices; biases and norms do not decay
    clip_norm: float = 1.0  # largest norm of the gradient
    patience: int = 8  # epochs without a better macro AUROC on validate
    tensorboard: bool = True  # curves, one write an epoch
    # 2 goes on from the trained fused variant with its encoders freed (stage2.py), reported as fused_stage2.
    stage: int = Field(default=1, ge=1, le=2)
    stage2_epochs: int = 3
    blank_labels: Literal["zero", "mask"] = "zero"
    uncertain_labels: Literal["mask", "zero", "one"] = "mask"


class EvaluationConfig(MimicKnobs):
    """Unset: the profile's."""

    replicates: int | None = None  # of the patient bootstrap


def chosen_dtype(context: dg.AssetExecutionContext, wanted: str, device: str, trial: Callable[[], "DtypeTrial"]) -> str:
    """`float32`, or on a CPU what a trial showed to be faster; the trial is logged."""
    if wanted != "measured" or device != "cpu":
        return "float32"
    result = trial()
    context.log.info(f"chose {result.dtype}: float32 {result.ms_float32} ms, bfloat16 {result.ms_bfloat16} ms")
    return str(result.dtype).removeprefix("torch.")


@dg.asset(
    key=["mimic", "image_features"], deps=[phase1], partitions_def=directories, backfill_policy=one_run,
    group_name="mimic", owners=OWNERS, kinds={"pytorch", "safetensors"}, pool="gpu", code_version="2",
)  # fmt: skip
def image_features(context: dg.AssetExecutionContext, house: House, config: ImageFeatureConfig) -> dg.MaterializeResult:
    """Each film through the frozen vision encoder, once: its patch tokens, pooled to a small grid, in float16."""
    from contextlib import ExitStack

    from mm_assets.mimic.encode_job import FilmJob, encoder_record, film_dtype, run_film_job
    from mm_assets.mimic.features import check_budget, index_table
    from mm_assets.mimic.published import vision_transform
    from resources.compute import map_items, resolve_device
    from resources.hub import ENCODERS, resolve_encoder

    settings, store = house.settings(), house.artifacts()
    knobs = config.filled(settings.profile)
    device = resolve_device(settings.device)
    name = resolve_encoder(knobs.encoder).name
    check_budget(knobs.grid, ENCODERS[name].token_dim, 0, 0)
    dtype = chosen_dtype(context, knobs.cpu_dtype, device, partial(film_dtype, name))
    noted = partial(encoder_record, name, grid=knobs.grid, transform=vision_transform(name), dtype=dtype)
    records = {directory: store.current("mimic", "phase1", directory) for directory in context.partition_keys}
    written = []
    with ExitStack() as stack:
        drafts = {part: stack.enter_context(store.draft("mimic", "image_features", part)) for part in records}
        jobs = [
            FilmJob(store.local_file(artifact, "records.parquet"), drafts[part].folder, name, knobs.grid, device, dtype)
            for part, artifact in records.items()
        ]
        in_turn = device != "cpu" or len(jobs) == 1
        encoded = map_items(
            run_film_job, jobs, workers=settings.workers, kind="inline" if in_turn else "process", desc="encode films"
        )
        # Published as they come: a killed run keeps the directories that were done.
        for (part, artifact), films in zip(records.items(), encoded, strict=True):
            drafts[part].write_table("index.parquet", index_table(films.index))
            drafts[part].write_json("encoder.json", noted(films.weights_digest))
            upstream = {f"mimic/phase1/{part}": artifact.version}
            written.append(publish(context, drafts[part], upstream=upstream, synthetic=artifact.synthetic))
    rows = sum(artifact.rows for artifact in written)
    size = sum(file.bytes for artifact in written for file in artifact.files)
    return materialized(
        store,
        written,
        {"encoder": name, "grid": knobs.grid, "bytes per record": size / max(1, rows), "device": device},
    )


@dg.asset(
    key=["mimic", "text_features"], deps=[phase3, phase2, knowledge_base], group_name="mimic", owners=OWNERS,
    kinds={"pytorch", "safetensors"}, pool="gpu", code_version="2",
)  # fmt: skip
def text_features(context: dg.AssetExecutionContext, house: House, config: TextFeatureConfig) -> dg.MaterializeResult:
    """Each note through the frozen text encoder, once, and each passage once, apart from the notes."""
    from mm_assets.learning.encoders import weights_digest
    from mm_assets.mimic.encode_job import (
        PART_ROWS,
        NoteJob,
        encoder_record,
        note_dtype,
        run_note_job,
        text_encoder,
        write_passages,
    )
    from mm_assets.mimic.features import index_table
    from mm_assets.records.staleness import require_made_from
    from resources.compute import map_items, resolve_device

    settings, store = house.settings(), house.artifacts()
    knobs = config.filled(settings.profile)
    device = resolve_device(settings.device)
    records, notes = store.current("mimic", "phase3"), store.current("mimic", "phase2")
    base = store.current("mimic", "knowledge_base")
    require_made_from(store, records, "mimic/phase2")
    name = store.read_json(notes, "text.json")["encoder"]
    source = store.local_file(records, "records.parquet")
    dtype = chosen_dtype(context, knobs.cpu_dtype, device, partial(note_dtype, name))
    with store.draft("mimic", "text_features") as draft:
        parts = -(-(records.file("records.parquet").rows or 0) // PART_ROWS)
        jobs = [
            NoteJob(source, part, draft.folder / f"part-{part:05d}", name, knobs.max_tokens, device, dtype)
            for part in range(parts)
        ]
        in_turn = device != "cpu" or len(jobs) == 1
        encoded = map_items(
            run_note_job, jobs, workers=settings.workers, kind="inline" if in_turn else "process", desc="encode notes"
        )
        for job, index in zip(jobs, encoded, strict=True):
            draft.write_table(f"{job.folder.name}/index.parquet", index_table(index))
        passages = store.read_table(base, "passages.parquet")["text"].to_pylist()
        write_passages(passages, name, device, draft.path("passages.safetensors"))
        digest = weights_digest(text_encoder(name, device))
        draft.write_json("encoder.json", encoder_record(name, digest, max_tokens=knobs.max_tokens, dtype=dtype))
        artifact = publish(
            context, draft,
            upstream={
                "mimic/phase3": records.version, "mimic/phase2": notes.version, "mimic/knowledge_base": base.version
            },
            synthetic=records.synthetic,
        )  # fmt: skip
    return materialized(store, artifact, {"encoder": name, "passages": len(passages), "device": device})


@dg.asset(
    key=["mimic", "model"], deps=[image_features, text_features, phase3, knowledge_base, phase1], group_name="mimic",
    owners=OWNERS, kinds={"pytorch"}, pool="gpu", code_version="1",
)  # fmt: skip
def model(context: dg.AssetExecutionContext, house: House, config: TrainKnobs) -> dg.MaterializeResult:
    """Enhanced MDF-Net and the variants it is measured against, trained on stored features with the same knobs:
    one modality alone, plain concatenation, the original three-vector design, and the full fusion."""
    from mm_assets.learning.plots import as_markdown, training_curves
    from mm_assets.learning.runs import clear_runs, curve_panels, curves_table, least_val_score
    from mm_assets.learning.training import TrainConfig
    from mm_assets.mimic.labels import LabelPolicy
    from mm_assets.mimic.published import check_stored_budget, image_encoder, phase1_partitions, training_files
    from mm_assets.mimic.schema import STAGE1_VARIANTS
    from mm_assets.mimic.stage2 import run_stage2_job, stage2_jobs, stage2_record
    from mm_assets.mimic.train_job import TrainJob, joined, run_train_job, training_record
    from resources.compute import map_items, precision_for, resolve_device
    from resources.mirror import mirror_of

    settings, store = house.settings(), house.artifacts()
    knobs = config.filled(settings.profile)
    device, mirror = resolve_device(settings.device), mirror_of(settings)
    upstream = upstream_versions(
        store, ("mimic", "image_features"), ("mimic", "text_features"), ("mimic", "phase3"), ("mimic", "knowledge_base")
    )
    check_stored_budget(store)
    train = TrainConfig(
        epochs=knobs.max_epochs, batch_size=knobs.batch_size, accumulate=knobs.accumulate,
        learning_rate=knobs.learning_rate, weight_decay=knobs.weight_decay, warmup=knobs.warmup,
        patience=knobs.patience, clip_norm=knobs.clip_norm, tensorboard=knobs.tensorboard,
        precision=precision_for(device), accelerator="gpu" if device.startswith("cuda") else device,
    )  # fmt: skip
    with store.draft("mimic", "model") as draft:
        jobs = [
            TrainJob(
                files=training_files(store), policy=LabelPolicy(knobs.blank_labels, knobs.uncertain_labels),
                variant=variant, seed=seed, knobs=train, width=knobs.width, scratch=settings.scratch / "training",
                versions=upstream, folder=draft.folder / f"{variant}-{seed}", mirror=mirror,
            )
            for seed in knobs.seeds
            for variant in STAGE1_VARIANTS
        ]  # fmt: skip
        # Two processes of one thread beat one of two threads on a busy machine; a GPU takes one job at a time.
        alone = device != "cpu" or settings.workers == 1
        each = partial(map_items, workers=1 if alone else settings.workers, kind="inline" if alone else "process")
        results = list(each(run_train_job, jobs, desc="train variants"))
        noted: dict[str, Any] = {}
        if knobs.stage == 2:
            kept = store.read_json(store.current("mimic", "text_features"), "encoder.json")
            films = {part: store.local_file(a, "records.parquet") for part, a in phase1_partitions(store).items()}
            second = stage2_jobs(
                jobs, knobs.stage2_epochs, films=films, vision=image_encoder(store)["encoder"],
                text=kept["encoder"], max_tokens=kept["max_tokens"],
            )  # fmt: skip
            results += each(run_stage2_job, second, desc="train stage 2")
            upstream = {**upstream, **upstream_versions(store, ("mimic", "phase1"))}
            noted["stage2"] = stage2_record(second)
        draft.write_table("predictions.parquet", joined(results))
        draft.write_table("curves.parquet", curves_table(results))
        draft.write_json("training.json", {**training_record(jobs, results), **noted})
        artifact = publish(
            context, draft, upstream=upstream, synthetic=store.current("mimic", "phase3").synthetic,
            metrics={"least_val_score": least_val_score(results)},
        )  # fmt: skip
    clear_runs(results, mirror)
    panels = curve_panels(results, score="macro AUROC", losses_of="fused")
    look = {"tensorboard": dg.MetadataValue.text(f"tensorboard --logdir {settings.scratch / 'training'}")}
    return materialized(
        store,
        artifact,
        {
            **(look if knobs.tensorboard else {}),
            "curves": dg.MetadataValue.md(as_markdown(training_curves(panels), "training curves")),
            "parameters": dg.MetadataValue.json({r.variant: r.parameters for r in results}),
            "best epoch": dg.MetadataValue.json({f"{r.variant}-{r.seed}": r.best_epoch for r in results}),
            "device": device,
        },
    )


@dg.asset(
    key=["mimic", "evaluation"], deps=[model, phase3, image_features, text_features], group_name="mimic", owners=OWNERS,
    kinds={"json"},
    code_version="1",
)  # fmt: skip
def evaluation(context: dg.AssetExecutionContext, house: House, config: EvaluationConfig) -> dg.MaterializeResult:
    """Every variant on the held-out test split with patient-bootstrap intervals, calibration, subgroups and missing
    modalities; thresholds, calibration and the best single modality are chosen on validate."""
    from mm_assets.learning.plots import as_markdown
    from mm_assets.mimic.evaluation import EvaluationSettings, evaluate
    from mm_assets.mimic.evaluation_figures import figures
    from mm_assets.mimic.model_card import model_card
    from mm_assets.mimic.published import card_facts, predictions_by_split

    settings, store = house.settings(), house.artifacts()
    knobs = config.filled(settings.profile)
    upstream = upstream_versions(store, ("mimic", "model"), ("mimic", "phase3"))
    inputs = predictions_by_split(store)
    result = evaluate(
        inputs.validate, inputs.test, subgroups=inputs.subgroups, dropped=inputs.dropped,
        settings=EvaluationSettings(replicates=knobs.replicates, seed=settings.seed),
    )  # fmt: skip
    with store.draft("mimic", "evaluation") as draft:
        draft.write_json("evaluation.json", result.as_json())
        for name in ("per_label", "ablation", "subgroups", "missing_modality", "calibration_methods"):
            draft.write_table(f"{name}.parquet", getattr(result, name))
        draft.write_text("card.md", model_card(result, card_facts(store)))
        artifact = publish(
            context, draft, upstream=upstream, synthetic=store.current("mimic", "model").synthetic,
            metrics=result.headline,
        )  # fmt: skip
    plots = {name: dg.MetadataValue.md(as_markdown(png, name)) for name, png in figures(result, inputs.test).items()}
    numbers = {name: value for name, value in result.headline.items() if isinstance(value, int | float)}
    return materialized(store, artifact, {**plots, **numbers})


@dg.asset(
    key=["mimic", "released_model"],
    deps=[evaluation, model, knowledge_base, image_features, text_features, phase1, phase2, phase3],
    group_name="mimic", owners=OWNERS, kinds={"pytorch"}, code_version="2",
)  # fmt: skip
def released_model(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """The fused model as a bundle with its preprocessing, thresholds, calibration, passages, examples and card: what
    the page, the API and `mm predict` read. It runs after the blocking checks of the evaluation."""
    from mm_assets.mimic.release import write_release

    store = house.artifacts()
    upstream = upstream_versions(
        store, ("mimic", "evaluation"), ("mimic", "model"), ("mimic", "knowledge_base"), ("mimic", "image_features"),
        ("mimic", "text_features"), ("mimic", "phase3"), ("mimic", "phase2"), ("mimic", "phase1"),
        ("mimic", "tables"), ("mimic", "source"),
    )  # fmt: skip
    judged = store.current("mimic", "evaluation")
    with store.draft("mimic", "released_model") as draft:
        card = write_release(store, draft.folder, upstream)
        artifact = publish(context, draft, upstream=upstream, synthetic=judged.synthetic, metrics=judged.metrics)
    return materialized(store, artifact, {"card": dg.MetadataValue.md(card)})


mimic_model_assets = [image_features, text_features, model, evaluation, released_model]
