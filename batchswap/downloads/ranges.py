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


class Reading(msgspec.Struct, frozen=True):
    """What to do with an answer: write its body from `offset`; nothing ("whole"); or ask again from 0 ("restart").

    `total` is the size that the whole file will have, None where the host does not say.
    """

    then: Literal["write", "whole", "restart"]
    offset: int = 0
    validator: str = ""
    total: int | None = None


def ask(note: Note | None, have: int) -> dict[str, str]:
    """The headers that ask for the rest of a part of `have` bytes. Without a validator, nothing can be gone on with."""
    if note is None or not note.validator or have == 0:
        return {}
    return {"Range": f"bytes={have}-", "If-Range": note.validator}


def read_head(status: int, headers: Headers, asked_from: int, note: Note | None) -> Reading:
    """`asked_from` is where the Range that was asked for starts, 0 without one. Raises DownloadError for a refusal.

    `headers` is looked up without regard to case.
    """
    match status:
        case 200:
            _refuse_encoding(headers)
            return Reading("write", 0, find_validator(headers), _length(headers))
        case 206 if asked_from and note is not None:
            _refuse_encoding(headers)
            return _read_partial(headers, asked_from, note)
        case 416 if asked_from:
            found = _UNSATISFIED.fullmatch(headers.get("Content-Range", "").strip())
            # The part may have been complete when the process died.
            return Reading("whole" if found and int(found[1]) == asked_from else "restart")
        case _ if status in _STALE:
            raise DownloadError("gone", f"the media host answers {status}", stale=True)
        case _:
            raise DownloadError("http", f"the media host answers {status}")


def _read_partial(headers: Headers, asked_from: int, note: Note) -> Reading:
    found = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if found is None or int(found[1]) != asked_from:
        return Reading("restart")
    total = None if found[3] == "*" else int(found[3])
    ends_there = total is None or int(found[2]) == total - 1
    same_size = total is None or note.total is None or total == note.total
    etag = headers.get("ETag", "")
    same_file = not etag or not note.validator.startswith('"') or etag == note.validator
    if not (ends_there and same_size and same_file):
        return Reading("restart")
    return Reading("write", asked_from, note.validator, int(found[2]) + 1)


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


def _refuse_encoding(headers: Headers) -> None:
    """Neither lengths nor ranges are those of the file when it is compressed on the way; we asked for "identity"."""
    if headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise DownloadError("not-media", "the media host sent a compressed answer")
