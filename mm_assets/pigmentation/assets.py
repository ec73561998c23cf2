"""The wing's assets from image files to one labelled record per lesion and visit: source, lesions, split.

Belongs here: read, call a pure function, write, report metadata. Does not belong here: any rule; those are in the
modules named after them.
"""

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

from mm_assets.pigmentation.profiles import SkinKnobs
from mm_assets.records.publishing import materialized, publish
from resources.artifact_record import Artifact, ArtifactDamaged, ArtifactMissing
from resources.artifacts import ArtifactStore
from resources.dagster_resources import House

if TYPE_CHECKING:
    from mm_assets.pigmentation.lesions import Rejection

OWNERS = ["team:pigmentation"]
# Lesions per Parquet row group: about 8 MB of pictures.
RECORD_GROUP = 64


class SkinSourceConfig(SkinKnobs):
    """Size of the synthetic image set; ignored where real images are configured. Unset: the profile's."""

    patients: int | None = None  # one to three lesions each
    rgb_px: int | None = None  # side of a photograph
    cube_px: int | None = None  # side of a spectral cube
    seed: int = 0


class LesionKnobs(SkinKnobs):
    """How images are stored. Unset: the profile's."""

    stored_px: int | None = None  # photographs, square
    cube_px: int | None = None  # spectral cubes, square
    # pseudo_hsl makes the third modality from the clinical photograph: nothing that the photograph does not hold.
    multispectral: Literal["cube", "pseudo_hsl"] = "cube"
    wavelengths_nm: list[float] | None = None  # bands to resample cubes to; unset: those most cubes have
    mild: float = 0.25  # up to here a score is Mild; read by training, evaluation, API and page alike
    moderate: float = 0.60  # up to here Moderate, above it Severe


class SplitConfig(dg.Config):
    """Shares of patients per split, where the data has no official one."""

    train: float = 0.58
    validate_: float = 0.12
    test: float = 0.30


@dg.asset(key=["pigmentation", "source"], group_name="pigmentation", owners=OWNERS, kinds={"jpeg"}, code_version="1")
def source(context: dg.AssetExecutionContext, house: House, config: SkinSourceConfig) -> dg.MaterializeResult:
    """Which image belongs to which lesion of which patient: a checked manifest of the configured image set, or, where
    none is configured, of a set rendered here from skin optics. Rows that cannot be used are quarantined."""
    from dataclasses import asdict

    from mm_assets.pigmentation.layouts import detect_layout, read_layout
    from mm_assets.pigmentation.manifest import check_manifest, says_synthetic
    from mm_assets.pigmentation.published import image_root, set_of_same_settings, synthetic_manifest
    from mm_assets.pigmentation.synthetic.tree import GENERATOR_VERSION, SkinTreeConfig, write_tree

    settings, store = house.settings(), house.artifacts()
    if settings.pigmentation_url is not None:
        root = image_root(settings.pigmentation_url, settings)
        layout = detect_layout(root) if settings.pigmentation_layout == "auto" else settings.pigmentation_layout
        checked = check_manifest(read_layout(root, layout))
        with store.draft("pigmentation", "source") as draft:
            draft.write_json("source.json", {"url": root.url, "layout": layout})
            draft.write_table("manifest.parquet", checked.rows)
            draft.write_table("rejected.parquet", checked.rejected)
            artifact = publish(context, draft, upstream={}, synthetic=says_synthetic(checked.rows))
        return materialized(store, artifact, {"layout": layout, "quarantined": checked.rejected.num_rows})

    knobs = config.filled(settings.profile)
    tree = SkinTreeConfig(
        patients=knobs.patients, rgb_px=knobs.rgb_px, cube_px=knobs.cube_px, seed=knobs.seed, jobs=settings.workers
    )
    noted = {"generator": GENERATOR_VERSION, "tree": {**asdict(tree), "jobs": None}}
    published = set_of_same_settings(store, noted)
    if published is not None:
        context.log.info("the synthetic images of these settings are already published; they are used as they are")
        return materialized(store, published, {"reused": True})
    with store.draft("pigmentation", "source") as draft:
        report = write_tree(draft.path("tree"), tree)
        checked = check_manifest(synthetic_manifest(draft.path("tree")))
        draft.write_json("source.json", noted)
        draft.write_table("manifest.parquet", checked.rows)
        draft.write_table("rejected.parquet", checked.rejected)
        artifact = publish(context, draft, upstream={}, synthetic=True)
    return materialized(
        store,
        artifact,
        {
            "what was planted": dg.MetadataValue.md(f"```\n{report.describe()}\n```"),
            "quarantined": checked.rejected.num_rows,
        },
    )


