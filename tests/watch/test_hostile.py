"""Requests that do not come from the user's own page are refused, and no file but the named ones is ever sent."""

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from batchswap.watch.guard import PAGE_TOKEN, guard_of
from tests.browser.nights import Night
from tests.watch.conftest import SECRET, Watched, watching

JSON = "application/json"
ACCEPT = b'{"action": "accept", "names": ["spring/clip-00001"]}'


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "127.0.0.2", "a b"])
@pytest.mark.parametrize("path", ["/", "/events", "/result/1", "/nosuch"])
def test_another_name_of_this_machine_is_refused(watched: Watched, host: str, path: str) -> None:
    """A site whose name leads to 127.0.0.1 would otherwise read the page (DNS rebinding)."""
    status, words = watched.words(path, Host=host)
    assert (status, "does not have the name" in words) == (403, True)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "LOCALHOST", "[::1]"])
def test_names_of_this_machine_are_its_own_with_any_port(watched: Watched, name: str) -> None:
    """A tunnel (ssh -L) has another port."""
    assert watched.ask("/", Host=f"{name}:9999")[0] == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_requests_of_other_pages_are_refused(watched: Watched, origin: str, method: str) -> None:
    path, body = ("/events", None) if method == "GET" else ("/order", ACCEPT)
    found = watched.words(path, method, body, Origin=origin, Content_Type=JSON, X_Batchswap_Page=watched.token())
    assert found == (403, "requests of other pages are refused")


def test_a_foreign_page_cannot_load_files_but_a_link_may_open_the_page(watched: Watched) -> None:
    assert watched.ask("/original/1", Sec_Fetch_Site="cross-site", Sec_Fetch_Dest="image")[0] == 403
    assert watched.ask("/data/0-1.js", Sec_Fetch_Site="same-site", Sec_Fetch_Dest="script")[0] == 403
    opened = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert watched.ask("/", "GET", None, **opened)[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_nothing_changes_without_the_page_s_token(watched: Watched, method: str) -> None:
    own = f"http://{watched.host}"
    for headers in (
        {},
        {"Origin": own},
        {"Origin": own, "X_Batchswap_Page": "x"},
        {"X_Batchswap_Page": watched.token()},
    ):
        status, words = watched.words("/order", method, ACCEPT, Content_Type=JSON, **headers)
        assert (status, words) == (403, "only the page itself can change anything: load it again")


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"x" * 300_000, JSON, 413),
        (b"{", JSON, 422),
        (b"[" * 100_000, JSON, 422),
        (b'{"action": "drop", "names": ["a"]}', JSON, 422),
        (b'{"action": "accept"}', JSON, 422),
        (b'{"action": "accept", "names": ["a"], "task_id": "x"}', JSON, 422),
        (b'{"action": "accept", "names": ["nosuch"]}', JSON, 422),
        (b'{"action": "accept", "names": ["' + b"x" * 2_000 + b'"]}', JSON, 422),
        (ACCEPT, "text/plain", 415),
        (b"\xff\xfe", JSON, 422),
    ],
)
def test_an_invalid_order_has_its_sentence(watched: Watched, body: bytes, kind: str, status: int) -> None:
    headers = {"Origin": f"http://{watched.host}", "Content_Type": kind, "X_Batchswap_Page": watched.token()}
    found, words = watched.words("/order", "POST", body, **headers)
    assert (found, bool(words)) == (status, True)
    assert "internal" not in words


