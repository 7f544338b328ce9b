"""Find and open the place of a result, and keep it below --out.

Each folder is opened relative to its open parent and not by its path, so a symlink that appears between a check and its
use is not followed.
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
_LONGEST = 132  # bytes of a name: the strictest file system allows 143, and a part's name is up to 11 bytes longer


class Place(msgspec.Struct, frozen=True):
    """The relative path `output`, with "/" between its parts, below `out`. `traits` belong to its file system."""

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
        """The folder below `out`, with a "/" at its end; "" for `out` itself."""
        return self.output[: len(self.output) - len(self.name)]

    @property
    def part(self) -> str:
        """The name of the incomplete file, next to the final one. It is hidden, so that other programs ignore it."""
        name = self.name
        return f".{name if len(name.encode()) <= _LONGEST else hashlib.sha256(name.encode()).hexdigest()}.part"

    @property
    def note(self) -> str:
        return f"{self.part}.json"

    @property
    def signed(self) -> str:
        """The name of the file that is labelled or signed, until it takes the place of the part."""
        return f"{self.part.removesuffix('.part')}.sign"

    def check(self) -> None:
        """Raise DownloadError "outside" if `output` is not a path below `out`."""
        parts = self.output.split("/")
        if not self.name or parts[0] == "" or ".." in parts or self.name == "." or "\0" in self.output:
            raise _outside(self)
        try:
            os.fsencode(self.output)
        except UnicodeEncodeError as error:
            words = f"{self.output!r} has letters that the encoding {error.encoding} lacks; use a UTF-8 locale"
            raise DownloadError("disk", words) from None


@contextmanager
def disk(place: Place) -> Iterator[None]:
    """Raise DownloadError for errors of the file system."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EFBIG:
            words = f"{place.final} is larger than the file system or `ulimit -f` allows"
            raise DownloadError("disk-full", words) from error
        if error.errno in _FULL:
            raise DownloadError("disk-full", f"no space left for {place.final}") from error
        raise DownloadError("disk", f"{place.final} cannot be written: {error.strerror or error}") from error


@contextmanager
def opened(place: Place) -> Iterator[int]:
    """Yield the open folder of the place, created if needed. Blocks. Raise DownloadError, "outside" for a symlink."""
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
    # The user may have symlinks within `out`: resolve them, and then open the result without following any.
    root = os.path.realpath(place.out)
    inside = os.path.relpath(os.path.realpath(os.path.join(root, *parts[:-1])), root)  # noqa: PTH118 - a real path
    names = PurePosixPath(inside).parts
    if ".." in names:
        raise _outside(place)
    try:
        return _descend(root, names, place.traits)
    except _Symlink:
        raise _outside(place) from None  # it has just been created


class _Symlink(Exception):
    """The path contains a symlink."""


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
    """Remove a name from the folder if it exists. Blocks."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _outside(place: Place) -> DownloadError:
    return DownloadError("outside", f"{place.output!r} is not a path below {place.out}", final=True)
