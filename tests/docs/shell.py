"""A shell and a server for the examples of a page, in a temporary folder."""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from batchswap.local.faults import parse_fault
from tests.cli.quick import KEY
from tests.docs.media import DocsEngine, put_media
from tests.docs.pages import ROOT
from tests.http.local import running
from tests.ports import reserve_port

API, FOLDER, HOME = "https://api.crun.ai", "/srv/spring", "/home/you"
"""What the documentation shows in place of the server, the session's folder and its home."""
PATIENCE = 120.0
"""Seconds that a command may take."""
END = "@end of output"


class Shell:
    """A bash in a folder of its own, where `batchswap` is the code of this project."""

    def __init__(self, root: Path, base_url: str) -> None:
        self.folder, self._home, self._base_url = root / "spring", root / "home", base_url
        self._pid = root / "pid"
        for made in (self.folder, self._home, root / "bin"):
            made.mkdir()
        put_media(self.folder)
        program = root / "bin" / "batchswap"
        program.write_text(f'#!/bin/sh\necho $$ > {self._pid}\nexec {sys.executable} -m batchswap "$@"\n')
        program.chmod(0o755)
        environment = {
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "HOME": str(self._home),
            "CRUN_API_KEY": KEY,
            "CRUN_BASE_URL": base_url,
            "BATCHSWAP_RATE": "200/1s",  # the pages show times of the default, which vary anyway
            # The processes that examine and label results take time to start.
            "BATCHSWAP_NO_SCORE": "1",
            "BATCHSWAP_NO_LABEL": "1",
            "PYTHONPATH": str(ROOT),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "TZ": "UTC",
        }
        self._bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, args=(self._bash.stdout,), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[str]) -> None:
        self._lines.extend(stream)

    def close(self) -> None:
        """End the shell and what it runs."""
        self._bash.kill()
        with self._bash:
            self._reader.join()

    def run(self, command: str, *, interrupt: bool = False) -> list[str]:
        """Return the lines that a command prints on either stream."""
        assert self._bash.stdin is not None
        self._lines.clear()
        command = command.replace(FOLDER, str(self.folder))
        self._bash.stdin.write(f"{command}\n_code=$?; printf '\\n{END}\\n'; (exit $_code)\n")
        self._bash.stdin.flush()
        if interrupt:
            self._wait_for(lambda: self._has_ended() or self._is_submitted(), command)
            if not self._has_ended():
                os.kill(int(self._pid.read_text()), signal.SIGINT)
        self._wait_for(self._has_ended, command)
        printed = "".join(self._lines).removesuffix(f"\n{END}\n")
        return [self._shown(line) for line in printed.splitlines()]

    def _wait_for(self, condition: Callable[[], bool], command: str) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"{command}: {''.join(self._lines)}"
            time.sleep(0.05)

    def _has_ended(self) -> bool:
        return f"{END}\n" in self._lines

    def _is_submitted(self) -> bool:
        """Return whether the run waits for its tasks, or a server for requests."""
        if any("serving" in line for line in self._lines):
            return True
        try:
            with sqlite3.connect(f"file:{self.folder}/batchswap.db?mode=ro", uri=True) as db:
                states = {state for (state,) in db.execute("select distinct state from tasks")}
        except sqlite3.OperationalError:
            return False
        return "running" in states and not states & {"queued", "submitting"}

    def _shown(self, line: str) -> str:
        """Return a line as a user sees it at a terminal."""
        for real, shown in ((self._base_url, API), (str(self.folder), FOLDER), (str(self._home), HOME)):
            line = line.replace(real, shown)
        line = re.sub(r"\bak_[0-9a-f]{32}\b", "ak_0123456789abcdef0123456789abcdef", line)
        return re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", "", line).rstrip()


class Session:
    """A shell, and a server that fails in the ways that the page says."""

    def __init__(self, root: Path) -> None:
        self._root, self._port, self._server = root, reserve_port(), ExitStack()
        self.serve("")
        self.shell = Shell(root, f"http://127.0.0.1:{self._port}")

    def serve(self, faults: str) -> None:
        """Start the server again with these faults; it keeps its tasks and its account."""
        self._server.close()
        chosen = tuple(parse_fault(text) for text in faults.split())
        folder = self._root / "server"
        self._server.enter_context(
            running(folder, DocsEngine(), keys=(KEY,), port=self._port, faults=chosen, balance=500.0)
        )

    def last_id(self) -> str:
        """Return the id of the task that the server accepted last: what a user finds on the account's page."""
        with sqlite3.connect(self._root / "server" / "tasks.db") as db:
            return str(db.execute("select id from tasks order by seq desc limit 1").fetchone()[0])

    def close(self) -> None:
        """End the shell and the server."""
        self.shell.close()
        self._server.close()

    def files(self) -> Iterator[str]:
        """Return the files that were made, below the folder or the home, as the documentation names them."""
        for top, shown in ((self.shell.folder, ""), (self._root / "home", "~/")):
            for path in top.rglob("*"):
                if path.is_file():
                    yield shown + str(path.relative_to(top))


@contextmanager
def session() -> Iterator[Session]:
    """Open a session in a temporary folder."""
    root = Path(tempfile.mkdtemp(prefix="batchswap-docs-"))
    opened = Session(root)
    try:
        yield opened
    finally:
        opened.close()
        shutil.rmtree(root, ignore_errors=True)
