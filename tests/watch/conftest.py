"""`batchswap watch` in its own process, with the ledger of a finished night."""

import http.client
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.browser.nights import Night
from tests.processes import ROOT, Process, started
from tests.waits import first_line

SECRET = "ak_" + "s" * 32


@dataclass(frozen=True)
class Watched:
    """A server for a ledger in `folder`."""

    folder: Path
    address: str
    process: Process

    @property
    def host(self) -> str:
        return urlsplit(self.address).netloc

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, timeout=60)

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request as written. Underscores in the names of headers are hyphens."""
        connection = self.connect()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.putrequest(method, path, skip_host="Host" in given, skip_accept_encoding=True)
        for name, value in given.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        connection.close()
        return found

    def words(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, str]:
        status, _, text = self.ask(path, method, body, **headers)
        return status, json.loads(text)["words"]

    @contextmanager
    def events(self, since: str = "") -> Iterator[Iterator[tuple[str, Any]]]:
        """Yield the events of an open page."""
        connection = self.connect()
        connection.request("GET", f"/events?since={since}")
        answer = connection.getresponse()

        def read() -> Iterator[tuple[str, Any]]:
            name = ""
            while line := answer.readline().decode():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ").rstrip("\n")
                elif line.startswith("data: "):
                    yield name, json.loads(line.removeprefix("data: "))

        try:
            yield read()
        finally:
            answer.close()
            connection.close()

    def order(self, token: str | None = None, **order: Any) -> tuple[int, str]:
        """Send an order as the page does."""
        if token is None:
            token = self.token()
        return self.words(
            "/order",
            "POST",
            json.dumps(order).encode(),
            Origin=f"http://{self.host}",
            Content_Type="application/json",
            X_Batchswap_Page=token,
        )

    def token(self) -> str:
        with self.events() as events:
            return str(next(events)[1]["token"])


@contextmanager
def watching(folder: Path, *options: str, modules: Path = ROOT) -> Iterator[Watched]:
    """Serve the ledger in `folder`. `modules`: a folder whose modules come before all others."""
    paths = os.pathsep.join(map(str, (modules, ROOT)))
    env = {**os.environ, "CRUN_API_KEY": SECRET, "PYTHONPATH": paths, "HOME": str(folder / "home")}
    command = [sys.executable, "-m", "batchswap", "watch", *options]
    with (
        (folder / "watch.log").open("w") as log,
        started(command, cwd=folder, env=env, stdout=-1, stderr=log) as process,
    ):
        yield Watched(folder, first_line(process.stdout), process)


@pytest.fixture(scope="package")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Return a server for a night of 60 tasks."""
    folder = tmp_path_factory.mktemp("watched")
    Night(folder, 60).write()
    with watching(folder) as server:
        yield server
