"""Upload a file piece by piece, and notice if it changes during the upload."""

import asyncio
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from batchswap.errors import InputGone, MaybeSent

PIECE = 256 * 1024


class Upload:
    """The body of one PUT. In its context, it is an async iterable of bytes that aiohttp can send.

    The context raises InputGone if the file has changed, and MaybeSent after `stall` seconds without progress.
    """

    def __init__(self, path: Path, handle: int, found: os.stat_result, stall: float) -> None:
        self.size = found.st_size
        self._path, self._handle, self._found, self._stall = path, handle, found, stall
        self._offset = 0
        self._changed = False

    @classmethod
    async def open(cls, path: Path, stall: float) -> Self:
        """Open a file for an upload. Raise InputGone unless it is a readable, regular file."""
        handle, found = await asyncio.to_thread(_open_regular, path)
        return cls(path, handle, found, stall)

    async def __aenter__(self) -> Self:
        self._timeout = asyncio.timeout(self._stall)
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._handle)
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise MaybeSent(f"the upload of {self._path.name} made no progress for {self._stall:g} s") from None
        if self._changed:
            raise InputGone(f"{self._path} changed while it was uploaded") from None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        self._timeout.reschedule(asyncio.get_running_loop().time() + self._stall)
        piece = await asyncio.to_thread(os.pread, self._handle, PIECE, self._offset)
        self._offset += len(piece)
        if not piece or self._offset >= self.size:
            self._check()  # before the last piece is sent, so that a changed file is never complete at the storage
        if not piece:
            raise StopAsyncIteration
        return piece

    def _check(self) -> None:
        now = os.fstat(self._handle)
        expected = (self.size, self.size, self._found.st_mtime_ns)
        if (self._offset, now.st_size, now.st_mtime_ns) != expected:
            self._changed = True
            raise InputGone(f"{self._path} changed while it was uploaded")


def _open_regular(path: Path) -> tuple[int, os.stat_result]:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # so that a pipe does not block
    except (OSError, ValueError) as error:
        raise InputGone(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_size == 0:
        os.close(handle)
        raise InputGone(f"{path} is {'empty' if stat.S_ISREG(found.st_mode) else 'not a regular file'}")
    return handle, found
