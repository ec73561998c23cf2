"""From a URL or path to the obstore client that serves it.

Belongs here: schemes, endpoints, retries, billing headers.
Does not belong here: credentials (obstore reads the vendors' own variables: ``AWS_*`` with
``AWS_ENDPOINT_URL``, ``GOOGLE_*``, ``AZURE_*``) and what is done with the objects (``resources.objects``).
"""

import os
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, MemoryStore, S3Store

from resources.errors import MendableError

RETRY = {"max_retries": 8, "retry_timeout": timedelta(seconds=120)}

_SCHEMES = ("file", "memory", "s3", "gs", "az")
_ENDPOINT_VARIABLES = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_LOOPBACK = re.compile(r"^http://(localhost|127(\.\d+){3}|\[::1\])(:\d+)?(/|$)")
_memory: dict[str, MemoryStore] = {}


class ObjectUrlError(MendableError):
    """The location cannot be opened."""


@dataclass(frozen=True)
class Location:
    url: str
    native: Any | None  # an obstore store; None for a folder, which may not exist yet
    root: Path | None  # the folder, for local locations


def open_location(url: str | Path, *, gcs_user_project: str | None = None, **config: Any) -> Location:
    """A path, ``file:///path``, ``memory://name``, or ``s3://``, ``gs://``, ``az://`` + ``bucket/prefix``.

    Nothing is read or created. A ``memory://`` location is shared by name within this process. ``config``
    goes to obstore (``endpoint=``, ``region=``, ``client_options=``, ``retry_config=``, ...);
    ``gcs_user_project`` is billed for requester-pays buckets. Plain HTTP is allowed to a loopback endpoint
    (``AWS_ALLOW_HTTP=true`` allows others).
    Raises ``ObjectUrlError``.
    """
    text = str(url)
    scheme, separator, _ = text.partition("://")
    if not separator:
        return _folder(Path(text).expanduser().absolute())
    if scheme not in _SCHEMES:
        raise ObjectUrlError(f"{text} is not a location: give a path or one of {', '.join(_SCHEMES)}://...")
    parts = urlsplit(text)
    if scheme in _ENDPOINT_VARIABLES and ("@" in parts.netloc or parts.query):
        raise ObjectUrlError(
            f"the {scheme}:// location has a user or a query in it, which are not shown: leave keys and signatures out "
            "of URLs and set the vendor's variables"
        )
    if scheme == "file":
        return _folder(Path(url2pathname(parts.path)))
    if scheme == "memory":
        return Location(text, _memory.setdefault(text, MemoryStore()), None)
    if not parts.netloc:
        raise ObjectUrlError(f"{text} names no bucket: write {scheme}://bucket/prefix")
    build: Any = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[scheme]
    client_options = _client_options(scheme, gcs_user_project, config)
    options = {"retry_config": RETRY, **config, "client_options": client_options}
    try:
        native = build(parts.netloc, prefix=unquote(parts.path).strip("/") or None, **options)
    except (BaseError, TypeError, ValueError) as error:
        raise ObjectUrlError(
            f"{text} cannot be opened: {first_line(error)} (check the endpoint and credential variables)"
        ) from error
    return Location(text.rstrip("/"), native, None)


def first_line(error: BaseException) -> str:
    """obstore appends a debug dump to its messages; the first line says it."""
    return str(error).strip().split("\n", 1)[0]


def _folder(root: Path) -> Location:
    return Location(root.as_uri(), None, root)


def _client_options(scheme: str, gcs_user_project: str | None, config: dict[str, Any]) -> dict[str, Any]:
    options = dict(config.get("client_options", {}))
    variables = (os.environ.get(name, "") for name in _ENDPOINT_VARIABLES[scheme])
    endpoint = config.get("endpoint") or next(filter(None, variables), "")
    if _LOOPBACK.match(endpoint):
        options["allow_http"] = True
    if scheme == "gs" and gcs_user_project:
        headers = options.get("default_headers", {})
        options["default_headers"] = {**headers, "x-goog-user-project": gcs_user_project}
    return options
