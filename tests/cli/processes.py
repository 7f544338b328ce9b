"""Real processes: a server, and `batchswap` as a user starts it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.cli.quick import KEY
from tests.processes import server


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Yield the base URL of a server in its own process."""
    with server("tests.cli.serving", str(folder), env={**os.environ, "BATCHSWAP_SERVE_KEY": KEY}) as (url, _):
        yield url


def environment(base_url: str, home: Path) -> dict[str, str]:
    """Return the environment of a user's shell, and no more."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "CRUN_API_KEY": KEY,
        # The processes that examine and label results take time to start, and results are compared byte for byte.
        "BATCHSWAP_NO_SCORE": "1",
        "BATCHSWAP_NO_LABEL": "1",
        "CRUN_BASE_URL": base_url,
        "LANG": "C.UTF-8",
        **{name: value for name, value in os.environ.items() if name.startswith(("COVERAGE", "PYTHONPATH"))},
    }


def start(folder: Path, env: Mapping[str, str], *arguments: str, **streams: int) -> "subprocess.Popen[str]":
    """Start `batchswap` with these arguments in `folder`."""
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-m", "batchswap", *arguments], cwd=folder, env=dict(env), text=True, **streams
    )


def finish(
    folder: Path, env: Mapping[str, str], *arguments: str, stdin: str | None = None
) -> "subprocess.CompletedProcess[str]":
    """Start it and wait for its end."""
    return subprocess.run(
        [sys.executable, "-m", "batchswap", *arguments],
        cwd=folder,
        env=dict(env),
        text=True,
        input=stdin,
        capture_output=True,
        check=False,
        timeout=120,
    )
