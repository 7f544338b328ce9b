"""Where a result goes, and that it goes nowhere else.

Below --out every folder is opened by its parent and not by its path, so that a symlink that appears between a check and
its use leads nowhere.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

import msgspec

from batchswap.downloads.filesystem import Traits, folder_sync
from batchswap.errors import DownloadError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_LONGEST = (
    132  # bytes of a name that leave room, in the 143 that the strictest file system has, for what a part's name adds
)


class Place(msgspec.Struct, frozen=True):
    """`output` below `out`: relative, with "/" between its parts. `traits` are those of the file system there."""

    out: Path
    output: str
    traits: Traits = Traits()

    @property
    def final(self) -> Path:
        return self.out / self.output

    @property
    def name(self) -> str:
        return self.output.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """The folder below `out`, with its last "/"; "" for `out` itself."""
        return self.output[: len(self.output) - len(self.name)]

    @property
    def part(self) -> str:
        """The name, beside the final one, of what is not yet complete. Hidden, so that nothing picks it up."""
        name = self.name
        return f".{name if len(name.encode()) <= _LONGEST else hashlib.sha256(name.encode()).hexdigest()}.part"

    @property
    def note(self) -> str:
        return f"{self.part}.json"

    def beside(self, name: str) -> str:
        """The path of what is called `name` in the same folder."""
        return f"{self.out}/{self.folder}{name}"

    def check(self) -> None:
        """Raises DownloadError "outside" when `output` cannot be below anything."""
        parts = self.output.split("/")
        if not self.name or parts[0] == "" or ".." in parts or self.name == "." or "\0" in self.output:
            raise DownloadError("outside", f"{self.output!r} does not stay below {self.out}", final=True)
        try:
            os.fsencode(self.output)
        except UnicodeEncodeError as error:
            raise DownloadError(
                "disk", f"{self.output!r} has letters that {error.encoding} file names do not"
            ) from None


@contextmanager
def disk(place: Place) -> Iterator[None]:
    """Raises DownloadError for what the file system refuses."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EFBIG:
            words = f"{place.final} is larger than a file may become there (ulimit -f, or the file system)"
            raise DownloadError("disk-full", words) from error
        if error.errno in _FULL:
            raise DownloadError("disk-full", f"no space left for {place.final}") from error
        raise DownloadError("disk", f"{place.final} cannot be written: {error.strerror or error}") from error


@contextmanager
def opened(place: Place) -> Iterator[int]:
    """The open folder of the place, made where it is missing. Blocks. Raises DownloadError "outside" if it is not."""
    with disk(place):
        folder = _open(place)
    try:
        yield folder
    finally:
        os.close(folder)


def _open(place: Place) -> int:
    place.check()
    parts = PurePosixPath(place.output).parts
    with suppress(_Symlink):
        try:
            return _descend(str(place.out), parts[:-1], place.traits)
        except FileNotFoundError:
            place.out.mkdir(parents=True, exist_ok=True)
            return _descend(str(place.out), parts[:-1], place.traits)
    # A symlink that stays inside is the user's own arrangement; what it leads to is opened without following any.
    root = os.path.realpath(place.out)
    inside = os.path.relpath(os.path.realpath(os.path.join(root, *parts[:-1])), root)  # noqa: PTH118 - a real path
    names = PurePosixPath(inside).parts
    if ".." in names:
        raise _outside(place)
    try:
        return _descend(root, names, place.traits)
    except _Symlink:
        raise _outside(place) from None  # it was none a moment ago


class _Symlink(Exception):
    """There is a symlink on the way."""


def _descend(root: str, names: Sequence[str], traits: Traits) -> int:
    folder = os.open(root, _FOLDER)
    for name in names:
        try:
            below = _enter(folder, name, traits)
        except NotADirectoryError:
            if stat.S_ISLNK(os.lstat(name, dir_fd=folder).st_mode):
                raise _Symlink from None
            raise
        finally:
            os.close(folder)
        folder = below
    return folder


def _enter(folder: int, name: str, traits: Traits) -> int:
    flags = _FOLDER | os.O_NOFOLLOW
    try:
        return os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=folder)
            with folder_sync(traits):
                os.fsync(folder)
        return os.open(name, flags, dir_fd=folder)


def remove(folder: int, name: str) -> None:
    """So that there is no such name in the folder. Blocks."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _outside(place: Place) -> DownloadError:
    return DownloadError("outside", f"{place.output!r} does not stay below {place.out}", final=True)
