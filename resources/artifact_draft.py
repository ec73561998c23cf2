"""An artifact being made: a folder in scratch that becomes a version when it is published.

Belongs here: staging files, writing them in the formats artifacts have, measuring them, removing dead drafts.
Does not belong here: where published versions go (``resources.artifacts``).
"""

import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from resources.artifact_record import (
    RECORD_FILE,
    Artifact,
    ArtifactDamaged,
    ArtifactFile,
    ArtifactMissing,
    ArtifactNameError,
    json_bytes,
    plain_metrics,
)
from resources.compute import map_items
from resources.objects import sha256_of
from resources.parquet_files import describe_parquet, write_parquet

HASH_THREADS = 4
# A folder is unlocked for an instant between its making and its lock; it bears this prefix until then.
_UNLOCKED = ".new-"
_UNLOCKED_SECONDS = 3600

Publish = Callable[..., Artifact]


class Draft:
    """Files of a version to be. Everything below ``folder`` is published, whoever wrote it there."""

    def __init__(self, folder: Path, publish: Publish) -> None:
        self.folder = folder
        self._publish = publish

    def path(self, name: str) -> Path:
        """Where to write the file ``name`` (``a/b.ext``); its folder exists. Raises ``ArtifactNameError``."""
        if name == RECORD_FILE or not name or any(part in ("", ".", "..") for part in name.split("/")):
            raise ArtifactNameError(f"{name!r} cannot name a file of an artifact: use a path like a/b.json")
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_table(
        self,
        name: str,
        rows: pa.Table | Iterable[pa.RecordBatch],
        row_group_rows: int = 1024,
        compression: str = "zstd",
    ) -> int:
        """Parquet in the layout of ``resources.parquet_files``; returns the number of rows written."""
        return write_parquet(self.path(name), rows, row_group_rows, compression)

    def write_json(self, name: str, value: Any) -> None:
        """Keys sorted; not-a-number is refused with ``ValueError``."""
        self.path(name).write_bytes(json_bytes(value))

    def write_text(self, name: str, text: str) -> None:
        self.path(name).write_bytes(text.encode())

    def write_bytes(self, name: str, data: bytes) -> None:
        self.path(name).write_bytes(data)

    def publish(
        self,
        *,
        upstream: Mapping[str, str],
        synthetic: bool,
        run_id: str | None,
        metrics: Mapping[str, Any] | None = None,
    ) -> Artifact:
        """Makes the files a version and this version the current one; the draft's files are given away.

        ``upstream`` maps "wing/asset" (or "wing/asset/partition") to the version that was read. Raises
        ``ArtifactMissing`` when nothing was written, ``ArtifactDamaged`` when a Parquet file is incomplete.
        """
        files, schema = self._measured()
        return self._publish(
            self.folder,
            files=files,
            schema=schema,
            upstream=dict(upstream),
            synthetic=bool(synthetic),
            run_id=run_id,
            metrics=plain_metrics(metrics or {}),
        )

    def _measured(self) -> tuple[tuple[ArtifactFile, ...], dict[str, dict[str, str]]]:
        paths = (path for path in self.folder.rglob("*") if path.is_file())
        names = sorted(path.relative_to(self.folder).as_posix() for path in paths)
        if not names:
            raise ArtifactMissing("the draft has no files to publish: write at least one before publish()")
        digests = map_items(sha256_of, [self.folder / name for name in names], workers=HASH_THREADS, kind="thread")
        files, schema = [], {}
        for name, digest in zip(names, digests, strict=True):
            rows = None
            if name.endswith(".parquet"):
                try:
                    rows, schema[name] = describe_parquet(self.folder / name)
                except pa.ArrowInvalid as error:
                    raise ArtifactDamaged(f"{name} is not a complete Parquet file ({error}): write it again") from error
            files.append(ArtifactFile(name, (self.folder / name).stat().st_size, digest, rows))
        return tuple(files), schema


@contextmanager
def open_draft(drafts: Path, label: str, publish: Publish) -> Iterator[Draft]:
    """A new draft below ``drafts``, removed when the block ends, published or not."""
    drafts.mkdir(parents=True, exist_ok=True)
    name = f"{label}.{os.getpid()}-{uuid.uuid4().hex[:8]}"
    unlocked = drafts / f"{_UNLOCKED}{name}"
    unlocked.mkdir()
    # The kernel drops the lock with the process, however that ends, so a locked draft is a live one.
    lock = os.open(unlocked, os.O_RDONLY)
    folder = drafts / name
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        unlocked.rename(folder)
        files = folder / "files"
        files.mkdir()
        yield Draft(files, publish)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_dead_drafts(drafts: Path) -> list[str]:
    """Removes drafts whose process has ended; returns their names."""
    if not drafts.is_dir():
        return []
    removed = []
    for folder in sorted(drafts.iterdir()):
        if folder.name.startswith(_UNLOCKED):
            dead = time.time() - folder.stat().st_mtime > _UNLOCKED_SECONDS
        else:
            dead = _is_unlocked(folder)
        if dead:
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder.name)
    return removed


def _is_unlocked(folder: Path) -> bool:
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True
