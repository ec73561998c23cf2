"""Bytes at a URL, the same on a folder, in memory, on S3, Google Cloud Storage and Azure.

Belongs here: reading, writing, listing and deleting objects, and what a retry may do.
Does not belong here: URLs and endpoints (``resources.locations``), what the bytes mean
(``resources.artifacts``).

Never fork a process that has used a remote location: obstore's calls hang in the child. Spawn is fine.
"""

import builtins
import hashlib
import mimetypes
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import LocalStore

from resources.compute import map_items
from resources.errors import MendableError
from resources.locations import Location, first_line, open_location

# Larger local files are streamed to the store in parts and never held in memory.
STREAM_BYTES = 64 * 2**20
READ_BYTES = 2**22

# LocalStore writes "name#1" and renames it: such a name is never an object, and may be left by a killed
# process.
_LEFTOVER = re.compile(r"#\d+$")


class ObjectPathError(MendableError):
    """The path would leave the store, or cannot be stored everywhere."""


class ObjectMissing(MendableError):
    """No object at this path."""


class ObjectConflict(MendableError):
    """Another content already has this path."""


class ObjectAccessError(MendableError):
    """The store refused or could not be reached."""


@dataclass(frozen=True)
class ObjectInfo:
    path: str
    size: int  # bytes
    etag: str | None
    last_modified: datetime


@dataclass(frozen=True)
class StoredObject:
    path: str
    size: int  # bytes
    sha256: str
    created: bool  # False: the same content was already there


