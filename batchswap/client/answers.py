"""Read an answer of the API: its status, its envelope, and its times."""

import math
import re
import zlib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import msgspec

from batchswap.errors import WireError
from batchswap.wire import Envelope, find_task_id, mapping, text, usable_id

LARGEST = 8 * 1024 * 1024
"""The largest body of an answer in bytes. The API's own answers have only a few thousand."""
LONGEST_HEADER = 64 * 1024
"""Bytes of a header. Policies and cookies that servers in between add are often longer than aiohttp's 8,190."""

HIDDEN = "…"
_WORDS = ("message", "error")
"""The fields of the API's JSON that contain messages."""

_SECONDS = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")


class Answer(msgspec.Struct, frozen=True):
    """One answer. `is_envelope` is False if the body was not a JSON object: then `code` and `data` are None.

    `status` is from HTTP and `code` from the body: consider both. `retry_after` is in seconds from `answered_at`, never
    negative, and has no upper limit. `sent_at` and `answered_at` are the clock's monotonic seconds. `named` is a task
    id outside of its usual field, such as in a body that was cut off, as evidence.
    """

    status: int
    code: int | None
    message: str
    data: Any
    retry_after: float | None
    sent_at: float
    answered_at: float
    is_envelope: bool = True
    named: str = ""
    location: str = ""
    """The Location of a 307 or 308 as it was sent. It may be signed, so it must never be shown."""


class Body(msgspec.Struct, frozen=True):
    """The received part of an answer's body. `fault` is the error that ended it too early."""

    data: bytes
    fault: aiohttp.ClientError | OSError | None = None
    is_too_large: bool = False


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds from `now` (Unix time) of a Retry-After header: a number or an HTTP date (RFC 9110, 10.2.3).

    Return 0.0 for a time in the past, None for an unreadable value. The caller limits the waiting time.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        seconds = float(text)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    try:
        moment = parsedate_to_datetime(text)
        # "-0000" and a missing zone mean UTC.
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return max(0.0, (aware - datetime.fromtimestamp(now, UTC)).total_seconds())
    except (ValueError, OverflowError):
        return None


def without(secret: str, data: Any, depth: int = 4) -> Any:
    """Remove the secret from the messages in JSON data. URLs do not change, because they may be signed.

    Only `depth` levels are searched; messages that are shown are not deeper.
    """
    if depth and isinstance(data, list):
        return [without(secret, each, depth - 1) for each in data]
    if not depth or not isinstance(data, dict):
        return data
    return {
        name: value.replace(secret, HIDDEN)
        if name in _WORDS and isinstance(value, str)
        else without(secret, value, depth - 1)
        for name, value in data.items()
    }


async def read_body(response: aiohttp.ClientResponse, body: bytearray) -> Body:
    """Read the body to its end, to LARGEST bytes, or until the connection breaks.

    An incomplete body may contain a task id, so it is returned too. It is collected in `body` to survive a
    cancellation.
    """
    try:
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > LARGEST:
                response.close()
                return Body(bytes(body[:LARGEST]), is_too_large=True)
    except (aiohttp.ClientError, OSError) as error:
        return Body(unpack(body), error)
    return Body(unpack(body))


def unpack(received: bytearray) -> bytes:
    """Return a body without gzip or deflate. Its first bytes decide, because headers are often wrong."""
    body = bytes(received)
    if not body.startswith((b"\x1f\x8b", b"\x78\x01", b"\x78\x9c", b"\x78\xda")):
        return body
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, LARGEST)
    except zlib.error:
        return body


def open_envelope(body: Body) -> tuple[Envelope, bool, str]:
    """Return the envelope, whether the body was one, and a task id that is not in its usual field.

    Raise the body's fault if it ended before anything useful. Messages never repeat the body, which may contain
    anything.
    """
    envelope, is_envelope = Envelope(None, "the answer is too large"), False
    if not body.is_too_large:
        try:
            envelope, is_envelope = Envelope.decode(body.data), True
        except WireError as error:
            envelope = Envelope(None, str(error))
    sent = mapping(envelope.data).get("task_id")
    named = "" if usable_id(sent) else text(sent).strip() or find_task_id(body.data)
    if body.fault is not None and not named and not envelope.data:
        raise body.fault
    return envelope, is_envelope, named
