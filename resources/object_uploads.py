"""Many objects at once: up with resume and verification, down with checksums, and the manifest between the two.

Belongs here: what still has to travel, how much of it at once, and what is told about it afterwards.
Does not belong here: one object (``resources.objects``), and what the objects mean. The public way in is
``ObjectStore.put_many`` and ``ObjectStore.fetch_many``.

The client is asynchronous because that costs a quarter of the CPU time that threads and a vendor's client do.
"""

import asyncio
import dataclasses
import hashlib
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from obstore.exceptions import AlreadyExistsError, PreconditionError
from pydantic import TypeAdapter, ValidationError
from tqdm import tqdm

from resources.errors import MendableError
from resources.objects import (
    READ_BYTES,
    STREAM_BYTES,
    ObjectChanged,
    ObjectConflict,
    ObjectInfo,
    ObjectMissing,
    ObjectStore,
    checked_path,
    content_type_of,
    sha256_of,
    space_for,
)

# Longer hashing is moved out of the event loop, so that the others go on.
_HASH_INLINE_BYTES = 2**20


class ManifestUnreadable(MendableError):
    """The text is not a manifest of an upload."""


class SourceUnreadable(MendableError):
    """A local file that should be uploaded cannot be read."""


@dataclass(frozen=True)
class UploadedObject:
    key: str  # below the manifest's store
    size: int  # bytes
    sha256: str
    etag: str | None
    content_type: str
    uploaded: bool  # its bytes travelled in the call that made the manifest


@dataclass(frozen=True)
class UploadManifest:
    """What lies at a location after an upload. Holds no credentials: an URL with any in it cannot be opened."""

    store: str  # URL
    objects: tuple[UploadedObject, ...]

    @property
    def size(self) -> int:
        """Bytes of all objects."""
        return sum(one.size for one in self.objects)

    @property
    def uploaded(self) -> int:
        """How many objects travelled."""
        return sum(one.uploaded for one in self.objects)

    def to_json(self) -> str:
        return _MANIFEST.dump_json(self, indent=1).decode()

    @staticmethod
    def from_json(text: str | bytes) -> "UploadManifest":
        """Raises ``ManifestUnreadable``."""
        try:
            return _MANIFEST.validate_json(text)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(step) for step in problem["loc"]) or "the text"
            raise ManifestUnreadable(
                f"not a manifest of an upload ({where}: {problem['msg']}): give the file that the upload wrote"
            ) from None


_MANIFEST = TypeAdapter(UploadManifest)


def put_many(
    store: ObjectStore,
    items: Iterable[tuple[str, Path | bytes]],
    *,
    concurrency: int,
    progress: str | None,
    sha256: Mapping[str, str],
    hand_over: bool,
    replace: bool,
    known: UploadManifest | None,
) -> UploadManifest:
    """See ``ObjectStore.put_many``."""
    sources = _distinct(items)
    below = _common_folder(sources)
    upload = _Upload(store, _listing(store, sources, below), dict(sha256), hand_over, replace, _by_key(store, known))
    sizes = {key: _source_size(data) for key, data in sources.items()}
    with tqdm(total=sum(sizes.values()), desc=progress, disable=progress is None or None, **_BYTES) as bar:

        async def store_one(item: tuple[str, Path | bytes]) -> UploadedObject:
            stored = await upload.store(item[0], item[1], sizes[item[0]])
            if stored.uploaded:
                bar.update(stored.size)
            else:
                _spared(bar, stored.size)
            return stored

        stored = _run(_fan_out(store_one, list(sources.items()), concurrency))
    if any(one.uploaded for one in stored):
        stored = _verified(store, stored, _listing(store, sources, below))
    return UploadManifest(store.url, tuple(stored))


def fetch_many(
    store: ObjectStore, manifest: UploadManifest, to: Path, *, concurrency: int, progress: str | None
) -> list[Path]:
    """See ``ObjectStore.fetch_many``."""
    with tqdm(total=manifest.size, desc=progress, disable=progress is None or None, **_BYTES) as bar:

        async def fetch_one(wanted: UploadedObject) -> Path:
            target = to / checked_path(wanted.key)
            if await _same_file(target, wanted):
                _spared(bar, wanted.size)
            else:
                await _fetch(store, wanted, target)
                bar.update(wanted.size)
            return target

        return _run(_fan_out(fetch_one, manifest.objects, concurrency))


_BYTES: dict[str, Any] = {"unit": "B", "unit_scale": True}


