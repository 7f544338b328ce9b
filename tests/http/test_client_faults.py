"""One call is one request with any fault, and the error tells whether it may have arrived."""

import asyncio
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from batchswap.client import Answer, Client, Timeouts
from batchswap.client.error_mapping import FAULTS, translate
from batchswap.client.request_trace import CancelledUnsent
from batchswap.clock import SystemClock
from batchswap.errors import MaybeSent, NeverSent
from tests.chaos.vendor import selling
from tests.http import scripted_replies
from tests.http.asking import CALM, HASTY, KEY, Call, ask, submit
from tests.http.scripted import Act, Exchange, Scripted, head
from tests.http.scripted_replies import ok, reply
from tests.ports import reserve_port
from tests.waits import until

HEAD = head(200, {"Content-Length": "100"})
AFTER_CONNECTING: dict[str, Act] = {
    "reset unread": scripted_replies.reset(early=True),
    "reset": scripted_replies.reset(),
    "reset in the head": scripted_replies.reset(after=b"HTTP/1.1 200"),
    "reset in the body": scripted_replies.reset(after=HEAD + b'{"code"'),
    "closed unread": scripted_replies.close(early=True),
    "closed": scripted_replies.close(),
    "closed in the head": scripted_replies.raw(b"HTTP/1.1 20"),
    "truncated": scripted_replies.truncated(b'{"code": 200, "data": {"task_id": "t"}}', 20),
    "chunks without an end": scripted_replies.chunked(b'{"code": 200}', complete=False),
    "stalled": scripted_replies.stall(),
    "stalled in the body": scripted_replies.stall(after=HEAD + b'{"code"'),
    "a slow drip": scripted_replies.drip(HEAD + b" " * 100, 0.01),
    "not HTTP": scripted_replies.raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "a bad Content-Length": scripted_replies.raw(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}"),
    "bad chunks": scripted_replies.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"),
    "an endless header": scripted_replies.raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"),
}


TOO_SLOW = ("stalled", "stalled in the body", "a slow drip")


@pytest.mark.parametrize("name", AFTER_CONNECTING)
def test_invariant_2_one_create_task_is_one_request_and_maybe_sent(name: str) -> None:
    found, server = asyncio.run(ask(submit, then=AFTER_CONNECTING[name], timeouts=HASTY if name in TOO_SLOW else CALM))
    assert isinstance(found, MaybeSent)
    assert len(server.requests) == server.connections == 1


def test_a_connection_reset_on_arrival_is_never_used_again() -> None:
    found, server = asyncio.run(ask(submit, on_connect=lambda: False))
    assert isinstance(found, MaybeSent)
    assert (len(server.requests), server.connections) == (0, 1)


@pytest.mark.parametrize(
    "act", [scripted_replies.close(), scripted_replies.reset(), scripted_replies.close(early=True)]
)
@pytest.mark.parametrize("call", [lambda c: c.balance(), lambda c: c.detect_result("d")])
def test_a_request_on_a_broken_kept_connection_is_not_repeated_without_the_pacer(call: Call, act: Act) -> None:
    async def twice(client: Client) -> Answer:
        await call(client)
        return await call(client)

    found, server = asyncio.run(ask(twice, reply(json=ok()), act, then=reply(json=ok())))
    assert isinstance(found, MaybeSent)
    assert [r.connection for r in server.requests] == [1, 1], "the second request used the kept connection, and once"


async def submits_and_balances(client: Client) -> Answer:
    await submit(client)
    await client.balance()  # on another connection
    await submit(client)
    await client.balance()
    await asyncio.sleep(0.05)
    return await submit(client)


@pytest.mark.parametrize(("keep_submits", "connections"), [(False, [1, 2, 3, 2, 4]), (True, [1, 2, 1, 2, 3])])
def test_create_task_uses_a_kept_connection_only_on_request_and_while_it_is_fresh(
    keep_submits: bool, connections: list[int]
) -> None:
    async def main() -> None:
        timeouts = msgspec.structs.replace(CALM, fresh=0.03)
        async with (
            Scripted(then=reply(json=ok({"task_id": "t"}))) as server,
            Client(server.url, KEY, SystemClock(), timeouts, keep_submits=keep_submits) as client,
        ):
            await submits_and_balances(client)
        assert [r.connection for r in server.requests] == connections

    asyncio.run(main())


def test_a_server_that_closes_kept_connections_when_a_request_comes_makes_no_submit_uncertain() -> None:
    known: set[int] = set()

    async def answer_once(exchange: Exchange) -> bool:
        if exchange.request.connection in known:
            return False
        known.add(exchange.request.connection)
        return await reply(json=ok({"task_id": "t"}))(exchange)

    async def submits(client: Client) -> list[Answer | BaseException]:
        return [(await asyncio.gather(submit(client), return_exceptions=True))[0] for _ in range(30)]

    async def main() -> None:
        async with Scripted(then=Act(answer_once)) as server, Client(server.url, KEY, SystemClock(), CALM) as client:
            assert [type(each) for each in await submits(client)] == [Answer] * 30

    asyncio.run(main())


@pytest.mark.parametrize("call", [submit, lambda c: c.balance()])
def test_an_answer_that_came_while_the_process_was_stopped_is_read(call: Call) -> None:
    """The event loop sleeps past the timeout, as under SIGSTOP, while the server answers in another thread."""
    asked, may_answer = threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        asked.set()
        assert may_answer.wait(10)

    async def main(url: str) -> None:
        async with Client(url, KEY, SystemClock(), msgspec.structs.replace(HASTY, answer=0.5, submit=0.5)) as client:
            waiting = asyncio.ensure_future(call(client))
            await until(asked.is_set, "the request", pause=0.001)
            threading.Timer(0.1, may_answer.set).start()
            time.sleep(1.5)
            assert (await waiting).code == 200

    with selling() as vendor:
        vendor.spoil = hold
        asyncio.run(main(vendor.url))


