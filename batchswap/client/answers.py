"""What came back: a status, the API's envelope, and when."""

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
"""Bytes of an answer's body. The API's own answers have a few thousand; more than this is not one of them."""
LONGEST_HEADER = 64 * 1024
"""Bytes of a header. Policies and cookies that servers in between add are often longer than aiohttp's 8,190."""

HIDDEN = "…"
_WORDS = ("message", "error")
"""Fields of the API's JSON that are words for people."""

_SECONDS = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")


class Answer(msgspec.Struct, frozen=True):
    """One answer. `is_envelope` is False where the body was no JSON object: then `code` and `data` are None.

    `status` is HTTP's, `code` the body's: judge by both. `retry_after` is in seconds from `answered_at`, as the
    server said it: never negative, not clamped. `sent_at` and `answered_at` are the clock's monotonic seconds.
    `named` is a task id that stands in the answer outside of its place, such as in a body that was cut off: evidence.
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
    """Where a 307 or 308 leads, as it was sent. Maybe signed: never to be shown."""


class Body(msgspec.Struct, frozen=True):
    """What came of an answer's body. `fault` is how the connection broke before its end."""

    data: bytes
    fault: aiohttp.ClientError | OSError | None = None
    is_too_large: bool = False


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Seconds from `now` (Unix time) of a Retry-After header: a number of seconds or an HTTP date (RFC 9110, 10.2.3).

    What lies in the past is 0.0; what cannot be read is None. How much of it to honour is not decided here.
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
    """JSON whose messages do not repeat the secret. URLs stay as they are: what is signed must stay whole.

    `depth` levels are looked through; words that anybody reads lie no deeper.
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
    """Read the body to its end, to LARGEST bytes, or to where the connection breaks: what has come may hold an id.

    It is collected in `body`, so that it is not lost when this is cancelled.
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
    """Return a body as it was before gzip or deflate. The bytes decide, because labels are often wrong."""
    body = bytes(received)
    if not body.startswith((b"\x1f\x8b", b"\x78\x01", b"\x78\x9c", b"\x78\xda")):
        return body
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, LARGEST)
    except zlib.error:
        return body


def open_envelope(body: Body) -> tuple[Envelope, bool, str]:
    """Return the envelope, whether it was one, and a task id that the answer names elsewhere than in its data.

    Raises the body's fault when it broke off before it said anything. The bytes themselves are never repeated: they
    may be anybody's.
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
