"""A result that is on the disk already, as the part of another place."""

import os
import shutil
import stat
from pathlib import Path

from batchswap.downloads.output_paths import Place, disk, opened, remove
from batchswap.downloads.part_file import Verified
from batchswap.errors import DownloadError


def copy_part(source: Path, place: Place, wanted: Verified) -> None:
    """Make the part of `place` a link to `source`, or a copy where links are not possible. Blocks.

    Raises DownloadError "source-gone" when the source is not the file that is wanted, as far as its size tells;
    `publish` reads it.
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
                raise DownloadError("source-gone", f"{source} is another file now")
            try:
                os.link(os.path.realpath(source), place.part, dst_dir_fd=folder, follow_symlinks=False)
            except OSError:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                with os.fdopen(os.open(place.part, flags, 0o666, dir_fd=folder), "wb") as copy:
                    shutil.copyfileobj(file, copy, 1 << 20)
                    copy.flush()
                    os.fsync(copy.fileno())
