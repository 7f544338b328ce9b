"""Find and replace the XMP packet of a JPEG, PNG or WebP file (XMP specification, part 3). Nothing is encoded again."""

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from batchswap.downloads.media_check.boxes import read_exactly
from batchswap.errors import ProvenanceError
from batchswap.provenance.pieces import Piece

_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_EXIF = b"Exif\0\0"
_KEYWORD = b"XML:com.adobe.xmp"
_LONGEST = 65_533
"""Bytes of a JPEG segment."""
_SCAN, _END, _APP0, _APP1 = 0xDA, 0xD9, 0xE0, 0xE1
_IS_XMP, _HAS_ALPHA = 0x04, 0x10
"""Flags of a WebP file."""


def read_jpeg(file: BinaryIO, size: int) -> bytes:
    """Return the packet; b"" if there is none."""
    return next((body.removeprefix(_XMP) for marker, body, _ in _segments(file) if _is_xmp(marker, body)), b"")


def edit_jpeg(file: BinaryIO, size: int, packet: bytes) -> list[Piece]:
    """Return the file with this packet, behind the header and the EXIF, where readers expect it."""
    body = _XMP + packet
    if len(body) > _LONGEST:
        raise ProvenanceError("result", f"its XMP does not fit into a JPEG together with the label ({len(body)} bytes)")
    pieces: list[Piece] = []
    place, is_head = 2, True
    pieces.append(range(2))
    new = struct.pack(">BBH", 0xFF, _APP1, len(body) + 2) + body
    for marker, found, where in _segments(file):
        if is_head and marker != _APP0 and not (marker == _APP1 and found.startswith(_EXIF)):
            pieces += [range(place, where.start), new]
            place, is_head = where.start, False
        if _is_xmp(marker, found):
            pieces.append(range(place, where.start))
            place = where.stop
    return [*pieces, range(place, size)]


def strip_jpeg(file: BinaryIO, size: int) -> list[list[Piece]]:
    """Return the file without its packet; an empty list if it has none."""
    return [_without(where, size) for marker, body, where in _segments(file) if _is_xmp(marker, body)]


def _without(where: range, size: int) -> list[Piece]:
    return [range(where.start), range(where.stop, size)]


def _is_xmp(marker: int, body: bytes) -> bool:
    return marker == _APP1 and body.startswith(_XMP)


def _segments(file: BinaryIO) -> Iterator[tuple[int, bytes, range]]:
    """Yield the marker, the body and the place of each segment up to the first scan."""
    position = 2
    while True:
        file.seek(position)
        _, marker = read_exactly(file, 2)
        if marker == 0xFF:
            position += 1
            continue
        if marker in (_SCAN, _END):
            yield marker, b"", range(position, position + 2)
            return
        (length,) = struct.unpack(">H", read_exactly(file, 2))
        yield marker, read_exactly(file, length - 2), range(position, position + 2 + length)
        position += 2 + length


def read_png(file: BinaryIO, size: int) -> bytes:
    """Return the packet; b"" if there is none."""
    return next((text for name, where in _chunks(file) if (text := _read_text(file, name, where)) is not None), b"")


def edit_png(file: BinaryIO, size: int, packet: bytes) -> list[Piece]:
    """Return the file with this packet, before the picture."""
    pieces: list[Piece] = []
    place, is_new = 0, True
    for name, where in _chunks(file):
        if name == b"IDAT" and is_new:
            body = b"iTXt" + _KEYWORD + bytes(5) + packet
            pieces += [range(place, where.start), struct.pack(">I", len(body) - 4), body]
            pieces.append(struct.pack(">I", zlib.crc32(body)))
            place, is_new = where.start, False
        elif _read_text(file, name, where) is not None:
            pieces.append(range(place, where.start))
            place = where.stop
    return [*pieces, range(place, size)]


def strip_png(file: BinaryIO, size: int) -> list[list[Piece]]:
    """Return the file without its packet; an empty list if it has none."""
    return [_without(where, size) for name, where in _chunks(file) if _read_text(file, name, where) is not None]


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, range]]:
    position, name = 8, b""
    while name != b"IEND":
        file.seek(position)
        length, name = struct.unpack(">I4s", read_exactly(file, 8))
        yield name, range(position, position + length + 12)
        position += length + 12


