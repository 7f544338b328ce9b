"""Which proxy a URL gets, and that no message repeats its credentials."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from batchswap.cli.user_files import resumable
from batchswap.errors import UsageError
from batchswap.network.proxy_address import ProxyAddress, masked, parse_proxy
from batchswap.network.routes import DIRECT, VARIABLES, Routes, is_bypassed, literal, routes_of, variables_set

PROXY = ProxyAddress("http", "proxy.example", 3128)
OTHER = ProxyAddress("socks5h", "other.example", 1080)


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://proxy.example:3128", PROXY),
        ("HTTP://PROXY.example:3128/", PROXY),
        ("http://proxy.example", ProxyAddress("http", "proxy.example", 80)),
        ("https://proxy.example", ProxyAddress("https", "proxy.example", 443)),
        ("socks5h://other.example", OTHER),
        ("socks4://night@10.0.0.1:9050", ProxyAddress("socks4", "10.0.0.1", 9050, "night")),
        ("http://[fd00::1]:8080", ProxyAddress("http", "fd00::1", 8080)),
        ("http://us%40er:p%3Ass%2F%25@h:1", ProxyAddress("http", "h", 1, "us@er", "p:ss/%")),
        ("http://user:p@ss@h:1", ProxyAddress("http", "h", 1, "user", "p@ss")),
        ("http://user:@h:1", ProxyAddress("http", "h", 1, "user", "")),
        ("socks5://u:p@h", ProxyAddress("socks5", "h", 1080, "u", "p")),
    ],
)
def test_a_proxy_is_read(text: str, proxy: ProxyAddress) -> None:
    assert parse_proxy(text, "--proxy") == proxy
    assert parse_proxy(proxy.shown, "--proxy") == ProxyAddress(proxy.scheme, proxy.host, proxy.port)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("proxy.example:3128", "this is not the URL of a proxy: write http://HOST:PORT"),
        ("evn", "or env for the proxy variables"),
        ("ftp://h:1", "the scheme ftp:// is not that of a proxy: use http, https, socks5, socks5h, socks4"),
        ("file:///etc/passwd", "the scheme file:// is not that of a proxy"),
        ("socks6://h", "the scheme socks6:// is not"),
        ("http://h:1/path", "nothing after the port"),
        ("http://h:1?a", "nothing after the port"),
        ("http://h:1#a", "nothing after the port"),
        ("http://h:port", "malformed"),
        ("http://h:0", "malformed"),
        ("http://h:99999", "malformed"),
        ("http://:3128", "malformed"),
        ("http://", "malformed"),
        ("http://[::1", "malformed"),
        ("http://a b:1", "malformed"),
        ("http://a..b:1", "malformed"),
        ("http://h\n:1", "malformed"),
        ("http://a%62c:1", "malformed"),
        ("socks4://u:p@h", "a socks4:// proxy takes a user without a password"),
        ("socks5://u@h", "a socks5:// proxy takes a user with a password, or neither"),
        ("socks5://u:%C3%B6@h", "up to 255 characters of ASCII"),
        (f"socks5://u:{'x' * 256}@h", "up to 255 characters of ASCII"),
        (f"socks4://{'x' * 256}@h", "up to 255 characters of ASCII"),
    ],
)
def test_an_unusable_proxy_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_proxy(text, "--proxy")
    assert str(refused.value).startswith("--proxy: ")
    assert words in str(refused.value)


@given(st.text(min_size=6), st.sampled_from(["http", "socks5", "ftp", "", "socks4"]), st.booleans())
@example("se/cret7", "http", True)
@example("se#cret7", "http", False)
@example("1/cret7secret", "http", True)
def test_no_error_and_no_printed_command_repeats_a_password(secret: str, scheme: str, has_user: bool) -> None:
    secret = f"KEEP{secret}KEEP"
    url = f"{scheme}://{'user:' if has_user else ''}{secret}@proxy.example:3128"
    for text in (url, url.removeprefix(f"{scheme}://")):
        try:
            found = parse_proxy(text, "--proxy")
            assert "KEEP" not in repr(found) + found.shown + repr(Routes(found, found))
        except UsageError as error:
            assert "KEEP" not in str(error)
        for words in (["--proxy", text], [f"--proxy={text}"]):
            assert "KEEP" not in " ".join(resumable(["run", *words, "x.csv"]))


def test_what_is_printed_of_a_command() -> None:
    words = ["run", "--proxy", "http://u:p@h:1", "a@b.csv", "--proxy=socks5://u:p@h", "--proxy"]
    assert [*resumable(words)] == ["run", "--proxy", "http://h:1", "a@b.csv", "--proxy=socks5://h", "--proxy"]
    assert [masked(each) for each in ("env", "http://h:1", "")] == ["env", "http://h:1", ""]


def test_an_explicit_proxy_is_for_every_host_but_this_machine() -> None:
    routes = routes_of("http://proxy.example:3128")
    for url in (
        "https://api.example",
        "http://10.0.0.1",
        "http://printer",
        "https://localhost.example",
        "http://[fd00::1]",
    ):
        assert routes.proxy_for(URL(url)) == PROXY
    here = (
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "127.0.0.1",
        "127.1.2.3",
        "127.1",
        "[::1]",
        "0.0.0.0",
    )
    for host in (*here, "[::ffff:127.0.0.1]", "0x7f000001", "2130706433"):
        assert routes.proxy_for(URL.build(scheme="http", authority=host)) is None, host
    assert DIRECT.proxy_for(URL("https://api.example")) is None
    assert (routes.proxies, DIRECT.proxies, routes_of("")) == ((PROXY,), (), DIRECT)


def test_the_variables_are_understood_as_other_programs_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5h://other.example")
    assert routes_of("env").proxies == (OTHER,)
    monkeypatch.setenv("HTTPS_PROXY", "http://no.example")
    monkeypatch.setenv("https_proxy", "proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "cdn.example")
    routes = routes_of("env")
    assert [routes.proxy_for(URL(url)) for url in ("https://a.example", "http://a.example", "https://cdn.example")] == [
        PROXY, OTHER, None,
    ]  # fmt: skip
    assert variables_set() == ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"]
    monkeypatch.setenv("https_proxy", "http://user:KEEP@h:port")
    with pytest.raises(UsageError, match=r"^HTTPS_PROXY: the URL of the proxy is malformed") as refused:
        routes_of("env")
    assert "KEEP" not in str(refused.value)


def test_env_without_variables_is_direct() -> None:
    assert (routes_of("env"), variables_set()) == (DIRECT, [])


@pytest.mark.parametrize(
    ("bypass", "host", "is_direct"),
    [
        ("", "a.example", False),
        ("*", "a.example", True),
        ("b.example, *", "a.example", True),
        ("example", "a.example", True),
        (".example", "a.example", True),
        ("*.example", "a.example", True),
        ("a.example", "A.EXAMPLE", True),
        ("a.example", "ba.example", False),
        ("b.example a.example", "a.example", True),
        ("a.example:443", "a.example", True),
        ("a.example:444", "a.example", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.0/8", "10.example", False),
        ("fd00::/8", "fd00::1", True),
        ("fd00::/8,10.0.0.0/8", "10.0.0.1", True),
        ("no/such,10.0.0.0/8", "a.example", False),
    ],
)
def test_no_proxy_lists_names_ports_and_networks(bypass: str, host: str, is_direct: bool) -> None:
    assert is_bypassed(host.lower(), 443, bypass) is is_direct


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.1", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("010.0.0.1", "8.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("a.example", "None"),
        ("1.2.3.4.5", "None"),
        ("cafe", "None"),
        ("", "None"),
    ],
)
def test_an_address_in_any_notation(host: str, address: str) -> None:
    assert str(literal(host)) == address
