"""Requests through a real proxy. What it does before there is a connection to the host is never the host's answer."""

import asyncio
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp.connector
import pytest

from batchswap.client import Answer, Client, Timeouts
from batchswap.clock import SystemClock
from batchswap.downloads import Downloader, Place
from batchswap.errors import DownloadError, MaybeSent, NeverSent, ProxyFailed
from batchswap.network import Routes, routes_of
from tests.chaos.vendor import Vendor, selling
from tests.http.asking import CALM, KEY, Call, submit
from tests.http.proxies import PAGE, Authority, Fault, TestProxy, proxying
from tests.http.samples import movie
from tests.http.scripted import Act, Request
from tests.http.scripted_replies import media, reply
from tests.ports import reserve_port
from tests.waits import wait_until

API, CDN = "api.test.example", "cdn.test.example"
HASTY = Timeouts(connect=0.5, answer=0.5, submit=0.5, stall=0.5, grace=0.05)
USER, PASSWORD = "night run", "p@ss/wörd:1"
URL_OF_BOTH = "night%20run:p%40ss%2Fw%C3%B6rd%3A1"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an authority that this process trusts. aiohttp reads SSL_CERT_FILE when it is imported."""
    found = Authority(tmp_path_factory.mktemp("authority"))
    found.ca.configure_trust(aiohttp.connector._SSL_CONTEXT_VERIFIED)
    return found


@pytest.fixture
def vendor(authority: Authority) -> Iterator[Vendor]:
    with selling(tls=authority.context(API, CDN), name=API) as found:
        yield found


@contextmanager
def through(vendor: Vendor, fault: Fault = None, *, scheme: str = "http", **options: Any) -> Iterator[TestProxy]:
    """Yield a proxy that knows the names of the API and of a media host."""
    tls = options.pop("tls", None)
    proxy = TestProxy({API: vendor.port, CDN: vendor.port, "localhost": vendor.port}, **options)
    proxy.fault = lambda _: fault
    with proxying(proxy, is_socks=scheme.startswith("socks"), tls=tls):
        yield proxy


def at(proxy: TestProxy, scheme: str = "http", credentials: str = "") -> Routes:
    return routes_of(f"{scheme}://{credentials + '@' if credentials else ''}127.0.0.1:{proxy.port}")


def ask(routes: Routes, call: Call = submit, timeouts: Timeouts = CALM, base: str = f"https://{API}") -> Any:
    """Return the answer or the error of one call."""

    async def main() -> Any:
        async with Client(base, KEY, SystemClock(), timeouts, routes=routes) as client:
            try:
                return await call(client)
            except (NeverSent, MaybeSent) as error:
                return error
            finally:
                await asyncio.sleep(0.05)  # in which connections that were refused are closed

    return asyncio.run(main())


def test_a_submit_reaches_the_api_through_the_proxy(vendor: Vendor) -> None:
    with through(vendor) as proxy:
        found = ask(at(proxy))
    assert (found.code, proxy.seen, vendor.requests("submit")) == (200, {API: 1}, 1)
    assert proxy.heads[0].startswith(f"CONNECT {API}:443 HTTP/1.1\r\n")
    assert KEY not in proxy.heads[0]


FAULTS: dict[Fault, str] = {
    407: r"the proxy http://127.0.0.1:\d+ wants a user and a password \(407\)",
    403: rf"does not allow connections to {API} \(403\)",
    502: rf"cannot connect to {API} \(502\)",
    503: rf"cannot connect to {API} \(503\)",
    504: rf"cannot connect to {API} \(504\)",
    302: rf"does not connect to {API}: it answers 302",
    "close": rf"the proxy http://127.0.0.1:\d+ closed the connection before it was one to {API}",
    "cut": rf"the proxy http://127.0.0.1:\d+ closed the connection before it was one to {API}",
    "garbage": r"http://127.0.0.1:\d+ (does not answer as a proxy does|closed the connection)",
    "hang": rf"no connection to {API} through the proxy http://127.0.0.1:\d+ in time",
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", [submit, lambda client: client.balance()], ids=["submit", "balance"])
def test_without_a_connection_to_the_host_nothing_was_sent(vendor: Vendor, fault: Fault, call: Call) -> None:
    with through(vendor, fault) as proxy:
        found = ask(at(proxy), call, HASTY if fault == "hang" else CALM)
    assert isinstance(found, ProxyFailed)
    assert re.search(FAULTS[fault], str(found))
    assert f"(https://{API}/" in str(found)
    assert (proxy.total, vendor.requests()) == (1, 0), "once, and nothing reached the API"


def test_a_proxy_that_cannot_be_reached_is_named() -> None:
    found = ask(routes_of(f"http://{URL_OF_BOTH}@127.0.0.1:{reserve_port()}"))
    assert isinstance(found, ProxyFailed)
    assert re.match(r"the proxy http://127.0.0.1:\d+ cannot be reached: Connection refused", str(found))


def test_a_proxy_whose_name_is_unknown_is_named() -> None:
    found = ask(routes_of("http://proxy.invalid:3128"), timeouts=HASTY)
    assert isinstance(found, ProxyFailed)
    assert re.search(r"the proxy http://proxy.invalid:3128 (cannot be resolved|in time)", str(found))


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_a_tunnel_that_breaks_after_the_request_leaves_the_submit_uncertain(vendor: Vendor, scheme: str) -> None:
    with through(vendor, scheme=scheme) as proxy:

        def break_tunnels(vendor: Vendor, kind: str, request: Request) -> Act:
            act = vendor.answer(kind, request)
            proxy.cut_tunnels()
            wait_until(lambda: not proxy._tunnels, "the tunnels to break")
            return act

        vendor.spoil = break_tunnels
        found = ask(at(proxy, scheme))
    assert isinstance(found, MaybeSent)
    assert vendor.requests("submit") == 1
    assert sum(vendor.accepted.values()) == 1, "the API has the task"


@pytest.mark.parametrize("target", [f"https://{API}", "http://127.0.0.1"])
def test_credentials_go_to_the_proxy_only(vendor: Vendor, tmp_path: Path, target: str) -> None:
    headers: list[dict[str, str]] = []

    def note(_: Vendor, __: str, request: Request) -> None:
        headers.append(request.headers)

    vendor.spoil = note
    with through(vendor, credentials=f"{USER}:{PASSWORD}") as proxy:
        routes = at(proxy, credentials=URL_OF_BOTH)
        assert isinstance(ask(routes), Answer)
        assert PASSWORD not in repr(routes)
        wrong = ask(at(proxy, credentials="night%20run:wrong"))
        assert str(wrong).startswith(f"the proxy http://127.0.0.1:{proxy.port} refuses the user and password (407)")
    assert "wrong" not in str(wrong)
    assert "proxy-authorization" not in headers[0]
    assert len(headers) == 1


def test_a_login_that_is_not_basic_is_named(vendor: Vendor) -> None:
    with through(vendor, 407, challenge="Negotiate") as proxy:
        found = ask(at(proxy, credentials="u:p"))
    assert "wants a login of the kind Negotiate, and only Basic is known (407)" in str(found)


def test_an_api_on_this_machine_is_reached_directly() -> None:
    with selling() as vendor, through(vendor) as proxy:
        for name in ("127.0.0.1", "localhost"):
            found = ask(at(proxy), base=vendor.url.replace("127.0.0.1", name))
            assert isinstance(found, Answer)
        assert (proxy.total, vendor.requests("submit")) == (0, 2)


def test_no_proxy_and_the_variables_count_only_on_request(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    with through(vendor) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        assert "resolved" in str(ask(routes_of(""), timeouts=CALM)) or proxy.total == 0
        assert proxy.total == 0
        assert isinstance(ask(routes_of("env")), Answer)
        assert proxy.total == 1
        monkeypatch.setenv("NO_PROXY", ".test.example")
        assert isinstance(ask(routes_of("env"), timeouts=HASTY), NeverSent)
        assert proxy.total == 1


def test_the_connection_to_the_proxy_can_be_encrypted(vendor: Vendor, authority: Authority) -> None:
    with through(vendor, tls=authority.context("127.0.0.1"), credentials=f"{USER}:{PASSWORD}") as proxy:
        assert isinstance(ask(at(proxy, "https", URL_OF_BOTH)), Answer)
    with through(vendor, tls=authority.context("other.example")) as proxy:
        found = ask(at(proxy, "https"))
        assert isinstance(found, ProxyFailed)
        assert "the certificate of the proxy 127.0.0.1 is for another name" in str(found)
    with through(vendor) as proxy:
        found = ask(at(proxy, "https"))
        assert isinstance(found, ProxyFailed)
        assert f"TLS to the proxy https://127.0.0.1:{proxy.port} failed: is it an http:// proxy?" in str(found)
    assert vendor.requests() == 1


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy_makes_connections(vendor: Vendor, scheme: str) -> None:
    """With socks5:// the name is resolved here, where it has no address."""
    with through(vendor, scheme=scheme, credentials="night:word") as proxy:
        found = ask(at(proxy, scheme, "night:word"))
        assert isinstance(found, Answer if scheme == "socks5h" else ProxyFailed)
        assert proxy.seen == ({API: 1} if scheme == "socks5h" else {})
        assert vendor.requests() == proxy.total


