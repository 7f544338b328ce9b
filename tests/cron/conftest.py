"""A working directory and a home for processes that cron starts, and a server."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cli.processes import serving
from tests.cli.quick import KEY, box
from tests.http.samples import movie, picture
from tests.processes import ROOT

QUICK = ("--rate", "50/1s")


@dataclass(frozen=True)
class Desk:
    """Starts `batchswap` with the few variables that cron sets, and those in `given`."""

    folder: Path
    base_url: str
    given: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder.parent / "home"

    def environment(self, **more: str | None) -> dict[str, str]:
        """Return the environment. None removes a variable."""
        found = {
            "PATH": "/usr/bin:/bin",
            "SHELL": "/bin/sh",
            "LOGNAME": "operator",
            "HOME": str(self.home),
            "CRUN_API_KEY": KEY,
            "CRUN_BASE_URL": self.base_url,
            # The processes that examine and label results take seconds to start.
            "BATCHSWAP_NO_SCORE": "1",
            "BATCHSWAP_NO_LABEL": "1",
            "PYTHONPATH": str(ROOT),
            **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE")},
            **self.given,
            **more,
        }
        return {name: value for name, value in found.items() if value is not None}

    def manifest(self, rows: int, word: str = "") -> None:
        """Write `spring.csv` with its videos. Each contains `word`."""
        lines = ["id,video,face"]
        for number in range(rows):
            name = f"v{number}.mp4"
            (self.folder / name).write_bytes(movie() + box(f"{name} {self.folder} {word}".encode()))
            lines.append(f"r{number},{name},face.png")
        (self.folder / "spring.csv").write_text("\n".join([*lines, ""]))

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "batchswap", *arguments]

    def finish(
        self, *arguments: str, before: Sequence[str] = (), **env: str | None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end; `before` is a program that starts it."""
        return self.shell([*before, *self.command(*arguments)], **env)

    def shell(self, words: Sequence[str], **env: str | None) -> "subprocess.CompletedProcess[str]":
        """Run any program in this environment."""
        return subprocess.run(
            list(words),
            cwd=self.folder,
            env=self.environment(**env),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )


@pytest.fixture(scope="session")
def _url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture
def desk(tmp_path: Path, _url: str) -> Desk:
    """Return a desk whose manifest has two rows."""
    folder = tmp_path / "work"
    folder.mkdir()
    (tmp_path / "home").mkdir()
    (folder / "face.png").write_bytes(picture(".png"))
    found = Desk(folder, _url)
    found.manifest(2)
    return found
