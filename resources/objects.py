"""Bytes at a URL, the same on a folder, in memory, on S3, Google Cloud Storage and Azure.

Belongs here: reading, writing, listing and deleting objects, what a retry may do, and the errors of all that.
Does not belong here: URLs and endpoints (``resources.locations``), buckets (``resources.control_plane``), how many
objects travel at once (``resources.object_uploads``), what the bytes mean (``resources.artifacts``).

Never fork a process that has used a remote location: obstore's calls hang in the child. Spawn is fine.
"""

import builtins
import errno
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
from typing import TYPE_CHECKING, Any

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import LocalStore

from resources.errors import MendableError
from resources.locations import Location, first_line, open_location

if TYPE_CHECKING:
    from resources.object_uploads import UploadManifest

# Larger local files are streamed to the store in parts and never held in memory.
STREAM_BYTES = 64 * 2**20
READ_BYTES = 2**22

# LocalStore writes "name#1" and renames it: such a name is never an object, and may be left by a killed
# process.
_LEFTOVER = re.compile(r"#\d+$")

# How the vendors say that it is the credentials, and not what their holder may do.
_CREDENTIAL_CODES = re.compile(
    r"InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|ExpiredToken|InvalidClientTokenId|AuthFailure"
    r"|AuthenticationFailed|InvalidAuthenticationInfo|NoAuthenticationInformation|AuthenticationRequired"
    r"|failed to authenticate"
)
# Told of single keys in the reply to a deletion of many, which itself has status 200.
_KEY_REFUSED = "(code: AccessDenied)"
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound")
_STATUS = re.compile(r"status code: (\d{3})")
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

# Not the machine's own list: a manifest says the same wherever it is made.
_TYPES = mimetypes.MimeTypes()
for _suffix, _type in {
    ".dcm": "application/dicom",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".webp": "image/webp",
    ".yaml": "application/yaml",
}.items():
    _TYPES.add_type(_type, _suffix)


class ObjectPathError(MendableError):
    """The path would leave the store, or cannot be stored everywhere."""


class ObjectMissing(MendableError):
    """No object at this path."""


class ObjectConflict(MendableError):
    """Another content already has this path."""


class ObjectAccessError(MendableError):
    """The store refused or could not be reached."""


class CredentialsRefused(ObjectAccessError):
    """The store does not know these credentials."""


class AccessDenied(ObjectAccessError):
    """The store knows the credentials, and their holder may not do this."""


class ObjectChanged(MendableError):
    """An object is not what a manifest, or this run, says that it stored."""


class DiskFull(MendableError):
    """No space left where a download is written."""


@dataclass(frozen=True)
class ObjectInfo:
    path: str
    size: int  # bytes
    etag: str | None
    last_modified: datetime


