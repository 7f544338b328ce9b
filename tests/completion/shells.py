"""A shell in a terminal, whose completion is that of batchswap, and a ledger with keys that are hard to type."""

import os
import select
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from batchswap.ledger.enrolment.enrol import enrol
from batchswap.ledger.file import connection
from batchswap.ledger.transitions import Stamp
from batchswap.manifest import Chunk
from batchswap.tasks import Row
from tests.loop.world import rows
from tests.waits import wait_until

ROOT = Path(__file__).parents[2]
INSTALL = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(_BATCHSWAP_COMPLETE=bash_source batchswap)"'),
    "zsh": (
        ["zsh", "-f", "-i"],
        'autoload -Uz compinit; compinit -D; eval "$(_BATCHSWAP_COMPLETE=zsh_source batchswap)"',
    ),
    "fish": (["fish", "--no-config", "-i"], "_BATCHSWAP_COMPLETE=fish_source batchswap | source"),
}
"""How each shell starts, and what its user writes into a file of the shell."""
PRESENT = [name for name in INSTALL if shutil.which(name)]


class Terminal:
    """A shell that waits for a line. Commands are not run: their arguments are written down."""

    def __init__(self, shell: str, folder: Path) -> None:
        self._arguments, self.folder = folder / "bin" / "arguments", folder
        program = folder / "bin" / "batchswap"
        program.parent.mkdir()
        program.write_text(
            f'#!/bin/sh\n[ -z "$_BATCHSWAP_COMPLETE" ] || exec {sys.executable} -m batchswap "$@"\n'
            f"printf '%s\\0' \"$@\" > '{self._arguments}.part'; mv '{self._arguments}.part' '{self._arguments}'\n"
        )
        program.chmod(0o755)
        command, install = INSTALL[shell]
        env = {
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "TERM": "xterm",
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "PS1": "$ ",
            **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE")},
        }
        self._screen, theirs = os.openpty()
        # The terminal has to be the controlling one, for job control.
        command = ["setsid", "--ctty", *command]
        self.process = subprocess.Popen(command, cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self._shown = ""
        self._press(install)
        assert self.typed("batchswap ready") == ["ready"]

    def typed(self, keys: str) -> list[str]:
        """Press these keys and Enter, and return the arguments that the command gets."""
        self._arguments.unlink(missing_ok=True)
        self._shown = ""
        self._press(keys)
        try:
            wait_until(self._has_run, f"the command of {keys!r}")
        except AssertionError as error:
            self._press("\x03")
            raise AssertionError(f"{error}; the terminal shows {self._shown!r}") from None
        return self._arguments.read_text(encoding="utf-8").split("\0")[:-1]

    def end(self) -> None:
        """End the shell."""
        self.process.kill()
        self.process.wait()
        os.close(self._screen)

    def _press(self, keys: str) -> None:
        os.write(self._screen, f"{keys}\r".encode())

    def _has_run(self) -> bool:
        """Return whether the arguments are there. Read what the shell prints, so that it can print more."""
        while select.select([self._screen], [], [], 0)[0]:
            self._shown += os.read(self._screen, 65_536).decode(errors="replace")
        return self._arguments.exists()


@contextmanager
def terminal(shell: str, folder: Path) -> Iterator[Terminal]:
    """Start a shell, and end it at the end of the block."""
    found = Terminal(shell, folder)
    try:
        yield found
    finally:
        found.end()


def ledger(path: Path, **batches: list[str]) -> None:
    """Create a ledger with a task for each key of each batch."""
    connection.create(path)
    with closing(connection.connect(path, write=True)) as db:
        for name, keys in batches.items():
            enrol(db, Stamp(1.0, None), [Chunk(name, "/", f"{name}.csv", made(name, keys))], {})


def made(batch: str, keys: list[str]) -> list[Row]:
    """Return a row for each key, with inputs of its own."""
    found = rows(len(keys))
    return [
        Row(key, f"{batch}-{number}", row.model, row.target, row.face, f"{batch}/{number}.mp4", row.line)
        for number, (key, row) in enumerate(zip(keys, found, strict=True))
    ]


def put(path: Path, key: str, state: str) -> None:
    """Put a task into a state."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("update tasks set state = ? where key = ?", (state, key))
