"""`batchswap` as a process: killed at any moment and resumed, interrupted, without streams, on a terminal."""

import hashlib
import os
import pty
import random
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.cli.conftest import Place
from tests.cli.processes import environment, finish, serving, start
from tests.ports import callback_options
from tests.waits import wait_until

ROWS, KILLS = 24, 6


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture
def env(place: Place, base_url: str) -> dict[str, str]:
    return environment(base_url, place.folder / "home")


def listening() -> list[str]:
    """Return the options of a run without a limit that waits for no poll."""
    return ["--rate", "none", *callback_options()]


def results(folder: Path) -> dict[str, str]:
    """Return every file below a folder of results with its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def count(folder: Path, table: str, where: str = "true") -> int:
    """Return the number of rows in the ledger; 0 if there is none."""
    if not (folder / "batchswap.db").exists():
        return 0
    ledger = sqlite3.connect(f"file:{folder}/batchswap.db?mode=ro", uri=True)
    try:
        return int(ledger.execute(f"select count(*) from {table} where {where}").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        ledger.close()


def has_begun(folder: Path, number: int) -> bool:
    return count(folder, "runs") >= number


def exit_codes(child: int) -> list[int]:
    """Return the exit code of a child of this process, once it has ended."""
    ended, status = os.waitpid(child, os.WNOHANG)
    return [os.waitstatus_to_exitcode(status)] if ended else []


def charged(folder: Path, db: str) -> list[tuple[str, int]]:
    """Return the number of accepted attempts of each task."""
    ledger = sqlite3.connect(folder / db)
    try:
        sql = (
            "select t.key, sum(a.remote_id is not null) from tasks t join attempts a on a.task_id = t.id group by t.id"
        )
        return ledger.execute(sql).fetchall()
    finally:
        ledger.close()


def test_killed_at_random_moments_and_resumed(place: Place, tmp_path: Path) -> None:
    """After many SIGKILLs, the files are those of an undisturbed run, and no pair of inputs was accepted twice."""
    name = place.manifest("spring.csv", ROWS, "slow")
    with serving(tmp_path / "server") as url:
        env = environment(url, place.folder / "home")
        dice = random.Random(7)
        common = ["run", name, "--in-flight", "8", "--no-progress"]
        for number in range(1, KILLS + 1):
            process = start(place.folder, env, *common, *listening(), stderr=subprocess.DEVNULL)
            wait_until(partial(has_begun, place.folder, number), f"run {number} in the ledger")
            time.sleep(dice.random() * 0.5)
            process.kill()
            process.wait(30)
        resolve_all(place.folder, env)
        last = finish(place.folder, env, *common, *listening())
        assert last.returncode == 0, last.stderr
        books = sqlite3.connect(tmp_path / "server" / "tasks.db")
        accepted = books.execute("select target, faces, count(*) from tasks group by target, faces").fetchall()
        books.close()
    assert [count for _, _, count in accepted] == [1] * ROWS
    with serving(tmp_path / "undisturbed") as url:
        env = environment(url, place.folder / "home")
        calm = finish(place.folder, env, *common, *listening(), "--db", "calm.db", "--out", "calm")
        assert calm.returncode == 0, calm.stderr
    assert results(place.folder / "results") == results(place.folder / "calm")
    assert len(results(place.folder / "calm")) == ROWS


def resolve_all(folder: Path, env: dict[str, str]) -> None:
    """Resolve uncertain tasks from the account's page, like a person on the next morning."""
    finish(folder, env, "run", "spring.csv", "--limit", "0", *listening())
    server = Path(env["HOME"]).parent.parent / "server" / "tasks.db"
    for key in finish(folder, env, "tasks", "--state", "uncertain", "--format", "csv").stdout.splitlines()[1:]:
        name = key.split(",")[1]
        page = sqlite3.connect(server)
        ref = finish(folder, env, "show", name).stdout.split("idempotency key: ")[-1].split()[0]
        row = page.execute("select id from tasks where idempotency_key = ?", (ref,)).fetchone()
        page.close()
        word = ["--not-accepted"] if row is None else ["--task-id", row[0], "--rate", "none"]
        said = finish(folder, env, "resolve", name, *word)
        assert said.returncode == 0, said.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_in_order(place: Place, env: dict[str, str], number: signal.Signals, code: int) -> None:
    name = place.manifest(f"spring{code}.csv", 30, f"slow {code}")
    arguments = ["run", name, "--in-flight", "4", *listening()]
    process = start(place.folder, env, *arguments, stderr=subprocess.PIPE)
    assert process.stderr is not None
    wait_until(lambda: count(place.folder, "attempts", "remote_id is not null"), "an accepted attempt")
    process.send_signal(number)
    said = process.communicate(timeout=30)[1].splitlines()
    assert process.returncode == code, said
    assert any("ending: nothing more is submitted" in line for line in said)
    assert said[-1].startswith("interrupted: " if code == 130 else "terminated: ")
    assert said[-1].endswith("; run the same command again to resume")
    again = finish(place.folder, env, *arguments)
    assert again.returncode == 0, again.stderr
    assert all(count == 1 for _, count in charged(place.folder, "batchswap.db"))


