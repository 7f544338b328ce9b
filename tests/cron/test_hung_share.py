"""A share whose server is away: every command says within seconds what it waits for, and completes when it is back."""

import os
import shutil
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

import pytest

from batchswap.cli.mount_watch import ANSWER, REMIND, STUCK, MountWatch
from tests.cron.conftest import QUICK, Desk
from tests.cron.share import Share, mounted
from tests.processes import Process, started
from tests.waits import LONG, wait_until

AWAY, BACK = "its file system does not answer", "its file system answers again"


class Lines:
    """The lines of a stream, as they come."""

    def __init__(self, stream: IO[str] | None) -> None:
        assert stream is not None
        self._stream, self._found = stream, list[str]()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in iter(self._stream.readline, ""):
            self._found.append(line)

    @property
    def text(self) -> str:
        return "".join(self._found)


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Share]:
    folder = tmp_path / "mounts"
    folder.mkdir()
    with mounted(folder) as found:
        yield found


@contextmanager
def running(desk: Desk, *arguments: str, **env: str | None) -> Iterator[tuple[Process, Lines]]:
    """Start a command, and give its process and its stderr."""
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    options = {"cwd": desk.folder, "env": desk.environment(**env), **streams}
    with started(desk.command(*arguments), **options) as process:
        yield process, Lines(process.stderr)


def waits(lines: Lines, share: Share) -> bool:
    return f"waiting for {share.place}: {AWAY}" in lines.text


PLACES: dict[str, tuple[str, ...]] = {
    "ledger": ("status", "--db", "{share}/b.db"),
    "results": ("run", "spring.csv", "--out", "{share}/out", *QUICK),
    "manifest": ("check", "{share}/spring.csv"),
    "input": ("check", "input.csv"),
    "report": ("report", "-o", "{share}/report.html"),
    "backup": ("backup", "{share}/copy.db"),
    "home": ("balance",),
    "state": ("balance",),
}


@pytest.mark.parametrize("which", PLACES)
def test_a_command_says_what_it_waits_for_and_goes_on_when_it_is_back(desk: Desk, share: Share, which: str) -> None:
    assert desk.finish("run", "spring.csv", *QUICK).returncode == 0
    shutil.copy(desk.folder / "batchswap.db", share.place / "b.db")
    for name in ("spring.csv", "v0.mp4", "v1.mp4", "face.png"):
        shutil.copy(desk.folder / name, share.place / name)
    (desk.folder / "input.csv").write_text(f"id,video,face\nx,{share.place}/v0.mp4,face.png\n")
    env: Mapping[str, str | None] = {
        "home": {"HOME": str(share.place), "XDG_STATE_HOME": str(desk.home)},
        "state": {"XDG_STATE_HOME": str(share.place)},
    }.get(which, {})
    share.leave()
    with running(desk, *[word.format(share=share.place) for word in PLACES[which]], **env) as (process, lines):
        wait_until(lambda: waits(lines, share), "the share is named")
        assert process.poll() is None
        share.come_back()
        assert process.wait(LONG) == 0, lines.text


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_signal_ends_a_command_that_waits(desk: Desk, share: Share, number: signal.Signals, code: int) -> None:
    assert desk.finish("run", "spring.csv", *QUICK, "--db", f"{share.place}/b.db").returncode == 0
    share.leave()
    with running(desk, "status", "--db", f"{share.place}/b.db") as (process, lines):
        wait_until(lambda: waits(lines, share), "the share is named")
        process.send_signal(number)
        assert process.wait(LONG) == code


def counts(ledger: Path) -> dict[str, int]:
    with closing(sqlite3.connect(ledger)) as db:
        return dict(db.execute("select state, count(*) from tasks group by state"))


@pytest.mark.parametrize("which", ["ledger", "results"])
def test_a_run_survives_a_share_that_is_away_for_a_while(desk: Desk, share: Share, which: str) -> None:
    desk.manifest(30, "slow")
    ledger = share.place / "b.db" if which == "ledger" else desk.folder / "b.db"
    out = share.place / "out" if which == "results" else desk.folder / "out"
    with running(desk, "run", "spring.csv", "--db", str(ledger), "--out", str(out), "--rate", "5/1s") as (
        process,
        lines,
    ):
        wait_until(lambda: list(out.glob("spring/*.mp4")), "a first result")
        share.leave()
        wait_until(lambda: waits(lines, share), "the share is named")
        if which == "results":
            before = requests(ledger)
            wait_until(lambda: requests(ledger) > before, "the run polls, although its results cannot be stored")
        share.come_back()
        assert process.wait(LONG) == 0, lines.text
    assert counts(ledger) == {"done": 30}
    with closing(sqlite3.connect(ledger)) as db:
        assert db.execute("select count(*), count(distinct task_id) from attempts").fetchone() == (30, 30)


def requests(ledger: Path) -> int:
    with closing(sqlite3.connect(ledger)) as db:
        return int(db.execute("select coalesce(sum(n), 0) from traffic").fetchone()[0])


@contextmanager
def stuck() -> Iterator[None]:
    """Keep a thread in one call."""
    reading, writing = os.pipe()
    thread = threading.Thread(target=os.read, args=(reading, 1))
    thread.start()
    try:
        yield
    finally:
        os.write(writing, b"x")
        thread.join()
        for handle in (reading, writing):
            os.close(handle)


def test_no_file_system_is_asked_while_threads_move_and_none_is_blamed_that_answers(tmp_path: Path) -> None:
    said: list[str] = []
    asked: list[int] = []

    def places() -> list[str]:
        asked.append(1)
        return [str(tmp_path)]

    watch = MountWatch(lambda _, words: said.append(words), places=places)
    for second in range(20):
        watch.look(float(second))
        watch._seen.clear()  # as if every thread had moved
    assert not asked
    with stuck():
        for second in range(20, 30):
            watch.look(float(second))
            wait_until(lambda: not watch._asked, "it answers")
    assert asked
    assert not said
    assert not watch.end()


def test_a_file_system_that_stays_away_is_named_again_each_minute(share: Share) -> None:
    said: list[str] = []
    watch = MountWatch(lambda _, words: said.append(words), places=lambda: [str(share.place)])
    share.leave()
    with stuck():
        for second in range(int(STUCK + ANSWER + REMIND + 2)):
            watch.look(1000.0 + second)
        assert said == [f"waiting for {share.place}: {AWAY} (a network share that is away?)"] * 2
        assert watch.end()
        share.come_back()
        wait_until(lambda: not watch._asked, "it answers")
        watch.look(2000.0)
    assert said[2:] == [f"{share.place}: {BACK}"]