def test_a_submit_that_is_cancelled_while_it_connects_was_never_sent() -> None:
    async def main() -> None:
        with deaf_port() as port:
            async with Client(f"http://127.0.0.1:{port}", KEY, SystemClock(), CALM) as client:
                waiting = asyncio.ensure_future(submit(client))
                await asyncio.sleep(0.05)
                waiting.cancel()
                with pytest.raises(CancelledUnsent):
                    await waiting

    asyncio.run(main())


def test_a_submit_that_is_cancelled_after_it_has_connected_may_have_been_sent() -> None:
    async def main() -> None:
        async with (
            Scripted(then=scripted_replies.stall()) as server,
            Client(server.url, KEY, SystemClock(), CALM) as client,
        ):
            waiting = asyncio.ensure_future(submit(client))
            await until(lambda: server.requests, "the request", pause=0.001)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError) as cancelled:
                await waiting
            assert not isinstance(cancelled.value, CancelledUnsent)

    asyncio.run(main())


async def submit_to(url: str, timeouts: Timeouts = CALM) -> None:
    async with Client(url, KEY, SystemClock(), timeouts) as client:
        await submit(client)


def test_refused_is_never_sent() -> None:
    with pytest.raises(NeverSent, match=r"^cannot connect: Connection refused \(http:"):
        asyncio.run(submit_to(f"http://127.0.0.1:{reserve_port()}"))


def test_a_name_that_does_not_resolve_is_never_sent() -> None:
    with pytest.raises(NeverSent, match=r"resolved|in time"):
        asyncio.run(submit_to("https://name.invalid"))


def test_tls_to_a_server_without_tls_is_never_sent() -> None:
    async def main() -> None:
        async with Scripted(then=reply(json=ok())) as server:
            with pytest.raises(NeverSent):
                await submit_to(server.url.replace("http:", "https:"), HASTY)
            assert server.requests == []

    asyncio.run(main())


def test_an_untrusted_certificate_is_never_sent(tmp_path: Path) -> None:
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=x"
    pair = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert")]
    subprocess.run([*command.split(), *pair], check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    found, server = asyncio.run(ask(submit, then=reply(json=ok()), tls=context))
    assert isinstance(found, NeverSent)
    assert "not trusted" in str(found)
    assert server.requests == []


@contextmanager
def deaf_port() -> Iterator[int]:
    """Yield a port whose queue is full: connecting to it takes for ever."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
        for sock in waiting:
            sock.close()


def test_a_connect_timeout_is_never_sent() -> None:
    with deaf_port() as port, pytest.raises(NeverSent, match="no connection in time"):
        asyncio.run(submit_to(f"http://127.0.0.1:{port}", HASTY))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.binary(max_size=300), st.booleans())
@example(b"HTTP/1.1 100 Continue\r\n\r\n", False)
@example(b"HTTP/1.1 101 Switching\r\n\r\n", False)
@example(b"HTTP/1.1 999 \r\nContent-Length: 99999999999999999999\r\n\r\n", False)
@example(b"Retry-After: \x00\r\nContent-Encoding: br\r\n\r\nx", True)
def test_any_bytes_are_an_answer_or_maybe_sent(data: bytes, with_head: bool) -> None:
    found, server = asyncio.run(
        ask(submit, then=scripted_replies.raw((b"HTTP/1.1 200 OK\r\n" if with_head else b"") + data))
    )
    assert isinstance(found, Answer | MaybeSent)
    assert len(server.requests) == 1


def exported() -> Iterator[type[BaseException]]:
    """Return every exception of aiohttp that a request can raise."""
    elsewhere = {"WSMessageTypeError", "WebSocketError", "BadContentDispositionHeader", "BadContentDispositionParam"}
    for name, value in vars(aiohttp).items():
        if isinstance(value, type) and issubclass(value, BaseException) and name not in {*elsewhere, "EofStream"}:
            yield value


def test_every_exception_of_aiohttp_is_mapped_by_name() -> None:
    assert [kind.__name__ for kind in exported() if kind not in FAULTS] == []
    assert len(list(exported())) >= 25, "the walk sees them"


NOTHING_LEFT = {
    "ClientConnectorCertificateError",
    "ClientConnectorDNSError",
    "ClientConnectorError",
    "ClientConnectorSSLError",
    "ClientHttpProxyError",
    "ClientProxyConnectionError",
    "ClientSSLError",
    "ConnectionRefusedError",
    "ConnectionTimeoutError",
    "InvalidURL",
    "InvalidUrlClientError",
    "NonHttpUrlClientError",
    "ProxyFault",
    "SSLCertVerificationError",
    "ServerFingerprintMismatch",
    "gaierror",
}


def test_only_errors_before_the_connection_are_never_sent() -> None:
    assert {kind.__name__ for kind, (fault, _) in FAULTS.items() if fault is NeverSent} == NOTHING_LEFT


@pytest.mark.parametrize(
    "error",
    [BrokenPipeError(32, "Broken pipe"), TimeoutError(), ssl.SSLZeroReturnError(6, "closed"), OSError()],
)
def test_other_errors_of_the_system_are_maybe_sent(error: OSError) -> None:
    assert isinstance(translate(error, "https://h/p"), MaybeSent)
