"""Carry the EXIF of a still over to its result: author, date, rights, camera and place.

The EXIF is rebuilt here (TIFF 6.0; CIPA DC-008), because Pillow would write a copyright sign as `?` and change types
of values. The orientation becomes upright. Thumbnails are left out, since they show the replaced face, and so is the
maker's note, which may contain one and refers to old offsets.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

LARGEST = 60_000
"""Limit in bytes; a JPEG segment can hold 65,533."""
LONGEST = 16_384
"""Limit in bytes for one value."""

BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
"""Size of a value by its type."""
SHORT, LONG = 3, 4
ORIENTATION, EXIF, GPS = 0x0112, 0x8769, 0x8825
KEPT = frozenset({0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x4746, 0x8298})
"""Tags of the picture: description, make, model, resolution, software, date, artist, rating, copyright."""
KEPT_XP = frozenset(range(0x9C9B, 0x9CA0))
"""Tags of Windows: title, comment, author, keywords, subject."""
DROPPED = frozenset({0x927C, 0xA002, 0xA003, 0xA005})
"""Tags of the camera: the maker's note, width and height, a further directory."""


@dataclass(frozen=True)
class Entry:
    """A tag with its value in the byte order of the file."""

    tag: int
    kind: int
    value: bytes

    @property
    def room(self) -> int:
        """Bytes in a file: twelve in the directory, and the value behind it if it is longer than four bytes."""
        return 12 + (len(self.value) + 1) // 2 * 2 * (len(self.value) > 4)


def carried(data: bytes) -> bytes | None:
    """Rebuild the EXIF of a file, or of a whole TIFF file. None: it is empty or unreadable."""
    data, order = opened(data)
    first = list(of_the_picture(data, order))
    within = {entry.tag: struct.unpack(order + "I", entry.value)[0] for entry in first if is_pointer(entry)}
    left = LARGEST
    folders: dict[int, list[Entry]] = {}
    for pointer, found in (
        (0, [entry for entry in first if entry.tag in KEPT | KEPT_XP]),
        (GPS, entries(data, order, within.get(GPS, 0))),
        (EXIF, (entry for entry in entries(data, order, within.get(EXIF, 0)) if entry.tag not in DROPPED)),
    ):
        folders[pointer] = []
        for entry in found:
            if entry.room <= left:
                folders[pointer].append(entry)
                left -= entry.room
    return written(order, folders) if any(folders.values()) else None


def opened(data: bytes) -> tuple[bytes, str]:
    """Return data that starts like a TIFF file, and its byte order: "" if it is none."""
    data = data.removeprefix(b"Exif\0\0")
    return data, {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4], "") if len(data) >= 8 else ""


def of_the_picture(data: bytes, order: str) -> Iterator[Entry]:
    """Return the entries of the first directory; none without a byte order."""
    return entries(data, order, *struct.unpack_from(order + "I", data, 4)) if order else iter(())


def orientation(data: bytes) -> int:
    """Return the orientation, 1 to 8. The default is 1, upright."""
    data, order = opened(data)
    for entry in of_the_picture(data, order):
        if entry.tag == ORIENTATION and entry.kind == SHORT:
            found = int(struct.unpack_from(order + "H", entry.value)[0])
            return found if 1 <= found <= 8 else 1
    return 1


def is_pointer(entry: Entry) -> bool:
    return entry.tag in (EXIF, GPS) and entry.kind == LONG and len(entry.value) == 4


def entries(data: bytes, order: str, place: int) -> Iterator[Entry]:
    """Yield the entries of the directory at `place`, each tag once. Skip values that are too long or outside."""
    if not 8 <= place <= len(data) - 2:
        return
    (count,) = struct.unpack_from(order + "H", data, place)
    seen = set()
    for start in range(place + 2, min(place + 2 + 12 * count, len(data) - 11), 12):
        tag, kind, number, offset = struct.unpack_from(order + "HHII", data, start)
        size = BYTES.get(kind, 0) * number
        offset = start + 8 if size <= 4 else offset
        if 0 < size <= LONGEST and offset + size <= len(data) and tag not in seen:
            seen.add(tag)
            yield Entry(tag, kind, data[offset : offset + size])


def written(order: str, folders: dict[int, list[Entry]]) -> bytes:
    """Write the directories one after the other, first that of the picture (0)."""
    upright = Entry(ORIENTATION, SHORT, struct.pack(order + "H", 1))
    first = [*folders[0], upright]
    within = {pointer: found for pointer, found in folders.items() if pointer and found}
    place = 8 + length([*first, *(Entry(pointer, LONG, bytes(4)) for pointer in within)])
    for pointer, found in within.items():
        first.append(Entry(pointer, LONG, struct.pack(order + "I", place)))
        place += length(found)
    data = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    for found in (first, *within.values()):
        data += directory(order, found, len(data))
    return data


def length(found: list[Entry]) -> int:
    return 6 + sum(entry.room for entry in found)


def directory(order: str, found: list[Entry], place: int) -> bytes:
    """Return a directory for `place`: its entries in the order of their tags, then the longer values."""
    lines, values = b"", b""
    start = place + 6 + 12 * len(found)
    for entry in sorted(found, key=lambda entry: entry.tag):
        short = len(entry.value) <= 4
        field = entry.value.ljust(4, b"\0") if short else struct.pack(order + "I", start + len(values))
        lines += struct.pack(order + "HHI", entry.tag, entry.kind, len(entry.value) // BYTES[entry.kind]) + field
        values += b"" if short else entry.value + bytes(len(entry.value) % 2)
    return struct.pack(order + "H", len(found)) + lines + bytes(4) + values
