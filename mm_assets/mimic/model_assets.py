"""The wing's model assets: image_features, text_features, model, evaluation, released_model.

Belongs here: read, call a pure function, write, report metadata. Does not belong here: any rule.
"""

from typing import Literal

import dagster as dg

from mm_assets.mimic.assets import OWNERS, directories, one_run, phase1
from mm_assets.mimic.profiles import Knobs
from mm_assets.mimic.text_assets import knowledge_base, phase2, phase3
from mm_assets.records.publishing import materialized, publish, upstream_versions
from resources.dagster_resources import House


class ImageFeatureConfig(Knobs):
    """Which frozen encoder sees the films, and how fine its patch grid is stored. Unset: the profile's."""

    encoder: str | None = None  # a vision name of resources.hub
    grid: int | None = None  # patches per side after pooling, at most 8


class TextFeatureConfig(Knobs):
    """How many token vectors of a note are stored. Unset: the profile's."""

    max_tokens: int | None = None


class TrainKnobs(Knobs):
    """Training of every variant. Unset: the profile's."""

    seeds: list[int] | None = None
    max_epochs: int | None = None
    width: int | None = None
    batch_size: int = 64
    learning_rate: float = 1e-3
    blank_labels: Literal["zero", "mask"] = "zero"
    uncertain_labels: Literal["mask", "zero", "one"] = "mask"


class EvaluationConfig(Knobs):
    """Unset: the profile's."""

    replicates: int | None = None  # of the patient bootstrap


@dg.asset(
    key=["mimic", "image_features"], deps=[phase1], partitions_def=directories, backfill_policy=one_run,
    group_name="mimic", owners=OWNERS, kinds={"pytorch", "safetensors"}, pool="gpu", code_version="1",
)  # fmt: skip
def image_features(
    context: dg.AssetExecutionContext, house: House, config: ImageFeatureConfig
) -> dg.MaterializeResult:
    """Each film through the frozen vision encoder, once: its patch tokens, pooled to a small grid, in float16."""
    import torch

    from mm_assets.learning.encoders import load_vision
    from mm_assets.mimic.features import check_budget, encode_films, index_table
    from mm_assets.mimic.published import film_rows
    from resources.compute import resolve_device
    from resources.hub import ENCODERS, local_folder, resolve_encoder

    settings, store = house.settings(), house.artifacts()
    torch.set_num_threads(settings.workers)
    knobs = config.filled(settings.profile)
    card = ENCODERS[resolve_encoder(knobs.encoder).name]
    check_budget(knobs.grid, card.token_dim, 0, 0)
    encoder = load_vision(card, local_folder(card)).to(resolve_device(settings.device))
    written = []
    for directory in context.partition_keys:
        records = store.current("mimic", "phase1", directory)
        with store.draft("mimic", "image_features", directory) as draft:
            index = encode_films(
                film_rows(store, records), encoder, draft.folder, grid=knobs.grid,
                total=records.file("records.parquet").rows,
            )  # fmt: skip
            draft.write_table("index.parquet", index_table(index))
            draft.write_json(
                "encoder.json",
                {"encoder": card.name, "revision": card.revision, "grid": knobs.grid, "transform": encoder.transform},
            )
            written.append(
                publish(
                    context, draft, upstream={f"mimic/phase1/{directory}": records.version},
                    synthetic=records.synthetic,
                )
            )  # fmt: skip
    rows = sum(artifact.rows for artifact in written)
    size = sum(file.bytes for artifact in written for file in artifact.files)
    return materialized(
        store, written, {"encoder": card.name, "grid": knobs.grid, "bytes per record": size / max(1, rows)}
    )