def _spared(bar: "tqdm[Any]", size: int) -> None:
    """MB/s is that of the bytes that travel."""
    bar.total = (bar.total or 0) - size
    bar.refresh()


class _Upload:
    """One call of ``put_many``: what it was told, and how it stores one object."""

    def __init__(
        self,
        store: ObjectStore,
        listed: dict[str, ObjectInfo],
        digests: dict[str, str],
        hand_over: bool,
        replace: bool,
        known: dict[str, UploadedObject],
    ) -> None:
        self._store, self._listed, self._digests = store, listed, digests
        self._hand_over, self._replace, self._known = hand_over, replace, known

    async def store(self, key: str, data: Path | bytes, size: int) -> UploadedObject:
        """Raises what ``ObjectStore.put_many`` raises."""
        content, digest = await _content(data, size, self._digests.get(key))
        done = UploadedObject(key, size, digest, None, content_type_of(key), uploaded=False)
        there = self._listed.get(key)
        mode: Any = "create"
        if there is not None:
            if self._noted(there) == (digest, size):
                return dataclasses.replace(done, etag=there.etag)
            found = await _look_up(self._store, key, digest=there.size == size)
            if (found.sha256, found.size) == (digest, size):
                return dataclasses.replace(done, etag=found.etag)
            if not self._replace:
                raise _conflict(self._store, key)
            mode = "overwrite" if self._store.root is not None else found.condition
        elif self._hand_over and isinstance(data, Path) and self._store._link(key, data, digest):
            return dataclasses.replace(done, uploaded=True)
        etag = await self._write(done, content, mode)
        return dataclasses.replace(done, etag=etag, uploaded=True)

    def _noted(self, there: ObjectInfo) -> tuple[str, int] | None:
        """Digest and size of a listed object as an earlier manifest has them, unless it was written again since."""
        known = self._known.get(there.path)
        if known is None or known.etag is None or there.etag is None or not _same_etag(known.etag, there.etag):
            return None
        return known.sha256, there.size

    async def _write(self, wanted: UploadedObject, content: Path | bytes, mode: Any) -> str | None:
        """The new ETag. After a lost reply the retry meets what the first try wrote: the same content is success."""
        store, key = self._store, wanted.key
        if isinstance(content, Path):
            if wanted.size <= STREAM_BYTES:
                content = _read(content)
            else:
                mode = "overwrite"  # no store has a conditional write in parts; the listing has told what is there
        options = store.put_options(key, wanted.sha256, mode, wanted.content_type)
        native = store.writer(key)
        try:
            with store.errors_for(key):
                return (await native.put_async(key, content, **options))["e_tag"]
        except (AlreadyExistsError, PreconditionError):
            found = await _look_up(store, key, digest=True)
            if (found.size, found.sha256) != (wanted.size, wanted.sha256):
                raise _conflict(store, key) from None
            return found.etag


@dataclass(frozen=True)
class _Found:
    size: int
    etag: str | None
    sha256: str | None  # None: not asked for, its size told enough
    condition: dict[str, str | None]  # obstore's write condition "still this one"


async def _look_up(store: ObjectStore, key: str, digest: bool) -> _Found:
    native = store.writer(key)
    with store.errors_for(key):
        reply = await native.get_async(key, options={"head": True})
        noted = reply.attributes.get("sha256")
        meta = reply.meta
        if digest and noted is None:
            noted = await _streamed_sha256(await native.get_async(key))
    condition = {name: meta[name] for name in ("e_tag", "version") if meta[name] is not None}
    return _Found(meta["size"], meta["e_tag"], noted if digest else None, condition)


async def _streamed_sha256(reply: Any) -> str:
    digest = hashlib.sha256()
    async for block in reply.stream(min_chunk_size=READ_BYTES):
        digest.update(block)
    return digest.hexdigest()