def sha256_of(data: bytes | Path) -> str:
    """Hex digest; a file is read in blocks."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with data.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_type_of(path: str) -> str:
    """From the suffix; ``application/octet-stream`` for one that is not known."""
    return _TYPES.guess_type(path)[0] or "application/octet-stream"


class ObjectStore:
    """Objects below one location. Paths are relative, use ``/`` and may not leave it (``ObjectPathError``).

    Every method raises ``ObjectAccessError`` when the store refuses or stays unreachable after the retries.
    """

    def __init__(self, location: Location) -> None:
        self.url = location.url
        self.root = location.root  # the folder; None elsewhere
        self._native = location.native

    @classmethod
    def at(cls, url: str | Path, *, gcs_user_project: str | None = None, **config: Any) -> "ObjectStore":
        """Opens a location without touching it: see ``open_location``. Raises ``ObjectUrlError``."""
        return cls(open_location(url, gcs_user_project=gcs_user_project, **config))

    # Reading

    def get(self, path: str) -> bytes:
        """The whole object. Raises ``ObjectMissing``."""
        checked = checked_path(path)
        with self.errors_for(path):
            return self._reader().get(checked).bytes().to_bytes()

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """``length`` bytes from ``start``. Raises ``ObjectMissing``."""
        checked = checked_path(path)
        if length == 0:
            return b""
        with self.errors_for(path):
            return self._reader().get_range(checked, start=start, length=length).to_bytes()

    def head(self, path: str) -> ObjectInfo | None:
        """What is known about the object without reading it; None when there is none."""
        checked = checked_path(path)
        try:
            with self.errors_for(path):
                return _info(self._reader().head(checked))
        except ObjectMissing:
            return None

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object below the folder ``prefix``, at any depth, in no particular order."""
        checked = checked_path(prefix) if prefix else None
        if self._absent_folder():
            return
        with self.errors_for(prefix):
            for page in self._reader().list(checked, chunk_size=1000):
                for meta in page:
                    yield _info(meta)

    def folders(self, prefix: str = "") -> builtins.list[str]:
        """Names of the folders directly below ``prefix``, sorted."""
        checked = checked_path(prefix) if prefix else None
        if self._absent_folder():
            return []
        with self.errors_for(prefix):
            found = self._reader().list_with_delimiter(checked)["common_prefixes"]
        return sorted(folder.rstrip("/").rsplit("/", 1)[-1] for folder in found)

    def local_path(self, path: str) -> Path | None:
        """The object's file when the store is a folder, else None. The file need not exist."""
        checked = checked_path(path)
        return self.root / checked if self.root else None

    def fetch(self, path: str, to: Path) -> Path:
        """Downloads to the file ``to``, which appears complete or not at all. Raises ``ObjectMissing``."""
        checked = checked_path(path)
        to.parent.mkdir(parents=True, exist_ok=True)
        part = to.with_name(f".{to.name}.{os.getpid()}.{time.monotonic_ns()}.part")
        try:
            with self.errors_for(path), space_for(to), part.open("wb") as file:
                for block in self._reader().get(checked).stream(min_chunk_size=READ_BYTES):
                    file.write(block)
            part.replace(to)
        finally:
            part.unlink(missing_ok=True)
        return to

    # Writing

    def put(self, path: str, data: bytes | Path, content_type: str | None = None) -> None:
        """Writes or atomically replaces the object, from memory or a file: a reader gets the old bytes or the new."""
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
        replace: bool = False,
        known: "UploadManifest | None" = None,
    ) -> "UploadManifest":
        """Stores many (path, bytes or local file); what is there already does not travel again.

        The folder that holds all the paths is listed once before, to find what is missing, and once after, to verify.
        A path of the right size is compared by its SHA-256: the store's note of it, or ``known``, an earlier
        manifest, where the ETag is still the same. Other content at a path is ``ObjectConflict``, or with ``replace``
        is overwritten unless somebody changes it meanwhile. Every write is conditional, and one that finds its own
        content after a lost reply counts as done (above ``STREAM_BYTES`` a write cannot be conditional).

        ``progress`` titles a progress bar in bytes. ``sha256`` holds digests already known, by path. With
        ``hand_over`` the caller gives its files away: a folder on the same file system hard-links them instead of
        copying. Returns what is stored, in the order given. Raises ``ObjectConflict``, ``ObjectChanged`` where the
        last listing tells another story, ``ObjectAccessError``; what was stored until then stays, and the same
        call goes on from there.
        """
        from resources.object_uploads import put_many

        return put_many(
            self,
            items,
            concurrency=concurrency,
            progress=progress,
            sha256=sha256 or {},
            hand_over=hand_over,
            replace=replace,
            known=known,
        )

    def fetch_many(
        self, manifest: "UploadManifest", to: Path, concurrency: int = 16, progress: str | None = None
    ) -> builtins.list[Path]:
        """Downloads a manifest's objects to ``to/<path>``, in its order; a file with the right checksum is kept.

        Raises ``ObjectChanged`` for an object that is gone or is not what the manifest says (its file does not
        appear), ``DiskFull``, ``ObjectAccessError``; complete files stay, and the same call goes on from there.
        """
        from resources.object_uploads import fetch_many

        return fetch_many(self, manifest, to, concurrency=concurrency, progress=progress)

    def delete(self, paths: Iterable[str]) -> None:
        """Deletes objects; one that is not there is no error."""
        checked = [checked_path(path) for path in paths]
        if not checked:
            return
        try:
            with self.errors_for(checked[0]):
                self._reader().delete(checked)
        except ObjectMissing:  # some stores stop at it, others go on: ask for each one that is still there
            for path in checked:
                with suppress(ObjectMissing), self.errors_for(path):
                    self._reader().delete([path])

    def delete_folder(self, prefix: str) -> None:
        """Deletes every object below ``prefix``, and the folder itself where folders exist."""
        self.delete([info.path for info in self.list(prefix)])
        if self.root:
            shutil.rmtree(self.root / checked_path(prefix), ignore_errors=True)

    def delete_leftovers(self, older_than: datetime) -> builtins.list[str]:
        """Removes half-written files that killed processes left in a folder store; returns their paths.

        Elsewhere half-written objects are never visible; a bucket's lifecycle rule ends abandoned uploads.
        """
        if self.root is None or self._absent_folder():
            return []
        removed = []
        for folder, _, names in os.walk(self.root):
            for file in (Path(folder) / name for name in names if _LEFTOVER.search(name)):
                if file.stat().st_mtime < older_than.timestamp():
                    file.unlink(missing_ok=True)
                    removed.append(file.relative_to(self.root).as_posix())
        return sorted(removed)

    def _write(self, path: str, data: bytes | Path, digest: str, mode: str, content_type: str | None) -> None:
        checked = checked_path(path)
        native = self.writer(path)
        with self.errors_for(path):
            native.put(checked, data, **self.put_options(path, digest, mode, content_type))

    def writer(self, path: str) -> Any:
        """The obstore client, after making the folder where the store is one; ``path`` is for its error."""
        if self.root is not None and self._native is None:
            with self.errors_for(path):
                self._native = LocalStore(self.root, mkdir=True)
        return self._native

    def put_options(self, path: str, digest: str, mode: Any, content_type: str | None = None) -> dict[str, Any]:
        """obstore's arguments of a write: its condition, and attributes where the store has them."""
        options: dict[str, Any] = {"mode": mode}
        if mode != "overwrite":
            options["use_multipart"] = False
        if self.root is None:  # LocalStore refuses attributes
            options["attributes"] = {"Content-Type": content_type or content_type_of(path), "sha256": digest}
        return options

    def _link(self, path: str, source: Path, digest: str) -> bool | None:
        """Hard-links the source below the root; None when that is not possible here."""
        if self.root is None or source.is_symlink():
            return None
        target = self.root / checked_path(path)
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
        with self.errors_for(path):
            if self.root is None:
                noted = self._reader().get(checked_path(path), options={"head": True}).attributes.get("sha256")
                if noted:
                    return noted
            digest = hashlib.sha256()
            for block in self._reader().get(checked_path(path)).stream(min_chunk_size=READ_BYTES):
                digest.update(block)
            return digest.hexdigest()

    # Plumbing

    def _absent_folder(self) -> bool:
        return self._native is None and not (self.root and self.root.is_dir())

    def _reader(self) -> Any:
        if self._absent_folder():
            raise FileNotFoundError(self.url)
        if self._native is None:
            self._native = LocalStore(self.root)
        return self._native

    @contextmanager
    def errors_for(self, path: str) -> Iterator[None]:
        where = f"{self.url}/{path}" if path else self.url
        try:
            yield
        except (AlreadyExistsError, PreconditionError):
            raise
        except (BaseError, FileNotFoundError, PermissionError) as error:
            if self.root is not None and not isinstance(error, FileNotFoundError):
                raise ObjectAccessError(f"{where}: {first_line(error)} (check permissions and free space)") from error
            mendable = _mendable(where, error)
            refused = isinstance(mendable, CredentialsRefused | AccessDenied)
            raise mendable from None if refused else error


