"""Stage 2 with the embedded encoders on a few drawn films: it starts where stage 1 ended, and moves the encoders."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from mm_assets.learning.encoders import load_vision
from mm_assets.learning.runs import clear_runs, write_weights
from mm_assets.learning.training import TrainConfig, predict_logits
from mm_assets.mimic.encode_job import FilmJob, NoteJob, run_film_job, run_note_job, text_encoder, write_passages
from mm_assets.mimic.features import index_table
from mm_assets.mimic.labels import LabelPolicy
from mm_assets.mimic.model import EnhancedMDFNet
from mm_assets.mimic.model_assets import TrainKnobs
from mm_assets.mimic.schema import CLINICAL_FEATURES, LABELS
from mm_assets.mimic.stage2 import (
    Stage2Job,
    StoredFilms,
    pixel_batch,
    run_stage2_job,
    stage1_config,
    stage2_config,
    stage2_jobs,
    stage2_key,
    stage2_model,
    token_ids,
)
from mm_assets.mimic.train_job import TrainingFiles, TrainJob, open_training_data, run_train_job
from mm_assets.records.images import encode_jpeg
from resources.hub import ENCODERS

VISION, TEXT, CAP = "efficientnet-lite0", "minilm", 6
NOTES = ["cough", "fever and a productive cough for three days, short of breath on exertion", "chest pain"]
SPLITS = ["train"] * 8 + ["validate"] * 2 + ["test"] * 2


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[TrainingFiles, dict]:
    """Twelve films of 518 px in two directories, their records, and the features of both encoders."""
    folder, rng, n = tmp_path_factory.mktemp("stage2"), np.random.default_rng(0), len(SPLITS)
    studies = list(range(50_000_000, 50_000_000 + n))
    films = [encode_jpeg(rng.integers(0, 255, (518, 518), dtype=np.uint8), quality=80) for _ in studies]
    phase1 = {}
    for directory, rows in (("p10", slice(0, 7)), ("p11", slice(7, n))):
        phase1[directory] = folder / f"{directory}.parquet"
        columns = {"image": films[rows], "study_id": studies[rows], "split": SPLITS[rows]}
        pq.write_table(pa.table(columns), phase1[directory])
    # The first study has no note.
    texts = [NOTES[i % 3] for i in range(1, n)]
    ids = [[], *(text_encoder(TEXT, "cpu").tokenize([text])["input_ids"][0].tolist() for text in texts)]
    records = {
        "study_id": studies, "subject_id": studies, "split": SPLITS, "input_ids": ids,
        "passage_ids": [["a", "b"]] * n, "phase3_integrated": [True] * n,
        **{name: rng.normal(size=n).astype(np.float32) for name in CLINICAL_FEATURES},
        **{name: rng.integers(0, 2, n).astype(np.float32) for name in LABELS},
    }  # fmt: skip
    pq.write_table(pa.table(records), folder / "phase3.parquet")
    pq.write_table(pa.table({"passage_id": ["a", "b"]}), folder / "passages.parquet")
    write_passages(["water in the lung", "air around it"], TEXT, "cpu", folder / "passages.safetensors")

    def written(name, index):
        pq.write_table(index_table(index), folder / name / "index.parquet")
        return {f"{name}/{path.name}": path for path in (folder / name).iterdir()}

    image = {}
    for directory, path in phase1.items():
        image |= written(directory, run_film_job(FilmJob(path, folder / directory, VISION, 4, "cpu")).index)
    text = written("text", run_note_job(NoteJob(folder / "phase3.parquet", 0, folder / "text", TEXT, CAP, "cpu")))
    vectors = folder / "passages.safetensors"
    return TrainingFiles(folder / "phase3.parquet", image, text, folder / "passages.parquet", vectors), phase1


@pytest.fixture(scope="module")
def job(files, tmp_path_factory) -> Stage2Job:
    folder = tmp_path_factory.mktemp("run")
    jobs = [
        TrainJob(
            files=files[0], policy=LabelPolicy(), variant=variant, seed=0, width=16,
            knobs=TrainConfig(epochs=1, tensorboard=True), scratch=folder / "scratch", versions={"mimic/phase3": "x"},
            folder=folder / f"{variant}-0",
        )
        for variant in ("tabular", "fused")
    ]  # fmt: skip
    run_train_job(jobs[1])
    (only,) = stage2_jobs(jobs, 1, films=files[1], vision=VISION, text=TEXT, max_tokens=CAP)
    return only


def test_stage_two_starts_with_the_logits_of_stage_one(job, tmp_path):
    data = open_training_data(job.stage1.files, job.stage1.policy)
    stored = EnhancedMDFNet(stage1_config(job))
    stored.load_state_dict(load_file(job.stage1.folder / "model.safetensors"))
    model = stage2_model(job)
    films = StoredFilms(job.films, data.records.study_id, tmp_path / "films.arrow")
    ids = token_ids(job.stage1.files.records, data)
    assert max(map(len, ids)) > CAP, "a note is to be pooled"
    rows = np.arange(12)
    expected = predict_logits(stored, data.batch, rows)
    found = predict_logits(model, lambda part: pixel_batch(data, films, ids, model.vision.transform, part), rows)
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()  # stored tokens are float16


def test_stage_two_moves_both_encoders_and_is_reported_beside_stage_one(job):
    result = run_stage2_job(job)
    assert result.variant == "fused_stage2" and result.parameters > 25e6
    assert all(np.isfinite([row["train_loss"], row["val_loss"]]).all() for row in result.curves)
    table = result.predictions
    assert table.num_rows == 4 and set(table["split"].to_pylist()) == {"validate", "test"}
    assert np.isfinite(np.array(table["logits"].to_pylist())).all()

    before = stage2_model(job).state_dict()
    after = load_file(job.folder / "model.safetensors")
    assert set(after) == set(before)
    moved = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert moved == {"vision", "text", "fusion"}
    statistics = [name for name in after if name.endswith(("running_mean", "running_var"))]
    assert len(statistics) > 50
    assert all(torch.equal(after[name], before[name]) for name in statistics)
    # The encoder that other jobs of the process share is not the one that was trained.
    shared = load_vision(ENCODERS[VISION]).state_dict()
    assert all(torch.equal(shared[name], before[f"vision.{name}"]) for name in shared)

    assert (result.work_dir / "last.ckpt").exists() and (result.work_dir / "films.arrow").exists()
    clear_runs([result])
    assert [path.name for path in result.work_dir.iterdir()] == ["tensorboard"]


def test_a_stage_two_run_is_named_by_what_it_starts_from(job, tmp_path):
    weights = load_file(job.stage1.folder / "model.safetensors")
    key = stage2_key(job, job.knobs)
    assert key == stage2_key(job, job.knobs)
    assert key != stage2_key(replace(job, max_tokens=CAP + 1), job.knobs)
    (tmp_path / "model.json").write_text((job.stage1.folder / "model.json").read_text())
    write_weights({name: value + 1 for name, value in weights.items()}, tmp_path)
    assert key != stage2_key(replace(job, stage1=replace(job.stage1, folder=tmp_path)), job.knobs)


def test_small_steps_add_up_to_the_records_of_stage_one():
    config = stage2_config(TrainConfig(batch_size=64, accumulate=2, epochs=20), epochs=3)
    assert (config.batch_size, config.accumulate, config.epochs) == (8, 16, 3)
    assert stage2_config(TrainConfig(batch_size=4), 1).batch_size == 4


def test_only_the_two_stages_can_be_asked_for():
    assert TrainKnobs().filled("demo").stage == 1
    assert TrainKnobs(stage=2).filled("demo").stage == 2
    with pytest.raises(ValueError, match="stage"):
        TrainKnobs(stage=3)
