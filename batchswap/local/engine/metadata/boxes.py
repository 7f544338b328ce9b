"""Finds the XMP packet of an MP4 or QuickTime file, without reading the rest (ISO 14496-12; XMP part 3, 1.2.7)."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from batchswap.local.engine.metadata import label, xmp

MOST = 10_000
"""Boxes that are looked at on one level; live recordings have one or two a second."""
WAY = (b"moov", b"udta", b"XMP_")
"""To the packet of a QuickTime file, box within box."""


def find_xmp(path: Path) -> bytes:
    """The packet, empty when there is none or it is too long to be one."""
    with path.open("rb") as file:
        return find_between(file, 0, path.stat().st_size)


def find_between(file: BinaryIO, start: int, end: int, way: tuple[bytes, ...] = WAY) -> bytes:
    for name, place, stop in boxes_between(file, start, end):
        found = b""
        if name == b"uuid" and read(file, place, min(stop, place + 16)) == label.BOX.bytes:
            found = read(file, place + 16, stop)
        elif name == way[0]:
            found = find_between(file, place, stop, way[1:]) if way[1:] else read(file, place, stop)
        if found:
            return found
    return b""


def boxes_between(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name of each box, and where its contents begin and end."""
    for _ in range(MOST):
        head = read(file, start, min(end, start + 16))
        if len(head) < 8:
            return
        size, skip = int.from_bytes(head[:4], "big"), 8
        if size == 1:
            size, skip = int.from_bytes(head[8:], "big"), 16
        elif size == 0:
            size = end - start
        if not skip <= size <= end - start:
            return
        yield head[4:8], start + skip, start + size
        start += size


def read(file: BinaryIO, start: int, end: int) -> bytes:
    """Nothing when that is more than a packet may have."""
    file.seek(start)
    return file.read(end - start) if end - start <= xmp.LONGEST else b""
