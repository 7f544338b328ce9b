"""A file system that stops answering, like a network share whose server is away.

`python -m tests.cron.share FOLDER MOUNT` shows FOLDER at MOUNT. While its process is stopped, no call returns, and only
a fatal signal ends the process that has called, as with a hard mount of NFS. It needs FUSE and the right to mount.
"""

# ruff: noqa: PTH101, PTH102, PTH104, PTH106, PTH108, PTH208
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT, Process, started
from tests.waits import first_line, wait_until

FIELDS = ("mode", "nlink", "size", "uid", "gid", "atime", "mtime", "ctime", "ino")


@dataclass(frozen=True)
class Share:
    """The mounted share."""

    place: Path
    back: Path
    process: Process

    def leave(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def come_back(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def mounted(folder: Path, *options: str, back: Path | None = None) -> Iterator[Share]:
    """Mount a share at `folder/share`, with the files of `back`. Skip the test where that is not possible."""
    try:
        import fuse  # noqa: F401
    except OSError:
        pytest.skip("libfuse is not installed")
    back, place = back or folder / "back", folder / "share"
    back.mkdir(exist_ok=True)
    place.mkdir(parents=True)
    command = [sys.executable, "-m", "tests.cron.share", str(back), str(place), *options]
    with started(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        if first_line(process.stdout) != "mounting":
            pytest.skip("FUSE does not work here")
        try:
            wait_until(lambda: os.path.ismount(place) or process.poll() is not None, "the share is mounted")
            if process.poll() is not None:
                pytest.skip("this user cannot mount with FUSE")
            yield Share(place, back, process)
        finally:
            process.kill()  # all calls that hang fail now
            subprocess.run(["fusermount", "-u", "-z", str(place)], check=False, capture_output=True)


class Passthrough:
    """The calls of FUSE, passed to a folder."""

    def __init__(self, back: str) -> None:
        self._back = back

    def __call__(self, call: str, *arguments: Any) -> Any:
        from fuse import FuseOSError

        try:
            return getattr(self, call)(*arguments)
        except OSError as error:
            raise FuseOSError(error.errno or errno.EIO) from error

    def _real(self, path: str) -> str:
        return self._back + path

    def init(self, path: str) -> None: ...

    def destroy(self, path: str) -> None: ...

    def access(self, path: str, mode: int) -> None: ...

    def getattr(self, path: str, handle: int | None = None) -> dict[str, Any]:
        found = os.lstat(self._real(path))
        return {f"st_{name}": getattr(found, f"st_{name}") for name in FIELDS}

    def statfs(self, path: str) -> dict[str, Any]:
        found = os.statvfs(self._back)
        return {name: getattr(found, name) for name in dir(found) if name.startswith("f_") and name != "f_fsid"}

    def readdir(self, path: str, handle: int) -> list[str]:
        return [".", "..", *os.listdir(self._real(path))]

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(self._real(path), mode)

    def rmdir(self, path: str) -> None:
        os.rmdir(self._real(path))

    def unlink(self, path: str) -> None:
        os.unlink(self._real(path))

    def rename(self, old: str, new: str) -> None:
        os.rename(self._real(old), self._real(new))

    def link(self, new: str, old: str) -> None:
        os.link(self._real(old), self._real(new))

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(self._real(path), mode)

    def utimens(self, path: str, times: tuple[float, float] | None = None) -> None:
        os.utime(self._real(path), times)

    def truncate(self, path: str, size: int, handle: int | None = None) -> None:
        os.truncate(self._real(path), size)

    def create(self, path: str, mode: int, info: Any = None) -> int:
        return os.open(self._real(path), os.O_RDWR | os.O_CREAT, mode)

    def open(self, path: str, flags: int) -> int:
        return os.open(self._real(path), flags & ~(os.O_CREAT | os.O_EXCL))

    def read(self, path: str, size: int, offset: int, handle: int) -> bytes:
        return os.pread(handle, size, offset)

    def write(self, path: str, data: bytes, offset: int, handle: int) -> int:
        return os.pwrite(handle, data, offset)

    def fsync(self, path: str, is_data: int, handle: int) -> None:
        os.fsync(handle)

    def release(self, path: str, handle: int) -> None:
        os.close(handle)


def serve(back: str, place: str, *options: str) -> None:
    """Serve until the share is unmounted. `options` are of FUSE, such as `subtype=sshfs`."""
    from fuse import FUSE

    print("mounting", flush=True)
    named = dict(each.split("=", 1) for each in options)
    FUSE(Passthrough(back), place, foreground=True, use_ino=True, attr_timeout=0, entry_timeout=0, **named)


if __name__ == "__main__":
    serve(*sys.argv[1:])
