"""Which published versions may go.

Belongs here: the rule and its carrying out.
Does not belong here: drafts (``resources.artifact_draft``); caches in scratch, which may be deleted at any
time.

A version stays while it is current, among the newest ``keep`` of its asset or partition, or reached from a
current version through ``upstream``, however far: a released model's history leads back to its tables, also to
those in another store that is swept with it. A
folder without a record is a publication under way or one that was killed; it goes when nothing was added to
it for an hour.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from resources.artifact_record import CURRENT_FILE, RECORD_FILE, VERSION_PATTERN, Artifact, from_json
from resources.objects import ObjectMissing, ObjectStore

GRACE = timedelta(hours=1)

_Place = tuple[str, str]  # URL of a store, folder in it


@dataclass(frozen=True)
class _Version:
    objects: ObjectStore
    asset: str  # "wing/asset"
    home: str  # "wing/asset" or "wing/asset/partition"
    name: str
    published: datetime | None  # None: no record

    @property
    def folder(self) -> str:
        return f"{self.home}/{self.name}"

    @property
    def place(self) -> _Place:
        return self.objects.url, self.folder

    def record(self) -> Artifact:
        path = f"{self.folder}/{RECORD_FILE}"
        return from_json(self.objects.get(path), f"{self.objects.url}/{path}")


def sweep_versions(stores: Sequence[ObjectStore], keep: int) -> list[str]:
    """Deletes what the rule lets go in stores whose artifacts may be made from each other's, each given once; returns
    the folders and leftover files, sorted."""
    versions = [version for objects in stores for version in _versions(objects)]
    complete = [version for version in versions if version.published is not None]
    current = [record for objects in stores for record in _current_records(objects, versions).items()]
    live = {(url, f"{home}/{record.version}") for (url, home), record in current}
    live |= _newest(complete, keep)
    live |= _ancestors([record for _, record in current], complete)
    long_ago = datetime.now(UTC) - GRACE
    removed = []
    for version in versions:
        if version.place in live:
            continue
        if version.published is None and _last_change(version.objects, version.folder) > long_ago:
            continue
        # The record first: without it the rest is a half-written folder to every reader and to the next
        # sweep.
        version.objects.delete([f"{version.folder}/{RECORD_FILE}"])
        version.objects.delete_folder(version.folder)
        removed.append(version.folder)
    return sorted(removed + [left for objects in stores for left in objects.delete_leftovers(long_ago)])


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
    return _Version(objects, asset, home, name, record.last_modified if record else None)


def _current_records(objects: ObjectStore, versions: list[_Version]) -> dict[_Place, Artifact]:
    """The current record of each home that has versions in this store."""
    records = {}
    for home in sorted({version.home for version in versions if version.objects is objects}):
        path = f"{home}/{CURRENT_FILE}"
        try:
            records[objects.url, home] = from_json(objects.get(path), f"{objects.url}/{path}")
        except ObjectMissing:
            continue
    return records


def _newest(complete: list[_Version], keep: int) -> set[_Place]:
    by_home: dict[_Place, list[tuple[datetime | None, _Place]]] = {}
    for version in complete:
        by_home.setdefault((version.objects.url, version.home), []).append((version.published, version.place))
    return {place for dated in by_home.values() for _, place in sorted(dated, reverse=True)[:keep]}


def _ancestors(records: list[Artifact], complete: list[_Version]) -> set[_Place]:
    """All versions that the records' upstreams lead to, in whichever store; a partition is found by its version."""
    named_so: dict[tuple[str, str], list[_Version]] = {}
    for version in complete:
        named_so.setdefault((version.asset, version.name), []).append(version)
    reached: set[_Place] = set()
    while records:
        record = records.pop()
        named = {("/".join(name.split("/")[:2]), version) for name, version in record.upstream.items()}
        for name, partitions in record.upstream_partitions.items():
            named |= {(name, version) for version in partitions.values()}
        for version in (version for pair in named for version in named_so.get(pair, ())):
            if version.place not in reached:
                reached.add(version.place)
                records.append(version.record())
    return reached


def _last_change(objects: ObjectStore, folder: str) -> datetime:
    never = datetime.min.replace(tzinfo=UTC)
    return max((info.last_modified for info in objects.list(folder)), default=never)
