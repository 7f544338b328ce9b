"""Write, resume and verify the part file: a result that is not complete yet.

Most methods block, so the caller runs them in a thread. Only one process at a time holds a part (flock).
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from io import BytesIO, FileIO
from pathlib import Path

import msgspec

from batchswap.downloads.filesystem import file_sync, lock
from batchswap.downloads.fsync_batch import Folders, Steps
from batchswap.downloads.media_check.containers import inspect
from batchswap.downloads.output_paths import Place, disk, opened, remove
from batchswap.downloads.resume import BodyPlan, Note
from batchswap.errors import DownloadError
from batchswap.tasks import MediaKind, public

_BLOCK = 1024 * 1024
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Verified(msgspec.Struct, frozen=True):
    """The content of a complete, checked and synced part. `sha256` is in hex, `size` in bytes."""

    sha256: str
    size: int
    media_type: str


class PartFile:
    """The part of one place, for one result and URL. `size` counts all received bytes, including the `held` ones.

    Received bytes are held in memory until `flush`, so a small result is written at once. A file that is complete
    before its first byte is written needs no note.
    """

    def __init__(self, place: Place, url: str, remote_id: str = "") -> None:
        self.note: Note | None = None
        self.held = bytearray()
        self._place, self._media, self._hash = place, _media(url, remote_id), hashlib.sha256()
        self._written = 0
        self._noted: Note | None = None
        self._file: FileIO | None = None
        self._folder = -1
        self._closing = ExitStack()

    @property
    def size(self) -> int:
        return self._written + len(self.held)

    def open_if_begun(self) -> None:
        """Open the file if there is one to resume. Raise DownloadError "outside" for a place outside of `out`."""
        place = self._place
        place.check()
        if os.path.lexists(f"{place.out}/{place.folder}{place.part}"):
            self.open()

    def open(self) -> None:
        """Open or create the file, and read it if it has the same media and was written since the last boot.

        Raise DownloadError "busy" if another process writes to it.
        """
        self._folder = self._closing.enter_context(opened(self._place))
        with disk(self._place):
            self._file = self._lock(os.open(self._place.part, _FLAGS, 0o666, dir_fd=self._folder))
            if os.fstat(self._file.fileno()).st_size == 0:
                return
            note = _read_note(self._place, self._folder)
        if note is not None and (note.media, note.boot) == (self._media, _boot()):
            self.note = self._noted = note
            self._take()
        if self._is_linked and not self.is_whole:
            self.empty()

    def _lock(self, handle: int) -> FileIO:
        file = FileIO(handle, "r+")
        try:
            lock(handle)
        except BlockingIOError:
            file.close()
            raise self._busy() from None
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            file.close()
            raise DownloadError("disk", f"{self._place.part} is not a regular file")
        return file

    def _take(self) -> None:
        with disk(self._place):
            while block := self._open_file.read(_BLOCK):
                self._hash.update(block)
                self._written += len(block)

    @property
    def _open_file(self) -> FileIO:
        assert self._file is not None, "open() comes first"
        return self._file

    @property
    def _is_linked(self) -> bool:
        """True if the file has its final name already, because the process died in `publish`."""
        return os.fstat(self._open_file.fileno()).st_nlink > 1

    @property
    def is_whole(self) -> bool:
        return self.note is not None and self.size > 0 and self.size == self.note.total

    def expect(self, reading: BodyPlan) -> None:
        """Prepare for the body of an answer, which continues the part or replaces it."""
        if reading.offset != self.size or reading.offset == 0:
            self.empty()
        self.note = Note(self._media, reading.validator, reading.total, _boot())

    def flush(self) -> None:
        """Write the held bytes. The note is written before the first byte that it describes."""
        if not self.held:
            return
        self._make_room()
        if self.note != self._noted and self.note is not None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with (
                disk(self._place),
                FileIO(os.open(self._place.note, flags, 0o666, dir_fd=self._folder), "w") as file,
            ):
                file.write(msgspec.json.encode(self.note))
            self._noted = self.note
        self._write()

    def _make_room(self) -> None:
        """Open the file, and empty it unless it holds only bytes of this object."""
        if self._file is None:
            held, note = self.held, self.note
            self.open()
            with disk(self._place):
                is_fresh = os.fstat(self._open_file.fileno()).st_size == 0
            if not is_fresh:
                self.empty()  # another process has written it since `open_if_begun`
            self.held, self.note = held, note

    def _write(self) -> None:
        data, self.held = self.held, bytearray()  # before writing, so that a failed block is not written twice
        with disk(self._place):
            view = memoryview(data)
            while view:
                written = os.pwrite(self._open_file.fileno(), view, self._written)
                self._hash.update(view[:written])
                self._written += written
                view = view[written:]

    def empty(self) -> None:
        """Discard the part. A file that has the final name too is unlinked, not truncated."""
        self.held = bytearray()
        if self._file is not None:
            with disk(self._place):
                if self._is_linked:
                    os.unlink(self._place.part, dir_fd=self._folder)
                    self._open_file.close()
                    self._file = self._lock(os.open(self._place.part, _FLAGS | os.O_EXCL, 0o666, dir_fd=self._folder))
                self._open_file.truncate(0)
        self.note, self._written, self._hash = None, 0, hashlib.sha256()

    def verify(self, kind: MediaKind) -> Verified:
        """Write the held bytes, check that the part is a complete file of its kind, and sync it.

        Raise DownloadError "not-media" or "truncated", and discard the part.
        """
        with self._discarding():
            self.flush()
            with disk(self._place):
                media_type = inspect(self._open_file, self.size, kind)
                with file_sync():
                    os.fsync(self._open_file.fileno())
        return Verified(self._hash.hexdigest(), self.size, media_type)

    @property
    def is_all_held(self) -> bool:
        """True if all received bytes are in memory, and none are on the disk."""
        return self._file is None

    def write(self, kind: MediaKind, folders: Folders) -> Steps[Verified]:
        """Verify a part that is all in memory, and write it at once, without a note. The part is closed afterwards."""
        with self._discarding():
            media_type = inspect(BytesIO(self.held), self.size, kind)
            self._folder = folders.open(self._place)
            with disk(self._place):
                self._file = self._lock(self._make())
                # After a crash, the note of an earlier attempt would be trusted for these bytes.
                remove(self._folder, self._place.note)
                self._write()
                with file_sync():
                    yield self._file.fileno()
        self.close()
        return Verified(self._hash.hexdigest(), self.size, media_type)

    def _make(self) -> int:
        try:
            return os.open(self._place.part, _FLAGS | os.O_EXCL, 0o666, dir_fd=self._folder)
        except FileExistsError:
            raise self._busy() from None

    def _busy(self) -> DownloadError:
        return DownloadError("busy", f"another process is fetching {self._place.final}")

    @contextmanager
    def _discarding(self) -> Iterator[None]:
        """Discard the part if it is not a complete file of its kind."""
        try:
            yield
        except DownloadError as error:
            if error.reason in ("not-media", "truncated"):
                self.empty()
            raise

    def close(self) -> None:
        """Close the part and keep it on the disk. May be called again."""
        if self._file is not None:
            self._file.close()
        self._closing.close()


def _read_note(place: Place, folder: int) -> Note | None:
    try:
        handle = os.open(place.note, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return None
    with FileIO(handle) as file:
        try:
            return msgspec.json.decode(file.read(64 * 1024), type=Note)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None


def _media(url: str, remote_id: str) -> str:
    """Return a digest of the result and its URL without the signature, so that a fresh URL has the same digest."""
    return hashlib.sha256(f"{remote_id} {public(url)}".encode()).hexdigest()[:20]


@cache
def _boot() -> str:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""