def sha256_of(data: bytes | Path) -> str:
    """Hex digest; a file is read in blocks."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with data.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class ObjectStore:
    """Objects below one location. Paths are relative, use ``/`` and may not leave it (``ObjectPathError``).

    Every method raises ``ObjectAccessError`` when the store refuses or stays unreachable after the retries.
    """

    def __init__(self, location: Location) -> None:
        self.url = location.url
        self._native = location.native
        self._root = location.root

    @classmethod
    def at(cls, url: str | Path, *, gcs_user_project: str | None = None, **config: Any) -> "ObjectStore":
        """Opens a location without touching it: see ``open_location``. Raises ``ObjectUrlError``."""
        return cls(open_location(url, gcs_user_project=gcs_user_project, **config))

    # Reading

    def get(self, path: str) -> bytes:
        """The whole object. Raises ``ObjectMissing``."""
        checked = _checked(path)
        with self._errors_for(path):
            return self._reader().get(checked).bytes().to_bytes()

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """``length`` bytes from ``start``. Raises ``ObjectMissing``."""
        checked = _checked(path)
        if length == 0:
            return b""
        with self._errors_for(path):
            return self._reader().get_range(checked, start=start, length=length).to_bytes()

    def head(self, path: str) -> ObjectInfo | None:
        """What is known about the object without reading it; None when there is none."""
        checked = _checked(path)
        try:
            with self._errors_for(path):
                return _info(self._reader().head(checked))
        except ObjectMissing:
            return None

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object below the folder ``prefix``, at any depth, in no particular order."""
        checked = _checked(prefix) if prefix else None
        if self._absent_folder():
            return
        with self._errors_for(prefix):
            for page in self._reader().list(checked, chunk_size=1000):
                for meta in page:
                    yield _info(meta)

    def folders(self, prefix: str = "") -> builtins.list[str]:
        """Names of the folders directly below ``prefix``, sorted."""
        checked = _checked(prefix) if prefix else None
        if self._absent_folder():
            return []
        with self._errors_for(prefix):
            found = self._reader().list_with_delimiter(checked)["common_prefixes"]
        return sorted(folder.rstrip("/").rsplit("/", 1)[-1] for folder in found)

    def local_path(self, path: str) -> Path | None:
        """The object's file when the store is a folder, else None. The file need not exist."""
        checked = _checked(path)
        return self._root / checked if self._root else None

    def fetch(self, path: str, to: Path) -> Path:
        """Downloads to the file ``to``, which appears complete or not at all. Raises ``ObjectMissing``."""
        checked = _checked(path)
        to.parent.mkdir(parents=True, exist_ok=True)
        part = to.with_name(f".{to.name}.{os.getpid()}.{time.monotonic_ns()}.part")
        try:
            with self._errors_for(path), part.open("wb") as file:
                for block in self._reader().get(checked).stream(min_chunk_size=READ_BYTES):
                    file.write(block)
            part.replace(to)
        finally:
            part.unlink(missing_ok=True)
        return to

    # Writing

    def put(self, path: str, data: bytes, content_type: str | None = None) -> None:
        """Writes or atomically replaces the object: a reader gets the old bytes or the new ones."""
        self._write(path, data, sha256_of(data), "overwrite", content_type)

    def put_if_absent(self, path: str, data: bytes | Path, sha256: str | None = None) -> bool:
        """Writes the object unless the path is taken: True if written, False if the same content is there.

        A retry after a lost reply meets the object that its first try wrote, so a taken path is compared by
        size and SHA-256 and a match is success; otherwise ``ObjectConflict``. A file above ``STREAM_BYTES``
        is streamed in parts, for which no store has a conditional write: there the path is looked up first.
        """
        digest = sha256 or sha256_of(data)
        size = _size(data)
        if isinstance(data, Path) and size > STREAM_BYTES:
            if self.head(path) is not None:
                self._require_same(path, size, digest)
                return False
            self._write(path, data, digest, "overwrite", None)
            return True
        try:
            self._write(path, data if isinstance(data, bytes) else data.read_bytes(), digest, "create", None)
        except (AlreadyExistsError, PreconditionError):
            self._require_same(path, size, digest)
            return False
        return True

    def put_many(
        self,
        items: Iterable[tuple[str, Path | bytes]],
        concurrency: int = 16,
        progress: str | None = None,
        *,
        sha256: Mapping[str, str] | None = None,
        hand_over: bool = False,
    ) -> builtins.list[StoredObject]:
        """``put_if_absent`` of many (path, bytes or local file), in the order given.

        ``progress`` titles a progress bar. ``sha256`` holds digests already known, by path. With
        ``hand_over`` the caller gives its files away: a folder on the same file system hard-links them
        instead of copying. Raises what ``put_if_absent`` raises; what was stored until then stays.
        """
        known = sha256 or {}

        def store(item: tuple[str, Path | bytes]) -> StoredObject:
            path, data = item
            digest = known.get(path) or sha256_of(data)
            created = self._link(path, data, digest) if hand_over and isinstance(data, Path) else None
            if created is None:
                created = self.put_if_absent(path, data, digest)
            return StoredObject(path, _size(data), digest, created)

        stored = map_items(
            store, items, workers=concurrency, kind="thread", desc=progress, describe=lambda item: item[0]
        )
        return list(stored)

    def delete(self, paths: Iterable[str]) -> None:
        """Deletes objects; one that is not there is no error."""
        checked = [_checked(path) for path in paths]
        if not checked:
            return
        try:
            with self._errors_for(checked[0]):
                self._reader().delete(checked)
        except ObjectMissing:  # some stores stop at it, others go on: ask for each one that is still there
            for path in checked:
                with suppress(ObjectMissing), self._errors_for(path):
                    self._reader().delete([path])

    def delete_folder(self, prefix: str) -> None:
        """Deletes every object below ``prefix``, and the folder itself where folders exist."""
        self.delete([info.path for info in self.list(prefix)])
        if self._root:
            shutil.rmtree(self._root / _checked(prefix), ignore_errors=True)

    def delete_leftovers(self, older_than: datetime) -> builtins.list[str]:
        """Removes half-written files that killed processes left in a folder store; returns their paths.

        Elsewhere half-written objects are never visible; a bucket's lifecycle rule ends abandoned uploads.
        """
        if self._root is None or self._absent_folder():
            return []
        removed = []
        for folder, _, names in os.walk(self._root):
            for file in (Path(folder) / name for name in names if _LEFTOVER.search(name)):
                if file.stat().st_mtime < older_than.timestamp():
                    file.unlink(missing_ok=True)
                    removed.append(file.relative_to(self._root).as_posix())
        return sorted(removed)

    def _write(self, path: str, data: bytes | Path, digest: str, mode: str, content_type: str | None) -> None:
        checked = _checked(path)
        options: dict[str, Any] = {"mode": mode}
        if mode == "create":
            options["use_multipart"] = False
        if self._root is None:  # LocalStore refuses attributes
            guess = content_type or mimetypes.guess_type(path)[0] or "application/octet-stream"
            options["attributes"] = {"Content-Type": guess, "sha256": digest}
        elif self._native is None:
            with self._errors_for(path):
                self._native = LocalStore(self._root, mkdir=True)
        assert self._native is not None
        with self._errors_for(path):
            self._native.put(checked, data, **options)

    def _link(self, path: str, source: Path, digest: str) -> bool | None:
        """Hard-links the source below the root; None when that is not possible here."""
        if self._root is None or source.is_symlink():
            return None
        target = self._root / _checked(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.utime(source)  # last_modified means when it came into the store
        try:
            os.link(source, target)
        except FileExistsError:
            self._require_same(path, _size(source), digest)
            return False
        except OSError:
            return None
        return True

    def _require_same(self, path: str, size: int, digest: str) -> None:
        there = self.head(path)
        if there is None or there.size != size or self._stored_sha256(path) != digest:
            raise ObjectConflict(
                f"{self.url}/{path} already holds other content: write to a new path or delete it first"
            )

    def _stored_sha256(self, path: str) -> str:
        with self._errors_for(path):
            if self._root is None:
                noted = self._reader().get(_checked(path), options={"head": True}).attributes.get("sha256")
                if noted:
                    return noted
            digest = hashlib.sha256()
            for block in self._reader().get(_checked(path)).stream(min_chunk_size=READ_BYTES):
                digest.update(block)
            return digest.hexdigest()

    # Plumbing

    def _absent_folder(self) -> bool:
        return self._native is None and not (self._root and self._root.is_dir())

    def _reader(self) -> Any:
        if self._absent_folder():
            raise FileNotFoundError(self.url)
        if self._native is None:
            self._native = LocalStore(self._root)
        return self._native

    @contextmanager
    def _errors_for(self, path: str) -> Iterator[None]:
        where = f"{self.url}/{path}" if path else self.url
        try:
            yield
        except FileNotFoundError as error:
            raise ObjectMissing(f"{where} does not exist: check the location, or write it first") from error
        except (AlreadyExistsError, PreconditionError):
            raise
        except (BaseError, PermissionError) as error:
            mend = "check permissions and free space" if self._root else "check network, endpoint and credentials"
            raise ObjectAccessError(f"{where}: {first_line(error)} ({mend})") from error


def _checked(path: str) -> str:
    segments = path.split("/")
    if any(segment in ("", ".", "..") for segment in segments) or not path.isprintable() or "\\" in path:
        raise ObjectPathError(f"{path!r} is not a path in a store: use relative a/b/c without '.' or '..'")
    if _LEFTOVER.search(path):
        raise ObjectPathError(f"{path!r} ends in '#' and digits, which a folder cannot hold: rename it")
    return path


def _info(meta: Any) -> ObjectInfo:
    return ObjectInfo(meta["path"], meta["size"], meta["e_tag"], meta["last_modified"])


def _size(data: bytes | Path) -> int:
    return len(data) if isinstance(data, bytes) else data.stat().st_size
