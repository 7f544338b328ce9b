"""What came back: a status, the API's envelope, and when."""

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import msgspec

from batchswap.errors import WireError
from batchswap.wire import Envelope

LARGEST = 8 * 1024 * 1024
"""Bytes of an answer's body. The API's own answers have a few thousand; more than this is not one of them."""

HIDDEN = "…"
_WORDS = ("message", "error")
"""Fields of the API's JSON that are words for people."""

_SECONDS = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")


class Answer(msgspec.Struct, frozen=True):
    """One answer. `is_envelope` is False where the body was no JSON object: then `code` and `data` are None.

    `status` is HTTP's, `code` the body's: judge by both. `retry_after` is in seconds from `answered_at`, as the
    server said it: never negative, not clamped. `sent_at` and `answered_at` are the clock's monotonic seconds.
    """

    status: int
    code: int | None
    message: str
    data: Any
    retry_after: float | None
    sent_at: float
    answered_at: float
    is_envelope: bool = True


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


async def read_body(response: aiohttp.ClientResponse) -> bytes | None:
    """The whole body, or None when it is larger than LARGEST."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > LARGEST:
            response.close()
            return None
    return bytes(body)


def open_envelope(body: bytes | None) -> tuple[Envelope, bool]:
    """The envelope, and whether it was one. The bytes themselves are never repeated: they may be anybody's."""
    if body is None:
        return Envelope(None, "the answer is too large"), False
    try:
        return Envelope.decode(body), True
    except WireError as error:
        return Envelope(None, str(error)), False
