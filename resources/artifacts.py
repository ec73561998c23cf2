"""The one record of everything: immutable versions of each asset's files, and which version is current.

Belongs here: publishing, finding and reading versions, on any object store.
Does not belong here: the record's form (``resources.artifact_record``), staging
(``resources.artifact_draft``), which versions may go (``resources.artifact_sweep``).

A version is complete before ``current.json`` is replaced in one step, last. So a reader that takes one
record from ``current`` holds files that never change, and a killed run leaves the former version in place.
"""

import json
import logging
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from resources.artifact_draft import Draft, open_draft, remove_dead_drafts
from resources.artifact_record import (
    CURRENT_FILE,
    RECORD_FILE,
    VERSION_PATTERN,
    Artifact,
    ArtifactDamaged,
    ArtifactFile,
    ArtifactMissing,
    Key,
    Metric,
    folder_of,
    from_json,
    to_json,
    version_of,
    version_of_partitions,
)
from resources.artifact_sweep import sweep_versions
from resources.objects import ObjectMissing, ObjectStore, sha256_of

log = logging.getLogger(__name__)

# A publication of more files than this shows a progress bar.
QUIET_FILES = 200


class ArtifactStore:
    """Artifacts below ``home`` (URL or path); drafts and copies of remote files in the local ``scratch``.

    ``config`` is that of ``ObjectStore.at``: credentials other than the process's own.
    """

    def __init__(self, home: str, scratch: Path, **config: Any) -> None:
        self.objects = ObjectStore.at(home, **config)
        self._drafts = Path(scratch) / "drafts"
        self._cache = Path(scratch) / "artifact-files"

    # Publishing

    def draft(self, wing: str, asset: str, partition: str | None = None) -> AbstractContextManager[Draft]:
        """A place to write the next version: ``with store.draft(...) as draft: ...; draft.publish(...)``."""
        remove_dead_drafts(self._drafts)
        label = folder_of(wing, asset, partition).replace("/", ".")

        def publish(folder: Path, **record: Any) -> Artifact:
            return self._publish(folder, (wing, asset), partition, **record)

        return open_draft(self._drafts, label, publish)

    def _publish(
        self,
        staged: Path,
        key: Key,
        partition: str | None,
        *,
        files: tuple[ArtifactFile, ...],
        schema: dict[str, dict[str, str]],
        upstream: dict[str, str],
        synthetic: bool,
        run_id: str | None,
        metrics: dict[str, Metric],
    ) -> Artifact:
        artifact = Artifact(
            key=key,
            partition=partition,
            version=version_of(files, synthetic),
            files=files,
            schema=schema,
            upstream=upstream,
            run_id=run_id,
            created_at=datetime.now(UTC).isoformat(timespec="microseconds"),
            synthetic=synthetic,
            metrics=metrics,
            upstream_partitions=self._resolved_partitions(upstream),
        )
        folder, record = artifact.folder, to_json(artifact)
        known = self.objects.head(f"{folder}/{RECORD_FILE}") is not None
        if known:  # renewed before its files are looked at, so that a sweep beside us takes it for the newest
            self.objects.put(f"{folder}/{RECORD_FILE}", record)
        there = {info.path: info.size for info in self.objects.list(folder)}
        wanted = [file for file in files if there.get(f"{folder}/{file.path}") != file.bytes]
        # A file of another size under the digest of its content is damage, not a conflict.
        self.objects.delete(f"{folder}/{file.path}" for file in wanted if f"{folder}/{file.path}" in there)
        self.objects.put_many(
            ((f"{folder}/{file.path}", staged / file.path) for file in wanted),
            progress=f"publish {'/'.join(key)}" if len(wanted) > QUIET_FILES else None,
            sha256={f"{folder}/{file.path}": file.sha256 for file in wanted},
            hand_over=True,
        )
        if not known:
            self.objects.put(f"{folder}/{RECORD_FILE}", record)
        self.objects.put(f"{folder_of(*key, partition)}/{CURRENT_FILE}", record)
        return artifact

    def _resolved_partitions(self, upstream: dict[str, str]) -> dict[str, dict[str, str]]:
        """Which partitions a digest of partitions stands for, while it can still be told."""
        resolved = {}
        for name, version in upstream.items():
            wing, asset, *partition = name.split("/")
            if partition or self.objects.head(f"{folder_of(wing, asset)}/{CURRENT_FILE}") is not None:
                continue
            versions = {part: found.version for part, found in self.partitions(wing, asset).items()}
            if versions and version_of_partitions(versions) == version:
                resolved[name] = versions
            elif versions and version not in versions.values():
                log.warning("%s has changed since its version %s was read: no sweep can protect that", name, version)
        return resolved

    # Finding

    def current(self, wing: str, asset: str, partition: str | None = None) -> Artifact:
        """The current version's record. Raises ``ArtifactMissing``, which says what to materialize."""
        path = f"{folder_of(wing, asset, partition)}/{CURRENT_FILE}"
        try:
            return from_json(self.objects.get(path), f"{self.objects.url}/{path}")
        except ObjectMissing:
            raise self._missing(wing, asset, partition) from None

    def partitions(self, wing: str, asset: str) -> dict[str, Artifact]:
        """The current version of every partition that has one, sorted by partition; may be empty."""
        found = {}
        for name in self.objects.folders(folder_of(wing, asset)):
            if VERSION_PATTERN.match(name):
                continue
            try:
                found[name] = self.current(wing, asset, name)
            except ArtifactMissing:
                continue
        return found

    def version(self, wing: str, asset: str) -> str:
        """The current version, or the digest of the partitions' versions. Raises ``ArtifactMissing``."""
        try:
            return self.current(wing, asset).version
        except ArtifactMissing:
            partitions = self.partitions(wing, asset)
            if not partitions:
                raise
            return version_of_partitions({name: found.version for name, found in partitions.items()})

    def history(self, wing: str, asset: str, partition: str | None = None) -> list[str]:
        """Complete versions, the latest published first."""
        folder = folder_of(wing, asset, partition)
        names = [name for name in self.objects.folders(folder) if VERSION_PATTERN.match(name)]
        records = ((name, self.objects.head(f"{folder}/{name}/{RECORD_FILE}")) for name in names)
        dated = [(info.last_modified, name) for name, info in records if info is not None]
        return [name for _, name in sorted(dated, reverse=True)]

    def open_version(self, wing: str, asset: str, version: str, partition: str | None = None) -> Artifact:
        """A version's record as it was published last. Raises ``ArtifactMissing``."""
        path = f"{folder_of(wing, asset, partition)}/{version}/{RECORD_FILE}"
        try:
            return from_json(self.objects.get(path), f"{self.objects.url}/{path}")
        except ObjectMissing:
            kept = ", ".join(self.history(wing, asset, partition)) or "none"
            raise ArtifactMissing(f"{wing}/{asset} has no version {version}: choose one of {kept}") from None

    def _missing(self, wing: str, asset: str, partition: str | None) -> ArtifactMissing:
        name = f"{wing}/{asset}" + (f" partition {partition}" if partition else "")
        command = f"mm materialize {wing}/{asset}" + (f" --partition {partition}" if partition else "")
        return ArtifactMissing(f"{name} has not been published under {self.objects.url}: run `{command}`")

    # Reading

    def read_table(self, artifact: Artifact, name: str, columns: list[str] | None = None) -> pa.Table:
        """A Parquet file or some of its columns. Raises ``ArtifactMissing`` for an unknown file or column."""
        import pyarrow.parquet as pq

        self._require_columns(artifact, name, columns)
        with pq.ParquetFile(self.local_file(artifact, name)) as file:
            return file.read(columns=columns)

    def iter_batches(
        self, artifact: Artifact, name: str, columns: list[str] | None = None, batch_rows: int = 256
    ) -> Iterator[pa.RecordBatch]:
        """The rows in order, at most ``batch_rows`` at a time, in the memory of one row group."""
        import pyarrow.parquet as pq

        self._require_columns(artifact, name, columns)
        with pq.ParquetFile(self.local_file(artifact, name)) as file:
            yield from file.iter_batches(batch_size=batch_rows, columns=columns)

    def read_json(self, artifact: Artifact, name: str) -> Any:
        return json.loads(self.local_file(artifact, name).read_bytes())

    def local_file(self, artifact: Artifact, name: str) -> Path:
        """The published file itself for a local home, else a verified copy in scratch. Do not write to it.

        Raises ``ArtifactMissing`` for a name that the artifact does not have, ``ArtifactDamaged`` when the
        stored bytes are not those published.
        """
        file = artifact.file(name)
        stored = f"{artifact.folder}/{name}"
        local = self.objects.local_path(stored)
        if local is not None:
            if not local.is_file():
                raise self._damaged(artifact, name, "is gone")
            return local
        copy = self._cache / file.sha256[:2] / f"{file.sha256}{Path(name).suffix}"
        if not copy.is_file():
            self._download(artifact, file, copy)
        return copy

    def local_folder(self, artifact: Artifact) -> Path:
        """A folder with the artifact's files under their names; for a local home the published one itself."""
        local = self.objects.local_path(artifact.folder)
        if local is not None:
            return local
        folder = self._cache / artifact.folder
        if not folder.is_dir():
            part = folder.with_name(f"{folder.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part")
            for file in artifact.files:
                self._download(artifact, file, part / file.path)
            try:
                part.rename(folder)
            except OSError:  # another process was faster
                shutil.rmtree(part)
        return folder

    def _download(self, artifact: Artifact, file: ArtifactFile, to: Path) -> None:
        part = to.with_name(f"{to.name}.{uuid.uuid4().hex[:8]}.unverified")
        try:
            self.objects.fetch(f"{artifact.folder}/{file.path}", part)
            if sha256_of(part) != file.sha256:
                raise self._damaged(artifact, file.path, "has other bytes than were published")
            part.rename(to)
        except ObjectMissing:
            raise self._damaged(artifact, file.path, "is gone") from None
        finally:
            part.unlink(missing_ok=True)

    def _damaged(self, artifact: Artifact, name: str, what: str) -> ArtifactDamaged:
        command = f"mm materialize {'/'.join(artifact.key)}"
        return ArtifactDamaged(f"{self.objects.url}/{artifact.folder}/{name} {what}: run `{command}` again")

    @staticmethod
    def _require_columns(artifact: Artifact, name: str, columns: list[str] | None) -> None:
        artifact.file(name)
        unknown = sorted(set(columns or ()) - set(artifact.schema.get(name, ())))
        if unknown:  # pyarrow would leave them out without a word
            raise ArtifactMissing(f"{artifact.folder}/{name} has no columns {', '.join(unknown)}: materialize it again")

    # Cleaning

    def sweep(self, keep: int = 2, beside: Sequence["ArtifactStore"] = ()) -> list[str]:
        """Removes dead versions, half-written ones and drafts of ended processes; returns what was removed.

        ``beside``: other stores, swept together with this one, because artifacts here and there are made from each
        other. One that is named twice is swept once.
        Of each asset and partition the current version, the newest ``keep`` and all that a kept history
        leads back to stay: see ``resources.artifact_sweep``.
        """
        stores = {store.objects.url: store for store in (*beside, self)}.values()
        drafts = [f"draft {name}" for store in stores for name in remove_dead_drafts(store._drafts)]
        return drafts + sweep_versions([store.objects for store in stores], keep)
