"""Google Cloud Storage in memory, as far as obstore's XML calls and the two JSON calls about buckets go.

Belongs here: put, get (also a range), head, delete and list of objects, conditions on their generation, uploads in
parts, and looking up and creating a bucket. Does not belong here: rights of single principals; a token, or none, is
right for all. The emulators of others speak JSON only, which obstore does not.
"""

import hashlib
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from xml.sax.saxutils import escape

from aiohttp import web

PAGE = 1000  # keys of one listing


@dataclass
class _Stored:
    data: bytes
    generation: int
    headers: dict[str, str]

    def __post_init__(self) -> None:
        digest = hashlib.md5(self.data, usedforsecurity=False).hexdigest()
        self.headers |= {
            "ETag": f'"{digest}"',
            "x-goog-generation": str(self.generation),
            "Last-Modified": formatdate(usegmt=True),
            "Accept-Ranges": "bytes",
        }


@dataclass
class FakeGcs:
    """``token``: the bearer token that requests must carry. ``closed``: buckets that nobody may touch. ``hidden``:
    those of somebody else, whose names are taken."""

    token: str | None = None
    closed: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    buckets: dict[str, dict[str, _Stored]] = field(default_factory=dict)
    port: int = 0
    _parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    async def start(self) -> Callable[[], Awaitable[Any]]:
        app = web.Application(client_max_size=2**30, middlewares=[self._may])
        app.router.add_post("/storage/v1/b", self._create_bucket)
        app.router.add_get("/storage/v1/b/{bucket}", self._bucket)
        app.router.add_get("/{bucket}", self._list)
        app.router.add_route("*", "/{bucket}/{key:.+}", self._object)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        return runner.cleanup

    @web.middleware
    async def _may(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return _error(401, "AuthenticationRequired")
        if request.match_info.get("bucket") in self.closed:
            return _error(403, "AccessDenied")
        reply: web.StreamResponse = await handler(request)
        return reply

    async def _create_bucket(self, request: web.Request) -> web.Response:
        name = (await request.json())["name"]
        if name in self.closed:
            return _json_error(403, f"no storage.buckets.create access to {name}")
        if name in self.buckets or name in self.hidden:
            return _json_error(409, "This bucket name is taken.")
        self.buckets[name] = {}
        return web.json_response({"kind": "storage#bucket", "id": name, "name": name})

    async def _bucket(self, request: web.Request) -> web.Response:
        name = request.match_info["bucket"]
        if name not in self.buckets:
            return _json_error(404, "The specified bucket does not exist.")
        return web.json_response({"kind": "storage#bucket", "id": name, "name": name})

    async def _list(self, request: web.Request) -> web.Response:
        objects = self.buckets.get(request.match_info["bucket"])
        if objects is None:
            return _error(404, "NoSuchBucket")
        prefix, delimiter = request.query.get("prefix", ""), request.query.get("delimiter", "")
        after = request.query.get("continuation-token") or request.query.get("start-after", "")
        found: dict[str, str] = {}
        for key in sorted(key for key in objects if key.startswith(prefix) and key > after):
            rest = key[len(prefix) :]
            if delimiter and delimiter in rest:
                folder = prefix + rest.split(delimiter)[0] + delimiter
                found[folder] = f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>"
            else:
                found[key] = _listed(key, objects[key])
        names = list(found)[:PAGE]
        more = len(found) > PAGE
        token = f"<NextContinuationToken>{escape(names[-1])}</NextContinuationToken>" if more else ""
        body = "".join(found[name] for name in names)
        return _xml(f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}{body}</ListBucketResult>")

    async def _object(self, request: web.Request) -> web.StreamResponse:
        objects = self.buckets.get(request.match_info["bucket"])
        if objects is None:
            return _error(404, "NoSuchBucket")
        key = request.match_info["key"]
        if request.method == "POST" or "uploadId" in request.query:
            return await self._in_parts(request, objects, key)
        stored = objects.get(key)
        if request.method == "PUT":
            wanted = request.headers.get("x-goog-if-generation-match")
            data = await request.read()
            stored = objects.get(key)  # again: others may have written while the body came
            if wanted is not None and int(wanted) != (stored.generation if stored else 0):
                return _error(412, "PreconditionFailed")
            objects[key] = self._new(data, request)
            return web.Response(headers=_told(objects[key]))
        if stored is None:
            return _error(404, "NoSuchKey")
        if request.method == "DELETE":
            del objects[key]
            return web.Response(status=204)
        return _content(request, stored)

    async def _in_parts(self, request: web.Request, objects: dict[str, _Stored], key: str) -> web.Response:
        upload = request.query.get("uploadId")
        if upload is None:
            upload = f"upload-{next(self._numbers)}"
            self._parts[upload] = {}
            return _xml(f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>")
        if request.method == "PUT":
            data = await request.read()
            self._parts[upload][int(request.query["partNumber"])] = data
            return web.Response(headers={"ETag": f'"{hashlib.sha256(data).hexdigest()}"'})
        parts = self._parts.pop(upload)
        objects[key] = self._new(b"".join(parts[number] for number in sorted(parts)), request)
        etag = objects[key].headers["ETag"]
        return _xml(f"<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>")

    def _new(self, data: bytes, request: web.Request) -> _Stored:
        kept = {
            name: value
            for name, value in request.headers.items()
            if name.lower() == "content-type" or name.lower().startswith("x-goog-meta-")
        }
        return _Stored(data, next(self._numbers), kept)


def _content(request: web.Request, stored: _Stored) -> web.Response:
    data, status, headers = stored.data, 200, dict(stored.headers)
    ranged = request.http_range
    if ranged.start is not None or ranged.stop is not None:
        start, stop, _ = ranged.indices(len(data))
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        data, status = data[start:stop], 206
    return web.Response(body=data, status=status, headers=headers)


def _told(stored: _Stored) -> dict[str, str]:
    return {name: stored.headers[name] for name in ("ETag", "x-goog-generation")}


def _listed(key: str, stored: _Stored) -> str:
    modified = "2025-01-01T00:00:00.000Z"
    return (
        f"<Contents><Key>{escape(key)}</Key><Size>{len(stored.data)}</Size><LastModified>{modified}</LastModified>"
        f"<ETag>{stored.headers['ETag']}</ETag><Generation>{stored.generation}</Generation></Contents>"
    )


def _xml(body: str) -> web.Response:
    return web.Response(text=f'<?xml version="1.0" encoding="UTF-8"?>{body}', content_type="application/xml")


def _error(status: int, code: str) -> web.Response:
    reply = _xml(f"<Error><Code>{code}</Code></Error>")
    reply.set_status(status)
    return reply


def _json_error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"code": status, "message": message}}, status=status)
