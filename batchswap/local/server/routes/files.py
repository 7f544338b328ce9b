"""Bytes in and out: uploads by PUT, and files to read. No API key here, the URLs are secrets themselves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from batchswap.errors import Refusal
from batchswap.local.server.context import ServerContext
from batchswap.local.server.routes.http import envelope
from batchswap.local.server.store.input_store import UPLOAD_PATH
from batchswap.local.server.work.input_fetcher import CHUNK

Handler = Callable[[ServerContext, web.Request], Awaitable[web.StreamResponse]]


async def put_upload(context: ServerContext, request: web.Request) -> web.StreamResponse:
    """As storage services do it: 403 for a URL that does not fit, 411 without a length, 413 for too much."""
    signed = context.urls.verify(request.path, request.query)
    if request.headers.get("Content-Type") != signed["content_type"]:
        raise Refusal(403, "the Content-Type is not the one that the URL was made for")
    if request.content_length is None:
        raise Refusal(411, "the Content-Length is missing")
    if request.content_length > context.settings.max_input_bytes:
        raise Refusal(413, f"is larger than {context.settings.max_input_bytes:,} bytes")
    match = UPLOAD_PATH.fullmatch(request.path)
    assert match is not None  # signed, so it is a path that this server made
    try:
        chunks = in_time(request.content.iter_chunked(CHUNK), context.settings.receive_timeout)
        content = await context.contents.keep(chunks, Path(request.path).suffix)
    except TimeoutError:
        raise Refusal(400, "the upload stood still") from None
    except (web.RequestPayloadError, ConnectionError, asyncio.IncompleteReadError):
        raise Refusal(400, "the upload was cut off") from None
    await context.contents.record_upload(match[1], content, context.clock.now())
    return web.Response()


async def in_time(chunks: AsyncIterator[bytes], seconds: float) -> AsyncIterator[bytes]:
    """The chunks. Raises TimeoutError when one takes longer than `seconds`; all together may take any time."""
    while True:
        async with asyncio.timeout(seconds):
            try:
                chunk = await anext(chunks)
            except StopAsyncIteration:
                return
        yield chunk


async def get_upload(context: ServerContext, request: web.Request) -> web.StreamResponse:
    content = context.contents.find_upload(request.match_info["name"])
    return serve(context.contents.path(content) if content else None)


async def get_result(context: ServerContext, request: web.Request) -> web.StreamResponse:
    """Only with a query that TaskInfo gave, while it holds."""
    context.urls.verify(request.path, request.query)
    return serve(context.production.folder / request.match_info["name"])


async def get_picture(context: ServerContext, request: web.Request) -> web.StreamResponse:
    picture = context.detections.picture(request.path)
    return serve(picture[2] if picture else None)


TYPES = {".webp": "image/webp"}
"""What Python's own table has only from 3.13 on."""


def serve(path: Path | None) -> web.StreamResponse:
    """The file, with Range, ETag and Last-Modified; 404 when there is none."""
    if path is None or not path.is_file():
        raise Refusal(404, "there is no such file")
    known = {"Content-Type": TYPES[path.suffix]} if path.suffix in TYPES else None
    return File(path, chunk_size=256 * 1024, headers=known)


class File(web.FileResponse):
    """aiohttp reads only dates in If-Range; a part of one file put behind a part of another would be a broken one."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        condition = request.headers.get("If-Range", "")
        if condition.startswith(('"', "W/")) and self._path.is_file():
            stat = self._path.stat()
            headers = request.headers.copy()
            del headers["If-Range"]
            if condition != f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"':
                headers.popall("Range", None)
            request = request.clone(headers=headers)
        return await super().prepare(request)


NAME = r"{name:[0-9a-f]{32}(\.[a-z0-9]{1,8})?}"

ROUTES: dict[tuple[str, str], Handler] = {
    ("PUT", f"/uploads/{NAME}"): put_upload,
    ("GET", f"/uploads/{NAME}"): get_upload,
    ("GET", f"/results/{NAME}"): get_result,
    ("GET", r"/faces/{detection:[0-9a-f]{32}}/{name:[\w.-]+}"): get_picture,
}


def bind(handler: Handler, context: ServerContext) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Bind a handler to the server, with refusals as envelopes."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await envelope(request, partial(handler, context))

    return answer
