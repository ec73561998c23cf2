"""Is this tree of raw data complete, and what will a run on it cost? Asked before anything runs.

Belongs here: findings about the source (files, headers, counts, split, films) and the estimate of a run.
Does not belong here: printing them (``ui/cli.py``), checks of our own tables (``checks/mimic.py``).

A tree may be somebody's own in the published layout: counts that differ from the published ones are a
warning.
"""

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from mm_assets.mimic.linking import REASONS, LinkResult, link_studies
from mm_assets.mimic.source import (
    PUBLISHED_COUNTS,
    TABLES,
    MimicLayout,
    MimicSource,
    OpenStore,
    local_table,
    locate,
)
from mm_assets.mimic.synthetic.prevalence import PUBLISHED_LINKED_SHARE
from mm_assets.records.tables import count_csv_rows, read_csv_table
from resources.compute import map_items
from resources.errors import MendableError
from resources.locations import open_location

if TYPE_CHECKING:
    from resources.settings import Settings

Level = Literal["ok", "warn", "error"]

ESTIMATE_LEAVES_OUT = "time and memory of the encoders and of training, which depend on the device"

LINKING_TABLES = ("cxr_metadata", "cxr_chexpert", "cxr_split", "edstays", "patients")

# Bytes kept per study: a 518 px JPEG of a real film is 50 to 70 kB, features have a budget of 150 kB, notes
# and tokens take some 5 kB.
STORED_BYTES = 60_000 + 150_000 + 5_000
# CPU time of one film at 2.1 GHz: DCT-scaled decoding to 518 px took 23.5 ms for 1.63 MB and 30.8 ms for 2.18
# MB; encoding the result again, about 2 ms.
FILM_MS, FILM_MS_PER_MB = 4.0, 13.3
# One retrieval query embedded by MiniLM.
NOTE_MS = 24.0
# A worker decoding full-size films, and the process that leads them.
WORKER_BYTES, LEADER_BYTES = 300_000_000, 600_000_000
# A table in memory, per byte of its .csv.gz file or of its .csv: text and parsed columns lie side by side for
# a while.
MEMORY_PER_GZ_BYTE, MEMORY_PER_CSV_BYTE = 12, 2


@dataclass(frozen=True)
class Finding:
    level: Level
    what: str
    mend: str = ""  # empty for "ok"


@dataclass(frozen=True)
class RunEstimate:
    """What a run from the raw tables to phase 3 takes, and what it and the features store; see ESTIMATE_LEAVES_OUT."""

    studies: int
    read_bytes: int  # of films: mean size of the sample x studies
    stored_bytes: int  # STORED_BYTES x studies
    cpu_seconds: float  # (FILM_MS + FILM_MS_PER_MB x megabytes + NOTE_MS) x studies
    wall_seconds: float  # CPU time / workers, no waiting for disk or network
    memory_bytes: int  # the larger of decoding (leader + workers) and the largest table in memory


@dataclass(frozen=True)
class Verification:
    findings: tuple[Finding, ...]
    estimate: RunEstimate | None  # None where an error stands in the way

    @property
    def passed(self) -> bool:
        return all(finding.level != "error" for finding in self.findings)


def verify(source: MimicSource, open_store: OpenStore, settings: "Settings", *, sample: int = 200) -> Verification:
    """Look at everything that can be looked at without decoding a film; nothing is written but table copies.

    Every table is parsed in full, ``sample`` linked films (drawn with ``settings.seed``) are looked up. Never
    raises for a fault of the tree: each is a finding, and findings never quote a value of a patient table.
    """
    try:
        layout = locate(source, open_store)
    except MendableError as error:
        return Verification((_finding_of(error),), None)
    findings = [
        Finding("warn", f"{name} is absent: {without}", f"add {TABLES[name].file}.gz if you have it")
        for name, without in layout.absent.items()
    ]
    tables: dict[str, pa.Table] = {}
    findings += _check_tables(layout, open_store, settings.scratch, tables)
    if any(finding.level == "error" for finding in findings):
        return Verification(tuple(findings), None)

    findings += _check_split(tables)
    result = link_studies(tables)
    findings += _check_links(result)
    films = _draw_films(result.links, sample, settings.seed)
    sizes = _film_sizes(films, source, open_store)
    findings += _check_films(sizes, source.cxr)
    present = [size for size in sizes if size]
    if not present:
        return Verification(tuple(findings), None)
    estimate = estimate_run(
        studies=result.links.num_rows,
        film_bytes=float(np.mean(present)),
        table_bytes=max(_table_memory(table.path, table.size) for table in layout.tables.values()),
        workers=settings.workers,
    )
    findings += _check_disk(estimate, settings)
    return Verification(tuple(findings), estimate)


def estimate_run(*, studies: int, film_bytes: float, table_bytes: int, workers: int) -> RunEstimate:
    """Cost of ``studies`` films of mean size ``film_bytes``; the formulas stand at RunEstimate's fields."""
    cpu_seconds = studies * (FILM_MS + FILM_MS_PER_MB * film_bytes / 1e6 + NOTE_MS) / 1000
    return RunEstimate(
        studies=studies,
        read_bytes=round(studies * film_bytes),
        stored_bytes=studies * STORED_BYTES,
        cpu_seconds=cpu_seconds,
        wall_seconds=cpu_seconds / workers,
        memory_bytes=max(LEADER_BYTES + workers * WORKER_BYTES, table_bytes),
    )


