"""Phase 1, from a film's file to the store: CPU time, likeness and bytes of our path beside the earlier pipeline's.

Ours is what the asset does with a film, attention regions included. The earlier pipeline (mm_assets/mimic/formats.py
says which) is rebuilt from ordinary parts: `earlier_like` is torchvision's transform chain and torch.save;
`earlier_maps` also decodes the film a second time and keeps two maps of the whole film as float32: the Sobel magnitude
in float64, scaled to 0..1, and where it exceeds its 90th percentile. SciPy's Sobel stands in for OpenCV's (`cv2.Sobel`,
CV_64F, ksize 3), which is no dependency here and would take about 100 ms less; the percentile is NumPy's in both.
`earlier_maps_and_split` goes on to where the earlier pipeline's phase 1 ends: its batches are read twice to count
records and find their splits, and once more to be written again by split.

Draws a pool of full-size films (2544 x 3056, about 1.7 MB at JPEG quality 95, synthetic texture), then times
all paths interleaved, film by film in a rotating order, in one thread. CPU time (process_time), the median over rounds
for each film, then the mean over films; ours has its share of writing all films of a round into one Parquet file.
Read the ratios: absolute times belong to the machine.

    python -m benchmarks.phase1_images [--quick] [--json FILE]
"""

import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter, sobel
from torchvision import transforms
from tqdm import tqdm

from benchmarks.reporting import Gate, finish, parse_options
from mm_assets.mimic.attention_regions import attention_regions
from mm_assets.records.images import QualityMode, resize_square, stored_image
from resources.parquet_files import write_parquet

Row = dict[str, Any]
SIZE = 518
HEIGHT, WIDTH = 3056, 2544
ROW_GROUP_ROWS = 256
# The earlier pipeline's normalisation (OpenAI CLIP constants) of three equal channels.
EARLIER_TRANSFORM = transforms.Compose(
    [
        transforms.Resize((SIZE, SIZE)),
        transforms.ToTensor(),
        transforms.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    ]
)
FILMS, ROUNDS = 40, 5
QUICK_FILMS, QUICK_ROUNDS = 4, 2
MAP_FILMS = 4  # of the paths with full-resolution maps, which take half a second a film


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


def earlier_like(path: Path, out: Path) -> None:
    """RGB, bilinear resize, float32, normalise, torch.save: the recipe of torchvision tutorials."""
    torch.save({"image": EARLIER_TRANSFORM(Image.open(path).convert("RGB"))}, out)


def earlier_maps(path: Path, out: Path) -> None:
    """The same, with the two attention maps of the whole film at full resolution."""
    tensor = EARLIER_TRANSFORM(Image.open(path).convert("RGB"))
    grey = np.asarray(Image.open(path).convert("L"))
    across, down = (sobel(grey, axis=axis, output=np.float64) for axis in (1, 0))
    saliency = np.sqrt(across**2 + down**2)
    saliency = (saliency - saliency.min()) / (saliency.max() - saliency.min())
    mask = saliency > np.percentile(saliency, 90)
    regions = {
        "saliency_map": torch.from_numpy(saliency).float(),
        "salient_regions": torch.from_numpy(mask).float(),
    }
    torch.save({"image": tensor, "attention_regions": regions}, out)


def earlier_maps_and_split(path: Path, out: Path) -> None:
    """The same, read three times and written again, as records reach the files of their split."""
    earlier_maps(path, out)
    for _ in ("count", "find the split"):
        torch.load(out, weights_only=True)
    torch.save(torch.load(out, weights_only=True), out)


def ours(path: Path, quality_mode: QualityMode, *, regions: bool = True) -> Row:
    """The film's columns of a phase 1 record."""
    stored = stored_image(path.read_bytes(), SIZE, quality_mode=quality_mode)
    row = {"image": stored.jpeg, "width": stored.width, "height": stored.height}
    return row | ({"attention_regions": attention_regions(stored.pixels).tobytes()} if regions else {})


def write_rows(rows: list[Row], out: Path) -> None:
    """In the layout of the asset's table."""
    write_parquet(out, pa.Table.from_pylist(rows), ROW_GROUP_ROWS, "zstd")


