"""Phase 1, from a film's file to the store: CPU time, likeness and bytes of our path beside the seed's.

Draws a pool of full-size films (2544 x 3056, about 1.7 MB at JPEG quality 95, synthetic texture), then times
all paths interleaved, film by film in a rotating order, in one thread. CPU seconds (process_time), medians
over rounds of the mean per film. Read the ratios: absolute times belong to the machine.

    python benchmarks/phase1_images.py --films 40 --rounds 5 [--json FILE]
"""

import argparse
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter, sobel
from tqdm import tqdm

from mm_assets.mimic.attention_regions import attention_regions
from mm_assets.records.images import QualityMode, resize_square, stored_image

SIZE = 518
HEIGHT, WIDTH = 3056, 2544
# The seed's normalisation (OpenAI CLIP constants) of three equal channels.
SEED_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)[:, None, None]
SEED_STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)[:, None, None]
MAP_FILMS = 3  # of the path with full-resolution maps, which takes over a second a film

GATES = {
    "cpu_default_vs_seed_like": 1.8,
    "cpu_fast_vs_seed_like": 2.4,
    "cpu_default_vs_seed_maps": 30.0,
    "ssim_default_min": 0.997,
    "ssim_fast_min": 0.993,
    "bytes_seed_vs_ours": 30.0,
}


def draw_film(seed: int) -> bytes:
    """A chest-like film as JPEG: two dark lungs, ribs, bright spine, 1/f texture and grain, one channel."""
    rng = np.random.default_rng([seed, 2])
    texture = _one_over_f(rng, HEIGHT // 2, WIDTH // 2)
    large = Image.fromarray(texture).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    y, x = np.mgrid[0 : 1 : HEIGHT * 1j, 0 : 1 : WIDTH * 1j].astype(np.float32)
    film = np.full((HEIGHT, WIDTH), 165, dtype=np.float32)
    for centre in (0.29, 0.71):
        distance = ((x - centre) / 0.18) ** 2 + ((y - 0.45) / 0.34) ** 2
        film -= 95 / (1 + np.exp(np.minimum((distance - 1) * 8, 50)))
    film += 45 * np.exp(-(((x - 0.5) / 0.05) ** 2))
    film += 14 * np.maximum(0, np.sin(y * 70 + (x - 0.5) ** 2 * 40)) ** 3
    film += 12 * np.asarray(large) + rng.normal(0, 1.9, film.shape).astype(np.float32)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(film, 0, 255).astype(np.uint8)).save(buffer, format="JPEG", quality=95)
    return buffer.getvalue()


def _one_over_f(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((height, width))) / frequency**1.3
    texture = np.fft.irfft2(spectrum, s=(height, width))
    return (texture / texture.std()).astype(np.float32)


def seed_like(path: Path, out: Path) -> None:
    """RGB, bilinear resize, float32, normalise, torch.save: the recipe of torchvision tutorials."""
    image = Image.open(path).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    tensor = np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 255
    torch.save({"image": torch.from_numpy((tensor - SEED_MEAN) / SEED_STD)}, out)


def seed_maps(path: Path, out: Path) -> None:
    """The same, with the seed's two attention maps of the whole film at full resolution.

    As the seed: the film is decoded again, Sobel and magnitude in float64, min-max, a threshold at the 90th
    percentile, both maps kept as float32.
    """
    image = Image.open(path).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    tensor = np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 255
    grey = np.asarray(Image.open(path).convert("L"), dtype=np.float64)
    saliency = np.sqrt(sobel(grey, axis=1) ** 2 + sobel(grey, axis=0) ** 2)
    saliency = (saliency - saliency.min()) / (saliency.max() - saliency.min())
    mask = saliency > np.percentile(saliency, 90)
    record = {
        "image": torch.from_numpy((tensor - SEED_MEAN) / SEED_STD),
        "saliency_map": torch.from_numpy(saliency).float(),
        "salient_regions": torch.from_numpy(mask).float(),
    }
    torch.save(record, out)


def ours(path: Path, out: Path, quality_mode: QualityMode, *, regions: bool) -> None:
    """File to Parquet as phase 1 does it; one file per film charges us Parquet's footer each time."""
    stored = stored_image(path.read_bytes(), SIZE, quality_mode=quality_mode)
    columns = {"image": [stored.jpeg], "width": [stored.width], "height": [stored.height]}
    if regions:
        columns["attention_regions"] = [attention_regions(stored.pixels).tobytes()]
    pq.write_table(pa.table(columns), out, compression="zstd")