async def _fetch(store: ObjectStore, wanted: UploadedObject, target: Path) -> None:
    """The file appears complete and checked, or not at all."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    digest, size = hashlib.sha256(), 0
    try:
        with space_for(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file, store.errors_for(wanted.key):
                reply = await store.writer(wanted.key).get_async(wanted.key)
                async for block in reply.stream(min_chunk_size=READ_BYTES):
                    digest.update(block)
                    size += len(block)
                    file.write(block)
        if (size, digest.hexdigest()) != (wanted.size, wanted.sha256):
            raise _changed(store, wanted.key, "holds other content than its manifest says")
        part.replace(target)
    except ObjectMissing as error:
        raise _changed(store, wanted.key, "is gone although its manifest names it") from error
    finally:
        part.unlink(missing_ok=True)


async def _same_file(target: Path, wanted: UploadedObject) -> bool:
    if not target.is_file() or target.stat().st_size != wanted.size:
        return False
    return await asyncio.to_thread(sha256_of, target) == wanted.sha256


async def _content(data: Path | bytes, size: int, digest: str | None) -> tuple[Path | bytes, str]:
    """The data and its digest. A file that had to be hashed is read once, unless it is so large that it is streamed."""
    if digest is not None:
        return data, digest
    if isinstance(data, Path) and size <= STREAM_BYTES:
        data = _read(data)
    try:
        inline = isinstance(data, bytes) and size <= _HASH_INLINE_BYTES
        return data, sha256_of(data) if inline else await asyncio.to_thread(sha256_of, data)
    except OSError as error:
        raise _unreadable(error) from error


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise _unreadable(error) from error


async def _fan_out(work: Callable[[Any], Awaitable[Any]], items: Sequence[Any], concurrency: int) -> list[Any]:
    """``work`` of each item, in their order. The first error ends it, after what is under way was stopped."""
    results: list[Any] = [None] * len(items)
    done = 0
    waiting = iter(enumerate(items))

    async def worker() -> None:
        nonlocal done
        for position, item in waiting:
            results[position] = await work(item)
            done += 1

    workers = [asyncio.create_task(worker()) for _ in range(min(concurrency, len(items)))]
    try:
        await asyncio.gather(*workers)
    except MendableError as error:
        raise type(error)(f"{error} [{done} of {len(items)} are done; the same call goes on from there]") from error
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return results


def _run(work: Coroutine[Any, Any, list[Any]]) -> list[Any]:
    """Also where an event loop runs already, which then waits."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def _distinct(items: Iterable[tuple[str, Path | bytes]]) -> dict[str, Path | bytes]:
    sources: dict[str, Path | bytes] = {}
    for key, data in items:
        if checked_path(key) in sources:
            raise ObjectConflict(f"{key} is given twice in one upload: give each path once")
        sources[key] = data
    return sources


def _common_folder(keys: Iterable[str]) -> str:
    """The deepest folder above all keys; empty for the root."""
    folders = [PurePosixPath(key).parent.parts for key in keys]
    if not folders:
        return ""
    shortest = min(folders, key=len)
    depth = next((i for i, part in enumerate(shortest) if any(f[i] != part for f in folders)), len(shortest))
    return "/".join(shortest[:depth])


def _listing(store: ObjectStore, keys: Mapping[str, Any], below: str) -> dict[str, ObjectInfo]:
    return {info.path: info for info in store.list(below) if info.path in keys} if keys else {}


def _by_key(store: ObjectStore, known: UploadManifest | None) -> dict[str, UploadedObject]:
    if known is None:
        return {}
    if known.store != store.url:
        raise ManifestUnreadable(f"the manifest is of {known.store}, not of {store.url}: give the one of this location")
    return {one.key: one for one in known.objects}


def _verified(
    store: ObjectStore, stored: Sequence[UploadedObject], listed: Mapping[str, ObjectInfo]
) -> list[UploadedObject]:
    """With the listing's ETag where the write told none."""
    for one in stored:
        there = listed.get(one.key)
        if there is None:
            raise _changed(store, one.key, "was stored, and the listing does not have it")
        if there.size != one.size or (one.etag is not None and not _same_etag(one.etag, there.etag)):
            raise _changed(store, one.key, "was changed by somebody else while this upload ran")
    return [dataclasses.replace(one, etag=one.etag or listed[one.key].etag) for one in stored]


def _same_etag(one: str, other: str | None) -> bool:
    """Some listings drop the quotes."""
    return other is None or one.strip('"') == other.strip('"')


def _source_size(data: Path | bytes) -> int:
    if isinstance(data, bytes):
        return len(data)
    try:
        return data.stat().st_size
    except OSError as error:
        raise _unreadable(error) from error


def _unreadable(error: OSError) -> SourceUnreadable:
    return SourceUnreadable(f"{error.filename or 'a local file'} cannot be uploaded: {error.strerror}: check the file")


def _conflict(store: ObjectStore, key: str) -> ObjectConflict:
    return ObjectConflict(f"{store.url}/{key} already holds other content: write to a new path or delete it first")


def _changed(store: ObjectStore, key: str, how: str) -> ObjectChanged:
    return ObjectChanged(f"{store.url}/{key} {how}: upload it again to get a manifest that is true")
