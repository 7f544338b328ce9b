"""The client: one request on the wire whatever happens, one answer or one error, and no secret in either."""

import asyncio
import os
import socket
import ssl
import subprocess
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from batchswap import wire
from batchswap.client import Answer, Client, Timeouts, parse_retry_after
from batchswap.client.answers import LARGEST
from batchswap.client.calls import check_base_url, keeps_secrets
from batchswap.client.mapping import FAULTS, translate
from batchswap.clock import SystemClock
from batchswap.errors import AccountRefused, InputGone, MaybeSent, NeverSent, UsageError, WireError
from batchswap.tasks import public
from tests.http import scripted
from tests.http.scripted import Act, Scripted, ok, reply

KEY = "ak_SECRETSECRETSECRETSECRETSECRET12"
HASTY = Timeouts(connect=0.2, answer=0.1, submit=0.1, stall=0.2)
BODY = wire.CreateTask("video-face-swap", {"video_url": "https://x/v.mp4", "new_face": "https://x/f.png"})

Call = Callable[[Client], Awaitable[Answer]]


def submit(client: Client) -> Awaitable[Answer]:
    return client.create_task(BODY, "ref-1")


async def ask(call: Call, *script: Act, **options: Any) -> tuple[Answer | Exception, Scripted]:
    """What comes back of one call, error or answer, and the server that saw it."""
    async with Scripted(*script, **options) as server, Client(server.url, KEY, SystemClock(), HASTY) as client:
        try:
            return await call(client), server
        except (NeverSent, MaybeSent) as error:
            return error, server


def answered(call: Call, *script: Act, **options: Any) -> tuple[Answer, Scripted]:
    found, server = asyncio.run(ask(call, *script, **options))
    assert isinstance(found, Answer), found
    return found, server


# What is sent


def test_create_task_on_the_wire() -> None:
    answer, server = answered(submit, reply(json=ok({"task_id": "t1"})))
    assert (answer.status, answer.code, answer.data, answer.is_envelope) == (200, 200, {"task_id": "t1"}, True)
    assert answer.sent_at <= answer.answered_at
    [request] = server.requests
    assert (request.method, request.target) == ("POST", "/api/v1/client/job/CreateTask")
    assert request.headers["x-api-key"] == KEY
    assert request.headers["idempotency-key"] == "ref-1"
    assert request.headers["content-type"] == "application/json"
    assert request.json() == BODY.to_json()


@pytest.mark.parametrize(
    ("call", "method", "path", "query", "body"),
    [
        (lambda c: c.task_info("a+b&c=/d"), "GET", "job/TaskInfo", {"task_id": "a+b&c=/d"}, None),
        (lambda c: c.estimate(BODY), "POST", "job/EstimateTask", {}, BODY.to_json()),
        (lambda c: c.balance(), "GET", "account/balance", {}, None),
        (
            lambda c: c.upload_url("video/mp4", ".mp4"),
            "GET",
            "files/upload-url",
            {"content_type": "video/mp4", "ext": ".mp4"},
            None,
        ),
        (lambda c: c.detect("video", "u"), "POST", "job/detect-face-video", {}, {"video_url": "u"}),
        (lambda c: c.detect("image", "u"), "POST", "job/detect-face-image", {}, {"image_url": "u"}),
        (lambda c: c.detect_result("d1"), "GET", "job/detect-face-result", {"detect_task_id": "d1"}, None),
    ],
)
def test_calls_on_the_wire(call: Call, method: str, path: str, query: dict[str, str], body: Any) -> None:
    _, server = answered(call, reply(json=ok({})))
    [request] = server.requests
    assert (request.method, request.path, request.query) == (method, f"/api/v1/client/{path}", query)
    assert request.headers["x-api-key"] == KEY
    assert "idempotency-key" not in request.headers
    assert (request.json() if request.body else None) == body


def test_a_base_url_may_have_a_path() -> None:
    async def main() -> None:
        async with (
            Scripted(reply(json=ok())) as server,
            Client(server.url + "/crun/", KEY, SystemClock()) as client,
        ):
            await client.balance()
            assert server.requests[0].path == "/crun/api/v1/client/account/balance"

    asyncio.run(main())