@dg.asset(
    key=["mimic", "text_features"], deps=[phase3, phase2, knowledge_base], group_name="mimic", owners=OWNERS,
    kinds={"pytorch", "safetensors"}, pool="gpu", code_version="1",
)  # fmt: skip
def text_features(context: dg.AssetExecutionContext, house: House, config: TextFeatureConfig) -> dg.MaterializeResult:
    """Each note through the frozen text encoder, once, and each passage once, apart from the notes."""
    import torch
    from safetensors.numpy import save_file

    from mm_assets.learning.encoders import load_text
    from mm_assets.mimic.features import encode_notes, encode_passages, index_table
    from mm_assets.mimic.published import note_rows
    from resources.compute import resolve_device
    from resources.hub import ENCODERS, local_folder

    settings, store = house.settings(), house.artifacts()
    torch.set_num_threads(settings.workers)
    knobs = config.filled(settings.profile)
    records, notes = store.current("mimic", "phase3"), store.current("mimic", "phase2")
    base = store.current("mimic", "knowledge_base")
    card = ENCODERS[store.read_json(notes, "text.json")["encoder"]]
    encoder = load_text(card, local_folder(card)).to(resolve_device(settings.device))
    passages = store.read_table(base, "passages.parquet")["text"].to_pylist()
    with store.draft("mimic", "text_features") as draft:
        index = encode_notes(
            note_rows(store, records), encoder, draft.folder, cap=knobs.max_tokens,
            total=records.file("records.parquet").rows,
        )  # fmt: skip
        draft.write_table("index.parquet", index_table(index))
        save_file(
            {"tokens": encode_passages(passages, encoder)}, str(draft.path("passages/vectors.safetensors"))
        )
        draft.write_json("encoder.json", {"encoder": card.name, "revision": card.revision, "max_tokens": knobs.max_tokens})
        artifact = publish(
            context, draft,
            upstream={
                "mimic/phase3": records.version, "mimic/phase2": notes.version, "mimic/knowledge_base": base.version
            },
            synthetic=records.synthetic,
        )  # fmt: skip
    return materialized(store, artifact, {"encoder": card.name, "passages": len(passages)})


@dg.asset(
    key=["mimic", "model"], deps=[image_features, text_features, phase3, knowledge_base], group_name="mimic",
    owners=OWNERS, kinds={"pytorch"}, pool="gpu", code_version="1",
)  # fmt: skip
def model(context: dg.AssetExecutionContext, house: House, config: TrainKnobs) -> dg.MaterializeResult:
    """Enhanced MDF-Net and the variants it is measured against, trained on stored features with the same knobs:
    one modality alone, plain concatenation, the original three-vector design, and the full fusion."""
    from mm_assets.learning.plots import as_markdown, training_curves
    from mm_assets.learning.training import TrainConfig
    from mm_assets.mimic.labels import LabelPolicy
    from mm_assets.mimic.published import training_files
    from mm_assets.mimic.schema import VARIANTS
    from mm_assets.mimic.train_job import TrainJob, curve_panels, curves_table, joined, run_train_job, training_record
    from resources.compute import map_items, precision_for, resolve_device

    settings, store = house.settings(), house.artifacts()
    knobs = config.filled(settings.profile)
    device = resolve_device(settings.device)
    upstream = upstream_versions(
        store, ("mimic", "image_features"), ("mimic", "text_features"), ("mimic", "phase3"), ("mimic", "knowledge_base")
    )
    train = TrainConfig(
        epochs=knobs.max_epochs, batch_size=knobs.batch_size, learning_rate=knobs.learning_rate,
        precision=precision_for(device), accelerator="gpu" if device.startswith("cuda") else device,
    )  # fmt: skip
    with store.draft("mimic", "model") as draft:
        jobs = [
            TrainJob(
                files=training_files(store), policy=LabelPolicy(knobs.blank_labels, knobs.uncertain_labels),
                variant=variant, seed=seed, knobs=train, width=knobs.width, scratch=settings.scratch / "training",
                versions=upstream, folder=draft.folder / f"{variant}-{seed}",
            )
            for seed in knobs.seeds
            for variant in VARIANTS
        ]  # fmt: skip
        # Two processes of one thread beat one of two threads on a busy machine; a GPU takes one job at a time.
        alone = device != "cpu" or settings.workers == 1
        results = list(
            map_items(
                run_train_job, jobs, workers=1 if alone else settings.workers,
                kind="inline" if alone else "process", desc="train variants",
            )
        )  # fmt: skip
        draft.write_table("predictions.parquet", joined(results))
        draft.write_table("curves.parquet", curves_table(results))
        draft.write_json("training.json", training_record(jobs, results))
        artifact = publish(
            context, draft, upstream=upstream, synthetic=store.current("mimic", "phase3").synthetic
        )
    return materialized(
        store,
        artifact,
        {
            "curves": dg.MetadataValue.md(as_markdown(training_curves(curve_panels(results)), "training curves")),
            "parameters": dg.MetadataValue.json({r.variant: r.parameters for r in results}),
            "best epoch": dg.MetadataValue.json({f"{r.variant}-{r.seed}": r.best_epoch for r in results}),
            "device": device,
        },
    )


@dg.asset(
    key=["mimic", "evaluation"], deps=[model, phase3], group_name="mimic", owners=OWNERS, kinds={"json"},
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
    key=["mimic", "released_model"], deps=[evaluation, model, knowledge_base, image_features, phase3],
    group_name="mimic", owners=OWNERS, kinds={"pytorch"}, code_version="1",
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
