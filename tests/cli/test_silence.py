"""Servers that accept connections and do not answer: every command ends in time and names the cause."""

import json
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchswap.errors import ApiUnavailable, Exit
from batchswap.runner import standalone_calls
from batchswap.runner.run import Account
from batchswap.runner.standalone_calls import free_calls
from batchswap.settings import Settings
from tests.cli.processes import environment, finish
from tests.cli.quick import KEY
from tests.http.local import in_thread

MANIFEST = "id,video,face\na,https://cdn.example.com/a.mp4,https://cdn.example.com/f.jpg\n"


class Mute(socketserver.BaseRequestHandler):
    """Accepts a connection and sends nothing, not even for TLS."""

    def handle(self) -> None:
        self.server.over.wait(120)  # type: ignore[attr-defined]


class Drip(Mute):
    """Starts an answer and sends a byte of its body now and then."""

    def handle(self) -> None:
        self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{")
        while not self.server.over.wait(0.2):  # type: ignore[attr-defined]
            try:
                self.request.sendall(b" ")
            except OSError:
                return


class Paused(Mute):
    """Answers every request with 429 and a pause of a year until it recovers."""

    is_well = threading.Event()

    def handle(self) -> None:
        body = json.dumps({"code": 200, "message": "success", "data": {"balance": 7}}).encode()
        status, head = b"200 OK", b""
        if not self.is_well.is_set():
            body = json.dumps({"code": 429, "message": "slow down", "data": None}).encode()
            status, head = b"429 Too Many Requests", b"Retry-After: 31536000\r\nRetry-After: 9e999\r\n"
        self.request.recv(65536)
        length = str(len(body)).encode()
        self.request.sendall(
            b"HTTP/1.1 "
            + status
            + b"\r\n"
            + head
            + b"Content-Length: "
            + length
            + b"\r\nConnection: close\r\n\r\n"
            + body
        )


@contextmanager
def served(handler: type[Mute]) -> Iterator[int]:
    """Yield the port of such a server."""

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        over = threading.Event()

    with in_thread(Server(("127.0.0.1", 0), handler)) as port:
        try:
            yield port
        finally:
            Server.over.set()


@pytest.mark.parametrize(("handler", "scheme"), [(Mute, "http"), (Mute, "https"), (Drip, "http")])
def test_a_run_ends_after_its_patience_if_every_call_hangs(tmp_path: Path, handler: type[Mute], scheme: str) -> None:
    (tmp_path / "b.csv").write_text(MANIFEST)
    with served(handler) as port:
        began = time.monotonic()
        done = finish(
            tmp_path, environment(f"{scheme}://127.0.0.1:{port}", tmp_path), "run", "b.csv", "--patience", "3s"
        )
        took = time.monotonic() - began
    assert done.returncode == Exit.UNAVAILABLE, done.stderr
    assert "stayed unavailable" in done.stderr
    assert took >= 3.0
    assert 2.9 <= json_seconds(tmp_path) <= 8.0


def json_seconds(folder: Path) -> float:
    """Return the reported duration of the last run."""
    found = finish(folder, environment("http://127.0.0.1:9", folder), "status", "--json")
    return float(json.loads(found.stdout)["last_run"]["summary"]["seconds"])


def test_a_pause_of_a_year_ends_the_run_and_silences_no_other_command_of_the_key(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text(MANIFEST)
    with served(Paused) as port:
        env = environment(f"http://127.0.0.1:{port}", tmp_path)
        done = finish(tmp_path, env, "run", "b.csv", "--patience", "3s")
        Paused.is_well.set()
        asked = finish(tmp_path, env, "balance")
    assert done.returncode == Exit.UNAVAILABLE, done.stderr
    assert json_seconds(tmp_path) <= 8.0
    assert (asked.returncode, asked.stdout.strip()) == (Exit.DONE, "7 credits")


@pytest.mark.parametrize("handler", [Mute, Drip])
async def test_a_free_command_reports_its_wait_and_gives_up_with_a_message(
    tmp_path: Path, handler: type[Mute], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(standalone_calls, "PATIENCE", 0.6)
    monkeypatch.setattr(standalone_calls, "SILENCE", 0.1)
    with served(handler) as port:
        base_url = f"http://127.0.0.1:{port}"
        async with free_calls(Settings(), Account(base_url, base_url, KEY)) as calls:
            with pytest.raises(ApiUnavailable, match=r"0\.6 s: it accepts the connection but does not answer"):
                await calls.ask(lambda client: client.balance())
        assert f"waiting for http://127.0.0.1:{port}" in caplog.text
