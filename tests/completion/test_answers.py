"""What completes a command line, and that a ledger is only read, whatever its condition."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from batchswap.cli.completion.shell_words import quoted
from batchswap.cli.completion.shells import Zsh
from batchswap.cli.main import SETTINGS, root
from batchswap.ledger.file import connection, prefixes
from batchswap.states import State
from tests.completion.shells import ROOT, ledger, put

KEYS = [f"clip-{number:03}" for number in range(20)]


def offered(*words: str) -> list[str]:
    """Return the values that are offered for the last word."""
    found = Zsh(root, {**SETTINGS}, "batchswap", "x").get_completions([*words[:-1]], words[-1])
    return [each.type if each.type != "plain" else each.value for each in found]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    ledger(tmp_path / "batchswap.db", spring=KEYS, summer=["intro", "outro"])
    for key, state in (("clip-003", "failed"), ("clip-004", "uncertain"), ("clip-005", "done")):
        put(tmp_path / "batchswap.db", key, state)
    with closing(sqlite3.connect("batchswap.db", isolation_level=None)) as db:
        db.execute("update tasks set code = '501' where state = 'failed'")
        db.execute("update tasks set consent = 'release-' || (id % 3)")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["show", "in"], ["intro"]),
        (["show", "clip-01"], KEYS[10:]),
        (["show", "summer/"], ["summer/intro", "summer/outro"]),
        (["show", "summ"], ["summer/intro", "summer/outro"]),
        (["show", "nosuch"], []),
        (["retry", ""], ["clip-003"]),
        (["retry", "clip-003", ""], []),
        (["retry", "--state", "done", ""], ["clip-005"]),
        (["retry", "--code", ""], ["501"]),
        (["resolve", ""], ["clip-004"]),
        (["review", "--accept", "cl"], ["clip-005"]),
        (["sign", "clip"], ["clip-005"]),
        (["sign", "results/"], ["file"]),
        (["adopt", "i"], ["intro"]),
        (["adopt", "intro", ""], []),
        (["tasks", "--batch", ""], ["spring", "summer"]),
        (["cancel", "--batch", "su"], ["summer"]),
        (["retry", "--batch", "sp"], ["spring"]),
        (["run", "x.csv", "--batch", "sp"], ["spring"]),
        (["report", "s"], ["spring", "summer"]),
        (["tasks", "--consent", ""], ["release-0", "release-1", "release-2"]),
        (["consent", "withdraw", "release-1"], ["release-1"]),
        (["consent", "w"], ["withdraw"]),
        (["tasks", "--quality", "part"], ["partly"]),
        (["run", ""], ["file"]),
        (["faces", "clip"], ["file"]),
        (["status", "--out", ""], ["dir"]),
    ],
    ids=" ".join,
)
def test_values_are_offered(folder: Path, words: list[str], wanted: list[str]) -> None:
    assert sorted(offered(*words)) == sorted(wanted)


def test_cancelling_is_offered_for_queued_and_failed_tasks(folder: Path) -> None:
    found = offered("cancel", "clip")
    assert set(KEYS) - set(found) == {"clip-004", "clip-005"}


def test_the_ledger_is_the_one_that_the_line_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "elsewhere").mkdir()
    ledger(folder / "elsewhere" / "other.db", autumn=["leaf"])
    assert offered("show", "--db", "elsewhere/other.db", "") == ["leaf"]
    assert offered("show", "--db=elsewhere/other.db", "") == ["leaf"]
    assert offered("show", "--db", "~/elsewhere/other.db", "") == ["leaf"]
    assert offered("show", "--db", "$HOME/elsewhere/other.db", "") == ["leaf"]
    monkeypatch.setenv("BATCHSWAP_DB", "elsewhere/other.db")
    assert offered("tasks", "--batch", "") == ["autumn"]
    assert offered("tasks", "--db", "batchswap.db", "--batch", "su") == ["summer"]


def test_of_many_keys_the_ends_are_offered(folder: Path) -> None:
    """Otherwise, a shell would insert more than all keys have in common."""
    many = [f"a{number:04}" for number in range(2 * prefixes.MOST)]
    ledger(folder / "many.db", first=[*many, "bee"], second=["ant", "zoo"])
    found = offered("show", "--db", "many.db", "")
    assert prefixes.MOST <= len(found) <= prefixes.MOST + 2
    assert {key[0] for key in found} == {"a", "z"}
    assert {key[:2] for key in offered("cancel", "--db", "many.db", "a")} == {"a0", "an"}


def answered(folder: Path, *words: str, **variables: str) -> str:
    """Return what a new process prints for zsh. Nothing is on its stderr, and no file is created or removed."""
    before = sorted(path.name for path in folder.iterdir())
    env = {**os.environ, "_BATCHSWAP_COMPLETE": "zsh_complete", "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", "batchswap", *words]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=25)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == before
    return done.stdout


def test_a_sound_ledger_is_only_read(folder: Path) -> None:
    assert answered(folder, "show", "in") == "+intro\n"
    assert not (folder / "batchswap.db-wal").exists()


def missing(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def damaged(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:100] + os.urandom(len(content) - 100))


def other(path: Path) -> None:
    path.write_text("no database", encoding="utf-8")


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def changed(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("alter table tasks rename column key to name")


@pytest.mark.parametrize("spoil", [missing, empty, damaged, other, folder_instead, pipe, changed])
def test_an_unusable_ledger_offers_nothing(folder: Path, spoil: Callable[[Path], None]) -> None:
    spoil(folder / "batchswap.db")
    assert answered(folder, "show", "in") == ""


@pytest.mark.parametrize("version", [5, connection.VERSION + 1])
def test_another_version_is_read_as_it_is(folder: Path, version: int) -> None:
    with closing(sqlite3.connect("batchswap.db", isolation_level=None)) as db:
        db.execute(f"pragma user_version = {version}")
    assert answered(folder, "show", "in") == "+intro\n"
    with closing(sqlite3.connect("batchswap.db")) as db:
        assert db.execute("pragma user_version").fetchone() == (version,)


def test_a_ledger_in_use_is_read(folder: Path) -> None:
    with closing(connection.connect(folder / "batchswap.db", write=True)) as db:
        db.execute("begin immediate")
        db.execute("update tasks set code = 'x' where key = 'intro'")
        assert answered(folder, "show", "in") == "+intro\n"


def test_a_locked_ledger_offers_nothing(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "batchswap.db", isolation_level=None)) as db:
        db.execute("pragma locking_mode = exclusive")
        db.execute("begin exclusive")
        assert answered(folder, "show", "in") == ""


HUNG = """
import time
from batchswap.__main__ import main
from batchswap.ledger.file import prefixes

