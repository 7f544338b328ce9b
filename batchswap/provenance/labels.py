"""Add the label to files that were made elsewhere, without encoding them again. Other properties of their XMP are kept.

It is the label that the local engine writes: a sentence for people, and IPTC's Digital Source Type for programs.
"""

import os
from collections.abc import Callable
from typing import BinaryIO

from batchswap.downloads.media_check.boxes import Incomplete
from batchswap.downloads.media_check.containers import inspect
from batchswap.errors import DownloadError, ProvenanceError
from batchswap.local.engine.metadata import label, xmp
from batchswap.provenance import movie_packets, picture_packets
from batchswap.provenance.pieces import Piece, PiecedFile, digest
from batchswap.tasks import MediaKind

Read = Callable[[BinaryIO, int], bytes]
Edit = Callable[[BinaryIO, int, bytes], list[Piece]]
Strip = Callable[[BinaryIO, int], list[list[Piece]]]

_MOVIE = (movie_packets.read_movie, movie_packets.edit_movie, movie_packets.strip_movie)
_FORMATS: dict[str, tuple[Read, Edit, Strip]] = {
    "video/mp4": _MOVIE,
    "video/quicktime": _MOVIE,
    "image/jpeg": (picture_packets.read_jpeg, picture_packets.edit_jpeg, picture_packets.strip_jpeg),
    "image/png": (picture_packets.read_png, picture_packets.edit_png, picture_packets.strip_png),
    "image/webp": (picture_packets.read_webp, picture_packets.edit_webp, picture_packets.strip_webp),
}
FORMAT = "format"
"""The culprit of the error for a file of another format."""
_KINDS: tuple[MediaKind, ...] = ("video", "image")
MEDIA_TYPES = tuple(_FORMATS)
"""The formats that can be labelled and signed."""
_SOURCE_TYPES = (label.SOURCE_TYPE, label.TRAINED_SOURCE_TYPE)


def media_type(file: BinaryIO, kind: MediaKind | None = None) -> str:
    """Return the media type of a complete file. Raise ProvenanceError for a damaged one, or another format."""
    problem = ProvenanceError(FORMAT, "it is neither a video nor a picture of a known format")
    for each in (kind,) if kind else _KINDS:
        try:
            found = inspect(file, _size(file), each, "the file")
        except DownloadError as error:
            if error.reason == "truncated" or kind:
                problem = ProvenanceError("result" if error.reason == "truncated" else FORMAT, str(error))
            continue
        if found not in _FORMATS:
            raise ProvenanceError(FORMAT, f"{found} files can be neither labelled nor signed")
        return found
    raise problem


def is_labelled(file: BinaryIO, format_: str) -> bool:
    """Return whether the file has the label."""
    return _has_label(_packet(file, format_))


def labelled(file: BinaryIO, format_: str, task: str, *, is_neural: bool) -> PiecedFile:
    """Return the file with the label, or as it is if it has one. Raise ProvenanceError.

    `task` is the provider's id of the task. `is_neural`: a trained model made the swap.
    """
    packet = _packet(file, format_)
    if _has_label(packet):
        return PiecedFile(file, [range(_size(file))])
    kept = xmp.kept(packet) if packet else xmp.Carried()
    if kept is None:
        raise ProvenanceError("result", "its XMP cannot be read, and the label would replace it")
    new = label.xmp(task, kept, label.TRAINED_SOURCE_TYPE if is_neural else label.SOURCE_TYPE).encode()
    try:
        return PiecedFile(file, _FORMATS[format_][1](file, _size(file), new))
    except (Incomplete, OverflowError, ValueError) as error:
        raise ProvenanceError("result", f"the file is damaged: {error}") from error


def is_labelled_from(file: BinaryIO, format_: str, sha256: str) -> bool:
    """Return whether this is the file with this SHA-256, and the label. False if that file had XMP, too."""
    if not is_labelled(file, format_):
        return False
    try:
        found = _FORMATS[format_][2](file, _size(file))
    except (Incomplete, ValueError):
        return False
    return any(digest(PiecedFile(file, pieces)) == sha256 for pieces in found)


def _packet(file: BinaryIO, format_: str) -> bytes:
    try:
        return _FORMATS[format_][0](file, _size(file))
    except (Incomplete, ValueError) as error:
        raise ProvenanceError("result", f"the file is damaged: {error}") from error


def _has_label(packet: bytes) -> bool:
    return any(each in _SOURCE_TYPES for each in xmp.source_types(packet)) and label.START.encode() in packet


def _size(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)