def test_cookies_proxies_and_netrc_are_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    async def twice(client: Client) -> Answer:
        await client.balance()
        return await client.balance()

    _, server = answered(twice, then=reply(json=ok(), headers={"Set-Cookie": "session=1; Path=/"}))
    assert len(server.requests) == 2
    assert not {"cookie", "authorization"} & set(server.requests[1].headers)


# What comes back


@pytest.mark.parametrize(
    ("act", "status", "code", "is_envelope"),
    [
        (reply(json=ok(None, 429, "slow down")), 200, 429, True),
        (reply(429, json=ok(None, 429)), 429, 429, True),
        (reply(503, body=b"<html>"), 503, None, False),
        (reply(200, body=b""), 200, None, False),
        (reply(200, body=b"[1]"), 200, None, False),
        (reply(200, body=b"\xff\xfe"), 200, None, False),
        (reply(200, body=b"[" * 100_000), 200, None, False),
        (reply(200, json={"code": "200", "message": 5, "data": []}), 200, 200, True),
        (reply(200, json={}), 200, None, True),
        (reply(204, body=b""), 204, None, False),
        (scripted.chunked(b'{"code": 200}', size=3), 200, 200, True),
        (reply(200, body=b'{"code": 200, "data": "' + b"x" * LARGEST + b'"}'), 200, None, False),
        (scripted.redirect("/elsewhere", 301), 301, None, False),
        (scripted.redirect("http://127.0.0.1:1/", 307), 307, None, False),
    ],
)
def test_answers_as_they_come(act: Act, status: int, code: int | None, is_envelope: bool) -> None:
    answer, server = answered(submit, act)
    assert (answer.status, answer.code, answer.is_envelope) == (status, code, is_envelope)
    assert len(server.requests) == 1


def test_retry_after_is_read_from_the_header() -> None:
    answer, _ = answered(submit, reply(429, json=ok(None, 429), headers={"Retry-After": "7"}))
    assert answer.retry_after == 7.0


NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("0", 0.0),
        (" 12 ", 12.0),
        ("1.5", 1.5),
        ("-5", 0.0),
        ("86400000", 86400000.0),
        ("9" * 400, None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("Sunday, 01-Mar-26 12:00:30 GMT", 30.0),
        ("Sun Mar  1 12:00:30 2026", 30.0),
        ("Sun, 01 Mar 2026 14:00:30 +0200", 30.0),
        ("Sun, 32 Mar 2026 12:00:30 GMT", None),
        ("2026-03-01T12:00:30Z", None),
    ],
)
def test_retry_after_table(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header, NOW.timestamp()) == seconds


@given(st.text() | st.from_regex(r"[+-]?[0-9]{1,30}(\.[0-9]*)?"))
def test_retry_after_never_fails(header: str) -> None:
    found = parse_retry_after(header, NOW.timestamp())
    assert found is None or 0.0 <= found < float("inf")


@given(st.integers(0, 10**8))
def test_retry_after_dates_are_seconds_from_now(seconds: int) -> None:
    header = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert parse_retry_after(header, NOW.timestamp()) == seconds


# What goes wrong

HEAD = scripted.head(200, {"Content-Length": "100"})
AFTER_CONNECTING: dict[str, Act] = {
    "reset unread": scripted.reset(early=True),
    "reset": scripted.reset(),
    "reset in the head": scripted.reset(after=b"HTTP/1.1 200"),
    "reset in the body": scripted.reset(after=HEAD + b'{"code"'),
    "closed unread": scripted.close(early=True),
    "closed": scripted.close(),
    "closed in the head": scripted.raw(b"HTTP/1.1 20"),
    "truncated": scripted.truncated(b'{"code": 200, "data": {"task_id": "t"}}', 20),
    "chunks without an end": scripted.chunked(b'{"code": 200}', complete=False),
    "stalled": scripted.stall(),
    "stalled in the body": scripted.stall(after=HEAD + b'{"code"'),
    "a slow drip": scripted.drip(HEAD + b" " * 100, 0.01),
    "not HTTP": scripted.raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "a bad Content-Length": scripted.raw(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}"),
    "bad chunks": scripted.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"),
    "bad compression": reply(200, body=b"not gzip", headers={"Content-Encoding": "gzip"}),
    "an endless header": scripted.raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"),
}


