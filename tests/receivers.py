"""Receivers of messages on loopback: one for HTTP that fails as a test says, and a mail server."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller

from tests.http.local import in_thread
from tests.ports import reserve_port
from tests.waits import wait_until

HANG, CLOSE = -1, -2
"""Answers of a receiver: none, and a closed connection."""


@dataclass(frozen=True)
class Received:
    """A request, with its headers in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """What was received. `answers` are the next answers, by the beginning of their path; then 200."""

    port: int = 0
    requests: list[Received] = field(default_factory=list)
    answers: dict[str, list[int]] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)
    on_request: Callable[[], None] = lambda: None
    text: bytes = b"OK"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def of(self, path: str) -> list[Received]:
        """Return the requests to a path and those below it."""
        return [each for each in self.requests if each.target.startswith(path)]

    def answer(self, target: str) -> int:
        """Return the next answer for a target."""
        script = next((script for path, script in self.answers.items() if target.startswith(path)), [])
        return script.pop(0) if script else 200


@contextmanager
def receiver(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Serve until the block ends."""
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.requests.append(Received(self.command, self.path, headers, body))
            found.on_request()
            code = found.answer(self.path)
            if code == HANG:
                found.ended.wait(60)
            if code < 0:
                self.close_connection = True
                return
            self.send_response(code)
            if 300 <= code < 400:
                self.send_header("Location", f"{found.url}/elsewhere")
            self.send_header("Content-Length", str(len(found.text)))
            self.end_headers()
            self.wfile.write(found.text)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    with in_thread(server) as found.port:
        try:
            yield found
        finally:
            found.ended.set()


class Mailbox:
    """Keeps the mails that arrive."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []

    async def handle_DATA(self, _: Any, __: Any, envelope: Any) -> str:
        """Take a mail."""
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 taken"


@contextmanager
def mail_server() -> Iterator[tuple[int, Mailbox]]:
    """Serve SMTP until the block ends. Yield the port and the mails."""
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=reserve_port())
    controller.start()
    try:
        yield controller.port, box
    finally:
        controller.stop()


def wait_for(receiver_: Receiver, path: str) -> None:
    """Wait until a request to this path has arrived."""
    wait_until(lambda: bool(receiver_.of(path)), f"a request to {path}")
