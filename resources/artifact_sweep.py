"""Which published versions may go.

Belongs here: the rule and its carrying out.
Does not belong here: drafts (``resources.artifact_draft``); caches in scratch, which may be deleted at any
time.

A version stays while it is current, among the newest ``keep`` of its asset or partition, or reached from a
current version through ``upstream``, however far: a released model's history leads back to its tables. A
folder without a record is a publication under way or one that was killed; it goes when nothing was added to
it for an hour.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from resources.artifact_record import CURRENT_FILE, RECORD_FILE, VERSION_PATTERN, Artifact, from_json
from resources.objects import ObjectMissing, ObjectStore

GRACE = timedelta(hours=1)


@dataclass(frozen=True)
class _Version:
    asset: str  # "wing/asset"
    home: str  # "wing/asset" or "wing/asset/partition"
    name: str
    published: datetime | None  # None: no record

    @property
    def folder(self) -> str:
        return f"{self.home}/{self.name}"


def sweep_versions(objects: ObjectStore, keep: int) -> list[str]:
    """Deletes what the rule lets go; returns the folders and leftover files, sorted."""
    versions = list(_versions(objects))
    complete = [version for version in versions if version.published is not None]
    current = _current_records(objects, {version.home for version in versions})
    live = {f"{home}/{record.version}" for home, record in current.items()}
    live |= _newest(complete, keep)
    live |= _ancestors(objects, list(current.values()), complete)
    long_ago = datetime.now(UTC) - GRACE
    removed = []
    for version in versions:
        if version.folder in live:
            continue
        if version.published is None and _last_change(objects, version.folder) > long_ago:
            continue
        # The record first: without it the rest is a half-written folder to every reader and to the next
        # sweep.
        objects.delete([f"{version.folder}/{RECORD_FILE}"])
        objects.delete_folder(version.folder)
        removed.append(version.folder)
    return sorted(removed + objects.delete_leftovers(long_ago))


def _versions(objects: ObjectStore) -> Iterator[_Version]:
    for wing in objects.folders():
        for name in objects.folders(wing):
            asset = f"{wing}/{name}"
            for child in objects.folders(asset):
                if VERSION_PATTERN.match(child):
                    yield _version(objects, asset, asset, child)
                    continue
                for version in filter(VERSION_PATTERN.match, objects.folders(f"{asset}/{child}")):
                    yield _version(objects, asset, f"{asset}/{child}", version)


def _version(objects: ObjectStore, asset: str, home: str, name: str) -> _Version:
    record = objects.head(f"{home}/{name}/{RECORD_FILE}")
    return _Version(asset, home, name, record.last_modified if record else None)


def _current_records(objects: ObjectStore, homes: set[str]) -> dict[str, Artifact]:
    records = {}
    for home in sorted(homes):
        path = f"{home}/{CURRENT_FILE}"
        try:
            records[home] = from_json(objects.get(path), f"{objects.url}/{path}")
        except ObjectMissing:
            continue
    return records


def _newest(complete: list[_Version], keep: int) -> set[str]:
    newest: set[str] = set()
    for home in {version.home for version in complete}:
        dated = [(version.published, version.folder) for version in complete if version.home == home]
        newest.update(folder for _, folder in sorted(dated, reverse=True)[:keep])
    return newest


def _ancestors(objects: ObjectStore, records: list[Artifact], complete: list[_Version]) -> set[str]:
    """Folders of all versions that the records' upstreams lead to; a partition is found by its version."""
    folders: dict[tuple[str, str], list[str]] = {}
    for version in complete:
        folders.setdefault((version.asset, version.name), []).append(version.folder)
    reached: set[str] = set()
    while records:
        record = records.pop()
        named = {("/".join(name.split("/")[:2]), version) for name, version in record.upstream.items()}
        for name, partitions in record.upstream_partitions.items():
            named |= {(name, version) for version in partitions.values()}
        for folder in (folder for pair in named for folder in folders.get(pair, ())):
            if folder not in reached:
                reached.add(folder)
                path = f"{folder}/{RECORD_FILE}"
                records.append(from_json(objects.get(path), f"{objects.url}/{path}"))
    return reached


def _last_change(objects: ObjectStore, folder: str) -> datetime:
    never = datetime.min.replace(tzinfo=UTC)
    return max((info.last_modified for info in objects.list(folder)), default=never)