@pytest.mark.parametrize("name", AFTER_CONNECTING)
def test_invariant_2_one_create_task_is_one_request_and_maybe_sent(name: str) -> None:
    found, server = asyncio.run(ask(submit, then=AFTER_CONNECTING[name]))
    assert isinstance(found, MaybeSent)
    assert len(server.requests) == server.connections == 1


def test_a_connection_reset_on_arrival_is_never_used_again() -> None:
    found, server = asyncio.run(ask(submit, on_connect=lambda: False))
    assert isinstance(found, MaybeSent)
    assert (len(server.requests), server.connections) == (0, 1)


@pytest.mark.parametrize("act", [scripted.close(), scripted.reset(), scripted.close(early=True)])
@pytest.mark.parametrize("call", [lambda c: c.balance(), lambda c: c.detect_result("d")])
def test_a_kept_connection_that_breaks_is_not_tried_again_behind_the_pacer(call: Call, act: Act) -> None:
    async def twice(client: Client) -> Answer:
        await call(client)
        return await call(client)

    found, server = asyncio.run(ask(twice, reply(json=ok()), act, then=reply(json=ok())))
    assert isinstance(found, MaybeSent)
    assert [r.connection for r in server.requests] == [1, 1], "the second request used the kept connection, and once"


def test_create_task_never_uses_a_kept_connection() -> None:
    async def thrice(client: Client) -> Answer:
        await submit(client)
        await client.balance()
        return await submit(client)

    _, server = answered(thrice, then=reply(json=ok({"task_id": "t"})))
    assert [r.connection for r in server.requests] == [1, 2, 3]


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def submit_to(url: str) -> None:
    async with Client(url, KEY, SystemClock(), HASTY) as client:
        await submit(client)


def test_refused_is_never_sent() -> None:
    with pytest.raises(NeverSent, match="Connect call failed"):
        asyncio.run(submit_to(f"http://127.0.0.1:{closed_port()}"))


def test_a_name_that_does_not_resolve_is_never_sent() -> None:
    with pytest.raises(NeverSent, match=r"resolved|in time"):
        asyncio.run(submit_to("https://name.invalid"))


def test_tls_to_a_server_without_tls_is_never_sent() -> None:
    async def main() -> None:
        async with Scripted(then=reply(json=ok())) as server:
            with pytest.raises(NeverSent):
                await submit_to(server.url.replace("http:", "https:"))
            assert server.requests == []

    asyncio.run(main())


def test_an_untrusted_certificate_is_never_sent(tmp_path: Path) -> None:
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=x"
    pair = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert")]
    subprocess.run([*command.split(), *pair], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    found, server = asyncio.run(ask(submit, then=reply(json=ok()), tls=context))
    assert isinstance(found, NeverSent)
    assert "not trusted" in str(found)
    assert server.requests == []


@contextmanager
def deaf_port() -> Iterator[int]:
    """A port whose queue is full: connecting to it takes for ever."""
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
        asyncio.run(submit_to(f"http://127.0.0.1:{port}"))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.binary(max_size=300), st.booleans())
@example(b"HTTP/1.1 100 Continue\r\n\r\n", False)
@example(b"HTTP/1.1 101 Switching\r\n\r\n", False)
@example(b"HTTP/1.1 999 \r\nContent-Length: 99999999999999999999\r\n\r\n", False)
@example(b"Retry-After: \x00\r\nContent-Encoding: br\r\n\r\nx", True)
def test_any_bytes_are_an_answer_or_maybe_sent(data: bytes, with_head: bool) -> None:
    found, server = asyncio.run(ask(submit, then=scripted.raw((b"HTTP/1.1 200 OK\r\n" if with_head else b"") + data)))
    assert isinstance(found, Answer | MaybeSent)
    assert len(server.requests) == 1


