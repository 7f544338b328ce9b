"""The text of /proc/self/mountinfo."""

import pytest

from batchswap.mounts import Mount, mount_of, parse

TEXT = r"""22 28 0:21 / /proc rw,nosuid shared:5 - proc proc rw
28 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
42 28 0:39 / /mnt/a\040share rw,nosuid master:3 shared:7 - nfs4 server:/export\134x rw,vers=4.2,hard,local_lock=none
43 28 0:40 / /mnt/a rw - fuse.sshfs me@host: rw,user_id=0
44 28 0:41 / /mnt/a/b rw - cifs //server/x rw,nobrl
45 28 0:42 / /mnt/a/b rw - vfat /dev/sdb1
46 28 0:43 / /net rw - autofs systemd-1 rw,fd=29
broken line
47 28 0:44 / /short - ext4
"""
MOUNTS = parse(TEXT)


def test_places_types_and_options() -> None:
    assert [each.place for each in MOUNTS] == ["/proc", "/", "/mnt/a share", "/mnt/a", "/mnt/a/b", "/mnt/a/b", "/net"]
    assert MOUNTS[2] == Mount("/mnt/a share", "nfs4", ("rw", "nosuid", "rw", "vers=4.2", "hard", "local_lock=none"))
    assert (MOUNTS[2].value("local_lock"), MOUNTS[4].value("nobrl"), MOUNTS[4].value("local_lock")) == (
        "none",
        "",
        None,
    )
    assert MOUNTS[5].options == ("rw",)


@pytest.mark.parametrize(
    ("path", "type_"),
    [
        ("/", "ext4"), ("/home/x", "ext4"), ("/mnt/a share/db", "nfs4"), ("/mnt/a", "fuse.sshfs"), ("/mnt/ab", "ext4"),
        ("/mnt/a/bc", "fuse.sshfs"), ("/mnt/a/b/c", "vfat"),
    ],
)  # fmt: skip
def test_the_mount_of_a_path_is_the_innermost_and_latest(path: str, type_: str) -> None:
    found = mount_of(path, MOUNTS)
    assert found is not None
    assert found.type == type_


def test_a_path_may_have_no_mount() -> None:
    assert mount_of("/x", [each for each in MOUNTS if each.place != "/"]) is None


def test_only_some_file_systems_may_be_away() -> None:
    assert [each.type for each in MOUNTS if each.may_be_away] == ["ext4", "nfs4", "fuse.sshfs", "cifs", "vfat"]


@pytest.mark.parametrize(
    ("type_", "options", "is_local"),
    [
        ("ext4", "rw,relatime", False),
        ("nfs4", "rw,vers=4.2,hard,local_lock=none", False),
        ("nfs", "rw,vers=3,local_lock=none", False),
        ("nfs", "rw,vers=3,nolock,local_lock=all", True),
        ("nfs", "rw,vers=3,local_lock=flock", True),
        ("nfs", "rw,vers=3,local_lock=posix", False),  # a run holds flock
        ("cifs", "rw,vers=3.1.1", False),
        ("cifs", "rw,nobrl", True),
        ("lustre", "rw,localflock", True),
        ("gfs2", "rw,localflocks", True),
        ("fuse.sshfs", "rw,user_id=0", True),
        ("vboxsf", "rw", True),
        ("overlay", "rw,lowerdir=/nolock", False),
        ("virtiofs", "rw", False),
    ],
)
def test_locks_that_another_host_does_not_see(type_: str, options: str, is_local: bool) -> None:
    assert Mount("/x", type_, tuple(options.split(","))).has_local_locks is is_local