def test_a_socks_proxy_refuses_a_login(vendor: Vendor) -> None:
    with through(vendor, scheme="socks5h", credentials="night:word") as proxy:
        wrong, none = ask(at(proxy, "socks5h", "night:wrong")), ask(at(proxy, "socks5h"))
    assert isinstance(wrong, ProxyFailed)
    assert isinstance(none, ProxyFailed)
    assert "refuses the user and password" in str(wrong)
    assert "wants a user and a password" in str(none)
    assert vendor.requests() == 0


SOCKS_FAULTS: dict[Fault, str] = {
    2: rf"does not connect to {API}: connection not allowed by ruleset",
    5: rf"does not connect to {API}: connection refused by destination host",
    "close": r"the proxy socks5h://127.0.0.1:\d+ closed the connection before it was one to",
    "garbage": r"socks5h://127.0.0.1:\d+ (does not answer as a proxy does|closed the connection)",
    "cut": rf"no connection to {API} through the proxy socks5h://127.0.0.1:\d+ in time",
    "hang": rf"no connection to {API} through the proxy socks5h://127.0.0.1:\d+ in time",
}


@pytest.mark.parametrize("fault", SOCKS_FAULTS)
def test_without_a_connection_by_socks_nothing_was_sent(vendor: Vendor, fault: Fault) -> None:
    with through(vendor, fault, scheme="socks5h") as proxy:
        found = ask(at(proxy, "socks5h"), timeouts=HASTY if fault in ("hang", "cut") else CALM)
    assert isinstance(found, ProxyFailed)
    assert re.search(SOCKS_FAULTS[fault], str(found))
    assert vendor.requests() == 0