def exported() -> Iterator[type[BaseException]]:
    """Every exception that aiohttp exports and that a request can raise."""
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
    "SSLCertVerificationError",
    "ServerFingerprintMismatch",
    "gaierror",
}


def test_only_what_happens_before_the_connection_stands_is_never_sent() -> None:
    assert {kind.__name__ for kind, (fault, _) in FAULTS.items() if fault is NeverSent} == NOTHING_LEFT


@pytest.mark.parametrize(
    "error",
    [BrokenPipeError(32, "Broken pipe"), TimeoutError(), ssl.SSLZeroReturnError(6, "closed"), OSError()],
)
def test_what_the_system_raises_is_maybe_sent(error: OSError) -> None:
    assert isinstance(translate(error, "https://h/p"), MaybeSent)


# Secrets (invariant 9)

SIGNED = "/put?X-Signature=SIGNATURE&X-Token=TOKEN"


def test_invariant_9_errors_hold_no_key_and_no_query(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"x" * 1000)

    async def main(act: Act) -> list[BaseException]:
        errors: list[BaseException] = []
        async with Scripted(then=act) as server, Client(server.url, KEY, SystemClock(), HASTY) as client:
            calls = (
                client.create_task(BODY, "ref-1"),
                client.task_info("SIGNATURE"),
                client.put_file(server.url + SIGNED, tmp_path / "v.mp4", "video/mp4"),
                client.put_file(f"http://127.0.0.1:{closed_port()}{SIGNED}", tmp_path / "v.mp4", "video/mp4"),
                client.put_file(f"http://TOKEN:SIGNATURE@127.0.0.1{SIGNED}", tmp_path / "v.mp4", "video/mp4"),
                client.put_file(f"https://h:99999999{SIGNED}", tmp_path / "v.mp4", "video/mp4"),
            )
            for call in calls:
                try:
                    await call
                except (NeverSent, MaybeSent, WireError) as error:
                    errors.append(error)
        return errors

    for act in (scripted.reset(), scripted.raw(b"nonsense\r\n\r\n"), scripted.stall(), AFTER_CONNECTING["truncated"]):
        errors = asyncio.run(main(act))
        assert len(errors) == 6
        for error in errors:
            shown = "".join(traceback.format_exception(error)) + repr(error)
            assert not any(secret in shown for secret in (KEY, "SIGNATURE", "TOKEN"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h.example/a/b.mp4?X-Sig=1", "https://h.example/a/b.mp4?…"),
        ("https://user:pass@h.example:8443/a#frag", "https://h.example:8443/a"),
        ("http://[::1]:80/a", "http://[::1]:80/a"),
        ("https://h.example/a\x1b[31m", "https://h.example/a?[31m"),
        ("https://h:99999999/", "(not a URL)"),
        ("http://[oops/", "(not a URL)"),
    ],
)
def test_public_shows_no_secret(url: str, shown: str) -> None:
    assert public(url) == shown


@given(st.text())
def test_public_never_fails(text: str) -> None:
    shown = public(f"https://user:\U0001f511@host/{text.replace(chr(0x1F511), '')}?\U0001f511")
    assert shown.isprintable()
    assert "\U0001f511" not in shown


@pytest.mark.parametrize(
    "url",
    [
        "http://api.crun.ai",
        "http://192.168.1.5:8000",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "https://user:secret@api.crun.ai",
        "https://api.crun.ai/?secret=1",
        "https://",
        "ftp://api.crun.ai",
        "api.crun.ai",
        "",
        "https://h:99999999/#secret",
        "https://[oops",
    ],
)
def test_a_base_url_that_would_show_the_key_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        Client(url, KEY, SystemClock())
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://api.crun.ai/", "http://localhost:1", "http://127.0.0.9:1", "http://[::1]:1"])
def test_a_base_url_that_keeps_the_key_is_taken(url: str) -> None:
    assert check_base_url(url) == url.rstrip("/")
    assert keeps_secrets(url)