def _mendable(where: str, error: Exception) -> MendableError:
    """A refused listing is told apart from others by its text alone."""
    reply = str(error)
    told = _STATUS.search(reply)
    status = int(told.group(1)) if told else 0
    if isinstance(error, FileNotFoundError) or status == 404:
        if _NO_BUCKET.search(reply):
            return ObjectMissing(f"{where}: there is no such bucket or container: create it first, or check its name")
        return ObjectMissing(f"{where} does not exist: check the location, or write it first")
    if isinstance(error, UnauthenticatedError) or status == 401:
        return refusal(where, reply, unauthenticated=True)
    if isinstance(error, PermissionDeniedError) or status == 403 or _KEY_REFUSED in reply:
        return refusal(where, reply)
    return ObjectAccessError(f"{where}: {first_line(error)} (check network, endpoint and credentials)")


def refusal(where: str, reply: str, unauthenticated: bool = False) -> ObjectAccessError:
    """The error for a reply of 401 or 403, whose text is not shown: it may repeat keys and signatures."""
    if unauthenticated or _CREDENTIAL_CODES.search(reply):
        return CredentialsRefused(f"{where}: the store refused the credentials: check the keys and their account")
    return AccessDenied(f"{where}: these credentials may not do this here: grant the right on the bucket or prefix")


@contextmanager
def space_for(file: Path) -> Iterator[None]:
    """Turns a full disk below ``file`` into ``DiskFull``."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        raise DiskFull(f"no space left for {file}: free some and run again, what is complete is kept") from error


def checked_path(path: str) -> str:
    """The path itself. Raises ``ObjectPathError`` for one that would leave the store or not fit everywhere."""
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
