"""A released folder with a tiny untrained model, and encoders of a few parameters to read it with.

Belongs here: what tests of the predictor need instead of a training run. The folder has the layout of a real
one.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn

from mm_assets.learning.bundle import save_bundle
from mm_assets.learning.calibration import fit_intervals, fit_scaling
from mm_assets.learning.encoders import TextEncoder, VisionEncoder, weights_digest
from mm_assets.learning.transforms import transform_spec
from mm_assets.mimic.model import EnhancedMDFNet, MDFNetConfig, set_clinical_statistics
from mm_assets.mimic.out_of_domain import fit_reference
from mm_assets.mimic.preprocessing import (
    Preprocessing,
    RetrievalInput,
    TextInput,
    VisionInput,
    film_tokens,
    stored_film,
)
from mm_assets.mimic.retrieval import build_index, mean_pool_embedder, write_index
from mm_assets.mimic.schema import CLINICAL_FEATURES, LABELS
from tests.ui.fakes import film_bytes

IMAGE_DIM, TEXT_DIM, GRID, STORED_PX, INPUT_PX = 8, 6, 4, 96, 64
PASSAGES = ["Fluid in the pleural space blunts the angle.", "Air without lung markings.", "Cough with fever."]


class _Trunk(nn.Module):
    """Mean, spread and edges of 8 x 8 patches: [B, 3, 64, 64] -> feature map [B, 8, 8, 8]."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        grey = self.gain * images[:, :1]
        mean = nn.functional.avg_pool2d(grey, 8)
        spread = nn.functional.avg_pool2d(grey**2, 8) - mean**2
        side = nn.functional.avg_pool2d((grey[..., 1:] - grey[..., :-1]).abs(), (8, 8), ceil_mode=True)
        return torch.cat([mean, spread, side, mean**2, -mean, mean * spread, side**2, mean * side], dim=1)


class _Words:
    """A tokenizer of whole words, with the calls that our code makes; 1 and 2 open and close a text."""

    def num_special_tokens_to_add(self) -> int:
        return 2

    def __call__(self, texts: list[str], **options: Any) -> dict[str, Any]:
        lists = [[1, *(3 + sum(map(ord, word.lower())) % 97 for word in text.split()), 2] for text in texts]
        if options.get("truncation") and (cap := options.get("max_length")):
            lists = [ids if len(ids) <= cap else [*ids[: cap - 1], 2] for ids in lists]
        if options.get("return_tensors"):
            longest = max(map(len, lists))
            return {
                "input_ids": torch.tensor([ids + [0] * (longest - len(ids)) for ids in lists]),
                "attention_mask": torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids in lists]),
            }
        return {"input_ids": lists}


class _TextTrunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(100, TEXT_DIM)
        self.table.weight.data = torch.randn(100, TEXT_DIM, generator=torch.Generator().manual_seed(3))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        return type("Output", (), {"last_hidden_state": self.table(input_ids)})


def tiny_vision(*_: Any) -> VisionEncoder:
    return VisionEncoder("tiny", _Trunk(), "map", transform_spec(INPUT_PX, 0.5, 0.25), IMAGE_DIM).eval()


def tiny_text(*_: Any) -> TextEncoder:
    return TextEncoder("tiny", _TextTrunk(), _Words(), TEXT_DIM, 64).eval()


def write_tiny_release(folder: Path, *, synthetic: bool = True, seed: int = 0) -> Path:
    """Write the folder; its films of reference are `film_bytes(0..15)`, its examples number 1 and one without
    film.
    """
    from safetensors.torch import save_file

    rng = np.random.default_rng(seed)
    vision, text = tiny_vision(), tiny_text()
    inputs = Preprocessing(
        vision=VisionInput(
            encoder="efficientnet-lite0",
            weights_digest=weights_digest(vision),
            transform=transform_spec(INPUT_PX, 0.5, 0.25),
            stored_px=STORED_PX,
            resize_mode="squash",
            quality_mode="default",
            grid=GRID,
        ),
        text=TextInput(encoder="minilm", weights_digest=weights_digest(text), note_cap=64, kept_tokens=8),
        retrieval=RetrievalInput(encoder="minilm", weights_digest=weights_digest(text), passages=2),
        clinical=CLINICAL_FEATURES,
    )
    torch.manual_seed(seed)
    config = MDFNetConfig(image_dim=IMAGE_DIM, image_tokens=GRID * GRID, text_dim=TEXT_DIM, dim=16, head_widths=(16, 8))
    model = EnhancedMDFNet(config)
    usual = np.array([98.2, 85, 18, 97, 132, 77, 3, 3, 58, 0.5, 120, 0.4])
    set_clinical_statistics(model, rng.normal(usual, 0.1 * usual + 0.05, (200, len(usual))).astype(np.float32))
    pooled = np.concatenate(
        [
            film_tokens(stored_film(film_bytes(i), inputs.vision), inputs.vision, vision).mean(1).numpy()
            for i in range(16)
        ]
    )
    logits, targets = rng.normal(0, 1, (400, 14)), rng.random((400, 14)) < 0.3
    known = np.ones_like(targets)
    calibration = fit_scaling(logits, targets, known, LABELS, "temperature")
    calibration["intervals"] = fit_intervals(1 / (1 + np.exp(-logits)), targets, known, LABELS)
    spec = {
        "wing": "mimic",
        "architecture": json.loads(config.to_json()),
        "preprocessing": inputs.model_dump(),
        "labels": list(LABELS),
        "thresholds": dict.fromkeys(LABELS, 0.5),
        "temperature": calibration["temperature"],
        "calibration": calibration,
        "out_of_domain": fit_reference(pooled[:12], pooled[12:]).model_dump(),
        "metrics": {
            "released_macro_auroc": 0.8,
            "released_macro_auroc_ci_low": 0.78,
            "released_macro_auroc_ci_high": 0.82,
        },
        "upstream": {"mimic/phase3": "feedbeef"},
        "synthetic": synthetic,
    }  # fmt: skip
    save_bundle(folder, model.state_dict(), spec, "# card\n")
    columns = {"passage_id": ["p0", "p1", "p2"], "text": PASSAGES, "citation": ["Own words"] * 3}
    pq.write_table(pa.table(columns), folder / "passages.parquet")
    vectors = mean_pool_embedder(text)(PASSAGES)
    write_index(build_index(vectors), folder / "index.faiss")
    save_file({"tokens": torch.from_numpy(vectors).half()}, str(folder / "embeddings.safetensors"))
    (folder / "examples").mkdir(exist_ok=True)
    (folder / "examples" / "one.jpg").write_bytes(film_bytes(1))
    examples = [
        {
            "title": "With film",
            "image": "examples/one.jpg",
            "complaint": "cough",
            "age": 61.0,
            "sex": "F",
            "view": "PA",
        },
        {"title": "Without film", "image": None, "complaint": "cough with fever", "arrived_by_ambulance": 1},
    ]
    (folder / "examples.json").write_text(json.dumps(examples))
    return folder
