"""The lines for cron in the documentation, run as cron runs them; and starts that overlap."""

import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.cron.conftest import QUICK, Desk
from tests.processes import ROOT, Process
from tests.waits import wait_until

LINE = re.compile(r"^`?((?:[\d*/-]+ ){4}[\d*/-]+) (cd [^`]+?batchswap run [^`\n]+)", re.MULTILINE)
PAGES = ("README.md", "batchswap/docs/guide.md", "batchswap/docs/unattended.md", "manifests/cron/crontab")
JOBS = [(page, found[2]) for page in PAGES for found in LINE.finditer((ROOT / page).read_text(encoding="utf-8"))]


def state(ledger: Path) -> tuple[dict[str, int], tuple[int, int]]:
    """Return the tasks by state, and the numbers of attempts and of tasks with one."""
    with closing(sqlite3.connect(ledger)) as db:
        states = dict(db.execute("select state, count(*) from tasks group by state"))
        return states, db.execute("select count(*), count(distinct task_id) from attempts").fetchone()


@pytest.fixture
def path(desk: Desk) -> str:
    """Return a PATH with the installed program."""
    program = desk.folder.parent / "bin" / "batchswap"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m batchswap "$@"\n')
    program.chmod(0o755)
    return f"{program.parent}:/usr/bin:/bin"


def test_every_page_has_its_line() -> None:
    assert {page for page, _ in JOBS} == set(PAGES)
    assert any("--tick" in job for _, job in JOBS)


@pytest.mark.parametrize("job", sorted({job for _, job in JOBS}))
def test_a_line_of_the_documentation_works_as_cron_runs_it(desk: Desk, path: str, job: str) -> None:
    shutil.copy(desk.folder / "spring.csv", desk.folder / "night.csv")
    command = job.replace("cd /srv/spring", f"cd {desk.folder}", 1).replace("/var/lib/node_exporter", str(desk.folder))
    assert command != job
    is_tick = "--tick" in command
    for _ in range(30):
        done = desk.shell(["/bin/sh", "-c", command], PATH=path)
        assert done.returncode in ((0, 7) if is_tick else (0,)), done.stderr
        if done.returncode == 0:
            break
        assert done.stderr == "", "a tick with work left sends no mail"
    assert state(desk.folder / "batchswap.db") == ({"done": 2}, (2, 2))
    assert (done.stdout, "done: 2 done" in done.stderr) == ("", True)


def begin(desk: Desk, *arguments: str) -> Process:
    return subprocess.Popen(
        desk.command("run", "spring.csv", *QUICK, *arguments),
        cwd=desk.folder,
        env=desk.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("choice", "codes"), [(("skip",), {0}), (("wait",), {0}), (("fail",), {0, 75}), (("skip", "--tick"), {0, 7})]
)
def test_many_starts_at_one_moment_without_a_ledger_do_the_work_once(
    desk: Desk, choice: tuple[str, ...], codes: set[int]
) -> None:
    """One creates the ledger while the others look for it."""
    desk.manifest(4, " ".join(choice))
    several = [begin(desk, "--if-running", *choice) for _ in range(20 if choice == ("skip",) else 6)]
    ends = [(each.communicate(timeout=100)[1], each.returncode) for each in several]
    assert {code for _, code in ends} <= codes, ends
    assert not [said for said, _ in ends if "bug" in said or "Traceback" in said]
    assert 0 in {code for _, code in ends} or "--tick" in choice
    for _ in range(30):
        last = desk.finish("run", "spring.csv", *QUICK, "--if-running", *choice)
        if last.returncode == 0:
            break
    assert state(desk.folder / "batchswap.db") == ({"done": 4}, (4, 4))


@pytest.mark.parametrize("choice", ["skip", "wait"])
def test_the_next_start_after_a_kill_does_the_rest(desk: Desk, choice: str) -> None:
    desk.manifest(20, f"slow {choice}")
    held = begin(desk, "--rate", "3/1s")
    ledger = desk.folder / "batchswap.db"
    wait_until(lambda: list(desk.folder.glob("results/spring/*.mp4")), "a first result")
    waiting = begin(desk, "--if-running", "wait") if choice == "wait" else None
    skipped = desk.finish("run", "spring.csv", *QUICK, "-q", "--if-running", "skip")
    assert (skipped.returncode, skipped.stderr) == (0, "skipped: another run is using batchswap.db\n")
    held.send_signal(signal.SIGKILL)
    held.communicate()
    following = waiting or begin(desk, "--if-running", "skip")
    said = following.communicate(timeout=100)[1]
    states, (attempts, tasks) = state(ledger)
    assert attempts == tasks == 20, "nothing was submitted twice"
    assert states["done"] >= 19, said
    assert following.returncode == (0 if states == {"done": 20} else 4), "a submit in flight may be uncertain"