def test_a_closed_pipe_ends_a_command_quietly(place: Place, env: dict[str, str]) -> None:
    name = place.manifest("spring.csv", 200)
    finish(place.folder, env, "run", name, "--limit", "0")
    for arguments in (["tasks"], ["status"], ["tasks", "--format", "json"]):
        process = start(place.folder, env, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        process.stderr.close()
        assert process.wait(20) == 0


def test_a_run_works_without_any_stream(place: Place, env: dict[str, str]) -> None:
    """Some daemons start their children with 0, 1 and 2 closed."""
    name = place.manifest("spring.csv", 1, "streams")
    line = f'exec "$0" -m batchswap run {name} {" ".join(listening())} --json <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", line, sys.executable], cwd=place.folder, env=env, check=False, timeout=60)
    assert done.returncode == 0
    assert "exit 0: all done" in finish(place.folder, env, "status").stdout
    assert len(results(place.folder / "results")) == 1


def test_a_full_disk_is_reported(place: Place, env: dict[str, str]) -> None:
    finish(place.folder, env, "run", place.manifest("spring.csv", 1), "--limit", "0")
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "batchswap", "tasks"], cwd=place.folder, env=env, stdout=full,
            stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "batchswap: No space left on device\n"


def test_a_log_that_cannot_be_written_changes_no_exit_code(place: Place, env: dict[str, str]) -> None:
    name = place.manifest("spring.csv", 1, "full log")
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "batchswap", "run", name, *listening()], cwd=place.folder, env=env, stderr=full,
            check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 0
    assert len(results(place.folder / "results")) == 1


def on_terminal(folder: Path, env: dict[str, str], *arguments: str, interrupt_at: str | None = None) -> tuple[str, int]:
    """Return the output on a terminal and the exit code. Press Ctrl-C when `interrupt_at` appears."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "batchswap", *arguments], cwd=folder, env={**env, "TERM": "xterm"}, stdin=slave,
        stdout=slave, stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    seen = b""
    deadline = time.monotonic() + 90
    while True:
        assert time.monotonic() < deadline, seen
        ready, _, _ = select.select([master], [], [], 0.05)
        if interrupt_at is not None and interrupt_at.encode() in seen:
            process.send_signal(signal.SIGINT)
            interrupt_at = None
        if not ready:
            continue
        try:
            chunk = os.read(master, 65536)
        except OSError:
            break
        if not chunk:
            break
        seen += chunk
    os.close(master)
    return seen.decode(), process.wait(30)


def test_a_live_display_leaves_the_terminal_as_it_was(place: Place, env: dict[str, str]) -> None:
    name = place.manifest("a [bold]name[red] 日本語 that is long.csv", 12, "slow live")
    shown, code = on_terminal(place.folder, env, "run", name, *listening())
    assert code == 0, shown
    assert "in flight" in shown
    assert "a [bold]name[red]" in shown
    # The cursor is shown again at once after it was hidden, because a killed process could not do it later.
    assert all(rest.startswith("\x1b[?25h") for rest in shown.split("\x1b[?25l")[1:])
    assert "\x1b[?1049h" not in shown
    assert "done: 12 done" in shown.splitlines()[-1]


@pytest.mark.parametrize("ignored", [False, True], ids=["in a shell", "under nohup"])
def test_a_closed_terminal_ends_the_run(place: Place, env: dict[str, str], ignored: bool) -> None:
    """It has the effect of SIGTERM. Under nohup, the run continues."""
    name = place.manifest("spring.csv", 24, f"slow hangup {ignored}")
    arguments = ["run", name, "--in-flight", "4", *listening()]
    child, master = pty.fork()
    if child == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
        os.chdir(place.folder)
        os.execve(sys.executable, [sys.executable, "-m", "batchswap", *arguments], {**env, "TERM": "xterm"})

    def is_accepted() -> int:
        if select.select([master], [], [], 0)[0]:
            os.read(master, 65536)  # a terminal that nothing reads blocks the writer
        return count(place.folder, "attempts", "remote_id is not null")

    wait_until(is_accepted, "an accepted attempt")
    os.close(master)
    assert wait_until(partial(exit_codes, child), "the end of the run", 60.0) == [0 if ignored else 143]
    assert count(place.folder, "attempts", "state in ('open', 'unknown')") == 0
    again = finish(place.folder, env, *arguments)
    assert again.returncode == 0, again.stderr
    assert [number for _, number in charged(place.folder, "batchswap.db")] == [1] * 24


def test_the_display_can_be_switched_off(place: Place, env: dict[str, str]) -> None:
    name = place.manifest("spring.csv", 2, "plain")
    shown, code = on_terminal(place.folder, env, "run", name, "--no-progress", *listening())
    assert code == 0
    assert "\x1b" not in shown
    assert [line.split(":")[0] for line in shown.splitlines()] == ["spring", "done"]


def test_ctrl_c_ends_the_display_cleanly(place: Place, env: dict[str, str]) -> None:
    name = place.manifest("spring.csv", 40, "slow terminal")
    shown, code = on_terminal(
        place.folder, env, "run", name, "--in-flight", "2", *listening(), interrupt_at=" in flight"
    )
    assert code == 130, shown
    assert "again to resume" in shown.replace("\r\n", "")
    assert shown.count("\x1b[?25h") >= shown.count("\x1b[?25l")