def opened(path):
    time.sleep(40)

prefixes.opened = opened
main()
"""
"""A program whose ledger is on a file system that does not answer for 40 seconds."""


def test_a_ledger_that_cannot_be_opened_is_not_waited_for(folder: Path) -> None:
    env = {**os.environ, "_BATCHSWAP_COMPLETE": "zsh_complete", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HUNG, "show", "in"]
    done = subprocess.run(command, env=env, capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_files_of_options_are_respected_and_their_mistakes_are_not_shown(folder: Path) -> None:
    ledger(folder / "other.db", autumn=["leaf"])
    (folder / "batchswap.yaml").write_text("db: other.db\n", encoding="utf-8")
    assert answered(folder, "show", "") == "+leaf\n"
    (folder / "batchswap.yaml").write_text("nosuch: [\n", encoding="utf-8")
    assert answered(folder, "show", "in") == "+intro\n"


def test_keys_that_could_control_a_terminal_are_left_out(folder: Path) -> None:
    ledger(folder / "hostile.db", night=["a\x1b[2J", "b\nfile", "c\t", "ok"])
    assert answered(folder, "show", "--db", "hostile.db", "") == "+ok\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_only_the_script_is_printed(folder: Path, shell: str) -> None:
    script = ROOT / "batchswap" / "cli" / "completion" / f"batchswap.{shell}"
    assert answered(folder, _BATCHSWAP_COMPLETE=f"{shell}_source") == script.read_text(encoding="utf-8")


def test_other_instructions_print_nothing(folder: Path) -> None:
    for instruction in ("powershell_source", "bash", "bash_nosuch", "_"):
        env = {**os.environ, "_BATCHSWAP_COMPLETE": instruction, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-m", "batchswap"], env=env, capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_bash_reads_what_is_inserted(quote: str) -> None:
    """Each printable character of ASCII, alone, first, last and twice."""
    values = [text.format(chr(number)) for number in range(32, 127) for text in ("{}", "{}a", "a{}", "{0}a{0}")]
    inserted = [quoted(value, quote) for value in values]
    words = [f"{quote}{text}" + ("" if text.endswith(quote) else quote) for text in inserted]
    script = "printf '%s\\0' " + " ".join(words)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split("\0")[:-1] == values


def test_rare_states_are_found_by_an_index(folder: Path) -> None:
    with closing(sqlite3.connect("batchswap.db")) as db:
        seen: list[str] = []
        db.set_trace_callback(seen.append)
        assert [*prefixes.keys(db, "clip", (State.FAILED,))] == ["clip-003", "clip-003"]
        db.set_trace_callback(None)
        plans = [row[3] for sql in seen if "from tasks" in sql for row in db.execute(f"explain query plan {sql}")]
    assert any("tasks_failed" in plan for plan in plans)
    assert "SCAN t" not in plans
