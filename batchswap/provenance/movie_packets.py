"""Find and replace the XMP packet of an MP4 or QuickTime file (XMP specification, part 3).

No box with media is moved, because other boxes contain its offsets: an old packet within the file becomes free space,
and the new one is added at the end.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from batchswap.downloads.media_check.boxes import Incomplete, read_box, read_exactly
from batchswap.errors import ProvenanceError
from batchswap.local.engine.metadata import label
from batchswap.local.engine.metadata.xmp import LONGEST
from batchswap.provenance.pieces import Piece


class TopBox(msgspec.Struct, frozen=True):
    """A box of the file. Its place is from `start` to `end`, and its content begins at `body`."""

    name: str
    start: int
    body: int
    end: int


def read_movie(file: BinaryIO, size: int) -> bytes:
    """Return the packet; b"" if there is none. QuickTime files may have it in the user data of `moov`."""
    boxes = list(_boxes(file, 0, size))
    for box in boxes:
        if _is_xmp(file, box):
            return _read(file, box.body + 16, box.end)
    for name in ("moov", "udta", "XMP_"):
        found = next((box for box in boxes if box.name == name), None)
        if found is None:
            return b""
        if name == "XMP_":
            return _read(file, found.body, found.end)
        boxes = list(_boxes(file, found.body, found.end))
    raise AssertionError(boxes)


def edit_movie(file: BinaryIO, size: int, packet: bytes) -> list[Piece]:
    """Return the file with this packet behind its last box, but before an index of fragments, which must be last."""
    boxes = list(_boxes(file, 0, size))
    last = boxes[-1]
    end = last.end
    patches: dict[int, bytes] = {}
    for box in boxes:
        if _is_xmp(file, box):
            if box is last:
                end = box.start
            else:
                patches[box.start + 4] = b"free"
    if last.name == "mfra":
        end = last.start
    elif end == last.end and _reaches_to_the_end(file, last):
        if last.end - last.start > 0xFFFFFFFF:
            raise ProvenanceError("result", "its last box has no length and is too long for one")
        patches[last.start] = struct.pack(">I", last.end - last.start)
    after = last.start if last.name == "mfra" else last.end
    return [*_patched(patches, end), label.in_box(packet), range(after, size)]


def strip_movie(file: BinaryIO, size: int) -> list[list[Piece]]:
    """Return the file without its packet; an empty list if it has none."""
    return [[range(box.start), range(box.end, size)] for box in _boxes(file, 0, size) if _is_xmp(file, box)]


def _patched(patches: dict[int, bytes], end: int) -> Iterator[Piece]:
    place = 0
    for start in sorted(patches):
        yield range(place, start)
        yield patches[start]
        place = start + len(patches[start])
    yield range(place, end)


def _boxes(file: BinaryIO, position: int, limit: int) -> Iterator[TopBox]:
    """Yield the boxes. Like players, ignore data after the last one."""
    while position < limit:
        try:
            name, body, end = read_box(file, position, limit)
        except Incomplete:
            return
        yield TopBox(name, position, body, end)
        position = end


def _is_xmp(file: BinaryIO, box: TopBox) -> bool:
    if box.name != "uuid" or box.end - box.body < 16:
        return False
    file.seek(box.body)
    return read_exactly(file, 16) == label.BOX.bytes


def _read(file: BinaryIO, start: int, end: int) -> bytes:
    """Return a packet, or more than the longest readable one."""
    file.seek(start)
    return file.read(min(end - start, LONGEST + 1))


def _reaches_to_the_end(file: BinaryIO, box: TopBox) -> bool:
    file.seek(box.start)
    return read_exactly(file, 4) == bytes(4)
