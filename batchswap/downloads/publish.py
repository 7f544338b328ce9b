"""Give a verified part its final name. Only a complete, verified file ever has that name."""

import asyncio
import hashlib
import os
import re
import shutil
import stat
from functools import partial
from io import FileIO
from pathlib import Path

from batchswap.downloads.filesystem import NO_LINKS, folder_sync, rename_to_free_name, replace
from batchswap.downloads.fsync_batch import Filing, Folders, Steps
from batchswap.downloads.output_paths import Place, disk, opened, remove
from batchswap.downloads.part_file import Verified
from batchswap.errors import DownloadError


async def publish(
    place: Place, verified: Verified, *, replaces: str | None = None, filing: Filing | None = None
) -> None:
    """Give the part its final name, durably. It is safe to repeat this, also after a crash at any point.

    The file work is done together with other work that waits for `filing`. `replaces` is the SHA-256 of this task's
    former result, which is overwritten. No other file is: that raises DownloadError "output-taken" (final), and the
    part is kept. "part-gone" means that neither the part nor the final file has the verified content, so the result
    must be downloaded again.
    """
    await (filing or Filing()).do(partial(_publish, place, verified, replaces))


async def is_published(place: Place, sha256: str, size: int | None = None) -> bool:
    """Return whether the final file has this content. It is not read if its size differs from `size`."""
    return await asyncio.to_thread(_is_published, place, sha256, size)


def _publish(place: Place, verified: Verified, replaces: str | None, folders: Folders) -> Steps[None]:
    folder = folders.open(place)
    with disk(place):
        if _size(folder, place.part) == verified.size:
            if replaces is not None and _holds(folder, place.name, replaces):
                replace(folder, place.part, place.name)
            else:
                _name(folder, place, verified)
        elif not _holds(folder, place.name, verified.sha256, verified.size):
            raise DownloadError("part-gone", f"the downloaded part of {place.final} has disappeared")
        with folder_sync(place.traits):
            yield folder
        remove(folder, place.part)
        remove(folder, place.note)


def _name(folder: int, place: Place, verified: Verified) -> None:
    """Give the part the final name, unless a file with this content has it. Raise DownloadError "output-taken"."""
    try:
        if not (place.traits.has_links and _link(folder, place)):
            rename_to_free_name(folder, place.part, place.name)
    except FileExistsError:
        if not _holds(folder, place.name, verified.sha256, verified.size):
            raise DownloadError("output-taken", f"{place.final} exists and is another file", final=True) from None


def _link(folder: int, place: Place) -> bool:
    """Link the final name to the part. False on file systems without links (FAT, Android, some network shares)."""
    try:
        os.link(place.part, place.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return False
    return True


def _is_published(place: Place, sha256: str, size: int | None) -> bool:
    with opened(place) as folder, disk(place):
        return _holds(folder, place.name, sha256, size)


def _holds(folder: int, name: str, sha256: str, size: int | None = None) -> bool:
    """Return whether the name is a regular file with this content. It is not read if its size differs."""
    found = _size(folder, name)
    if found is None or size not in (None, found):
        return False
    with FileIO(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)) as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _size(folder: int, name: str) -> int | None:
    """Return the size of a regular file; None for anything else."""
    try:
        found = os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def unpublish(place: Place, sha256: str, size: int) -> bool:
    """Delete the file under the final name, durably, if it has this content. Return whether it had. Blocks.

    Raise DownloadError.
    """
    with opened(place) as folder, disk(place):
        if not _holds(folder, place.name, sha256, size):
            return False
        try:
            os.unlink(place.name, dir_fd=folder)
        except OSError as error:
            raise DownloadError("disk", f"cannot be deleted: {error.strerror}") from error
        _remove_signed(folder, place)
        with folder_sync(place.traits):
            os.fsync(folder)
    return True


def discard_part(place: Place) -> None:
    """Delete the part of a download, and what `discard_signed` does, durably. Blocks. Raise DownloadError."""
    with opened(place) as folder, disk(place):
        remove(folder, place.part)
        remove(folder, place.note)
        _remove_signed(folder, place)
        with folder_sync(place.traits):
            os.fsync(folder)


def discard_signed(place: Place) -> None:
    """Delete labelled and signed files that did not take the place of the part. Blocks. Raise DownloadError."""
    with opened(place) as folder, disk(place):
        _remove_signed(folder, place)


def _remove_signed(folder: int, place: Place) -> None:
    """Remove the signed file, an incomplete one, and copies that were encoded again by killed processes."""
    pattern = re.compile(rf"{re.escape(place.signed)}(\.new|\.\d+\.drawn\.\w+)?")
    for name in filter(pattern.fullmatch, os.listdir(folder)):
        remove(folder, name)


def copy_part(source: Path, place: Place, wanted: Verified) -> None:
    """Make the part of `place` a link to `source`, or a copy if links are not possible. Blocks.

    Raise DownloadError "source-gone" if the source has another size. Its content is checked by `publish`.
    """
    with opened(place) as folder, disk(place):
        remove(folder, place.part)
        remove(folder, place.note)
        try:
            handle = os.open(os.path.realpath(source), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise DownloadError("source-gone", f"{source} cannot be read: {error.strerror}") from None
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode) or found.st_size != wanted.size:
                raise DownloadError("source-gone", f"{source} has changed since it was stored")
            try:
                os.link(os.path.realpath(source), place.part, dst_dir_fd=folder, follow_symlinks=False)
            except OSError:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                with os.fdopen(os.open(place.part, flags, 0o666, dir_fd=folder), "wb") as copy:
                    shutil.copyfileobj(file, copy, 1 << 20)
                    copy.flush()
                    os.fsync(copy.fileno())
