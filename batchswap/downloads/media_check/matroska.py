"""Check that EBML elements (RFC 8794) lead to the end of a WebM or Matroska file."""

from typing import BinaryIO

from batchswap.downloads.media_check.boxes import Incomplete, read_exactly

SIGNATURE = b"\x1a\x45\xdf\xa3"
_DOCTYPE, _SEGMENT, _TRACKS, _CLUSTER = 0x4282, 0x18538067, 0x1654AE6B, 0x1F43B675
_KNOWN = tuple(
    bytes.fromhex(text)
    for text in (
        *("114d9b74", "1549a966", "1654ae6b", "1f43b675", "1c53bb6b", "1941a469", "1043a770", "1254c367"),
        *("e7", "a7", "ab", "a3", "a0", "ec", "bf", "5854"),
    )
)
"""The ids of elements of a Segment or a Cluster."""


def walk(file: BinaryIO, size: int) -> str:
    """Check an EBML header and one Segment with complete Tracks and Clusters. Return the media type."""
    _, body, end = _read_element(file, 0, size)
    media_type = _read_doctype(file, body, _known(end))
    element, body, end = _read_element(file, _known(end), size)
    if element != _SEGMENT:
        raise Incomplete("no Segment")
    _walk_segment(file, body, size if end is None else end)
    return media_type


def _walk_segment(file: BinaryIO, position: int, end: int) -> None:
    found = set[int]()
    while position < end:
        try:
            element, body, after = _read_element(file, position, end)
        except Incomplete:
            if {_TRACKS, _CLUSTER} <= found and not _begins_element(file, position):
                break  # players ignore data after the last element
            raise
        found.add(element)
        # An element of unknown length, as in a live recording: read its children like siblings.
        position = body if after is None else after
    if not {_TRACKS, _CLUSTER} <= found:
        raise Incomplete("no Tracks or no Cluster")


def _begins_element(file: BinaryIO, position: int) -> bool:
    """Return whether an element of a Segment or a Cluster begins there, which is then cut off."""
    file.seek(position)
    start = file.read(4)
    return any(start.startswith(known) or (start and known.startswith(start)) for known in _KNOWN)


def _read_doctype(file: BinaryIO, position: int, end: int) -> str:
    while position < end:
        element, body, after = _read_element(file, position, end)
        position = _known(after)
        if element == _DOCTYPE:
            file.seek(body)
            doctype = read_exactly(file, min(position - body, 16)).rstrip(b"\0")
            return "video/webm" if doctype == b"webm" else "video/x-matroska"
    raise Incomplete("no DocType")


def _known(end: int | None) -> int:
    if end is None:
        raise Incomplete("an element has an unknown length where that is not allowed")
    return end


def _read_element(file: BinaryIO, position: int, limit: int) -> tuple[int, int, int | None]:
    """Return the id, the start of the body and the end (None: unknown) of the element at `position`."""
    file.seek(position)
    element, id_length = _read_number(file, 4, keep_marker=True)
    length, size_length = _read_number(file, 8, keep_marker=False)
    body = position + id_length + size_length
    if length == (1 << 7 * size_length) - 1:
        return element, body, None
    if body + length > limit:
        raise Incomplete(f"the element at byte {position} does not fit")
    return element, body, body + length


def _read_number(file: BinaryIO, longest: int, *, keep_marker: bool) -> tuple[int, int]:
    """Return a variable-size integer and its length in bytes (RFC 8794, section 4)."""
    first = read_exactly(file, 1)[0]
    length = 9 - first.bit_length()
    if length > longest:
        raise Incomplete("an invalid number")
    value = first if keep_marker else first & (0xFF >> length)
    return int.from_bytes(bytes([value]) + read_exactly(file, length - 1), "big"), length
