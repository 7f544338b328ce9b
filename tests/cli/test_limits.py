"""Limits of the machine, or of other programs, get a message with a remedy and are never called "a bug"."""

import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import closing

import pytest
from click.testing import Result

from tests.cli.conftest import Place, call, work
from tests.cli.processes import environment
from tests.processes import ROOT


def in_words(said: Result, code: int, *words: str) -> None:
    assert (said.exit_code, "bug" in said.stderr, "Traceback" in said.stderr) == (code, False, False), said.stderr
    for each in words:
        assert each in said.stderr


@pytest.mark.parametrize("home", ["/dev/null", "/proc/none", "state"])
def test_a_state_folder_that_cannot_be_written_is_reported_before_anything_is_sent(
    shop: Place, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    name = shop.manifest("spring.csv", 1)
    monkeypatch.setenv("XDG_STATE_HOME", home)
    in_words(call("run", name), 2, home, "set XDG_STATE_HOME")
    in_words(call("balance"), 2, home, "set XDG_STATE_HOME")
    monkeypatch.setenv("XDG_STATE_HOME", str(shop.folder / "state"))
    assert call("run", name).exit_code == 0


@pytest.mark.parametrize("home", ["/dev/null", "relative"])
def test_a_home_that_cannot_be_written_is_reported_too(shop: Place, monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.setenv("HOME", home)
    in_words(call("run", shop.manifest("spring.csv", 1)), 2, home, "set XDG_STATE_HOME")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("drop table tasks", "table tasks"),
        ("drop table attempts", "table attempts"),
        ("alter table tasks drop column extra", "column tasks.extra"),
        ("drop index tasks_queued", "index tasks_queued"),
        ("drop trigger tasks_moved", "trigger tasks_moved"),
    ],
)
def test_a_ledger_that_another_program_changed(shop: Place, change: str, named: str) -> None:
    name = shop.manifest("spring.csv", 1)
    work(name, "--limit", "0")
    with closing(sqlite3.connect("batchswap.db")) as db:
        db.execute(change)
        db.commit()
    in_words(work(name), 2, "was changed by another program", named, "restore a copy, or name another ledger with --db")
    assert named in call("doctor").stdout
    for command in ("status", "tasks", "retry"):
        said = call(command)
        assert ("bug" in said.stderr, said.exit_code in (0, 2)) == (False, True), said.stderr


@pytest.mark.parametrize("command", ["status", "run"])
def test_a_working_directory_that_was_deleted(shop: Place, command: str) -> None:
    gone = shop.folder / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    try:
        in_words(call(command, *["m.csv"][: command == "run"]), 2, "the working directory was deleted")
    finally:
        os.chdir(shop.folder)


def test_no_folder_for_temporary_files(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    monkeypatch.setattr(tempfile, "_get_default_tempdir", none)
    monkeypatch.setattr(tempfile, "tempdir", None)
    in_words(call("plan", shop.manifest("m.csv", 1), "--provider", "local"), 1, "set TMPDIR")


def test_too_few_threads(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    name = shop.manifest("spring.csv", 1)

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", start)
        in_words(call("run", name), 1, "no more threads or processes can be started", "ulimit -u")
    assert work(name).exit_code == 0


def limited(place: Place, limit: Callable[[], object], *arguments: str) -> "subprocess.CompletedProcess[str]":
    env = environment(os.environ["CRUN_BASE_URL"], place.folder) | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "batchswap", *arguments]
    return subprocess.run(
        command, cwd=place.folder, env=env, capture_output=True, text=True, check=False, preexec_fn=limit, timeout=60
    )


def test_too_few_files(shop: Place) -> None:
    name = shop.manifest("spring.csv", 1)
    done = limited(shop, lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9)), "run", name, "--patience", "1s")
    assert done.returncode not in (0, 130)
    assert ("bug" in done.stderr, "Traceback" in done.stderr) == (False, False), done.stderr
    assert "ulimit -n" in done.stderr or "Too many open files" in done.stderr


def test_a_limit_on_the_size_of_files(shop: Place) -> None:
    name = shop.manifest("spring.csv", 1)
    done = limited(shop, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)), "run", name)
    assert done.returncode == 1
    assert ("bug" in done.stderr, "Traceback" in done.stderr) == (False, False), done.stderr
    assert "batchswap.db: cannot be written" in done.stderr


def test_too_little_memory(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def out(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("batchswap.ledger.file.connection.create", out)
    in_words(call("run", shop.manifest("spring.csv", 1)), 1, "there is not enough memory", "--workers")