def entropy_floor(path: Path, out: Path) -> None:
    """Huffman decoding and the mean of each block (DCT scale 1/8): no JPEG decoder can do less."""
    image = Image.open(path)
    image.draft("L", (image.width // 8, image.height // 8))
    image.load()


PATHS: dict[str, Callable[[Path, Path], None]] = {
    "seed_like": seed_like,
    "default": lambda path, out: ours(path, out, "default", regions=False),
    "fast": lambda path, out: ours(path, out, "fast", regions=False),
    "default_with_regions": lambda path, out: ours(path, out, "default", regions=True),
    "fast_with_regions": lambda path, out: ours(path, out, "fast", regions=True),
    "entropy_floor": entropy_floor,
    "seed_maps": seed_maps,
}


def time_paths(films: list[Path], rounds: int, out: Path) -> dict[str, float]:
    """CPU milliseconds per film of each path: median over rounds of the mean over films."""
    names = list(PATHS)
    per_round: dict[str, list[float]] = {name: [] for name in names}
    for name in names:  # imports, page cache and code paths warm
        PATHS[name](films[0], out)
    for turn in tqdm(range(rounds), desc="rounds", disable=None):
        spent: dict[str, list[float]] = {name: [] for name in names}
        for number, film in enumerate(tqdm(films, desc="films", leave=False, disable=None)):
            first = (turn + number) % len(names)
            for name in names[first:] + names[:first]:
                if name == "seed_maps" and number >= MAP_FILMS:
                    continue
                start = time.process_time()
                PATHS[name](film, out)
                spent[name].append(time.process_time() - start)
        for name in names:
            per_round[name].append(1000 * statistics.fmean(spent[name]))
    return {name: statistics.median(values) for name, values in per_round.items()}


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity of two [H, W] uint8 images (Wang 2004: Gaussian window 1.5, K1 .01, K2 .03)."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = gaussian_filter(x, 1.5), gaussian_filter(y, 1.5)
    var_x = gaussian_filter(x * x, 1.5) - mean_x**2
    var_y = gaussian_filter(y * y, 1.5) - mean_y**2
    covariance = gaussian_filter(x * y, 1.5) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float((likeness / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean())


def likeness(films: list[Path], quality_mode: QualityMode) -> tuple[float, float]:
    """Mean and minimum SSIM of the resized pixels against full decoding and LANCZOS."""
    scores = []
    for film in films:
        reference = resize_square(np.asarray(Image.open(film).convert("L")), SIZE)
        scores.append(
            ssim(stored_image(film.read_bytes(), SIZE, quality_mode=quality_mode).pixels, reference)
        )
    return statistics.fmean(scores), min(scores)


def stored_bytes(films: list[Path], folder: Path) -> dict[str, float]:
    """Bytes per record: one Parquet table of all films beside the seed's float32 file of each."""
    stored = [stored_image(film.read_bytes(), SIZE) for film in films]
    table = pa.table(
        {
            "image": [film.jpeg for film in stored],
            "attention_regions": [attention_regions(film.pixels).tobytes() for film in stored],
            "width": [film.width for film in stored],
            "height": [film.height for film in stored],
        }
    )
    pq.write_table(table, folder / "all.parquet", compression="zstd")
    seed_like(films[0], folder / "seed.pt")
    seed_maps(films[0], folder / "maps.pt")
    return {
        "ours": (folder / "all.parquet").stat().st_size / len(films),
        "seed_like": float((folder / "seed.pt").stat().st_size),
        "seed_maps": float((folder / "maps.pt").stat().st_size),
    }


def run(film_count: int, rounds: int) -> dict[str, float]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        films = []
        for number in tqdm(range(film_count), desc="drawing films", disable=None):
            films.append(folder / f"film-{number:03}.jpg")
            films[-1].write_bytes(draw_film(number))
        cpu = time_paths(films, rounds, folder / "out")
        size = stored_bytes(films, folder)
        default_mean, default_min = likeness(films, "default")
        fast_mean, fast_min = likeness(films, "fast")
        film_bytes = statistics.fmean(film.stat().st_size for film in films)
    return {
        "films": film_count,
        "rounds": rounds,
        "film_mb": film_bytes / 1e6,
        **{f"cpu_ms_{name}": value for name, value in cpu.items()},
        "cpu_default_vs_seed_like": cpu["seed_like"] / cpu["default"],
        "cpu_fast_vs_seed_like": cpu["seed_like"] / cpu["fast"],
        "cpu_default_with_regions_vs_seed_like": cpu["seed_like"] / cpu["default_with_regions"],
        "cpu_fast_with_regions_vs_seed_like": cpu["seed_like"] / cpu["fast_with_regions"],
        "cpu_default_vs_seed_maps": cpu["seed_maps"] / cpu["default_with_regions"],
        "cpu_default_vs_floor": cpu["default"] / cpu["entropy_floor"],
        "ssim_default_mean": default_mean,
        "ssim_default_min": default_min,
        "ssim_fast_mean": fast_mean,
        "ssim_fast_min": fast_min,
        **{f"bytes_{name}": value for name, value in size.items()},
        "bytes_seed_vs_ours": size["seed_like"] / size["ours"],
        "bytes_seed_maps_vs_ours": size["seed_maps"] / size["ours"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--films", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args()
    numbers = run(options.films, options.rounds)
    for name, value in numbers.items():
        gate = GATES.get(name)
        print(f"{name:40} {value:14,.4f}" + (f"   (at least {gate})" if gate else ""))
    missed = [name for name, gate in GATES.items() if numbers[name] < gate]
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(numbers, indent=2, sort_keys=True) + "\n")
    if missed:
        print("missed: " + ", ".join(missed), file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
