"""What each endpoint of api.md does: a Call in, `data` out, or a Refusal. HTTP is the business of `edge`."""

import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from batchswap import wire
from batchswap.errors import Refusal
from batchswap.local.server.context import Call, Desk, media_url
from batchswap.local.server.create_task_body import read_order, read_url
from batchswap.local.server.signed_urls import sign
from batchswap.local.server.store.input_store import clean_suffix
from batchswap.local.server.store.task_store import Acceptance
from batchswap.local.server.work.detections import describe
from batchswap.local.server.work.engine_interface import IMAGE, VIDEO
from batchswap.local.server.work.task_queue import task_info

Endpoint = Callable[[Desk, Call], Awaitable[Any]]

PRESIGNED = 3600.0
"""Seconds that an upload may be begun in."""


async def create_task(desk: Desk, call: Call) -> Any:
    """Charged when it is accepted, never paid back. The same Idempotency-Key and work: the same task, charged once."""
    order = read_order(call.body)
    if order.callback_url and not desk.settings.callbacks:
        raise Refusal(505, "callbacks are disabled on this server")
    fingerprint = order.fingerprint(desk.inputs.source)
    if call.idempotency_key and (known := desk.records.find_same(call.idempotency_key, fingerprint)):
        return wire.Accepted(known).to_json()
    quote = await desk.quotes.quote(order)
    acceptance = Acceptance(
        param=call.raw_body,
        target=quote.target,
        faces=quote.faces,
        suffix=quote.suffix,
        credits=quote.credits,
        now=desk.clock.now(),
        fingerprint=fingerprint,
        idempotency_key=call.idempotency_key,
        callback_url=order.callback_url,
    )
    task_id = await desk.records.accept(acceptance)
    desk.production.call()
    return wire.Accepted(task_id).to_json()


async def estimate_task(desk: Desk, call: Call) -> Any:
    """The price that CreateTask would charge for the same body, and the same refusals but 402."""
    quote = await desk.quotes.quote(read_order(call.body))
    balance = desk.records.read_balance()
    return wire.Estimate(quote.credits, balance, balance >= quote.credits).to_json()


async def tell_task(desk: Desk, call: Call) -> Any:
    """TaskInfo."""
    record = desk.records.find(read_id(call, "task_id"))
    if record is None:
        raise Refusal(404, "there is no such task")
    return task_info(record, desk.production.status(record), lambda: media_url(desk, record, call.base_url)).to_json()


async def tell_balance(desk: Desk, call: Call) -> Any:
    return wire.Balance(desk.records.read_balance()).to_json()


async def prepare_upload(desk: Desk, call: Call) -> Any:
    """Where to PUT a file of this type, and the URL that it will be known by."""
    content_type = call.query.get("content_type", "")
    if not re.fullmatch(r"[\w.+-]{1,64}/[\w.+-]{1,64}", content_type, re.ASCII):
        raise Refusal(422, "content_type: must be a media type such as video/mp4")
    ext = call.query.get("ext", "")
    if ext and not clean_suffix(ext):
        raise Refusal(422, "ext: must be a file name's ending such as .mp4")
    path = f"/uploads/{secrets.token_hex(16)}{clean_suffix(ext)}"
    presigned = sign(desk.secret, path, desk.clock.now() + PRESIGNED, content_type=content_type)
    return wire.UploadUrl(call.base_url + presigned, call.base_url + path).to_json()


async def detect_in_video(desk: Desk, call: Call) -> Any:
    return await _detect(desk, call, "video_url", VIDEO)


async def detect_in_image(desk: Desk, call: Call) -> Any:
    return await _detect(desk, call, "image_url", IMAGE)


async def _detect(desk: Desk, call: Call, field: str, kind: str) -> Any:
    url = read_url(call.body, field)
    content = await desk.inputs.obtain(url, field)
    await desk.quotes.look_at_target(content, field)
    return wire.DetectAccepted(await desk.detections.accept(kind, desk.inputs.source(url), content)).to_json()


async def tell_detection(desk: Desk, call: Call) -> Any:
    detection = desk.detections.find(read_id(call, "detect_task_id"))
    if detection is None:
        raise Refusal(404, "there is no such detection")
    return describe(detection, call.base_url).to_json()


def read_id(call: Call, name: str) -> str:
    """An id that is no string is refused; one that this server never gave is simply not found."""
    found = call.query.get(name, "")
    if not found:
        raise Refusal(422, f"{name}: is missing")
    return found if found.isascii() else ""


ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    ("POST", wire.CREATE_TASK): create_task,
    ("GET", wire.TASK_INFO): tell_task,
    ("POST", wire.ESTIMATE_TASK): estimate_task,
    ("GET", wire.BALANCE): tell_balance,
    ("GET", wire.UPLOAD_URL): prepare_upload,
    ("POST", wire.DETECT_VIDEO): detect_in_video,
    ("POST", wire.DETECT_IMAGE): detect_in_image,
    ("GET", wire.DETECT_RESULT): tell_detection,
}
"""The whole API. Any endpoint answers 401, 429, 455, 500 and 505; the others as its docstring says."""