def _check_tables(
    layout: MimicLayout, open_store: OpenStore, scratch: Path, tables: dict[str, pa.Table]
) -> Iterator[Finding]:
    """Parse every table; those that linking needs are kept in ``tables``."""
    published = {} if layout.source.synthetic else PUBLISHED_COUNTS[layout.source.preset]
    for name in tqdm(layout.tables, desc="tables", unit="table", disable=None):
        columns = TABLES[name].columns
        try:
            path = local_table(layout, name, open_store, scratch)
            if name in LINKING_TABLES:
                tables[name] = read_csv_table(path, columns)
                rows = tables[name].num_rows
            else:
                rows = count_csv_rows(path, columns)
        except MendableError as error:
            yield _finding_of(error)
            continue
        expected = published.get(name)
        if rows == 0:
            yield Finding("error", f"{name} has no rows", "fetch the file again")
        elif expected is not None and rows != expected:
            yield Finding(
                "warn",
                f"{name} has {rows:,} rows, {expected:,} are published",
                "a subset or another release: go on if you meant to, else fetch the file again",
            )
        else:
            yield Finding("ok", f"{name}: {rows:,} rows" + (" as published" if expected else ""))


def _check_split(tables: dict[str, pa.Table]) -> Iterator[Finding]:
    split = tables.get("cxr_split")
    if split is None:
        return
    pairs = split.select(["subject_id", "split"]).group_by(["subject_id", "split"]).aggregate([])
    torn = pairs.num_rows - len(pairs["subject_id"].unique())
    if torn:
        yield Finding(
            "error",
            f"{torn:,} patients are in more than one split of {TABLES['cxr_split'].file}",
            "fetch the file again, or remove it to have patients divided anew",
        )
    else:
        yield Finding("ok", f"official split: no patient of {pairs.num_rows:,} is in two splits")


def _check_links(result: LinkResult) -> Iterator[Finding]:
    for reason, count in sorted(Counter(result.rejected["reason"].to_pylist()).items()):
        unit = "stays" if reason == "bad_stay" else "images"
        yield Finding(
            "warn",
            f"{count:,} {unit} rejected as {reason}: {REASONS[reason]}",
            "they are quarantined, no more",
        )
    eligible = result.rule_counts["eligible_images"]
    for rule, note in (("within_stay", ""), ("abs24h", f"; {PUBLISHED_LINKED_SHARE:.1%} published")):
        counts = result.rule_counts[rule]
        share = f" ({counts['linked_share']:.1%}{note})" if eligible else ""
        yield Finding("ok", f"{rule}: {counts['images']:,} of {eligible:,} frontal images linked{share}")
    if result.links.num_rows == 0:
        yield Finding(
            "error",
            "no film falls into an emergency stay",
            "use tables of one release: films and stays share patients and a shifted calendar only then",
        )


def _draw_films(links: pa.Table, sample: int, seed: int) -> list[str]:
    paths = links["image_path"].to_pylist()
    drawn = np.random.default_rng(seed).permutation(len(paths))[:sample]
    return [paths[index] for index in sorted(drawn)]


def _film_sizes(films: list[str], source: MimicSource, open_store: OpenStore) -> list[int | None]:
    """Bytes of each film, None where it is not there."""
    store = open_store(source.cxr)

    def size(path: str) -> int | None:
        info = store.head(path)
        return info.size if info else None

    return list(map_items(size, films, workers=16, kind="thread", desc="films"))


def _check_films(sizes: list[int | None], root: str) -> Iterator[Finding]:
    if not sizes:
        return
    missing, empty = sum(size is None for size in sizes), sum(size == 0 for size in sizes)
    if missing == len(sizes):
        yield Finding(
            "error",
            f"none of {len(sizes)} linked films is below {root}/files/",
            "set MM_MIMIC_CXR_URL to the folder that holds files/p10 to files/p19",
        )
    elif missing or empty:
        yield Finding(
            "warn",
            f"of {len(sizes)} linked films looked up, {missing} are missing and {empty} are empty",
            "fetch them again; until then they are quarantined",
        )
    else:
        yield Finding("ok", f"all {len(sizes)} linked films looked up are there")


def _check_disk(estimate: RunEstimate, settings: "Settings") -> Iterator[Finding]:
    """MM_HOME keeps what a run makes; MM_SCRATCH holds it until it is published. On one disk it is there once."""
    places = {"MM_SCRATCH": settings.scratch}
    home = open_location(settings.home).root
    if home is None:
        yield Finding("ok", f"MM_HOME is {settings.home}: free space there is not looked at")
    else:
        places = {"MM_HOME": home, **places}
    seen: set[int] = set()
    for name, wanted in places.items():
        folder = next(path for path in (wanted, *wanted.absolute().parents) if path.exists())
        disk = folder.stat().st_dev
        if disk in seen:
            continue
        seen.add(disk)
        free = shutil.disk_usage(folder).free
        if free < estimate.stored_bytes:
            yield Finding(
                "warn",
                f"a run needs {estimate.stored_bytes / 1e9:.1f} GB in {name}; free at {folder}: {free / 1e9:.1f} GB",
                f"free some, or point {name} to a larger disk",
            )
        else:
            yield Finding("ok", f"disk of {name}: {free / 1e9:.1f} GB free")


def _table_memory(path: str, size: int) -> int:
    return size * (MEMORY_PER_GZ_BYTE if path.endswith(".gz") else MEMORY_PER_CSV_BYTE)


def _finding_of(error: Exception) -> Finding:
    what, _, mend = str(error).rpartition(": ")
    return Finding("error", what, mend)
