"""What a media host says of a URL before anything is fetched."""

import re
from collections.abc import Mapping

import msgspec


class Glance(msgspec.Struct, frozen=True):
    """`status` is HTTP's. `media_type` without parameters, in lower case, "" where none is told. `size` in bytes."""

    status: int
    media_type: str = ""
    size: int | None = None

    @property
    def is_there(self) -> bool:
        return 200 <= self.status < 300


def glance(status: int, headers: Mapping[str, str]) -> Glance:
    """From an answer to HEAD, or to a GET of the first bytes (then Content-Range has the whole size)."""
    media_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    whole = re.fullmatch(r"bytes\s+\d+-\d+/(\d+)", headers.get("Content-Range", "").strip())
    length = whole[1] if whole else headers.get("Content-Length", "").strip()
    known = length.isdecimal() and len(length) < 16 and (whole is not None or status != 206)
    return Glance(status, media_type, int(length) if known else None)
