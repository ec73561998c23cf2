"""The wing's text assets: filtered_text, leakage_audit, knowledge_base, phase2, and phase3, where all come together.

Belongs here: read, call a pure function, write, report metadata. Does not belong here: any rule.
"""

import dagster as dg

from mm_assets.mimic.assets import OWNERS, links, phase1
from mm_assets.mimic.profiles import MimicKnobs
from mm_assets.records.publishing import materialized, publish, upstream_versions
from resources.dagster_resources import House


class TextConfig(MimicKnobs):
    """Which encoder reads the notes, and how much of them. Unset: the profile's."""

    encoder: str | None = None  # a name of resources.hub, or the policy modernbert-cascade
    note_tokens: int = 256  # the encoder reads at most so many tokens of a note
    passages: int = 3  # retrieved per record


class AuditConfig(dg.Config):
    """The planted corpus that the leakage filter is audited on."""

    cases: int = 4000
    seed: int = 0


@dg.asset(
    key=["mimic", "filtered_text"], deps=[phase1], group_name="mimic", owners=OWNERS, kinds={"parquet"},
    code_version="1",
)  # fmt: skip
def filtered_text(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """Phase 1b: complaint and history without words that give the reading away. The filter never sees a label, leaves
    no marker behind, and is the same for every record."""
    from collections import Counter

    from mm_assets.mimic.published import phase1_columns, phase1_is_synthetic
    from mm_assets.mimic.text_stages import filtered_table

    store = house.artifacts()
    filtered = filtered_table(phase1_columns(store, ["study_id", "chief_complaint", "history"]))
    with store.draft("mimic", "filtered_text") as draft:
        draft.write_table("filtered.parquet", filtered)
        artifact = publish(
            context, draft, upstream=upstream_versions(store, ("mimic", "phase1")),
            synthetic=phase1_is_synthetic(store),
        )  # fmt: skip
    changed = sum(count > 0 for count in filtered["n_redactions"].to_pylist())
    rules = Counter(rule for hit in filtered["rules_hit"].to_pylist() for rule in hit)
    return materialized(
        store,
        artifact,
        {
            "records redacted": changed,
            "share redacted": changed / max(1, filtered.num_rows),
            "records per rule": dg.MetadataValue.json(dict(rules.most_common())),
        },
    )


@dg.asset(
    key=["mimic", "leakage_audit"], deps=[filtered_text, phase1], group_name="mimic", owners=OWNERS, kinds={"json"},
    code_version="1",
)  # fmt: skip
def leakage_audit(context: dg.AssetExecutionContext, house: House, config: AuditConfig) -> dg.MaterializeResult:
    """Does the filter work? Recall over planted terms, whether having been redacted tells the label, and a
    bag-of-words probe per label before and after filtering beside leak-free twins, on a synthetic corpus with known
    leaks; and the same probe on the texts of this run."""
    from mm_assets.mimic.labels import raw_labels
    from mm_assets.mimic.leakage import redact
    from mm_assets.mimic.leakage_audit import audit, probe_real, real_probe_table
    from mm_assets.mimic.published import phase1_columns
    from mm_assets.mimic.schema import LABELS
    from mm_assets.mimic.synthetic.corpus import leakage_corpus

    store = house.artifacts()
    filtered = store.current("mimic", "filtered_text")
    planted = audit(leakage_corpus(config.cases, config.seed), redact, seed=config.seed)
    raw = phase1_columns(store, ["study_id", "subject_id", "chief_complaint", *LABELS]).sort_by("study_id")
    after = store.read_table(filtered, "filtered.parquet")["chief_complaint"].to_pylist()
    before = [text or "" for text in raw["chief_complaint"].to_pylist()]
    here = real_probe_table(probe_real(before, after, raw_labels(raw), raw["subject_id"].to_numpy(), seed=config.seed))
    with store.draft("mimic", "leakage_audit") as draft:
        draft.write_json("audit.json", planted.as_dict())
        draft.write_table("probes.parquet", planted.probes_table())
        draft.write_table("probes_of_this_run.parquet", here)
        artifact = publish(
            context, draft,
            upstream={"mimic/filtered_text": filtered.version, **upstream_versions(store, ("mimic", "phase1"))},
            synthetic=filtered.synthetic, metrics=planted.headline(),
        )  # fmt: skip
    return materialized(
        store,
        artifact,
        {
            **planted.headline(),
            "planted corpus (always synthetic)": dg.MetadataValue.md(planted.markdown()),
            "terms missed": dg.MetadataValue.json(list(planted.missed)),
        },
    )


@dg.asset(
    key=["mimic", "knowledge_base"], group_name="mimic", owners=OWNERS, kinds={"faiss"}, code_version="2",
)  # fmt: skip
def knowledge_base(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """Short passages about the 14 findings in the project's own words, embedded, in a FAISS index."""
    import faiss
    from safetensors.numpy import save_file

    from mm_assets.learning.encoders import load_text, weights_digest
    from mm_assets.mimic.encode_job import encoder_record
    from mm_assets.mimic.knowledge_base import load_passages, passages_table
    from mm_assets.mimic.retrieval import build_index, mean_pool_embedder, write_index
    from resources.hub import ENCODERS, local_folder, resolve_encoder

    store = house.artifacts()
    passages = load_passages()
    # Retrieval always uses the sentence encoder: the others were not trained to compare texts.
    card = ENCODERS[resolve_encoder("minilm").name]
    encoder = load_text(card, local_folder(card))
    vectors = mean_pool_embedder(encoder)([passage.text for passage in passages])
    with store.draft("mimic", "knowledge_base") as draft:
        draft.write_table("passages.parquet", passages_table(passages))
        write_index(build_index(vectors), draft.path("index.faiss"))
        save_file({"embeddings": vectors}, str(draft.path("embeddings.safetensors")))
        draft.write_json("encoder.json", encoder_record(card.name, weights_digest(encoder)))
        artifact = publish(context, draft, upstream={}, synthetic=False)
    return materialized(store, artifact, {"passages": len(passages), "embedder": card.name, "faiss": faiss.__version__})


@dg.asset(
    key=["mimic", "phase2"], deps=[phase1, filtered_text, knowledge_base], group_name="mimic", owners=OWNERS,
    kinds={"parquet"}, code_version="1",
)  # fmt: skip
def phase2(context: dg.AssetExecutionContext, house: House, config: TextConfig) -> dg.MaterializeResult:
    """A pseudo-note per study from its structured data, the passages retrieved for its complaint, and the note's
    tokens by the tokenizer of the encoder that will read them."""
    import torch

    from mm_assets.learning.encoders import load_text, require_weights
    from mm_assets.learning.plots import as_markdown, histogram
    from mm_assets.mimic.knowledge_base import passages_of
    from mm_assets.mimic.published import phase1_columns
    from mm_assets.mimic.retrieval import mean_pool_embedder, read_index
    from mm_assets.mimic.text_stages import NOTE_INPUTS, note_table
    from mm_assets.records.staleness import require_made_from
    from resources.hub import ENCODERS, local_folder, resolve_encoder

    settings, store = house.settings(), house.artifacts()
    torch.set_num_threads(1)  # two spin against each other on a busy machine, and bytes would depend on it
    knobs = config.filled(settings.profile)
    filtered = store.current("mimic", "filtered_text")
    base = store.current("mimic", "knowledge_base")
    require_made_from(store, filtered, "mimic/phase1")
    passages = passages_of(store.read_table(base, "passages.parquet"))
    index = read_index(store.local_file(base, "index.faiss"), len(passages))
    chosen = resolve_encoder(knobs.encoder)
    card, embed_card = ENCODERS[chosen.name], ENCODERS["minilm"]
    embedder = load_text(embed_card, local_folder(embed_card))
    require_weights(
        embedder, store.read_json(base, "encoder.json")["weights_digest"],
        made="the passages were embedded with", mend="mm materialize mimic/knowledge_base",
    )  # fmt: skip
    encoder = embedder if card is embed_card else load_text(card, local_folder(card))
    notes = note_table(
        phase1_columns(store, list(NOTE_INPUTS)),
        store.read_table(filtered, "filtered.parquet"),
        passages,
        index,
        mean_pool_embedder(embedder),
        encoder.tokenizer,
        k=knobs.passages,
        cap=min(knobs.note_tokens, encoder.context),
    )
    truncated = float(sum(notes["truncated"].to_pylist()) / max(1, notes.num_rows))
    fell_back = "; ".join(f"{name}: {why}" for name, why in chosen.tried)
    with store.draft("mimic", "phase2") as draft:
        draft.write_table("notes.parquet", notes)
        draft.write_json("text.json", {"encoder": card.name, "note_tokens": knobs.note_tokens, "k": knobs.passages})
        artifact = publish(
            context, draft,
            upstream={
                "mimic/filtered_text": filtered.version, "mimic/knowledge_base": base.version,
                **upstream_versions(store, ("mimic", "phase1")),
            },
            synthetic=filtered.synthetic,
            metrics={"truncated_share": truncated, "encoder": card.name, "fell_back": fell_back},
        )  # fmt: skip
    lengths = notes["n_tokens"].to_numpy()
    return materialized(
        store,
        artifact,
        {
            "truncated share": truncated,
            "encoder": card.name,
            "encoders passed over": fell_back or "none",
            "lengths": dg.MetadataValue.md(
                as_markdown(histogram(lengths, title="Length of notes", xlabel=f"{card.name} tokens"))
            ),
        },
    )


@dg.asset(
    key=["mimic", "phase3"], deps=[phase1, filtered_text, phase2, links], group_name="mimic", owners=OWNERS,
    kinds={"parquet"}, code_version="1",
)  # fmt: skip
def phase3(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """The integrated record: keys, pointer to the film, clinical features, labels, notes, passages, tokens and flags,
    validated, with statistics and a quality report. Films stay in phase 1 and are joined when read."""
    from mm_assets.mimic.encode_job import PART_ROWS
    from mm_assets.mimic.integration import integrate
    from mm_assets.mimic.published import phase1_without_films
    from mm_assets.mimic.quality import quality_report, split_counts
    from mm_assets.records.staleness import require_made_from

    store = house.artifacts()
    notes = store.current("mimic", "phase2")
    filtered = store.current("mimic", "filtered_text")
    require_made_from(store, notes, "mimic/phase1", "mimic/filtered_text")
    records = integrate(
        phase1_without_films(store),
        store.read_table(filtered, "filtered.parquet"),
        store.read_table(notes, "notes.parquet"),
        synthetic=notes.synthetic,
    )
    report = quality_report(records)
    with store.draft("mimic", "phase3") as draft:
        draft.write_table("records.parquet", records, row_group_rows=PART_ROWS)
        draft.write_json("quality.json", report)
        artifact = publish(
            context, draft,
            upstream={
                "mimic/phase2": notes.version, "mimic/filtered_text": filtered.version,
                **upstream_versions(store, ("mimic", "phase1")),
            },
            synthetic=notes.synthetic, metrics=split_counts(records),
        )  # fmt: skip
    return materialized(store, artifact, {"quality": dg.MetadataValue.json(report)})


mimic_text_assets = [filtered_text, leakage_audit, knowledge_base, phase2, phase3]