def _read_text(file: BinaryIO, name: bytes, where: range) -> bytes | None:
    """Return the packet in this chunk; None if it has none."""
    if name != b"iTXt":
        return None
    file.seek(where.start + 8)
    body = read_exactly(file, len(where) - 12)
    if not body.startswith(_KEYWORD + b"\0"):
        return None
    is_compressed = body[len(_KEYWORD) + 1 : len(_KEYWORD) + 2] == b"\1"
    _, _, text = body[len(_KEYWORD) + 3 :].partition(b"\0")[2].partition(b"\0")
    if not is_compressed:
        return text
    try:
        return zlib.decompressobj().decompress(text, 1 << 20)
    except zlib.error:
        return b"?"  # there is a packet, and it cannot be read


def read_webp(file: BinaryIO, size: int) -> bytes:
    """Return the packet; b"" if there is none."""
    for name, where in _riff_chunks(file):
        if name == b"XMP ":
            file.seek(where.start + 4)
            (length,) = struct.unpack("<I", read_exactly(file, 4))
            return read_exactly(file, length)
    return b""


def edit_webp(file: BinaryIO, size: int, packet: bytes) -> list[Piece]:
    """Return the file with this packet at its end, in the extended format (RFC 9649, section 2.7)."""
    kept: list[Piece] = []
    head = b""
    for name, where in _riff_chunks(file):
        if name == b"VP8X":
            file.seek(where.start)
            found = bytearray(read_exactly(file, len(where)))
            found[8] |= _IS_XMP
            head = bytes(found)
        elif name != b"XMP ":
            if not kept:
                head = head or _extended(file, name, where)
            kept.append(where)
    kept.append(b"XMP " + struct.pack("<I", len(packet)) + packet + bytes(len(packet) % 2))
    length = 4 + len(head) + sum(map(len, kept))
    file.seek(4)
    end = 8 + int.from_bytes(read_exactly(file, 4), "little")
    return [b"RIFF" + struct.pack("<I", length) + b"WEBP" + head, *kept, range(end, size)]


def strip_webp(file: BinaryIO, size: int) -> list[list[Piece]]:
    """Return the file without its packet, in the simple and in the extended format."""
    chunks = dict(_riff_chunks(file))
    if b"XMP " not in chunks or (head := chunks.get(b"VP8X")) is None:
        return []
    file.seek(head.start)
    extended = bytearray(read_exactly(file, len(head)))
    extended[8] &= ~_IS_XMP
    kept = [where for name, where in _riff_chunks(file) if name not in (b"VP8X", b"XMP ")]
    found: list[list[Piece]] = []
    for first in (b"", bytes(extended)):
        length = 4 + len(first) + sum(map(len, kept))
        found.append([b"RIFF" + struct.pack("<I", length) + b"WEBP" + first, *kept])
    return found


def _riff_chunks(file: BinaryIO) -> Iterator[tuple[bytes, range]]:
    file.seek(4)
    end = 8 + int.from_bytes(read_exactly(file, 4), "little")
    position = 12
    while position < end:
        file.seek(position)
        name, length = struct.unpack("<4sI", read_exactly(file, 8))
        yield name, range(position, position + 8 + length + length % 2)
        position += 8 + length + length % 2


def _extended(file: BinaryIO, name: bytes, where: range) -> bytes:
    """Return the chunk VP8X for a file in the simple format, whose first chunk has the size of the picture."""
    file.seek(where.start + 8)
    start = read_exactly(file, 10)
    if name == b"VP8L":
        packed = int.from_bytes(start[1:5], "little")
        width, height, flags = packed & 0x3FFF, packed >> 14 & 0x3FFF, _HAS_ALPHA * (packed >> 28 & 1)
    elif name == b"VP8 ":
        width, height = (each & 0x3FFF for each in struct.unpack("<HH", start[6:10]))
        width, height, flags = width - 1, height - 1, 0
    else:
        raise ProvenanceError("result", "it is an unknown kind of WebP")
    sizes = width.to_bytes(3, "little") + height.to_bytes(3, "little")
    return b"VP8X" + struct.pack("<IB3x", 10, flags | _IS_XMP) + sizes
