"""Processes that are stopped, or whose machine sleeps, in the middle of a run."""

import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.cron.conftest import Desk
from tests.processes import ROOT, started
from tests.waits import wait_until

ROWS = 24
HOURS = 8 * 3600


def counts(ledger: Path) -> tuple[dict[str, int], tuple[int, int]]:
    """Return the tasks by state, and the numbers of attempts and of tasks with one."""
    with closing(sqlite3.connect(ledger)) as db:
        states = dict(db.execute("select state, count(*) from tasks group by state"))
        return states, db.execute("select count(*), count(distinct task_id) from attempts").fetchone()


@pytest.mark.parametrize("how", ["stopped", "asleep"])
def test_a_run_that_was_stopped_goes_on(desk: Desk, how: str) -> None:
    desk.manifest(ROWS, f"slow {how}")
    file, ledger = desk.folder.parent / "asleep", desk.folder / "batchswap.db"
    env = desk.environment(ASLEEP_FILE=str(file), PYTHONPATH=f"{ROOT / 'tests/cron/asleep'}:{ROOT}")
    command = desk.command("run", "spring.csv", "--rate", "10/1s", "--in-flight", "6")
    with started(command, cwd=desk.folder, env=env, stderr=subprocess.PIPE) as process:
        wait_until(lambda: list(desk.folder.glob("results/spring/*.mp4")), "a first result")
        if how == "stopped":
            process.send_signal(signal.SIGSTOP)
            time.sleep(7)
            process.send_signal(signal.SIGCONT)
        else:
            file.write_text(str(HOURS))
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 0, said
    assert counts(ledger) == ({"done": ROWS}, (ROWS, ROWS))
    if how == "asleep":
        assert "the machine slept, or this process was stopped, for 28," in said
        with closing(sqlite3.connect(ledger)) as db:
            first, last = db.execute("select min(at), max(at) from traffic").fetchone()
        assert last - first >= HOURS, "the chart shows the requests at the time of day at which they left"