def entropy_floor(path: Path, out: Path) -> None:
    """Huffman decoding and the mean of each block (DCT scale 1/8): no JPEG decoder can do less."""
    image = Image.open(path)
    image.draft("L", (image.width // 8, image.height // 8))
    image.load()


OURS: dict[str, Callable[[Path], Row]] = {
    "default": lambda path: ours(path, "default"),
    "fast": lambda path: ours(path, "fast"),
    "default_without_regions": lambda path: ours(path, "default", regions=False),
}
OTHERS: dict[str, Callable[[Path, Path], None]] = {
    "earlier_like": earlier_like,
    "earlier_maps": earlier_maps,
    "earlier_maps_and_split": earlier_maps_and_split,
    "entropy_floor": entropy_floor,
}


def time_paths(films: list[Path], rounds: int, out: Path) -> dict[str, list[float]]:
    """Path -> CPU milliseconds of each film, the median over rounds; the paths with maps have fewer films."""
    names = [*OURS, *OTHERS]
    spent: dict[str, list[list[float]]] = {name: [[] for _ in films] for name in names}
    for turn in tqdm(range(-1, rounds), desc="rounds", disable=None):  # the first warms caches and imports
        rows: dict[str, list[Row]] = {name: [] for name in OURS}
        for number, film in enumerate(tqdm(films, desc="films", leave=False, disable=None)):
            first = (turn + number) % len(names)
            for name in names[first:] + names[:first]:
                if name.startswith("earlier_maps") and number >= MAP_FILMS:
                    continue
                start = time.process_time()
                if name in OURS:
                    rows[name].append(OURS[name](film))
                else:
                    OTHERS[name](film, out)
                spent[name][number].append(1000 * (time.process_time() - start))
        for name, made in rows.items():
            start = time.process_time()
            write_rows(made, out)
            share = 1000 * (time.process_time() - start) / len(films)
            for times in spent[name]:
                times[-1] += share
    return {name: [statistics.median(times[1:]) for times in films if times] for name, films in spent.items()}


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
        scores.append(ssim(stored_image(film.read_bytes(), SIZE, quality_mode=quality_mode).pixels, reference))
    return statistics.fmean(scores), min(scores)


def stored_bytes(films: list[Path], folder: Path) -> dict[str, float]:
    """Bytes per record: one Parquet table of all films beside the earlier pipeline's float32 file of each."""
    write_rows([ours(film, "default") for film in films], folder / "all.parquet")
    earlier_like(films[0], folder / "earlier.pt")
    earlier_maps(films[0], folder / "maps.pt")
    return {
        "ours": (folder / "all.parquet").stat().st_size / len(films),
        "earlier_like": float((folder / "earlier.pt").stat().st_size),
        "earlier_maps": float((folder / "maps.pt").stat().st_size),
    }


def measure(film_count: int, rounds: int) -> dict[str, Any]:
    """CPU ms per film and path, ratios to `default`, likeness and stored bytes."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        films = []
        for number in tqdm(range(film_count), desc="drawing films", disable=None):
            films.append(folder / f"film-{number:03}.jpg")
            films[-1].write_bytes(draw_film(number))
        cpu = time_paths(films, rounds, folder / "out")
        size = stored_bytes(films, folder)
        similar = {mode: likeness(films, mode) for mode in ("default", "fast")}
        film_bytes = statistics.fmean(film.stat().st_size for film in films)

    def ratio(slow: str, quick: str) -> float:
        """Of the films that both have."""
        common = min(len(cpu[slow]), len(cpu[quick]))
        return statistics.fmean(cpu[slow][:common]) / statistics.fmean(cpu[quick][:common])

    return {
        "films": film_count,
        "rounds": rounds,
        "film_mb": film_bytes / 1e6,
        "cpu_ms": {name: statistics.fmean(values) for name, values in cpu.items()},
        "times_default": {name: ratio(name, "default") for name in cpu},
        "times_fast": {name: ratio(name, "fast") for name in cpu},
        **{
            f"ssim_{mode}_{which}": value
            for mode, pair in similar.items()
            for which, value in zip(("mean", "min"), pair)
        },
        **{f"bytes_{name}": value for name, value in size.items()},
        "bytes_ratio": size["earlier_like"] / size["ours"],
    }


TITLES = {
    "earlier_like": "torchvision recipe: RGB, resize, float32, torch.save",
    "earlier_maps": "earlier pipeline with full-resolution Sobel maps, written once",
    "earlier_maps_and_split": "earlier pipeline with maps, to the end of its phase 1",
    "default": "ours, default",
    "default_without_regions": "ours, default, without attention regions",
    "fast": "ours, fast",
    "entropy_floor": "floor: entropy decoding alone",
}


def main() -> int:
    options = parse_options(__doc__)
    numbers = measure(*((QUICK_FILMS, QUICK_ROUNDS) if options.quick else (FILMS, ROUNDS)))
    kept = {
        "earlier_like": numbers["bytes_earlier_like"],
        "earlier_maps": numbers["bytes_earlier_maps"],
        "default": numbers["bytes_ours"],
    }
    default, fast = numbers["times_default"], numbers["times_fast"]
    return finish(
        options,
        numbers=numbers,
        columns=("path", "CPU ms/film", "times ours (default)", "times ours (fast)", "stored kB/record"),
        rows=[
            (title, numbers["cpu_ms"][name], default[name], fast[name], kept[name] / 1000 if name in kept else "")
            for name, title in TITLES.items()
        ],
        gates=[
            Gate("CPU, torchvision recipe over ours (default)", default["earlier_like"], "at least", 1.8),
            Gate("CPU, torchvision recipe over ours (fast)", fast["earlier_like"], "at least", 2.4),
            Gate(
                "CPU, earlier pipeline with full-resolution maps over ours (default)",
                default["earlier_maps"],
                "at least",
                30.0,
            ),
            Gate("SSIM of the default, lowest film", numbers["ssim_default_min"], "at least", 0.997),
            Gate("SSIM of the fast path, lowest film", numbers["ssim_fast_min"], "at least", 0.993),
            Gate("stored bytes, earlier pipeline's float32 file over ours", numbers["bytes_ratio"], "at least", 30.0),
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
