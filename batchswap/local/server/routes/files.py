"""Uploads by PUT, and downloads. These routes need no API key: the URLs themselves are secret."""

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
    """Store an upload. As storage services do, refuse a wrong URL with 403, no length with 411, too much with 413."""
    signed = context.urls.verify(request.path, request.query)
    if request.headers.get("Content-Type") != signed["content_type"]:
        raise Refusal(403, "the Content-Type differs from the one that the URL was signed for")
    if request.content_length is None:
        raise Refusal(411, "the Content-Length is missing")
    if request.content_length > context.settings.max_input_bytes:
        raise Refusal(413, f"the upload is larger than {context.settings.max_input_bytes:,} bytes")
    match = UPLOAD_PATH.fullmatch(request.path)
    assert match is not None  # signed, so this server made the path
    try:
        chunks = in_time(request.content.iter_chunked(CHUNK), context.settings.receive_timeout)
        content = await context.contents.keep(chunks, Path(request.path).suffix)
    except TimeoutError:
        raise Refusal(400, f"the upload sent nothing for {context.settings.receive_timeout:g} s") from None
    except (web.RequestPayloadError, ConnectionError, asyncio.IncompleteReadError):
        raise Refusal(400, "the upload was cut off") from None
    await context.contents.record_upload(match[1], content, context.clock.now())
    return web.Response()


async def in_time(chunks: AsyncIterator[bytes], seconds: float) -> AsyncIterator[bytes]:
    """Yield the chunks. Raises TimeoutError when a single one takes longer than `seconds`."""
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
    """Serve a result to a signed URL from TaskInfo that has not expired."""
    context.urls.verify(request.path, request.query)
    return serve(context.tasks.folder / request.match_info["name"])


async def get_picture(context: ServerContext, request: web.Request) -> web.StreamResponse:
    picture = context.detections.picture(request.path)
    return serve(picture[2] if picture else None)


TYPES = {".webp": "image/webp"}
"""Types that Python's own table has only from 3.13 on."""


def serve(path: Path | None) -> web.StreamResponse:
    """Serve a file with Range, ETag and Last-Modified. Raises Refusal 404 without one."""
    if path is None or not path.is_file():
        raise Refusal(404, "there is no such file")
    known = {"Content-Type": TYPES[path.suffix]} if path.suffix in TYPES else None
    return File(path, chunk_size=256 * 1024, headers=known)


class File(web.FileResponse):
    """Also understands an ETag in If-Range, where aiohttp reads only dates: parts of two versions must not mix."""

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
    """Bind a handler to the server, and send its refusals as envelopes."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await envelope(request, partial(handler, context))

    return answer
