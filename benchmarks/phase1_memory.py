"""Peak memory of phase 1 by number of records: does a partition sixteen times as long need more?

The films are hard links to a pool of 40: 36 of a quarter of the side (636 x 764), so that 16,000 records finish in
minutes, and 4 full-size ones (2544 x 3056), which set the peak of decoding. Each size runs in a fresh process
through the code of the asset: `build_records` into `write_parquet`. The raw tables are those of all stays at every
size, as the asset reads them; a partition is a part of the links.

Reported is what the process held at most beyond its imports and the raw tables: all resident memory (VmHWM) and its
anonymous part (sampled every 10 ms), medians over the processes of a size. The raw tables' own size is shown beside it.

    python -m benchmarks.phase1_memory [--quick] [--json FILE]
"""

import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image
from tqdm import tqdm

from benchmarks.reporting import Gate, finish, parse_options
from mm_assets.mimic.phase1 import Phase1Config, Phase1Tables, Rejection, build_records
from mm_assets.mimic.schema import LABELS, VITALS
from resources.parquet_files import write_parquet

# records -> fresh processes; the peak of one process varies by a tenth with what its threads happen to do at once
SIZES, QUICK_SIZES = {1_000: 3, 4_000: 3, 16_000: 1}, {1_200: 1, 2_400: 1}
POOL, FULL_SIZE = 40, 4
ROW_GROUP_ROWS = 256
EVENTS_PER_STAY = 5
GROWTH_GATE = 1.15  # the largest size over the smallest
PAGES_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


