"""A released folder of the wing with a tiny untrained model, made by the code that makes real ones.

Belongs here: what tests of the predictor, the server and the page need instead of a training run.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mm_assets.learning.bundle import SPEC
from mm_assets.learning.runs import write_weights
from mm_assets.pigmentation.fusion import FusionConfig
from mm_assets.pigmentation.inputs import InputSpec, ModalitySpec, rgb_spec
from mm_assets.pigmentation.model import FusionModel
from mm_assets.pigmentation.release import Release, ReleaseInputs, write_release
from mm_assets.pigmentation.schema import TONES, subset_name, subsets
from mm_assets.records.color_images import encode_color_jpeg

PX, STORED_PX, CUBE_PX = 32, 64, 16
WAVELENGTHS = (450.0, 520.0, 580.0, 630.0, 700.0, 850.0)
CAPTURES: dict[str, Any] = {
    "stored_px": STORED_PX,
    "cube_px": CUBE_PX,
    "multispectral": "cube",
    "wavelengths_nm": list(WAVELENGTHS),
}


def skin_photograph(seed: int = 0, size: int = 96, darkness: float = 0.5) -> np.ndarray:
    """uint8 [size, size, 3]: a brown spot on skin with some grain."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    spot = 1 / (1 + np.exp(12 * (np.hypot(x, y) - 0.45)))
    skin = np.array([215, 165, 140]) * (1 - 0.5 * darkness)
    pixels = skin * (1 - 0.45 * spot[..., None]) + rng.normal(0, 5, (size, size, 1))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def photograph_bytes(seed: int = 0, **options: Any) -> bytes:
    return encode_color_jpeg(skin_photograph(seed, **options))


def skin_cube(seed: int = 0, size: int = CUBE_PX, bands: int = len(WAVELENGTHS)) -> np.ndarray:
    """float16 [size, size, bands] of reflectance."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(0.25, 0.6, bands)
    return np.clip(slope + rng.normal(0, 0.05, (size, size, bands)), 0, 1).astype(np.float16)


def cube_bytes(seed: int = 0, wavelengths: Sequence[float] = WAVELENGTHS) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, cube=skin_cube(seed, bands=len(wavelengths)), wavelengths_nm=np.array(wavelengths, np.float32))
    return stream.getvalue()


def png_bytes(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def stored_row(seed: int, *, tone: str = "tan", without: Sequence[str] = ()) -> dict[str, Any]:
    """A record as the lesions' table holds it."""
    pictures = {
        "clinical": encode_color_jpeg(skin_photograph(seed, STORED_PX)),
        "dermoscopy": encode_color_jpeg(skin_photograph(seed + 100, STORED_PX, 0.2)),
        "multispectral": skin_cube(seed).tobytes(),
    }
    return {
        "record_id": f"L{seed:03d}@1",
        "tone": tone,
        "severity": ("Mild", "Moderate", "Severe")[seed % 3],
        **{name: None if name in without else data for name, data in pictures.items()},
    }


def tiny_spec() -> InputSpec:
    cube = ModalitySpec(
        name="multispectral", kind="cube", channels=6, mean=(0.4,) * 6, std=(0.1,) * 6, wavelengths_nm=WAVELENGTHS
    )
    return InputSpec(image_size=PX, modalities=(rgb_spec("clinical"), rgb_spec("dermoscopy"), cube))


def write_trained(folder: Path, *, seed: int = 0, **options: Any) -> FusionModel:
    """The folder of a variant and seed, as training leaves it."""
    torch.manual_seed(seed)
    spec = tiny_spec()
    config = FusionConfig(
        modalities=spec.channels, **{"encoder": "test_resnet", "stage": 2, "image_size": PX, "width": 16, **options}
    )
    model = FusionModel(config).eval()
    with torch.no_grad():  # as a trained one: answers differ between pictures
        model.head.out.weight *= 40
    write_weights(model.state_dict(), folder)
    written = {"architecture": asdict(config), "preprocessing": spec.as_json()}
    (folder / SPEC).write_text(json.dumps(written))
    return model


def release_inputs(trained: Path, *, synthetic: bool = True) -> ReleaseInputs:
    conformal = {subset_name(chosen): {"level": 0.9, "scaled": False, "n": 99, "quantile": 0.1} for chosen in subsets()}
    evaluation = {
        "headline": {
            "mae_all": 0.02, "mae_all_ci_low": 0.015, "mae_all_ci_high": 0.025, "mae_predict_mean": 0.2, "n_test": 800,
            "n_test_complete": 700, "gain_over_mean_ci_low": 0.1,
        },
        "thresholds": {"mild": 0.25, "moderate": 0.6},
        "conformal": conformal,
        "errors": {
            subset_name(chosen): {"value": 0.08 / len(chosen), "low": 0.01, "high": 0.1} for chosen in subsets()
        },
        "released_seed": 0,
    }  # fmt: skip
    return ReleaseInputs(
        trained=trained,
        captures=CAPTURES,
        evaluation=evaluation,
        card="# card\n",
        synthetic=synthetic,
        validate=[stored_row(seed, without=("dermoscopy",) if seed == 3 else ()) for seed in range(6)],
        examples=[stored_row(20 + i, tone=tone) for i, tone in enumerate(TONES)],
    )


def write_tiny_release(folder: Path, *, synthetic: bool = True, seed: int = 0) -> Release:
    """Write a released folder; the intermediate folder of the trained model is beside it."""
    trained = folder.parent / f"{folder.name}-trained-{seed}"
    write_trained(trained, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    return write_release(release_inputs(trained, synthetic=synthetic), folder, {"pigmentation/lesions": "feedbeef"})
