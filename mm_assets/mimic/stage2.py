"""Stage 2 of the fused variant: on from its stage-1 weights, with the encoders freed, from stored films and token ids.

Belongs here: what such a run starts from, its batches and its predictions. Does not belong here: freezing and learning
rates by group (full_model.py), the loop (learning/training.py), stage 1 (train_job.py).

Grid, tokens kept of a note, width and heads are those of stage 1, so that its weights fit and the first logits are the
ones stage 1 ended with. Passages keep their stored vectors.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch  # noqa: TID253

from mm_assets.learning.encoders import load_text, load_vision
from mm_assets.learning.runs import CONFIG, WEIGHTS, write_weights
from mm_assets.learning.training import TrainConfig, fit, predict_logits
from mm_assets.learning.transforms import TransformSpec, apply_transform
from mm_assets.mimic.datasets import MultimodalData
from mm_assets.mimic.full_model import FullMDFNet, StageRates, set_stage, stage_groups
from mm_assets.mimic.model import Batch, EnhancedMDFNet, MDFNetConfig, parameter_table
from mm_assets.mimic.schema import STAGE2_VARIANT
from mm_assets.mimic.train_job import (
    TrainJob,
    TrainResult,
    open_training_data,
    predictions,
)
from mm_assets.mimic.training import macro_auroc, training_loss, variant_key
from mm_assets.records.images import decode_image
from resources.hub import ENCODERS, local_folder

# Records a step: the activations of both encoders for more do not fit beside their optimiser states.
BATCH_SIZE = 8
RATES = StageRates()


@dataclass(frozen=True)
class Stage2Job:
    """What one worker trains on, after the stage-1 job has written its weights to `stage1.folder`."""

    stage1: TrainJob  # of the fused variant: data, policy, seed, scratch
    knobs: TrainConfig
    films: Mapping[str, Path]  # directory -> phase 1 records
    vision: str  # names of resources.hub, as the features were made with
    text: str
    max_tokens: int  # vectors kept of a note
    folder: Path


def stage2_jobs(
    stage1: Sequence[TrainJob], epochs: int, *, films: Mapping[str, Path], vision: str, text: str, max_tokens: int
) -> list[Stage2Job]:
    """One job per seed of the fused variant; the rest as in Stage2Job."""
    return [
        Stage2Job(
            stage1=job,
            knobs=stage2_config(job.knobs, epochs),
            films=films,
            vision=vision,
            text=text,
            max_tokens=max_tokens,
            folder=job.folder.with_name(f"{STAGE2_VARIANT}-{job.seed}"),
        )
        for job in stage1
        if job.variant == "fused"
    ]


def stage2_record(jobs: Sequence[Stage2Job]) -> dict[str, Any]:
    """The part `stage2` of `training.json`: the knobs that all jobs share."""
    first = jobs[0]
    return {
        "knobs": {**asdict(first.knobs), "seed": sorted({job.stage1.seed for job in jobs})},
        "rates": asdict(RATES),
        "vision": first.vision,
        "text": first.text,
    }


def stage2_config(stage1: TrainConfig, epochs: int) -> TrainConfig:
    """Small steps, accumulated to as many records per optimiser step as in stage 1."""
    records = stage1.batch_size * stage1.accumulate
    size = min(BATCH_SIZE, records)
    return replace(stage1, epochs=epochs, batch_size=size, accumulate=max(1, round(records / size)))


def run_stage2_job(job: Stage2Job) -> TrainResult:
    """Train (or resume), write encoders and fusion as one file of weights, predict validate and test.

    Raises EncoderUnavailable, UnreadableImage.
    """
    data = open_training_data(job.stage1.files, job.stage1.policy)
    model = stage2_model(job)
    config = replace(job.knobs, seed=job.stage1.seed)
    work_dir = job.stage1.scratch / f"train-{STAGE2_VARIANT}-{config.seed}-{stage2_key(job, config)}"
    films = StoredFilms(job.films, data.records.study_id, work_dir / "films.arrow")
    make_batch = partial(pixel_batch, data, films, token_ids(job.stage1.files.records, data), model.vision.transform)
    result = fit(
        model,
        make_batch,
        data.positions("train"),
        data.positions("validate"),
        training_loss(data),
        config,
        work_dir,
        score=macro_auroc,
        groups=partial(stage_groups, rates=RATES, weight_decay=config.weight_decay),
        name=f"{STAGE2_VARIANT} (seed {config.seed})",
        mirror=job.stage1.mirror,
    )
    write_weights(model.state_dict(), job.folder)
    described = {"fusion": asdict(model.fusion.config), "vision": job.vision, "text": job.text}
    (job.folder / CONFIG).write_text(json.dumps({**described, "max_tokens": job.max_tokens}, sort_keys=True) + "\n")
    # The encoders run once more over both splits: too much for a CPU where there is a GPU.
    model.to("cuda" if config.accelerator == "gpu" else config.accelerator)
    parts = [
        predictions(
            data,
            split=split,
            variant=STAGE2_VARIANT,
            seed=config.seed,
            logits=predict_logits(model, make_batch, data.positions(split), 4 * BATCH_SIZE),
        )
        for split in ("validate", "test")
    ]
    return TrainResult(
        variant=STAGE2_VARIANT,
        seed=config.seed,
        best_epoch=result.best_epoch,
        parameters=parameter_table(model)[-1]["parameters"],
        curves=result.curves,
        predictions=pa.concat_tables(parts),
        work_dir=work_dir,
    )


def stage2_model(job: Stage2Job) -> FullMDFNet:
    """Both encoders around the trained stage-1 fusion, everything free to move."""
    from safetensors.torch import load_file

    # Loaded anew, not shared with the encoding jobs of this process: training changes the weights.
    vision, text = ENCODERS[job.vision], ENCODERS[job.text]
    fusion = EnhancedMDFNet(stage1_config(job))
    fusion.load_state_dict(load_file(str(job.stage1.folder / WEIGHTS)))
    encoders = load_vision(vision, local_folder(vision)), load_text(text, local_folder(text))
    model = FullMDFNet(*encoders, fusion, text_cap=job.max_tokens)
    set_stage(model, 2)
    return model


def stage1_config(job: Stage2Job) -> MDFNetConfig:
    return MDFNetConfig.from_json((job.stage1.folder / CONFIG).read_text())


def stage2_key(job: Stage2Job, config: TrainConfig) -> str:
    """As `variant_key`, with the weights it starts from, the encoders and the rates."""
    more: dict[str, Any] = {
        "start": hashlib.sha256((job.stage1.folder / WEIGHTS).read_bytes()).hexdigest(),
        "encoders": [(name, ENCODERS[name].revision) for name in (job.vision, job.text)],
        "max_tokens": job.max_tokens,
        "rates": asdict(RATES),
    }
    return variant_key(stage1_config(job), config, job.stage1.policy, job.stage1.versions, **more)


class StoredFilms:
    """Random access to the films of some studies, mapped from one uncompressed file: an epoch reads them shuffled."""

    def __init__(self, records: Mapping[str, Path], studies: np.ndarray, path: Path) -> None:
        if not path.exists():
            _copy_films(records, studies, path)
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        self._row = {study: row for row, study in enumerate(table["study_id"].to_pylist())}
        self._image = table["image"]

    def __contains__(self, study: int) -> bool:
        return study in self._row

    def pixels(self, study: int) -> np.ndarray:
        """uint8 [H, W]. Raises UnreadableImage."""
        return decode_image(self._image[self._row[study]].as_py()).pixels


def _copy_films(records: Mapping[str, Path], studies: np.ndarray, path: Path) -> None:
    from tqdm import tqdm

    wanted = pa.array(studies)
    schema = pa.schema([("study_id", pa.int64()), ("image", pa.binary())])
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".half")
    with pa.ipc.new_file(str(half), schema) as out, tqdm(desc="films for stage 2", unit="film", disable=None) as bar:
        for directory in sorted(records):
            with pq.ParquetFile(records[directory]) as file:
                for batch in file.iter_batches(batch_size=64, columns=schema.names):
                    kept = batch.filter(pc.is_in(batch["study_id"], wanted))
                    out.write_batch(kept.select(schema.names).cast(schema))
                    bar.update(kept.num_rows)
    half.replace(path)


def token_ids(records: Path, data: MultimodalData) -> list[list[int]]:
    """Ids of the text encoder's tokenizer per record of ``data``; empty where there is no note."""
    table = pq.read_table(records, columns=["study_id", "input_ids"])
    ids = dict(zip(table["study_id"].to_pylist(), table["input_ids"].to_pylist(), strict=True))
    return [ids[study] or [] for study in data.records.study_id.tolist()]


