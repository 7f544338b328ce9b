"""The folder of results: missing features are no failure, and impossible names are found before paying."""

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batchswap.downloads import folder_trial
from batchswap.runner.collect.storage_trouble import samples
from tests.chaos.shop import Shop
from tests.chaos.vendor import Vendor, selling
from tests.cli.conftest import Place
from tests.http.scripted import Act, Request


@pytest.fixture
def stall(place: Place) -> Iterator[Shop]:
    """Return a server without a rate limit."""
    with selling() as vendor:
        yield Shop(place.folder, vendor)


def refuse(
    monkeypatch: pytest.MonkeyPatch, name: str, number: int, when: Callable[..., bool] = lambda *_: True
) -> None:
    """Make a system call fail with this error from now on, if `when` is true for its arguments."""
    real = getattr(os, name)

    def call(*given: Any, **also: Any) -> Any:
        if when(*given):
            raise OSError(number, os.strerror(number))
        return real(*given, **also)

    monkeypatch.setattr(os, name, call)


def is_folder(handle: int) -> bool:
    return stat.S_ISDIR(os.fstat(handle).st_mode)


def is_below(folder: Path) -> Callable[[int], bool]:
    return lambda handle: str(folder) in str(Path(f"/proc/self/fd/{handle}").readlink())


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_share_that_cannot_sync_folders_holds_results(
    stall: Shop, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    pairs = stall.rows(3)
    refuse(monkeypatch, "fsync", number, is_folder)
    done = stall.run("--rate", "none")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count("cannot sync folders") == 1
    assert stall.results() == stall.expected(pairs)


@pytest.mark.parametrize(
    "number",
    [errno.EACCES, errno.EINVAL, errno.EPERM, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EOPNOTSUPP, errno.EIO],
)
def test_a_share_without_hard_links_holds_results(stall: Shop, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    pairs = stall.rows(3)
    refuse(monkeypatch, "link", number)
    done = stall.run("--rate", "none")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count("has no hard links") == 1
    assert stall.results() == stall.expected(pairs)


def test_a_share_without_locks_holds_results(stall: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = stall.rows(2)
    real = fcntl.flock

    def flock(handle: int, operation: int) -> None:
        if is_below(stall.folder / "out")(handle):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        real(handle, operation)

    monkeypatch.setattr("fcntl.flock", flock)
    assert stall.run("--rate", "none").exit_code == 0
    assert stall.results() == stall.expected(pairs)


def test_a_folder_whose_files_cannot_be_synced_gets_nothing_paid(stall: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    stall.rows(3)
    out = stall.folder / "out"
    refuse(monkeypatch, "fsync", errno.EIO, is_below(out))
    done = stall.run("--rate", "none")
    assert done.exit_code == 2, done.stderr
    assert "no result can be stored in --out" in done.stderr
    assert "Input/output error" in done.stderr
    assert stall.vendor.requests("submit") == 0
    assert list(out.iterdir()) == [], "nothing is left of the trial"


def test_names_that_a_share_refuses_are_named_before_anything_is_paid(
    stall: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "x" * 160 + ".mp4"
    rows = [("fine", "fine.mp4"), ("colon", "take: 1.mp4"), ("dot", "take./1.mp4"), ("long", long), ("nul", "aux.mp4")]
    lines = [f'{key},https://c.example/{key}.mp4,https://c.example/f.jpg,"{output}"' for key, output in rows]
    (stall.folder / "spring.csv").write_text("\n".join(["id,video,face,output", *lines, ""]))

    def is_odd(name: Any, *_: Any) -> bool:
        text = str(name).rpartition("/")[2]
        return ":" in text or text.endswith(".") or len(text) > 143 or text == "aux.mp4"

    with monkeypatch.context() as share:
        refuse(share, "open", errno.EINVAL, is_odd)
        refuse(share, "mkdir", errno.EINVAL, is_odd)
        done = stall.run("--rate", "none")
    assert done.exit_code == 2, done.stderr
    assert "4 rows' results cannot be stored in --out" in done.stderr
    for key in ("colon", "dot", "long", "nul"):
        assert f"spring/{key} (" in done.stderr
    assert stall.vendor.requests("submit") == 0
    again = stall.run("--rate", "none")
    assert again.exit_code == 0, "on another file system the same rows are worked off"
    assert len(stall.results()) == len(rows)


@pytest.mark.parametrize("command", ["check", "plan", "run"])
def test_names_that_a_share_cannot_look_up_are_named_with_their_line(
    stall: Shop, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    (stall.folder / "out").mkdir()
    rows = [
        "a,https://c.example/a.mp4,https://c.example/f.jpg,a.mp4",
        "b,https://c.example/b.mp4,https://c.example/f.jpg,b:.mp4",
    ]
    (stall.folder / "spring.csv").write_text("\n".join(["id,video,face,output", *rows, ""]))
    refuse(monkeypatch, "lstat", errno.EINVAL, lambda name, **_: ":" in str(name))
    refuse(monkeypatch, "stat", errno.EINVAL, lambda name, **_: ":" in str(name))
    done = stall.call(command, str(stall.folder / "spring.csv"), "--out", str(stall.folder / "out"))
    assert done.exit_code == 2
    assert "spring.csv:3: output: cannot be stored in --out" in done.stderr
    assert list((stall.folder / "out").iterdir()) == []


def test_names_of_143_bytes_have_parts_that_are_no_longer(stall: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    output = "y" * 139 + ".mp4"
    (stall.folder / "spring.csv").write_text(
        f"id,video,face,output\na,https://c.example/a.mp4,https://c.example/f.jpg,{output}\n"
    )
    refuse(monkeypatch, "open", errno.ENAMETOOLONG, lambda name, *_: len(str(name).rpartition("/")[2]) > 143)
    assert stall.run("--rate", "none").exit_code == 0
    assert list(stall.results()) == [output]


def test_disk_failures_in_a_row_stop_submits_and_the_next_run_fetches_paid_results(
    stall: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = stall.rows(30)
    with monkeypatch.context() as disk:
        refuse(disk, "fsync", errno.EIO, lambda handle: ".part" in str(Path(f"/proc/self/fd/{handle}").readlink())
               and ".batchswap-trial" not in str(Path(f"/proc/self/fd/{handle}").readlink()))  # fmt: skip
        done = stall.run("--rate", "none", "--retries", "0", "--in-flight", "2", "--ahead", "2")
    assert done.exit_code == 3, done.stderr
    assert "3 results in a row could not be stored: nothing more is submitted" in done.stderr
    paid = stall.vendor.requests("submit")
    assert 3 <= paid < 10
    assert dict(stall.select("select state, n from tallies where n > 0")) == {"fetching": paid, "queued": 30 - paid}
    assert stall.run("--rate", "none").exit_code == 0
    assert stall.results() == stall.expected(pairs)
    assert set(stall.vendor.accepted.values()) == {1}, "nothing was paid twice"


def test_one_disk_failure_leaves_its_task_to_the_next_run(stall: Shop) -> None:
    """The obstacle is real and appears after the submit: a file in the place of a folder."""
    pairs = stall.rows(2)
    blocked = stall.folder / "out" / "spring"

    def block(_: Vendor, kind: str, request: Request) -> Act | None:
        if kind == "submit" and not blocked.exists():
            blocked.write_text("in the way")
        return None

    stall.vendor.spoil = block
    done = stall.run("--rate", "none", "--retries", "0")
    assert done.exit_code == 3
    assert "the next run fetches them" in done.stderr
    blocked.unlink()
    stall.vendor.spoil = lambda *_: None
    assert stall.run("--rate", "none").exit_code == 0
    assert stall.results() == stall.expected(pairs)
    assert stall.vendor.requests("submit") == 2


def test_a_folder_that_is_in_the_way_is_found_before_anything_is_paid(stall: Shop) -> None:
    pairs = stall.rows(2)
    taken = stall.folder / "out" / "spring"
    taken.parent.mkdir()
    taken.write_text("a file where the batch's folder should be")
    done = stall.run("--rate", "none")
    assert (done.exit_code, stall.vendor.accepted.total()) == (3, 0)
    shown = stall.call("show", "r0", "--db", str(stall.folder / "b.db")).output
    assert f"{taken} is not a folder" in shown
    taken.unlink()
    assert stall.call("retry", "--db", str(stall.folder / "b.db")).exit_code == 0
    assert stall.run("--rate", "none").exit_code == 0
    assert stall.results() == stall.expected(pairs)


def test_the_leftovers_of_a_killed_trial_are_removed_by_the_next(stall: Shop) -> None:
    stall.rows(1)
    left = stall.folder / "out" / folder_trial.FOLDER / f"{os.uname().nodename}-{2**22 + 1}" / "names"
    left.mkdir(parents=True)
    (left / "take: 1.mp4").touch()
    assert stall.run("--rate", "none").exit_code == 0
    assert sorted(path.name for path in (stall.folder / "out").iterdir()) == ["spring"]


def test_a_rename_overwrites_no_file(stall: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file appears between the submit and the result, on a share without hard links."""
    stall.rows(1)
    taken = stall.folder / "out" / "spring" / "r0.mp4"

    def appear(_: Vendor, kind: str, request: Request) -> Act | None:
        if kind == "media":
            taken.parent.mkdir(exist_ok=True)
            taken.write_text("mine")
        return None

    stall.vendor.spoil = appear
    refuse(monkeypatch, "link", errno.EACCES)
    done = stall.run("--rate", "none", "--retries", "0")
    assert done.exit_code == 3
    assert taken.read_text() == "mine"


def test_a_few_outputs_are_checked_for_all() -> None:
    names = [f"b/плёнка {number}.mp4" for number in range(5_000)] + ["b/con.mp4", "b/end./x.mp4", "b/" + "z" * 200]
    found = samples(names)
    assert len(found) < 20
    assert set(names[-3:]) <= set(found)