def test_a_socks_proxy_that_cannot_be_reached_is_named() -> None:
    found = ask(routes_of(f"socks5h://127.0.0.1:{reserve_port()}"))
    assert isinstance(found, ProxyFailed)
    assert "cannot be reached" in str(found)


def test_an_upload_uses_the_proxy(vendor: Vendor, tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(movie())
    with through(vendor) as proxy:
        found = ask(at(proxy), lambda client: client.put_file(f"https://{CDN}/x", tmp_path / "v.mp4", "video/mp4"))
        assert (found.status, proxy.seen, vendor.requests("put")) == (200, {CDN: 1}, 1)
        proxy.fault = lambda _: 502
        assert isinstance(ask(at(proxy), lambda c: c.put_file(f"https://{CDN}/x", tmp_path / "v.mp4", "v")), NeverSent)


def certificate(kind: str, authority: Authority, folder: Path) -> ssl.SSLContext:
    now = datetime.now(UTC)
    match kind:
        case "expired":
            return authority.context(API, not_before=now - timedelta(days=9), not_after=now - timedelta(days=1))
        case "early":
            return authority.context(API, not_before=now + timedelta(days=1), not_after=now + timedelta(days=9))
        case "name":
            return authority.context("other.example")
        case "unknown":
            return Authority(folder).context(API)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    Authority(folder).ca.configure_trust(context)
    return context


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("expired", "has expired: check this machine's clock; if it is right, the operator must renew it"),
        ("early", "is not valid yet: check this machine's clock"),
        ("name", "is for another name: check the address"),
        ("unknown", "is not trusted, because this machine does not know who issued it: if it is your company's"),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_a_certificate_is_refused_with_the_reason(
    authority: Authority, tmp_path: Path, kind: str, words: str, scheme: str
) -> None:
    with (
        selling(tls=certificate(kind, authority, tmp_path), name=API) as vendor,
        through(vendor, scheme=scheme) as proxy,
    ):
        found = ask(at(proxy, scheme))
        assert isinstance(found, NeverSent)
        assert not isinstance(found, ProxyFailed)
        assert str(found).startswith(f"the certificate of {API} {words}")
        with pytest.raises(DownloadError, match=f"the certificate of {API} {words[:9]}") as refused:
            download(at(proxy, scheme), f"https://{API}/x.mp4", tmp_path)
        assert (refused.value.reason, refused.value.final) == ("unreachable", False)


def download(routes: Routes, url: str, folder: Path, *, allow_private: bool = False) -> int:
    async def main() -> int:
        async with Downloader(allow_private=allow_private, routes=routes, connect=0.5, stall=5.0) as downloader:
            try:
                return (await downloader.fetch(url, Place(folder, "x.mp4"), kind="video")).size
            finally:
                await asyncio.sleep(0.05)

    return asyncio.run(main())


@contextmanager
def plain_host() -> Iterator[Vendor]:
    """Yield a media host without TLS, which sends a film to everyone."""
    with selling() as vendor:
        vendor.spoil = lambda *_: media(movie(), etag='"1"')
        yield vendor


def test_downloads_use_the_proxy_with_and_without_tls(vendor: Vendor, tmp_path: Path) -> None:
    vendor.spoil = lambda *_: media(movie(), etag='"1"')
    with through(vendor, credentials="u:p") as proxy:
        assert download(at(proxy, credentials="u:p"), f"https://{CDN}/x.mp4?sig=1", tmp_path) == len(movie())
        assert proxy.seen == {CDN: 1}
    with plain_host() as host, through(host, credentials="u:p") as proxy:
        (tmp_path / "plain").mkdir()
        found = download(at(proxy, credentials="u:p"), f"http://{CDN}/y/x.mp4?sig=1", tmp_path / "plain")
        assert (found, proxy.seen) == (len(movie()), {CDN: 1})
        assert proxy.heads[0].startswith(f"GET http://{CDN}/y/x.mp4?sig=1 HTTP/1.1\r\n")
        assert host.requests("media") == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("fault", [407, 502, 503, 504])
def test_a_page_of_the_proxy_is_a_failed_download_that_is_tried_again(
    vendor: Vendor, tmp_path: Path, scheme: str, fault: int
) -> None:
    with through(vendor, fault) as proxy, pytest.raises(DownloadError) as failed:
        download(at(proxy), f"{scheme}://{CDN}/x.mp4", tmp_path)
    assert (failed.value.final, failed.value.stale) == (False, False)
    assert failed.value.reason in ("unreachable", "unavailable"), "trouble of the host, which is waited for"
    if fault == 407:
        assert "wants a user and a password (407)" in str(failed.value)
    assert PAGE not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


PRIVATE = [
    "localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "10.1.2.3", "192.168.0.1", "169.254.169.254",
    "[::1]", "[fd00::1]", "[::ffff:10.0.0.1]", "printer.local", "metadata.google.internal", "nas.lan", "intranet",
    "wiki.corp", "router.home.arpa", "router.home", "db.localdomain", "PRINTER.LOCAL.",
]  # fmt: skip


@pytest.mark.parametrize("host", PRIVATE)
def test_a_private_address_or_name_is_not_downloaded_through_the_proxy(
    vendor: Vendor, tmp_path: Path, host: str
) -> None:
    with through(vendor) as proxy:
        with pytest.raises(DownloadError) as refused:
            download(at(proxy), f"http://{host}/x.mp4", tmp_path)
        assert refused.value.reason in ("private-address", "bad-url")
        assert (refused.value.final, proxy.total) == (True, 0)


def test_nor_after_a_redirect(vendor: Vendor, tmp_path: Path) -> None:
    vendor.spoil = lambda *_: reply(302, headers={"Location": "https://10.0.0.1/x.mp4"})
    with (
        through(vendor) as proxy,
        pytest.raises(DownloadError, match=r"10\.0\.0\.1 is not a public address") as refused,
    ):
        download(at(proxy), f"https://{CDN}/x.mp4", tmp_path)
    assert (refused.value.reason, proxy.seen) == ("private-address", {CDN: 1})


def test_the_proxy_itself_may_have_a_private_address(vendor: Vendor, tmp_path: Path) -> None:
    """All of these proxies do. An API with a private address may have media with one, too."""
    with plain_host() as host, through(host) as proxy:
        proxy.hosts["10.0.0.1"] = host.port
        assert download(at(proxy), "http://10.0.0.1/x.mp4", tmp_path, allow_private=True) == len(movie())
        assert proxy.seen == {"10.0.0.1": 1}


def test_a_host_on_this_machine_is_downloaded_from_directly(tmp_path: Path) -> None:
    with plain_host() as host, through(host) as proxy:
        assert download(at(proxy), f"{host.url}/x.mp4", tmp_path, allow_private=True) == len(movie())
        assert (proxy.total, host.requests("media")) == (0, 1)
