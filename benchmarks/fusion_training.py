"""Training the fusion network: on stored features, or with the frozen encoders run again in every epoch.

Both do the same step (fusion forward, loss, backward, AdamW) on the same records; only where the tokens come
from differs. Full configuration: ViT-B/16 and ModernBERT-base on random weights, fusion at width 768. Demo
configuration: the embedded EfficientNet-Lite0 and MiniLM. CPU seconds of one thread, the best of the rounds.

    python -m benchmarks.fusion_training [--quick] [--json FILE]
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.reporting import Gate, finish, parse_options
from mm_assets.learning.encoders import (
    TextEncoder,
    VisionEncoder,
    load_text,
    load_vision,
    random_text,
    random_vision,
)
from mm_assets.learning.losses import combined_loss
from mm_assets.mimic.datasets import FeatureFiles, MultimodalData, Records, open_multimodal
from mm_assets.mimic.features import FilmRow, NoteRow, bytes_per_record, encode_films, encode_notes
from mm_assets.mimic.full_model import FullMDFNet, set_stage
from mm_assets.mimic.model import EnhancedMDFNet, MDFNetConfig
from mm_assets.mimic.schema import CLINICAL_FEATURES, LABELS
from mm_assets.records.token_shards import write_shard
from resources.hub import ENCODERS

GATE = 20.0  # full configuration: stored over encoded, records a second
RECORDS, ROUNDS = 64, 2
QUICK_RECORDS, QUICK_ROUNDS = 16, 1
# The mean length of the demo's notes, and the batch size that every profile trains with.
NOTE_TOKENS, PASSAGES, BATCH = 117, 3, 64
Step = Callable[[np.ndarray], None]


def stored_data(
    folder: Path, vision: VisionEncoder, text: TextEncoder, n: int, grid: int, cap: int
) -> tuple[MultimodalData, np.ndarray, np.ndarray]:
    """Stored tokens of random films and notes, with the pixels [n, 224, 224] and ids [n, NOTE_TOKENS]."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (n, 224, 224), dtype=np.uint8)
    ids = rng.integers(1000, 20_000, (n, NOTE_TOKENS))
    films = encode_films((FilmRow(i, "train", pixels[i]) for i in range(n)), vision, folder / "image", grid=grid)
    notes = encode_notes((NoteRow(i, "train", ids[i].tolist()) for i in range(n)), text, folder / "text", cap=cap)
    write_shard(folder / "passages", {"tokens": rng.normal(size=(100, text.token_dim)).astype(np.float16)})
    records = Records(
        study_id=np.arange(n), subject_id=np.arange(n), split=np.full(n, "train"),
        clinical=rng.normal(size=(n, len(CLINICAL_FEATURES))).astype(np.float32),
        targets=(rng.random((n, len(LABELS))) < 0.2).astype(np.float32),
        target_mask=np.ones((n, len(LABELS)), bool),
        passages=rng.integers(0, 100, (n, PASSAGES)).astype(np.int32),
    )  # fmt: skip

    def files(name: str, index: list[Any]) -> FeatureFiles:
        columns = {key: np.array([getattr(row, key) for row in index]) for key in ("study_id", "shard", "row")}
        return FeatureFiles(columns, {shard: folder / name / shard for shard in set(columns["shard"])})

    data = open_multimodal(records, files("image", films), files("text", notes), folder / "passages")
    return data, pixels, ids


def training_step(model: torch.nn.Module, make_batch: Callable[[np.ndarray], dict[str, torch.Tensor]]) -> Step:
    """One optimiser step on the records at these positions."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)

    def step(positions: np.ndarray) -> None:
        batch = make_batch(positions)
        optimizer.zero_grad(set_to_none=True)
        combined_loss(model(batch), batch["targets"], batch["target_mask"]).backward()
        optimizer.step()

    return step


def measure(
    name: str,
    vision: VisionEncoder,
    text: TextEncoder,
    *,
    grid: int,
    config: dict[str, Any],
    records: int,
    rounds: int,
    cap: int = 32,
) -> dict[str, Any]:
    """Records a CPU second of both ways, interleaved, and their ratio."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as scratch:
        started = time.process_time()
        data, pixels, ids = stored_data(Path(scratch), vision, text, records, grid, cap)
        encode_once = time.process_time() - started
        tokens, image_dim = data.image_tokens
        net_config = MDFNetConfig(image_dim=image_dim, image_tokens=tokens, text_dim=data.text_dim, **config)
        on_features = EnhancedMDFNet(net_config).train()
        with_encoders = FullMDFNet(vision, text, EnhancedMDFNet(net_config))
        set_stage(with_encoders.train(), 1)

        def from_pixels(positions: np.ndarray) -> dict[str, torch.Tensor]:
            from mm_assets.learning.transforms import apply_transform

            input_ids = torch.from_numpy(ids[positions])
            return data.batch(positions) | {
                "images": apply_transform(vision.transform, pixels[positions]),
                "input_ids": input_ids,
                "attention_mask": torch.ones_like(input_ids),
            }

        steps = {
            "stored": training_step(on_features, data.batch),
            "encoded": training_step(with_encoders, from_pixels),
        }
        best = dict.fromkeys(steps, float("inf"))
        parts = np.array_split(np.arange(records), max(1, records // BATCH))
        for step in steps.values():
            step(parts[0])  # memory and kernels of the first step are not the epoch's
        for _ in range(rounds):
            for way, step in steps.items():
                started = time.process_time()
                for positions in parts:
                    step(positions)
                best[way] = min(best[way], time.process_time() - started)
    return {
        "configuration": name,
        "records_per_s_stored": records / best["stored"],
        "records_per_s_encoded": records / best["encoded"],
        "ratio": best["encoded"] / best["stored"],
        "encode_once_s_per_record": encode_once / records,
        "bytes_per_record": bytes_per_record(grid, image_dim, cap, text.token_dim),
        "fusion_parameters": sum(p.numel() for p in on_features.parameters()),
    }


def main() -> int:
    options = parse_options(__doc__)
    torch.set_num_threads(1)
    sizes = {
        "records": QUICK_RECORDS if options.quick else RECORDS,
        "rounds": QUICK_ROUNDS if options.quick else ROUNDS,
    }
    rows = [
        measure(
            "demo", load_vision(ENCODERS["efficientnet-lite0"]), load_text(ENCODERS["minilm"]), grid=4,
            config={"dim": 64, "heads": 4}, **sizes,
        ),
        measure(
            "full", random_vision(ENCODERS["biomedclip"]).eval(), random_text(ENCODERS["modernbert"]).eval(),
            grid=8, config={"dim": 768, "heads": 12}, **sizes,
        ),
    ]  # fmt: skip
    shown = ("configuration", "records_per_s_stored", "records_per_s_encoded", "ratio", "bytes_per_record")
    return finish(
        options,
        numbers={"configurations": rows},
        columns=("configuration", "records/CPU s, stored", "records/CPU s, encoded", "ratio", "stored bytes/record"),
        rows=[[row[key] for key in shown] for row in rows],
        gates=[Gate("fusion training, stored features over encoders run again", rows[-1]["ratio"], "at least", GATE)],
    )


if __name__ == "__main__":
    sys.exit(main())
