"""The tree as a stranger would read it: files, manifest, counts, determinism, and what the label may not tell."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mm_assets.pigmentation.schema import LABEL_SOURCES, MANIFEST_SCHEMA, MODALITIES, SEVERITIES, TONES
from mm_assets.pigmentation.severity import severity_of
from mm_assets.pigmentation.skin_tone import tone_of
from mm_assets.pigmentation.synthetic.cohort import ABSENT_SHARES, SECOND_VISIT_SHARE, plan_cohort
from mm_assets.pigmentation.synthetic.maps import draw_maps, severity_score
from mm_assets.pigmentation.synthetic.tree import (
    TRAP_SCHEMA,
    TRUTH_SCHEMA,
    SkinTreeConfig,
    SkinTreeReport,
    TreeExists,
    write_tree,
)


def _digests(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def _sound(root: Path) -> pd.DataFrame:
    """The manifest without the patients of traps, with the truth of each record."""
    manifest, traps = (pd.read_parquet(root / f"{name}.parquet") for name in ("manifest", "traps"))
    manifest = manifest[~manifest["lesion_id"].isin(traps["lesion_id"])]
    manifest["record_id"] = manifest["lesion_id"] + "@" + manifest["visit"].astype(str)
    truth = pd.read_parquet(root / "truth.parquet").drop(columns="patient_id")
    return manifest.merge(truth, on="record_id", validate="many_to_one")


def test_tables_have_their_schemas(skin_root: Path) -> None:
    for name, schema in (("manifest", MANIFEST_SCHEMA), ("truth", TRUTH_SCHEMA), ("traps", TRAP_SCHEMA)):
        assert pq.read_schema(skin_root / f"{name}.parquet").remove_metadata() == schema


def test_same_config_gives_the_same_bytes_also_in_processes(
    skin_root: Path, skin_config: SkinTreeConfig, tmp_path: Path
) -> None:
    write_tree(tmp_path / "again", replace(skin_config, jobs=2), progress=False)
    first, again = _digests(skin_root), _digests(tmp_path / "again")
    assert first.keys() == again.keys()
    assert [name for name in first if first[name] != again[name]] == []


def test_another_seed_gives_other_skin(skin_root: Path, tmp_path: Path) -> None:
    write_tree(
        tmp_path / "other", SkinTreeConfig(4, rgb_px=32, cube_px=16, seed=4, jobs=1, traps=False), progress=False
    )
    truths = [pd.read_parquet(root / "truth.parquet") for root in (skin_root, tmp_path / "other")]
    assert not set(truths[0]["score"]) & set(truths[1]["score"])
    assert len(pd.read_parquet(tmp_path / "other/traps.parquet")) == 0


def test_an_existing_tree_is_not_written_over(skin_root: Path, skin_config: SkinTreeConfig) -> None:
    with pytest.raises(TreeExists, match="already holds a tree"):
        write_tree(skin_root, skin_config, progress=False)


def test_every_file_is_listed_and_of_the_size_asked_for(skin_root: Path, skin_config: SkinTreeConfig) -> None:
    sound = _sound(skin_root)
    assert sound["capture_id"].is_unique and sound["path"].is_unique
    for row in sound.itertuples():
        path = skin_root / row.path
        assert path.parent.name == row.modality and path.stem == row.capture_id
        if row.modality == "multispectral":
            with np.load(path, allow_pickle=False) as arrays:
                assert arrays["cube"].shape == (16, 16, 12) and arrays["cube"].dtype == np.float16
                assert arrays["wavelengths_nm"].tolist() == list(skin_config.bands)
        else:
            with Image.open(path) as image:
                assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (64, 64))


def test_labels_are_the_truth_and_one_formula(skin_root: Path) -> None:
    sound = _sound(skin_root)
    assert np.array_equal(sound["label"], sound["score"])
    assert set(sound["label_source"]) == {"synthetic"} <= set(LABEL_SOURCES)
    burden = sound["area_fraction"] * sound["mean_excess"]
    assert sound["score"].to_numpy() == pytest.approx(burden.map(severity_score).to_numpy(), rel=1e-5)
    assert [tone_of(ita) for ita in sound["ita_deg"]] == sound["tone"].tolist()
    assert np.array_equal(sound["ita_deg"], sound["background_ita"])


def test_patients_lesions_and_visits(skin_root: Path) -> None:
    sound = _sound(skin_root)
    assert sound.groupby("lesion_id")["patient_id"].nunique().max() == 1
    assert sound.groupby("patient_id")["background_ita"].nunique().max() == 1
    assert set(sound.groupby("patient_id")["lesion_id"].nunique()) == {1, 2, 3}
    assert set(sound.groupby("lesion_id")["visit"].nunique()) == {1, 2}
    twice = sound[(sound["modality"] == "clinical") & (sound.groupby("lesion_id")["visit"].transform("max") == 2)]
    assert twice.groupby("lesion_id")["score"].nunique().min() == 2
    assert set(sound.groupby("record_id")["modality"].agg(lambda names: "clinical" in set(names))) == {True}


def test_a_large_cohort_has_the_shares_that_were_promised() -> None:
    records = plan_cohort(600, trapped=0, seed=1)
    first = {record.patient_id: record for record in records}
    tones = pd.Series([record.tone for record in first.values()]).value_counts()
    assert set(tones.index) == set(TONES) and tones.min() == tones.max() == 100
    assert len({record.lesion_id for record in records}) / 600 == pytest.approx(2.0, abs=0.15)
    seen_twice = sum(record.visit == 2 for record in records) / len({record.lesion_id for record in records})
    assert seen_twice == pytest.approx(SECOND_VISIT_SHARE, abs=0.04)
    for absent, share in ABSENT_SHARES:
        lacking = [record for record in records if set(MODALITIES) - set(record.modalities) == set(absent)]
        assert len(lacking) / len(records) == pytest.approx(share, abs=0.025)


def test_all_severities_are_common_and_the_label_knows_nothing_of_the_tone() -> None:
    records = plan_cohort(220, trapped=0, seed=2)
    scores = pd.Series([draw_maps(record.plan).score for record in records])
    shares = scores.map(severity_of).value_counts(normalize=True)
    assert set(shares.index) == set(SEVERITIES) and shares.min() >= 0.2
    melanin = pd.Series([record.plan.background_melanin for record in records])
    assert abs(scores.corr(melanin, method="spearman")) < 0.12  # 2.5 standard errors
    by_tone = scores.groupby([record.tone for record in records]).mean()
    assert by_tone.max() - by_tone.min() < 0.15


def test_instruments_are_missing_alike_for_all_tones() -> None:
    records = plan_cohort(900, trapped=0, seed=5)
    complete = pd.Series([set(record.modalities) == set(MODALITIES) for record in records])
    by_tone = complete.groupby([record.tone for record in records]).mean()
    assert by_tone.max() - by_tone.min() < 0.1


def test_report_counts_what_was_written(skin_tree: SkinTreeReport) -> None:
    sound = _sound(skin_tree.root)
    assert skin_tree.patients == sound["patient_id"].nunique() == 36
    assert skin_tree.lesions == sound["lesion_id"].nunique()
    assert skin_tree.records == sound["record_id"].nunique() == sum(skin_tree.per_tone.values())
    assert skin_tree.images == len(sound) == sum(skin_tree.per_modality.values())
    assert sum(skin_tree.per_severity.values()) == skin_tree.records
    assert "SYNTHETIC" in skin_tree.describe() and "very light" in skin_tree.describe()
    assert "SYNTHETIC" in (skin_tree.root / "README").read_text()


@pytest.mark.parametrize(
    ("knobs", "message"),
    [({"patients": 0}, "patients"), ({"rgb_px": 8}, "rgb_px"), ({"cube_px": 2}, "cube_px"),
     ({"bands": (500.0, 450.0)}, "bands"), ({"bands": (300.0, 450.0)}, "bands"), ({"bands": ()}, "bands")],
)  # fmt: skip
def test_impossible_knobs_are_named(knobs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SkinTreeConfig(**({"patients": 5} | knobs))
