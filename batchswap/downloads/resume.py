"""Decide how to resume a download, from the headers of an answer. Pure (RFC 9110, sections 8.8, 13.1.5, 14)."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Literal

import msgspec

from batchswap.errors import DownloadError

Headers = Mapping[str, str]

_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_UNSATISFIED = re.compile(r"bytes \*/(\d{1,18})")
_STALE = (401, 403, 404, 410)
_BUSY = (408, 425, 429)
"""The statuses, apart from 5xx, that say nothing about this file."""
_EMPTY = (204, 205)
_CODINGS = ("gzip", "x-gzip", "deflate")
"""Content-Encodings that are decoded. Others are ignored, because they are often wrong and the file is checked."""


class Note(msgspec.Struct, frozen=True):
    """The information next to a part that is needed to resume it.

    `media` is a digest of the result's remote id and of the URL without its query.
    """

    media: str
    validator: str = ""
    """A strong ETag or an equivalent Last-Modified; "" if the host sent neither."""
    total: int | None = None
    boot: str = ""
    """The id of the boot when the part was written: after a power cut, the end of a file cannot be trusted."""


class BodyPlan(msgspec.Struct, frozen=True):
    """The way to treat an answer: write its body from `offset`, nothing ("whole"), or request all again ("restart").

    `total` is the size of the complete file, None if the host does not send it.
    """

    then: Literal["write", "whole", "restart"]
    offset: int = 0
    validator: str = ""
    total: int | None = None
    is_coded: bool = False
    """True if the body is compressed, so that lengths and ranges are not those of the file."""


def range_headers(note: Note | None, have: int) -> dict[str, str]:
    """Return headers that request the rest of a part of `have` bytes; {} without a validator, to request all."""
    if note is None or not note.validator or have == 0:
        return {}
    return {"Range": f"bytes={have}-", "If-Range": note.validator}


def read_head(status: int, headers: Headers, start: int, note: Note | None) -> BodyPlan:
    """Decide by the status and headers of an answer. Raise DownloadError for a refusal.

    `start` is the first byte of the requested Range, 0 without one. `headers` must ignore case.
    """
    if status == 206:
        return _read_partial(headers, start, note)
    if 200 <= status < 300 and status not in _EMPTY:  # 203 and others may have a good body
        return _read_whole(headers, _length(headers))
    if status == 416 and start:
        found = _UNSATISFIED.fullmatch(headers.get("Content-Range", "").strip())
        # The part may have been complete when the process died.
        return BodyPlan("whole" if found and int(found[1]) == start else "restart")
    words = f"the media host answers {status}"
    if status in _STALE:
        raise DownloadError("gone", words, stale=True)
    if status >= 500 or status in _BUSY:
        raise DownloadError("unavailable", words, retry_after=headers.get("Retry-After", ""))
    raise DownloadError("http", words)


def _read_whole(headers: Headers, total: int | None) -> BodyPlan:
    if is_coded(headers):
        return BodyPlan("write", is_coded=True)
    return BodyPlan("write", 0, find_validator(headers), total)


def _read_partial(headers: Headers, start: int, note: Note | None) -> BodyPlan:
    found = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if not start or note is None:  # some hosts send 206 for a request without a Range, with the whole file
        if found is not None and int(found[1]):
            raise DownloadError("range", "the media host sent a range that was not requested")
        total = None if found is None else int(found[2]) + 1 if found[3] == "*" else int(found[3])
        return _read_whole(headers, total if found else _length(headers))
    if found is None or int(found[1]) != start or is_coded(headers):
        return BodyPlan("restart")
    total = None if found[3] == "*" else int(found[3])
    ends_there = total is None or int(found[2]) == total - 1
    same_size = total is None or note.total is None or total == note.total
    etag = headers.get("ETag", "")
    same_file = not etag or not note.validator.startswith('"') or etag == note.validator
    if not (ends_there and same_size and same_file):
        return BodyPlan("restart")
    return BodyPlan("write", start, note.validator, int(found[2]) + 1)


def find_validator(headers: Headers) -> str:
    """Return a strong validator of the file, or "". A date is strong only if the answer is newer (8.8.2.2)."""
    etag = headers.get("ETag", "").strip()
    if etag.startswith('"') and etag.isprintable():
        return etag
    modified = headers.get("Last-Modified", "").strip()
    try:
        age = (parsedate_to_datetime(headers.get("Date", "")) - parsedate_to_datetime(modified)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return ""
    return modified if age >= 1.0 and modified.isprintable() else ""


def _length(headers: Headers) -> int | None:
    text = headers.get("Content-Length", "").strip()
    return int(text) if text.isdecimal() and len(text) < 19 and "Transfer-Encoding" not in headers else None


def is_coded(headers: Headers) -> bool:
    """Return whether the headers name a compression that is decoded here."""
    labels = headers.get("Content-Encoding", "").lower().split(",")
    return any(label.strip() in _CODINGS for label in labels)


class Glance(msgspec.Struct, frozen=True):
    """A media host's description of a file, without its content.

    `status` is the HTTP status. `media_type` is in lower case without parameters, "" if missing. `size` is in bytes.
    """

    status: int
    media_type: str = ""
    size: int | None = None

    @property
    def is_there(self) -> bool:
        return 200 <= self.status < 300


def glance(status: int, headers: Headers) -> Glance:
    """Read the answer to a HEAD, or to a GET of the first bytes, whose Content-Range has the whole size."""
    media_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    whole = re.fullmatch(r"bytes\s+\d+-\d+/(\d+)", headers.get("Content-Range", "").strip())
    length = whole[1] if whole else headers.get("Content-Length", "").strip()
    known = length.isdecimal() and len(length) < 16 and (whole is not None or status != 206)
    return Glance(status, media_type, int(length) if known else None)
