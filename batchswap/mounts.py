"""Mounted file systems, from the text of /proc/self/mountinfo. Pure."""

import re
from collections.abc import Iterator, Sequence

import msgspec

NO_FILES = (
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs",
    "fusectl", "hugetlbfs", "mqueue", "nsfs", "proc", "pstore", "ramfs", "rpc_pipefs", "securityfs", "selinuxfs",
    "sysfs", "tmpfs", "tracefs", "fuse.gvfsd-fuse", "fuse.portal", "fuse.lxcfs",
)  # fmt: skip
"""Types whose files are never away. `autofs` is among them because a look at it would mount a share."""

_LOCAL_TYPES = (
    "fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.gcsfuse", "fuse.goofys", "fuse.curlftpfs", "fuse.davfs", "davfs",
    "vboxsf", "fuse.vmhgfs-fuse",
)  # fmt: skip
"""Types of shares whose locks hold on one host only, because they are not sent to the server."""
_LOCAL_OPTIONS = ("nolock", "nobrl", "localflock", "localflocks", "forcenobrl")
"""Options with the same effect: of NFS, CIFS, Lustre and GFS2."""


class Mount(msgspec.Struct, frozen=True):
    """A file system at `place`. `options` are those of the mount and of the file system."""

    place: str
    type: str
    options: tuple[str, ...] = ()

    @property
    def may_be_away(self) -> bool:
        """Return whether a server may have to answer for its files."""
        return self.type not in NO_FILES

    @property
    def has_local_locks(self) -> bool:
        """Return whether another host does not see the locks of this one."""
        is_told = any(self.value(option) is not None for option in _LOCAL_OPTIONS)
        return is_told or self.type in _LOCAL_TYPES or self.value("local_lock") in ("all", "flock")

    def value(self, option: str) -> str | None:
        """Return the value of `option=value`; "" for a bare option, and None without it."""
        found = (each.partition("=") for each in self.options)
        return next((value for name, _, value in found if name == option), None)


def parse(text: str) -> list[Mount]:
    """Return the mounts, in the order of the file. Lines of another form are ignored."""
    return list(_parse(text.splitlines()))


def _parse(lines: Sequence[str]) -> Iterator[Mount]:
    """See proc_pid_mountinfo(5): optional fields end with a hyphen."""
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, more = before.split(" "), after.split(" ")
        if len(fields) >= 6 and len(more) >= 2:
            options = ",".join([fields[5], *more[2:3]])
            yield Mount(_unescaped(fields[4]), more[0], tuple(options.split(",")))


def _unescaped(text: str) -> str:
    """Return a path in which blanks, tabs, line ends and backslashes are written as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def mount_of(path: str, mounts: Sequence[Mount]) -> Mount | None:
    """Return the mount that holds this absolute path without links; the latest one if several have the same place."""
    fitting = [each for each in mounts if _holds(each.place, path)]
    return max(reversed(fitting), key=lambda each: len(each.place), default=None)


def _holds(place: str, path: str) -> bool:
    return path == place or path.startswith(place.rstrip("/") + "/")