@pytest.mark.parametrize("key", ["", " ", "ak_ü", "ak_1\r\nHost: x", "x" * 600])
def test_a_malformed_key_is_said_without_it(key: str) -> None:
    with pytest.raises(AccountRefused) as caught:
        Client("https://api.crun.ai", key, SystemClock())
    assert len(key) < 2 or key not in str(caught.value)


# Uploads


def upload(path: Path, target: str = SIGNED) -> Callable[[Client], Awaitable[Answer]]:
    return lambda client: client.put_file(client._base + target, path, "video/mp4")


def test_a_file_is_streamed_as_it_is_and_without_the_key(tmp_path: Path) -> None:
    content = os.urandom(700_000)
    (tmp_path / "v.mp4").write_bytes(content)
    target = "/bucket/a%2Fb.mp4?X-Sig=a%2Bb%2f==&x=%E2%82%AC"
    answer, server = answered(upload(tmp_path / "v.mp4", target), reply(200))
    assert answer.status == 200
    [request] = server.requests
    assert (request.method, request.target) == ("PUT", target), "the signed URL is sent byte for byte"
    assert request.headers["content-type"] == "video/mp4"
    assert request.headers["content-length"] == str(len(content))
    assert "transfer-encoding" not in request.headers
    assert request.body == content
    assert KEY not in str(request.headers)


def test_a_store_that_refuses_early_is_heard(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"x" * 1000)
    answer, _ = answered(upload(tmp_path / "v.mp4"), reply(403, body=b"<Error/>"))
    assert (answer.status, answer.is_envelope) == (403, False)


@pytest.mark.parametrize("act", [scripted.reset(early=True), scripted.close(early=True), scripted.stall(early=True)])
def test_an_upload_that_breaks_or_stands_still_is_one_request(tmp_path: Path, act: Act) -> None:
    with (tmp_path / "v.mp4").open("wb") as file:
        file.truncate(32 * 1024**2)  # more than the sockets' buffers hold
    found, server = asyncio.run(ask(upload(tmp_path / "v.mp4"), then=act))
    assert isinstance(found, MaybeSent)
    assert len(server.requests) == 1


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite"])
def test_a_file_that_changes_on_the_way_never_arrives_whole(tmp_path: Path, change: str) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(b"a" * 32 * 1024**2)
    arrived = 0

    async def meddle(exchange: scripted.Exchange) -> bool:
        nonlocal arrived
        arrived += len(await exchange.reader.readexactly(1024))
        match change:
            case "grow":
                with path.open("ab") as file:
                    file.write(b"more")
            case "shrink":
                os.truncate(path, 20 * 1024**2)
            case _:
                with path.open("r+b") as file:
                    file.write(b"b")
                os.utime(path, (1, 1))
        while data := await exchange.reader.read(2**20):
            arrived += len(data)
        return False

    async def main() -> None:
        async with Scripted(Act(meddle, early=True)) as server, Client(server.url, KEY, SystemClock()) as client:
            with pytest.raises(InputGone, match="changed while it was uploaded"):
                await client.put_file(server.url + SIGNED, path, "video/mp4")
            assert len(server.requests) == 1

    asyncio.run(main())
    assert arrived < 32 * 1024**2


def test_what_is_no_file_is_not_uploaded(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()

    async def main(path: Path) -> None:
        async with Scripted() as server, Client(server.url, KEY, SystemClock()) as client:
            with pytest.raises(InputGone):
                await client.put_file(server.url + SIGNED, path, "video/mp4")
            assert server.connections == 0

    for name in ("missing", "empty", "pipe", ".", "nul\0"):
        asyncio.run(main(tmp_path / name))


def test_a_file_is_not_put_in_clear_on_the_network(tmp_path: Path) -> None:
    async def main() -> None:
        async with Client("https://api.crun.ai", KEY, SystemClock()) as client:
            with pytest.raises(WireError, match="neither https"):
                await client.put_file("http://store.example/x?sig=1", tmp_path, "video/mp4")

    asyncio.run(main())