@dg.asset(
    key=["pigmentation", "lesions"], deps=[source], group_name="pigmentation", owners=OWNERS,
    kinds={"parquet", "jpeg"}, code_version="2",
)  # fmt: skip
def lesions(context: dg.AssetExecutionContext, house: House, config: LesionKnobs) -> dg.MaterializeResult:
    """One record per lesion and visit: its clinical photograph, and where they were taken its dermoscopy and spectral
    cube; label, its source, and skin tone. An unreadable image is quarantined with its reason; colours whose embedded
    profile could not be applied are taken as sRGB and counted."""
    from mm_assets.learning.plots import as_markdown, contact_sheet
    from mm_assets.pigmentation.lesions import build_lesions, capture_settings, rejected_table
    from mm_assets.pigmentation.published import current_source, lesion_counts, some_photographs
    from mm_assets.pigmentation.severity import Thresholds

    settings, store = house.settings(), house.artifacts()
    root, origin = current_source(store, settings)
    knobs = config.filled(settings.profile)
    rows = store.read_table(origin, "manifest.parquet")
    wanted = capture_settings(
        rows, root.get, stored_px=knobs.stored_px, cube_px=knobs.cube_px, multispectral=knobs.multispectral,
        wavelengths_nm=knobs.wavelengths_nm,
    )  # fmt: skip
    thresholds = Thresholds(mild=knobs.mild, moderate=knobs.moderate)
    rejected: list[Rejection] = []
    ignored: Counter[str] = Counter()
    with store.draft("pigmentation", "lesions") as draft:
        batches = build_lesions(
            rows, root.get, wanted, rejected.append, profile_ignored=lambda reason: ignored.update([reason]),
            workers=settings.workers, desc="lesions", thresholds=thresholds,
        )  # fmt: skip
        draft.write_table("lesions.parquet", batches, row_group_rows=RECORD_GROUP)
        draft.write_table("rejected.parquet", rejected_table(rejected))
        draft.write_json("captures.json", wanted.as_json())
        draft.write_json("severity.json", thresholds.as_json())
        artifact = publish(
            context, draft, upstream={"pigmentation/source": origin.version}, synthetic=origin.synthetic,
            metrics={"rejected": len(rejected)},
        )  # fmt: skip
    if ignored:
        context.log.warning("%d colour profiles could not be applied: %s", ignored.total(), dict(ignored))
    shown = some_photographs(store, artifact, 12)
    return materialized(
        store,
        artifact,
        {
            "lesions": dg.MetadataValue.md(
                as_markdown(contact_sheet(shown), "stored photographs") if shown else "none"
            ),
            "counts": dg.MetadataValue.json(lesion_counts(store, artifact)),
            "quarantined": len(rejected),
            "profiles ignored": dg.MetadataValue.json(dict(sorted(ignored.items()))),
        },
    )


@dg.asset(
    key=["pigmentation", "split"], deps=[lesions], group_name="pigmentation", owners=OWNERS, kinds={"parquet"},
    code_version="2",
)  # fmt: skip
def split(context: dg.AssetExecutionContext, house: House, config: SplitConfig) -> dg.MaterializeResult:
    """Train, validate and test by patient, stratified on severity and skin tone; frozen: a patient keeps the split of
    the version before, only new patients are divided. Another seed, other shares or another rendered image set divide
    all anew. Records without a label are left out."""
    from mm_assets.pigmentation.lesion_split import (
        labelled_records,
        patients_in_two_splits,
        split_counts,
        split_lesions,
    )

    store = house.artifacts()
    records = store.current("pigmentation", "lesions")
    columns = ["record_id", "patient_id", "severity", "tone", "official_split"]
    table = store.read_table(records, "lesions.parquet", columns)
    labelled = labelled_records(table)
    fractions, seed = (config.train, config.validate_, config.test), house.settings().seed
    noted = {"seed": seed, "fractions": list(fractions), "rendered": _rendered_set(store, records)}
    kept, history = _kept_patients(store, noted)
    divided = split_lesions(labelled, seed, fractions, kept=kept)
    with store.draft("pigmentation", "split") as draft:
        draft.write_table("split.parquet", divided)
        draft.write_json("split.json", noted)
        artifact = publish(
            context, draft, upstream={"pigmentation/lesions": records.version}, synthetic=records.synthetic,
            metrics={"patients_in_two_splits": patients_in_two_splits(divided)},
        )  # fmt: skip
    return materialized(
        store,
        artifact,
        {
            "records": dg.MetadataValue.json(split_counts(labelled, divided)),
            "left out, without a label": table.num_rows - labelled.num_rows,
            "patients seen before": history,
        },
    )


def _rendered_set(store: ArtifactStore, records: Artifact) -> dict[str, Any] | None:
    """Settings of the rendered images that `records` were made from: with others a patient_id is somebody else."""
    origin = store.open_version("pigmentation", "source", records.upstream["pigmentation/source"])
    noted = store.read_json(origin, "source.json")
    return noted if "tree" in noted else None


def _kept_patients(store: ArtifactStore, noted: dict[str, Any]) -> tuple[dict[str, str], str]:
    """The split of each patient of the current version, if it was made as `noted` says; and what became of it."""
    try:
        published = store.current("pigmentation", "split")
        before = store.read_json(published, "split.json")
        table = store.read_table(published, "split.parquet", ["patient_id", "split"])
    except (ArtifactMissing, ArtifactDamaged):
        return {}, "all divided: no version before that could be read says how it was divided"
    changed = sorted(name for name in noted if before.get(name) != noted[name])
    if changed:
        return {}, f"all divided anew: the version before was made with other {', '.join(changed)}"
    return dict(zip(*(table[name].to_pylist() for name in ("patient_id", "split")), strict=True)), "keep their split"


pigmentation_data_assets = [source, lesions, split]
