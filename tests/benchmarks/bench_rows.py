"""Goal 5: a million rows, compared with `sqlite-utils insert --csv` on the same file, and a ledger that is half done.

`python -m tests.benchmarks.bench_rows [ROWS]`. Wall-clock time counts; the ratio of processor time is shown too.
"""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from batchswap.manifest import Source, check
from tests.benchmarks.contest import environment, server_report, serving
from tests.benchmarks.manifests import bare_yaml, seconds, write_csv, write_yaml
from tests.benchmarks.server import Plan
from tests.benchmarks.table import Goal, at_least, at_most
from tests.processes import started
from tests.waits import wait_until

ROWS = 1_000_000
YAML_TASKS = 100_000
PEER_PART = 5
"""sqlite-utils gets a fifth of the rows, and its time is multiplied by five. This saves minutes."""
MEMORY = 150.0
BIN = Path(sys.executable).parent
ENROL = """
import sys, time
from contextlib import closing
from pathlib import Path
from batchswap.ledger.file import connection as files
from batchswap.ledger.transitions import Stamp
from batchswap.manifest import Options, Source
from batchswap.runner.enrol import enrol_manifests
files.create(Path("batchswap.db"))
with closing(files.connect(Path("batchswap.db"), write=True)) as db:
    enrol_manifests(db, Stamp(time.time(), None), [Source(sys.argv[1])], Options())
"""
FINISH_HALF = """
    insert into runs(id, started_at, ended_at, pid, version, provider, account, exit_code)
        values(1, 1.0, 2.0, 1, '', 'crun', '', 7);
    update tasks set state = 'done', attempts = 1, paid = 1, file = output, size = 1, sha256 = 'ab' where id % 2;
    insert into attempts(
        task_id, batch_id, run_id, number, ref, state, day, reserved, charged, submitted_at, took, account
    ) select id, batch_id, 1, 1, 'ref' || id, 'succeeded', '2026-11-22', 1, 1, 1.0, 6.0, '' from tasks where id % 2;
    insert into events(at, run_id, task_id, attempt_id, event, state)
        select 1.0, 1, task_id, attempts.id, e.value, ''
        from attempts, json_each('["submitted","accepted","succeeded","saved"]') e;
"""


class Cost(NamedTuple):
    """Wall-clock and processor seconds, and peak memory in megabytes."""

    wall: float
    processor: float
    megabytes: float


def cost(folder: Path, command: Sequence[str]) -> Cost:
    start = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    peak = _peak(process)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return Cost(time.monotonic() - start, used.ru_utime + used.ru_stime, peak)


def _peak(process: "subprocess.Popen[bytes]") -> float:
    """Return VmHWM while the process lives. ru_maxrss would start with the value of the parent."""
    most = 0.0
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        most = max(most, _megabytes(process.pid))
        time.sleep(0.01)
    return most


def _megabytes(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def reading(folder: Path, rows: int) -> list[Goal]:
    """Compare `check` and enrolment with sqlite-utils."""
    write_csv(folder / "rows.csv", rows)
    write_csv(folder / "fewer.csv", rows // PEER_PART)
    peer = cost(folder, [str(BIN / "sqlite-utils"), "insert", "peer.db", "rows", "fewer.csv", "--csv"])
    peer = Cost(peer.wall * PEER_PART, peer.processor * PEER_PART, peer.megabytes)
    checked = cost(folder, [sys.executable, "-m", "batchswap", "check", "rows.csv"])
    enrol = cost(folder, [sys.executable, "-c", ENROL, "rows.csv"])
    return [
        _faster("`check`", checked, peer, rows),
        _faster("enrolment", enrol, peer, rows),
        at_most("peak memory of `check` and enrolment", max(checked.megabytes, enrol.megabytes), MEMORY, " MB"),
    ]


def _faster(what: str, own: Cost, peer: Cost, rows: int) -> Goal:
    processor = f"processor time × {peer.processor / own.processor:.1f}"
    detail = f" ({rows / own.wall:,.0f} and {rows / peer.wall:,.0f} rows/s; {processor})"
    return at_least(f"{what} of {rows:,} rows, × `sqlite-utils insert --csv`", peer.wall / own.wall, 5.0, "", detail)


def reading_yaml(folder: Path, tasks: int) -> list[Goal]:
    path = folder / "tasks.yaml"
    write_yaml(path, tasks)
    ratio = seconds(lambda: bare_yaml(path)) / seconds(lambda: check([Source(str(path))]))
    return [at_least(f"YAML of {tasks:,} tasks, × the C loader of PyYAML", ratio, 0.8)]


def half_done(folder: Path) -> list[Goal]:
    """Measure `status` and the start of `run` on the ledger of `reading`, with half of it done."""
    with closing(sqlite3.connect(folder / "batchswap.db")) as db:
        db.executescript(FINISH_HALF)
    status = cost(folder, [sys.executable, "-m", "batchswap", "status"])
    with serving(Plan()) as url:
        command = [sys.executable, "-m", "batchswap", "run", "rows.csv", "--base-url", url, "--min-free", "0", "-q"]
        start = time.monotonic()
        with started(command, cwd=folder, env=environment(folder), stderr=subprocess.DEVNULL) as process:
            first = wait_until(lambda: server_report(url)["first"], "the first request", 120.0, pause=0.02)
            time.sleep(3.0)
            peak = _megabytes(process.pid)
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    return [
        at_most("`run`, half of them done: first request after", first - start, 1.5, " s"),
        at_most("its memory after 3 s", peak, MEMORY, " MB"),
        at_most("`status`, half of them done", status.wall, 1.5, " s", f" ({status.megabytes:.0f} MB)"),
    ]


def main(rows: int = ROWS) -> list[Goal]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return [*reading(folder, rows), *reading_yaml(folder, rows // 10), *half_done(folder)]


if __name__ == "__main__":
    print(*main(*map(int, sys.argv[1:])), sep="\n")
