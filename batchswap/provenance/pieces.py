"""A file with a few bytes inserted, replaced or left out, without a second copy of it on the disk."""

import hashlib
import io
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import BinaryIO

from batchswap.errors import ProvenanceError

_BLOCK = 1 << 20

Piece = bytes | range
"""Bytes, or a range of offsets in the original file."""


class PiecedFile(io.RawIOBase):
    """Reads the pieces one after the other. It can be read and positioned like a file."""

    def __init__(self, original: BinaryIO, pieces: Sequence[Piece]) -> None:
        self._original = original
        self._pieces = [piece for piece in pieces if len(piece)]
        self._starts = [0, *accumulate(len(piece) for piece in self._pieces)]
        self._place = 0

    @property
    def size(self) -> int:
        return self._starts[-1]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError("negative position")
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, count: int | None = -1, /) -> bytes:
        left = self.size - self._place if count is None or count < 0 else count
        found = []
        while left > 0 and (block := self._read_piece(left)):
            found.append(block)
            self._place += len(block)
            left -= len(block)
        return b"".join(found)

    def readinto(self, buffer: "memoryview | bytearray", /) -> int:  # type: ignore[override]
        block = self.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def _read_piece(self, most: int) -> bytes:
        """Read from the piece at the present position. Return b"" at the end."""
        number = bisect_right(self._starts, self._place) - 1
        if number >= len(self._pieces):
            return b""
        piece, start = self._pieces[number], self._place - self._starts[number]
        if isinstance(piece, bytes):
            return piece[start : start + most]
        self._original.seek(piece.start + start)
        block = self._original.read(min(most, len(piece) - start))
        if not block:
            raise ProvenanceError("result", "the file became shorter while it was read")
        return block

    def blocks(self) -> Iterator[bytes]:
        """Yield everything, from the beginning."""
        self.seek(0)
        while block := self.read(_BLOCK):
            yield block


def digest(file: "BinaryIO | PiecedFile") -> str:
    """Return the SHA-256 of a file in hex, from its beginning."""
    file.seek(0)
    found = hashlib.sha256()
    while block := file.read(_BLOCK):
        found.update(block)
    return found.hexdigest()
