"""The file that is not yet complete: what it holds, whether it can be gone on with, and when it is whole.

Nearly everything here blocks; the caller runs it in a thread. One process holds a part at a time (flock).
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
    """What a complete, checked and synced part holds. `sha256` in hex, `size` in bytes."""

    sha256: str
    size: int
    media_type: str


class PartFile:
    """The part of one place, for one result and URL. `size` counts the bytes that came, the `held` ones included.

    What comes is held until `flush`: a small result is never written twice, nor in small pieces, and a file that is
    whole before the first byte is written needs no note.
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

    def is_begun(self) -> bool:
        """Whether there is a file to go on with. One glance at a name, so it need not run in a thread.

        Raises DownloadError "outside" for a place that cannot be.
        """
        self._place.check()
        return os.path.lexists(self._place.beside(self._place.part))

    def open(self) -> None:
        """Open or make the file, and take what is in it if it is of the same media and this start of the machine.

        Raises DownloadError "busy" while another process writes to it.
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
        """Whether the bytes already stand under the final name too (the process died in `publish`)."""
        return os.fstat(self._open_file.fileno()).st_nlink > 1

    @property
    def is_whole(self) -> bool:
        return self.note is not None and self.size > 0 and self.size == self.note.total

    def expect(self, reading: BodyPlan) -> None:
        """What is added from now on belongs where `reading` says: at the end of what is there, or instead of it."""
        if reading.offset != self.size or reading.offset == 0:
            self.empty()
        self.note = Note(self._media, reading.validator, reading.total, _boot())

    def flush(self) -> None:
        """Write what is held. The note is on disk before the first byte that it speaks of."""
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
        """The open file, which holds what was written by this object and nothing else."""
        if self._file is None:
            held, note = self.held, self.note
            self.open()
            with disk(self._place):
                is_fresh = os.fstat(self._open_file.fileno()).st_size == 0
            if not is_fresh:
                self.empty()  # what has come there since we looked is not ours
            self.held, self.note = held, note

    def _write(self) -> None:
        data, self.held = self.held, bytearray()  # before it is tried: a block that failed is not written after itself
        with disk(self._place):
            view = memoryview(data)
            while view:
                written = os.pwrite(self._open_file.fileno(), view, self._written)
                self._hash.update(view[:written])
                self._written += written
                view = view[written:]

    def empty(self) -> None:
        """Forget what is there. What also has the final name is let go of, not truncated."""
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
        """Check that the part is a complete file of its kind, write what is not yet written, and sync it.

        Raises DownloadError "not-media" or "truncated"; then what was there is forgotten.
        """
        with self._judged():
            self.flush()
            with disk(self._place):
                media_type = inspect(self._open_file, self.size, kind)
                with file_sync():
                    os.fsync(self._open_file.fileno())
        return Verified(self._hash.hexdigest(), self.size, media_type)

    @property
    def is_all_held(self) -> bool:
        """Whether all that came is in memory, and nothing stands on the disk."""
        return self._file is None

    def write(self, kind: MediaKind, folders: Folders) -> Steps[Verified]:
        """`verify` for what is all held: the file is made in one go, and needs no note. The part is closed then."""
        with self._judged():
            media_type = inspect(BytesIO(self.held), self.size, kind)
            self._folder = folders.open(self._place)
            with disk(self._place):
                self._file = self._lock(self._make())
                # A note that an earlier try left speaks of other bytes: with these, it would be believed after a crash.
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
    def _judged(self) -> Iterator[None]:
        """What turns out to be no such media, or not all of it, is forgotten."""
        try:
            yield
        except DownloadError as error:
            if error.reason in ("not-media", "truncated"):
                self.empty()
            raise

    def close(self) -> None:
        """Safe to call again. The part stays on disk."""
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
    """The same for a fresh URL of the same result, whose signature is another. A digest: the note is read by people."""
    return hashlib.sha256(f"{remote_id} {public(url)}".encode()).hexdigest()[:20]


@cache
def _boot() -> str:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""
