"""What is recorded about an artifact: its value types, their JSON, its version, and where it lies below HOME.

Belongs here: plain values and names.
Does not belong here: reading or writing anything (``resources.artifacts``).

Layout: ``<wing>/<asset>[/<partition>]/<version>/<files>`` with ``artifact.json`` beside the files, and
``<wing>/<asset>[/<partition>]/current.json``, both holding one ``Artifact`` as JSON.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from resources.errors import MendableError

Key = tuple[str, str]  # (wing, asset)
Metric = float | int | str | None

RECORD_FILE = "artifact.json"
CURRENT_FILE = "current.json"
VERSION_PATTERN = re.compile(r"^[0-9a-f]{16}$")

_NAME_PATTERN = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.=-]*$")


class ArtifactMissing(MendableError):
    """Nothing has been published under this key, partition, version or file name."""


class ArtifactDamaged(MendableError):
    """What lies in the store is not what was published."""


class ArtifactNameError(MendableError):
    """A wing, asset, partition or file name that the layout cannot hold."""


@dataclass(frozen=True)
class ArtifactFile:
    path: str
    bytes: int
    sha256: str
    rows: int | None  # of Parquet files


@dataclass(frozen=True)
class Artifact:
    key: Key
    partition: str | None
    version: str  # digest of the content, 16 hex digits
    files: tuple[ArtifactFile, ...]  # sorted by path
    schema: dict[str, dict[str, str]]  # Parquet file -> column -> arrow type
    upstream: dict[str, str]  # "wing/asset" or "wing/asset/partition" -> version
    run_id: str | None
    created_at: str  # UTC, ISO 8601; of the latest publication of this content
    synthetic: bool
    metrics: dict[str, Metric]
    # "wing/asset" -> partition -> version, for upstream versions that are digests of partitions
    upstream_partitions: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Path of the version's folder below HOME."""
        return f"{folder_of(*self.key, self.partition)}/{self.version}"

    @property
    def rows(self) -> int:
        """Rows of all its Parquet files together."""
        return sum(file.rows or 0 for file in self.files)

    def file(self, name: str) -> ArtifactFile:
        """Raises ``ArtifactMissing`` when the artifact has no file of that name."""
        for file in self.files:
            if file.path == name:
                return file
        names = ", ".join([file.path for file in self.files[:8]] + ["..."] * (len(self.files) > 8))
        raise ArtifactMissing(f"{self.folder} has no file {name!r}: choose one of {names}")


def folder_of(wing: str, asset: str, partition: str | None = None) -> str:
    """Folder of an asset or of one partition below HOME. Raises ``ArtifactNameError``."""
    parts = (wing, asset) if partition is None else (wing, asset, partition)
    for part in parts:
        # A partition named like a version would be taken for one.
        if not _NAME_PATTERN.match(part) or VERSION_PATTERN.match(part) or part == CURRENT_FILE:
            raise ArtifactNameError(f"{part!r} cannot name a wing, asset or partition: use letters, digits, . _ = -")
    return "/".join(parts)


def version_of(files: tuple[ArtifactFile, ...], synthetic: bool) -> str:
    """Digest of names and contents, so that the same content has the same version whenever it was made."""
    return _digest({"files": sorted([file.path, file.sha256] for file in files), "synthetic": synthetic})


def version_of_partitions(versions: Mapping[str, str]) -> str:
    """Digest of the versions of all partitions: the version of a partitioned artifact as a whole."""
    return _digest(sorted(versions.items()))


def to_json(artifact: Artifact) -> bytes:
    return json_bytes(asdict(artifact))


def from_json(data: bytes, where: str) -> Artifact:
    """Raises ``ArtifactDamaged`` naming ``where`` the record lies."""
    try:
        fields: dict[str, Any] = json.loads(data)
        fields["key"] = (fields["key"][0], fields["key"][1])
        fields["files"] = tuple(ArtifactFile(**file) for file in fields["files"])
        return Artifact(**fields)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise ArtifactDamaged(
            f"{where} is not an artifact's record ({error}): delete it and materialize the asset again"
        ) from error


def json_bytes(value: Any) -> bytes:
    """JSON whose bytes depend on the value only; not-a-number is refused with ``ValueError``."""
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def plain_metrics(metrics: Mapping[str, Any]) -> dict[str, Metric]:
    """NumPy scalars become Python numbers; NaN and infinity become None, which JSON can hold."""
    plain: dict[str, Metric] = {}
    for name, given in metrics.items():
        value = given.item() if hasattr(given, "item") else given
        if isinstance(value, float) and not math.isfinite(value):
            value = None
        if value is not None and not isinstance(value, (int, float, str)):
            raise TypeError(f"metric {name!r} is a {type(value).__name__}: give a number, a string or None")
        plain[name] = value
    return plain


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()[:16]
