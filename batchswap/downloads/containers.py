"""Whether a file is a complete video or picture: not whether it is beautiful, but whether all of it is there.

Only the skeleton is read: boxes, elements, chunks and segments must lead from the first byte to the last.
Sources: ISO/IEC 14496-12 (boxes), RFC 8794 and RFC 9559 (Matroska), PNG third edition, ITU-T T.81 (JPEG), GIF89a, and
the RIFF container of WebP (RFC 9649).
"""

import struct
from collections.abc import Callable
from typing import BinaryIO, Literal

from batchswap.downloads import matroska, pictures
from batchswap.downloads.skeletons import Incomplete, read_exactly
from batchswap.errors import DownloadError

Kind = Literal["video", "image"]

_NAMES = {"video": "a video", "image": "an image"}
_WHOLE_BOXES = ("ftyp", "moov")
_IN_MOOV = ("mvhd", "trak")


def inspect(file: BinaryIO, size: int, kind: Kind, name: str = "the result") -> str:
    """The media type of a complete file of `size` bytes, called `name` in errors. Moves the file's position.

    Raises DownloadError "not-media" for anything else, "truncated" for what begins right and does not end so.
    """
    file.seek(0)
    start = file.read(64)
    for recognise, is_kind, walk in _FORMATS:
        if recognise(start):
            if is_kind != kind:
                raise DownloadError("not-media", f"{name} is {_NAMES[is_kind]}, not {_NAMES[kind]}")
            try:
                return walk(file, size)
            except Incomplete as error:
                raise DownloadError("truncated", f"{name} is not a complete {kind}: {error}") from None
    raise DownloadError("not-media", f"{name} is {_describe(start)}, not {_NAMES[kind]}")


def _describe(start: bytes) -> str:
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        return "empty"
    if text[:1] == b"<":
        return "HTML or XML"
    return "JSON" if text[:1] in (b"{", b"[") else "of an unknown format"


def _walk_movie(file: BinaryIO, size: int) -> str:
    """MP4 and MOV: the boxes tile the file, those in `moov` tile it, and the ones that matter are there."""
    found: dict[str, tuple[int, int]] = {}
    position = 0
    while position < size:
        name, body, end = read_box(file, position, size)
        found.setdefault(name, (body, end))
        position = end
    if missing := [name for name in (*_WHOLE_BOXES, "mdat") if name not in found]:
        raise Incomplete(f"no {missing[0]} box")
    _walk_moov(file, *found["moov"])
    file.seek(found["ftyp"][0])
    return "video/quicktime" if file.read(4) == b"qt  " else "video/mp4"


def _walk_moov(file: BinaryIO, position: int, end: int) -> None:
    names = set()
    while position < end:
        name, _, position = read_box(file, position, end)
        names.add(name)
    if missing := [name for name in _IN_MOOV if name not in names]:
        raise Incomplete(f"no {missing[0]} box in moov")


def read_box(file: BinaryIO, position: int, limit: int) -> tuple[str, int, int]:
    """Name, start of the body and end of the box at `position`."""
    file.seek(position)
    length, name = struct.unpack(">I4s", read_exactly(file, 8))
    body = position + 8
    if length == 1:
        (length,) = struct.unpack(">Q", read_exactly(file, 8))
        body += 8
    elif length == 0:
        length = limit - position
    if length < body - position or position + length > limit:
        raise Incomplete(f"the box at byte {position} does not fit")
    return name.decode("latin-1"), body, position + length


_FORMATS: tuple[tuple[Callable[[bytes], bool], Kind, Callable[[BinaryIO, int], str]], ...] = (
    (lambda start: start[4:8] == b"ftyp", "video", _walk_movie),
    (lambda start: start.startswith(matroska.SIGNATURE), "video", matroska.walk),
    (lambda start: start.startswith(pictures.PNG), "image", pictures.walk_png),
    (lambda start: start.startswith(pictures.JPEG), "image", pictures.walk_jpeg),
    (lambda start: start.startswith(b"RIFF") and start[8:12] == b"WEBP", "image", pictures.walk_webp),
    (lambda start: start.startswith((b"GIF87a", b"GIF89a")), "image", pictures.walk_gif),
)
