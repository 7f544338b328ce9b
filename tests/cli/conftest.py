"""A place for commands: a folder with media, a separate home, and a server."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from click.testing import CliRunner, Result

from batchswap.cli.command import Command, CommandOptions
from batchswap.cli.main import root
from batchswap.events import RUN
from batchswap.local.faults import Fault, FaultRate
from tests.cli.quick import KEY, QuickEngine, box
from tests.http.local import Running, running
from tests.http.samples import movie, picture
from tests.ports import callback_options


@dataclass(frozen=True)
class Place:
    """The working directory and home of a test."""

    folder: Path

    def video(self, name: str, word: str = "") -> str:
        (self.folder / name).write_bytes(movie() + box(f"{name} {word}".encode()))
        return name

    def manifest(self, name: str, rows: int, word: str = "") -> str:
        """Write a CSV of `rows` videos with one face. The videos contain `word`."""
        lines = [f"r{i},{self.video(f'{Path(name).stem}{i}.mp4', word)},face.png" for i in range(rows)]
        (self.folder / name).write_text("\n".join(["id,video,face", *lines, ""]))
        return name


def call(*arguments: str, stdin: str | bytes | None = None) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(root, list(arguments), input=stdin)


T = TypeVar("T", bound=CommandOptions)


def chosen(options: type[T], *words: str) -> T:
    """Return the options of a command as it gets them for this command line."""
    return options(**Command(options).make_context(options.command, list(words)).params)


def work(*arguments: str) -> Result:
    """Run `run` with callbacks, so that it does not wait for polls."""
    return call("run", *arguments, "--rate", "none", *callback_options())


@pytest.fixture(autouse=True)
def _quiet_logs() -> Iterator[None]:
    """Undo each command's changes of the package's logger."""
    logger = logging.getLogger("batchswap")
    before = logger.handlers, logger.level
    yield
    logger.handlers, logger.level = before
    logging.getLogger(RUN).setLevel(logging.NOTSET)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Return an empty working directory and home, without any settings of the machine's user."""
    for name in ("CRUN_API_KEY", "CRUN_BASE_URL", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", *(f"{each}_PROXY" for each in ("HTTPS", "HTTP", "ALL", "NO"))):
        for spelled in (name, name.lower()):
            monkeypatch.delenv(spelled, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    # The processes that examine and label results take time to start, and results are compared byte for byte.
    for name in ("BATCHSWAP_NO_SCORE", "BATCHSWAP_NO_LABEL"):
        monkeypatch.setenv(name, "1")
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "face.png").write_bytes(picture(".png"))
    monkeypatch.chdir(folder)
    return Place(folder)


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("server"), QuickEngine(), keys=(KEY,)) as server:
        yield server


@pytest.fixture
def shop(place: Place, _server: Running, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Return a place whose environment has a key and the URL of a server."""
    use(_server, monkeypatch)
    return place


def use(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send commands to this server."""
    monkeypatch.setenv("CRUN_API_KEY", KEY)
    monkeypatch.setenv("CRUN_BASE_URL", server.base_url)


@pytest.fixture
def forgetful(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """Return a server whose answers to submits never arrive.

    Runs get no callbacks: one that comes in time would settle what the lost answer has left uncertain.
    """
    monkeypatch.setattr("tests.cli.conftest.callback_options", list)
    lost = (FaultRate(Fault.LOST, 1.0),)
    with running(tmp_path / "forgetful", QuickEngine(), keys=(KEY,), faults=lost) as server:
        use(server, monkeypatch)
        yield server
