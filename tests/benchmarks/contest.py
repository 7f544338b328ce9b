"""Start a server and its contenders, each in its own process."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.server import Plan
from tests.processes import Process, server

PATIENCE = 240.0
"""Time limit for one contender, in seconds."""


@contextmanager
def serving(plan: Plan) -> Iterator[str]:
    """Yield the base URL of a server that runs until the block ends."""
    with server("tests.benchmarks.server", json.dumps(plan._asdict())) as (url, _):
        yield url


def server_report(base_url: str) -> dict[str, Any]:
    """Return the server's report so far."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{base_url}/report", timeout=10) as response:
        found = json.load(response)
    assert isinstance(found, dict)
    return found


def write_rows(path: Path, count: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("id,video,face\n")
        for number in range(count):
            file.write(f"t{number},https://cdn.example.com/{number}.mp4,https://cdn.example.com/anna.jpg\n")


def environment(folder: Path) -> dict[str, str]:
    """Return an environment with a key and with the key's window below `folder`.

    Results are neither examined nor labelled, as with the other programs.
    """
    own = {"CRUN_API_KEY": "ak_" + "0" * 32, "BATCHSWAP_NO_SCORE": "1", "BATCHSWAP_NO_LABEL": "1"}
    return {**os.environ, **own, "XDG_STATE_HOME": str(folder / "state")}


def batchswap(folder: Path, base_url: str, tasks: int, *options: str) -> Process:
    """Start a real run, as a user does. Runs in subfolders of one folder share the key's window."""
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "rows.csv", tasks)
    command = [sys.executable, "-m", "batchswap", "run", "rows.csv", "--base-url", base_url, "--min-free", "0", "-q"]
    with (folder / "said.txt").open("w", encoding="utf-8") as said:
        return subprocess.Popen(
            [*command, *options], cwd=folder, env=environment(folder.parent), stderr=said, text=True
        )


def script(name: str, base_url: str, tasks: int, **options: Any) -> Process:
    """Start one of the peers."""
    command = [sys.executable, "-m", "tests.benchmarks.peers", name, base_url, str(tasks), json.dumps(options)]
    return subprocess.Popen(command, text=True)


def finish(process: Process) -> None:
    """Wait for the end of a contender, and fail unless it succeeded."""
    with process:
        try:
            assert process.wait(PATIENCE) == 0, process.args
        finally:
            process.kill()