def pixel_batch(
    data: MultimodalData, films: StoredFilms, ids: Sequence[Sequence[int]], transform: TransformSpec, rows: np.ndarray
) -> Batch:
    """The batch of FullMDFNet: as `MultimodalData.batch`, with films and token ids in place of their stored tokens."""
    batch = data.batch(rows, modalities=("text", "tabular"))
    studies = data.records.study_id[rows].tolist()
    present = [study in films for study in studies]
    images = torch.zeros(len(rows), 3, transform["size"], transform["size"])  # zeros: hidden by image_present
    for i, study in enumerate(studies):
        if present[i]:
            images[i] = apply_transform(transform, films.pixels(study))
    notes = [ids[row] for row in rows]
    input_ids = torch.zeros(len(rows), max(1, *map(len, notes)), dtype=torch.long)
    attention_mask = torch.zeros_like(input_ids)
    # An empty note shows one token, hidden by text_present: attention over nothing is NaN.
    attention_mask[:, 0] = 1
    for i, note in enumerate(notes):
        input_ids[i, : len(note)] = torch.tensor(note, dtype=torch.long)
        attention_mask[i, : len(note)] = 1
    stored = {"text_tokens", "text_mask"}
    return {name: value for name, value in batch.items() if name not in stored} | {
        "images": images,
        "image_present": torch.tensor(present),
        "input_ids": input_ids,
        "attention_mask": attention_mask,
    }
