"""Check that a file is a complete video or picture. Its content is not decoded.

Only the structure is read: boxes, elements, chunks and segments must lead from the first byte to the last.
Sources: ISO/IEC 14496-12 (boxes), RFC 8794 and RFC 9559 (Matroska), PNG third edition, ITU-T T.81 (JPEG), GIF89a, and
the RIFF container of WebP (RFC 9649).
"""

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import BinaryIO

from batchswap.downloads.media_check import matroska, pictures
from batchswap.downloads.media_check.boxes import Incomplete, read_box
from batchswap.errors import DownloadError
from batchswap.tasks import MediaKind

_NAMES = {"video": "a video", "image": "an image"}
_WHOLE_BOXES = ("moov", "mdat")
_IN_MOOV = ("mvhd", "trak")
_KNOWN = (
    *(b"ftyp", b"styp", b"moov", b"moof", b"mfra", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid", b"meta"),
    *(b"sidx", b"ssix", b"prft", b"emsg", b"pdin", b"udta", b"mvhd", b"trak", b"mvex", b"iods", b"meco"),
)
"""Boxes of a file and of its moov. An incomplete one means that the file was cut off; other data may follow a file."""
_MOVIES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
"""The possible first boxes of a movie. QuickTime files may lack ftyp."""


def inspect(file: BinaryIO, size: int, kind: MediaKind, name: str = "the result") -> str:
    """Return the media type of a complete file of `size` bytes. Errors call it `name`. The file's position changes.

    Raise DownloadError "truncated" if the file is incomplete, "not-media" for anything else.
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
    """Check an MP4 or MOV: boxes fill the file and `moov`, and the required ones exist."""
    found = _tile(file, 0, size, _WHOLE_BOXES)
    if missing := [name for name in _WHOLE_BOXES if name not in found]:
        raise Incomplete(f"no {missing[0]} box")
    moov = _tile(file, *found["moov"], _IN_MOOV)
    if missing := [name for name in _IN_MOOV if name not in moov]:
        raise Incomplete(f"no {missing[0]} box in moov")
    if "ftyp" not in found:
        return "video/quicktime"  # from before this box was introduced
    file.seek(found["ftyp"][0])
    return "video/quicktime" if file.read(4) == b"qt  " else "video/mp4"


def _tile(file: BinaryIO, position: int, limit: int, needed: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """Return the body and the end of the first box of each name. Like players, ignore data after the last box.

    Raise Incomplete if a known box is cut off, or if other data comes before all `needed` boxes.
    """
    found: dict[str, tuple[int, int]] = {}
    while position < limit:
        try:
            name, body, end = read_box(file, position, limit)
        except Incomplete:
            if any(name not in found for name in needed) or _begins_box(file, position, limit):
                raise
            break
        found.setdefault(name, (body, end))
        position = end
    return found


def _begins_box(file: BinaryIO, position: int, limit: int) -> bool:
    """Return whether a known box begins there, as far as its name can be read."""
    file.seek(position + 4)
    name = file.read(min(4, max(0, limit - position - 4)))
    return bool(name) and any(known.startswith(name) for known in _KNOWN)


_FORMATS: tuple[tuple[Callable[[bytes], bool], MediaKind, Callable[[BinaryIO, int], str]], ...] = (
    (lambda start: start[4:8] in _MOVIES, "video", _walk_movie),
    (lambda start: start.startswith(matroska.SIGNATURE), "video", matroska.walk),
    (lambda start: start.startswith(pictures.PNG), "image", pictures.walk_png),
    (lambda start: start.startswith(pictures.JPEG), "image", pictures.walk_jpeg),
    (lambda start: start.startswith(b"RIFF") and start[8:12] == b"WEBP", "image", pictures.walk_webp),
    (lambda start: start.startswith((b"GIF87a", b"GIF89a")), "image", pictures.walk_gif),
)

_ENDINGS: dict[str, tuple[str, ...]] = {
    "video/mp4": (".mp4", ".m4v"),
    "video/quicktime": (".mov", ".qt", ".mp4", ".m4v"),
    "video/webm": (".webm", ".mkv"),
    "video/x-matroska": (".mkv",),
    "image/png": (".png",),
    "image/jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "image/webp": (".webp",),
    "image/gif": (".gif",),
}
"""The endings that players accept for each media type: MP4 and QuickTime share some."""

_FORMAT_NAMES = {
    "video/mp4": "MP4",
    "video/quicktime": "QuickTime",
    "video/webm": "WebM",
    "video/x-matroska": "Matroska",
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WebP",
    "image/gif": "GIF",
}


def false_ending(output: str, media_type: str) -> str:
    """Return a message if a file's ending belongs to another format than its content; "" if it does not."""
    ending = PurePosixPath(output).suffix.lower()
    is_known = any(ending in endings for endings in _ENDINGS.values())
    if not is_known or media_type not in _ENDINGS or ending in _ENDINGS[media_type]:
        return ""
    return f"{PurePosixPath(output).name} holds {_FORMAT_NAMES[media_type]}"