@pytest.mark.parametrize(
    "path",
    [
        "/pictures/../batchswap.db", "/pictures/%2e%2e/batchswap.db", "/pictures/01/..%2f..%2fbatchswap.db",
        "/pictures//etc/passwd", "/pictures/01/%00.webp", "/result/../../batchswap.db", "/result/1/../../x",
        "/result/999999", "/result/-1", "/result/99999999999999999999", "/original/999999", "/batchswap.db",
        "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/live.js",
    ],
)  # fmt: skip
def test_no_path_leads_out(watched: Watched, path: str) -> None:
    status, headers, text = watched.ask(path)
    assert (status, headers["content-security-policy"]) == (404, "default-src 'none'; frame-ancestors 'none'; sandbox")
    assert b"SQLite" not in text


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Watched]:
    """Return a server for three results. The first one is a file, the second a link that leads out of the folder."""
    night = Night(tmp_path, 3, trouble=False)
    night.write()
    out = tmp_path / "results" / "spring"
    out.mkdir(parents=True)
    (out / "clip-00001.mp4").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (out / "clip-00002.mp4").symlink_to(tmp_path / "secret.mp4")
    with watching(tmp_path) as server:
        yield server


def test_results_are_sent_in_parts_and_links_are_not_followed(stored: Watched) -> None:
    status, headers, text = stored.ask("/result/1")
    assert (status, headers["content-type"], len(text)) == (200, "video/mp4", 10_240)
    status, headers, text = stored.ask("/result/1", Range="bytes=256-511")
    assert (status, headers["content-range"], text) == (206, "bytes 256-511/10240", bytes(range(256)))
    assert stored.ask("/result/1", Range="bytes=99999-")[0] == 416
    assert stored.words("/result/2") == (404, "there is no such file")
    assert stored.ask("/result/3")[0] == 404


def test_answers_are_not_stored_and_show_no_secret(watched: Watched) -> None:
    for path in ("/", "/nosuch", "/data/0-1.js"):
        _, headers, text = watched.ask(path)
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert "aiohttp" not in headers["server"]
        assert SECRET.encode() not in text
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "junk", [b"\x16\x03\x01\x00", b"GET /\r\n\r\n", b"POST /order HTTP/1.1\r\nHost: localhost\r\n"]
)
def test_junk_leaves_no_trace(watched: Watched, junk: bytes) -> None:
    parts = urlsplit(watched.address)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as raw:
        raw.sendall(junk)
    assert watched.ask("/")[0] == 200
    assert "Traceback" not in (watched.folder / "watch.log").read_text()


def test_another_address_needs_the_printed_token_once(tmp_path: Path) -> None:
    Night(tmp_path, 3).write()
    with watching(tmp_path, "--host", "0.0.0.0") as server:
        parts = urlsplit(server.address)
        here = Watched(tmp_path, f"http://127.0.0.1:{parts.port}/", server.process)
        assert parts.query.startswith("token=")
        for path in ("/", "/?token=", "/?token=x", "/events", "/result/1", "/pictures/01/00000001.webp"):
            assert here.words(path) == (403, "open the address that `batchswap watch` printed, with its token")
        status, headers, text = here.ask(f"/?{parts.query}")
        cookie = headers["set-cookie"]
        assert (status, b"clip-0" in text) == (200, False)
        assert {"HttpOnly", "Path=/", "SameSite=Strict"} <= {each.strip() for each in cookie.split(";")}
        value = cookie.split(";")[0]
        assert parts.query.removeprefix("token=") not in value
        assert here.ask("/", Cookie=value)[0] == 200
        assert here.ask("/", Cookie="batchswap-watch=x")[0] == 403
        assert here.ask("/", Cookie=value, Host="evil.example")[0] == 403
        assert "whoever has this address" in (tmp_path / "watch.log").read_text()


def test_the_guard_of_one_address_answers_to_that_name_only() -> None:
    guard = guard_of("192.0.2.7")
    assert guard.needs_token
    assert guard.objection("GET", {"Host": "192.0.2.7:80"}) == ""
    assert guard.objection("GET", {"Host": "localhost:80"}) != ""
    own = {"Host": "192.0.2.7", "Origin": "http://192.0.2.7", PAGE_TOKEN: guard.page_token}
    assert guard.objection("POST", own) == ""
    assert "token" not in repr(guard).replace("needs_token", "")
