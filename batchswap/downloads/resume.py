"""What to ask a media host for, and what its answer's head means. Pure (RFC 9110, sections 8.8, 13.1.5, 14)."""

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
"""Beside the 5xx, what says nothing of this file."""
_EMPTY = (204, 205)
_CODINGS = ("gzip", "x-gzip", "deflate")
"""Content-Encodings that are decoded. Other labels are often wrong, and the check of the file decides."""


class Note(msgspec.Struct, frozen=True):
    """What is kept beside a part, so that it can be gone on with.

    `media` is a digest of whose result it is, and of the URL without its query.
    """

    media: str
    validator: str = ""
    """A strong ETag, or a Last-Modified that is as good; "" when the host gave none."""
    total: int | None = None
    boot: str = ""
    """Which start of the machine wrote the part: what a power cut left of a file's end cannot be trusted."""


class BodyPlan(msgspec.Struct, frozen=True):
    """What to do with an answer: write its body from `offset`; nothing ("whole"); or ask again from 0 ("restart").

    `total` is the size that the whole file will have, None where the host does not say.
    """

    then: Literal["write", "whole", "restart"]
    offset: int = 0
    validator: str = ""
    total: int | None = None
    is_coded: bool = False
    """Whether the host says that it compressed the body, so that neither lengths nor ranges are those of the file."""


def ask(note: Note | None, have: int) -> dict[str, str]:
    """The headers that ask for the rest of a part of `have` bytes. Without a validator, nothing can be gone on with."""
    if note is None or not note.validator or have == 0:
        return {}
    return {"Range": f"bytes={have}-", "If-Range": note.validator}


def read_head(status: int, headers: Headers, asked_from: int, note: Note | None) -> BodyPlan:
    """`asked_from` is where the Range that was asked for starts, 0 without one. Raises DownloadError for a refusal.

    `headers` is looked up without regard to case.
    """
    if status == 206:
        return _read_partial(headers, asked_from, note)
    if 200 <= status < 300 and status not in _EMPTY:  # 203 and the like: what came decides
        return _read_whole(headers, _length(headers))
    if status == 416 and asked_from:
        found = _UNSATISFIED.fullmatch(headers.get("Content-Range", "").strip())
        # The part may have been complete when the process died.
        return BodyPlan("whole" if found and int(found[1]) == asked_from else "restart")
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


def _read_partial(headers: Headers, asked_from: int, note: Note | None) -> BodyPlan:
    found = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if not asked_from or note is None:  # some hosts answer a plain GET so, with the whole file
        if found is not None and int(found[1]):
            raise DownloadError("range", "the media host sent a part that was not asked for")
        total = None if found is None else int(found[2]) + 1 if found[3] == "*" else int(found[3])
        return _read_whole(headers, total if found else _length(headers))
    if found is None or int(found[1]) != asked_from or is_coded(headers):
        return BodyPlan("restart")
    total = None if found[3] == "*" else int(found[3])
    ends_there = total is None or int(found[2]) == total - 1
    same_size = total is None or note.total is None or total == note.total
    etag = headers.get("ETag", "")
    same_file = not etag or not note.validator.startswith('"') or etag == note.validator
    if not (ends_there and same_size and same_file):
        return BodyPlan("restart")
    return BodyPlan("write", asked_from, note.validator, int(found[2]) + 1)


def find_validator(headers: Headers) -> str:
    """A strong validator of the file, or "". A date is strong only when the answer is younger than it (8.8.2.2)."""
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
    """Whether the host says that it compressed the body in a way that is decoded here."""
    labels = headers.get("Content-Encoding", "").lower().split(",")
    return any(label.strip() in _CODINGS for label in labels)


class Glance(msgspec.Struct, frozen=True):
    """What a media host says of a URL before anything is fetched.

    `status` is HTTP's. `media_type` without parameters, in lower case, "" for none. `size` in bytes.
    """

    status: int
    media_type: str = ""
    size: int | None = None

    @property
    def is_there(self) -> bool:
        return 200 <= self.status < 300


def glance(status: int, headers: Headers) -> Glance:
    """Read an answer to HEAD, or to a GET of the first bytes (then Content-Range has the whole size)."""
    media_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    whole = re.fullmatch(r"bytes\s+\d+-\d+/(\d+)", headers.get("Content-Range", "").strip())
    length = whole[1] if whole else headers.get("Content-Length", "").strip()
    known = length.isdecimal() and len(length) < 16 and (whole is not None or status != 206)
    return Glance(status, media_type, int(length) if known else None)
