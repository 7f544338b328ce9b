"""The endpoints of api.md: an ApiRequest in, `data` or a Refusal out. The module `http` handles HTTP itself."""

import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from batchswap import wire
from batchswap.errors import Refusal
from batchswap.local.server.context import ApiRequest, ServerContext
from batchswap.local.server.create_task_body import read_order, read_url
from batchswap.local.server.store.input_store import clean_suffix
from batchswap.local.server.store.task_store import Acceptance
from batchswap.local.server.work.detections import describe
from batchswap.local.server.work.engine_interface import IMAGE, VIDEO
from batchswap.local.server.work.task_queue import task_info

Endpoint = Callable[[ServerContext, ApiRequest], Awaitable[Any]]

PRESIGNED = 3600.0
"""Seconds until an upload must have started."""


async def create_task(context: ServerContext, call: ApiRequest) -> Any:
    """Accept and charge a task. A repeated Idempotency-Key with the same work returns the same task, charged once."""
    order = read_order(call.body)
    if order.callback_url and not context.settings.callbacks:
        raise Refusal(505, "callbacks are disabled on this server")
    fingerprint = order.fingerprint(context.inputs.source)
    if call.idempotency_key and (known := context.records.find_same(call.idempotency_key, fingerprint)):
        return wire.CreateTaskAccepted(known).to_json()
    quote = await context.quotes.quote(order)
    acceptance = Acceptance(
        param=call.raw_body,
        target=quote.target,
        faces=quote.faces,
        suffix=quote.suffix,
        credits=quote.credits,
        now=context.clock.now(),
        fingerprint=fingerprint,
        idempotency_key=call.idempotency_key,
        callback_url=order.callback_url,
    )
    task_id = await context.records.accept(acceptance)
    context.tasks.wake()
    return wire.CreateTaskAccepted(task_id).to_json()


async def estimate_task(context: ServerContext, call: ApiRequest) -> Any:
    """Return the price that CreateTask would charge for the same body. Refuses the same bodies, except with 402."""
    quote = await context.quotes.quote(read_order(call.body))
    balance = context.records.read_balance()
    return wire.Estimate(quote.credits, balance, balance >= quote.credits).to_json()


async def get_task_info(context: ServerContext, call: ApiRequest) -> Any:
    record = context.records.find(read_id(call, "task_id"))
    if record is None:
        raise Refusal(404, "there is no such task")
    status = context.tasks.status(record)
    return task_info(record, status, lambda: context.urls.media_url(record, call.base_url)).to_json()


async def get_balance(context: ServerContext, call: ApiRequest) -> Any:
    return wire.Balance(context.records.read_balance()).to_json()


async def prepare_upload(context: ServerContext, call: ApiRequest) -> Any:
    """Return a signed URL for the PUT of a file of this type, and the URL that tasks then refer to."""
    content_type = call.query.get("content_type", "")
    if not re.fullmatch(r"[\w.+-]{1,64}/[\w.+-]{1,64}", content_type, re.ASCII):
        raise Refusal(422, "content_type: must be a media type such as video/mp4")
    ext = call.query.get("ext", "")
    if ext and not clean_suffix(ext):
        raise Refusal(422, "ext: must be a file extension such as .mp4")
    path = f"/uploads/{secrets.token_hex(16)}{clean_suffix(ext)}"
    presigned = context.urls.sign(path, PRESIGNED, content_type=content_type)
    return wire.UploadUrl(call.base_url + presigned, call.base_url + path).to_json()


async def detect_in_video(context: ServerContext, call: ApiRequest) -> Any:
    return await _detect(context, call, "video_url", VIDEO)


async def detect_in_image(context: ServerContext, call: ApiRequest) -> Any:
    return await _detect(context, call, "image_url", IMAGE)


async def _detect(context: ServerContext, call: ApiRequest, field: str, kind: str) -> Any:
    url = read_url(call.body, field)
    content = await context.inputs.obtain(url, field)
    await context.quotes.look_at_target(content, field)
    return wire.DetectAccepted(await context.detections.accept(kind, context.inputs.source(url), content)).to_json()


async def get_detection(context: ServerContext, call: ApiRequest) -> Any:
    detection = context.detections.find(read_id(call, "detect_task_id"))
    if detection is None:
        raise Refusal(404, "there is no such detection")
    return describe(detection, call.base_url).to_json()


def read_id(call: ApiRequest, name: str) -> str:
    """Return a query's id, or "" for an id that this server cannot have issued. Raises Refusal 422 without one."""
    found = call.query.get(name, "")
    if not found:
        raise Refusal(422, f"{name}: is missing")
    return found if found.isascii() else ""


ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    ("POST", wire.CREATE_TASK): create_task,
    ("GET", wire.TASK_INFO): get_task_info,
    ("POST", wire.ESTIMATE_TASK): estimate_task,
    ("GET", wire.BALANCE): get_balance,
    ("GET", wire.UPLOAD_URL): prepare_upload,
    ("POST", wire.DETECT_VIDEO): detect_in_video,
    ("POST", wire.DETECT_IMAGE): detect_in_image,
    ("GET", wire.DETECT_RESULT): get_detection,
}
"""The whole API. Every endpoint may answer 401, 429, 455, 500 and 505."""