def draw_pool(folder: Path) -> list[Path]:
    """Smooth shapes with grain: about as many bytes a pixel as a film has at JPEG quality 95."""
    rng = np.random.default_rng(0)
    films = []
    for number in range(POOL):
        scale = 4 if number >= POOL - FULL_SIZE else 1
        shape = (764 * scale, 636 * scale)
        coarse = Image.fromarray(rng.integers(40, 200, (12, 10), dtype=np.uint8))
        film = np.asarray(coarse.resize(shape[::-1], Image.Resampling.BICUBIC), dtype=np.float32)
        film = np.clip(film + rng.normal(0, 4, shape), 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(film).save(buffer, format="JPEG", quality=95)
        films.append(folder / f"pool-{number:02}.jpg")
        films[-1].write_bytes(buffer.getvalue())
    return films


def link_films(pool: list[Path], folder: Path, count: int) -> None:
    """`count` names for the pool's films, in turn."""
    for number in range(count):
        (folder / f"{number}.jpg").hardlink_to(pool[number % POOL])


def study_tables(count: int) -> tuple[pa.Table, Phase1Tables]:
    """Links and raw tables of `count` studies, a stay each, with five vital signs and five medicines per stay."""
    number = np.arange(count)
    stay_id = 30_000_000 + number
    intime = np.datetime64("2150-03-01T10:00:00", "us") + number.astype("timedelta64[m]")
    links = pa.table(
        {
            "subject_id": 10_000_000 + number,
            "study_id": 50_000_000 + number,
            "dicom_id": [f"{n:08x}-{n:08x}-{n:08x}-{n:08x}-{n:08x}" for n in range(count)],
            "stay_id": stay_id,
            "study_dt": intime + np.timedelta64(2, "h"),
            "intime": intime,
            "view": ["PA"] * count,
            "split": ["train"] * count,
            "image_path": [f"{n}.jpg" for n in range(count)],
            "gender": ["F"] * count,
            "race": ["WHITE"] * count,
            "age": np.full(count, 64.0),
        }
    )
    event_stay = np.repeat(stay_id, EVENTS_PER_STAY)
    minutes = np.tile(10 * np.arange(EVENTS_PER_STAY), count).astype("timedelta64[m]")
    charttime = np.repeat(intime, EVENTS_PER_STAY) + minutes
    events = {"stay_id": event_stay, "charttime": charttime}
    rows = len(event_stay)
    drugs = ("aspirin", "metoprolol tartrate", "furosemide", "albuterol sulfate", "lisinopril")
    classes = ("Salicylates", "Beta Blockers", "Loop Diuretics", "Beta 2-Adrenergic Agents", "ACE Inhibitors")
    triage = {
        "pain": ["5"] * count,
        "acuity": np.full(count, 2.0),
        "chiefcomplaint": [f"Chest pain, dyspnea {n}" for n in range(count)],
    }
    tables = Phase1Tables(
        edstays=pa.table({"stay_id": stay_id, "arrival_transport": ["WALK IN"] * count}),
        triage=pa.table({"stay_id": stay_id, **{v: np.full(count, 90.0) for v in VITALS}, **triage}),
        vitalsign=pa.table({**events, **{v: np.full(rows, 90.0) for v in VITALS}, "pain": ["3"] * rows}),
        medrecon=pa.table(
            {
                **events,
                "name": list(drugs) * count,
                "etc_rn": np.ones(rows, dtype=np.int64),
                "etcdescription": list(classes) * count,
            }
        ),
        labels=pa.table({"study_id": 50_000_000 + number, **{n: np.zeros(count, dtype=np.float32) for n in LABELS}}),
    )
    return links, tables


def write_records(folder: Path, links: pa.Table, tables: Phase1Tables, out: Path) -> None:
    """Phase 1 of one partition, as the asset does it."""
    count = links.num_rows
    rejected: list[Rejection] = []

    def read_film(path: str) -> bytes:
        return (folder / path).read_bytes()

    batches = build_records(links, tables, read_film, Phase1Config(), rejected.append, desc=f"{count} records")
    written = write_parquet(out, batches, ROW_GROUP_ROWS, "zstd")
    if written != count or rejected:
        raise SystemExit(f"{written} of {count} records written, {len(rejected)} rejected")


def status_mb(field: str) -> float:
    """A field of /proc/self/status in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise SystemExit(f"/proc/self/status has no {field}: this benchmark needs Linux")


@contextmanager
def sampled_anonymous() -> Iterator[list[float]]:
    """The largest anonymous memory (MB, resident less shared and file pages) while the block ran, as a list of one."""
    peak, done = [0.0], threading.Event()

    def sample() -> None:
        while not done.wait(0.01):
            _, resident, shared = Path("/proc/self/statm").read_text().split()[:3]
            peak[0] = max(peak[0], (int(resident) - int(shared)) * PAGES_MB)

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        yield peak
    finally:
        done.set()
        sampler.join()


def measure_here(folder: Path, count: int, stays: int) -> dict[str, float]:
    """Peaks of this process beyond its imports and raw tables, in MB."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "records.parquet"
        write_records(folder, *study_tables(1), out)  # imports, also those inside functions
        imports = status_mb("VmRSS")
        links, tables = study_tables(stays)
        links = links.slice(0, count)
        resident, anonymous = status_mb("VmRSS"), status_mb("RssAnon")
        started, cpu = time.monotonic(), time.process_time()
        with sampled_anonymous() as peak:
            write_records(folder, links, tables, out)
        return {
            "records": count,
            "peak_mb": status_mb("VmHWM") - resident,
            "peak_anonymous_mb": peak[0] - anonymous,
            "imports_mb": imports,
            "tables_mb": resident - imports,
            "records_per_s": count / (time.monotonic() - started),
            "cpu_ms_per_record": 1000 * (time.process_time() - cpu) / count,
        }


def measure(sizes: dict[int, int]) -> list[dict[str, float]]:
    """One row per size: the median over its processes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        link_films(draw_pool(folder), folder, max(sizes))
        rows = []
        for count, processes in tqdm(sizes.items(), desc="sizes", disable=None):
            command = [sys.executable, "-m", "benchmarks.phase1_memory", "--worker", name, f"{count}", f"{max(sizes)}"]
            runs = [
                json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) for _ in range(processes)
            ]
            rows.append(
                {key: statistics.median(run[key] for run in runs) for key in runs[0]} | {"processes": processes}
            )
    return rows


def main() -> int:
    if sys.argv[1:2] == ["--worker"]:
        print(json.dumps(measure_here(Path(sys.argv[2]), *map(int, sys.argv[3:5]))))
        return 0
    options = parse_options(__doc__)
    rows = measure(QUICK_SIZES if options.quick else SIZES)
    growth = rows[-1]["peak_mb"] / rows[0]["peak_mb"]
    anonymous = rows[-1]["peak_anonymous_mb"] / rows[0]["peak_anonymous_mb"]
    return finish(
        options,
        numbers={"sizes": rows, "growth": growth, "growth_anonymous": anonymous},
        columns=(
            "records",
            "peak MB",
            "anonymous MB",
            "MB of imports",
            "MB of raw tables",
            "records/s",
            "CPU ms/record",
        ),
        rows=[
            (
                int(row["records"]),
                round(row["peak_mb"]),
                round(row["peak_anonymous_mb"]),
                round(row["imports_mb"]),
                round(row["tables_mb"]),
                round(row["records_per_s"]),
                row["cpu_ms_per_record"],
            )
            for row in rows
        ],
        gates=[
            Gate("peak memory, largest over smallest size", growth, "at most", GROWTH_GATE),
            Gate("peak anonymous memory, largest over smallest size", anonymous, "at most", GROWTH_GATE),
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
