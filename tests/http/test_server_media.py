"""Files of the server: uploads, downloaded inputs, results with Range, and the requests that are refused."""

import http.client
import http.server
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from batchswap.local.server.app import reach_of
from batchswap.local.server.settings import ServerSettings
from batchswap.local.server.work.input_fetcher import Reach, is_public
from tests.http.fake_engine import Answer, send
from tests.http.local import Running, SetClock, in_thread, running

MP4 = {"Content-Type": "video/mp4"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("server"), max_input_bytes=200_000) as server:
        yield server


def prepare(client: Running) -> tuple[str, str]:
    urls = client.call("GET", "/files/upload-url?content_type=video%2Fmp4&ext=.MP4").data
    return urls["presigned_url"], urls["file_url"]


def test_an_upload_comes_back_as_it_was(client: Running) -> None:
    content = os.urandom(150_000)
    presigned, url = prepare(client)
    assert send("GET", url).status == 404
    assert send("PUT", presigned, content, MP4).status == 200
    assert send("PUT", presigned, content, MP4).status == 200  # a retry
    assert send("GET", url).body == content
    assert send("HEAD", url).headers["Content-Length"] == "150000"
    assert urlsplit(url).path.endswith(".mp4")


def test_the_content_type_must_be_the_one_asked_for(client: Running) -> None:
    presigned, _ = prepare(client)
    for headers in ({"Content-Type": "video/webm"}, {"Content-Type": "video/mp4; x=1"}):
        assert send("PUT", presigned, b"video 1", headers).status == 403
    forged = presigned.replace("video%2Fmp4", "text%2Fhtml")
    assert send("PUT", forged, b"video 1", {"Content-Type": "text/html"}).status == 403
    doubled = presigned.replace("?", "?content_type=text%2Fhtml&")
    assert send("PUT", doubled, b"video 1", {"Content-Type": "text/html"}).status == 403


def test_a_signature_cannot_be_stretched_over_other_fields(client: Running) -> None:
    presigned, _ = prepare(client)
    parts = urlsplit(presigned)
    query = dict(each.split("=") for each in parts.query.split("&"))
    merged = f"content_type={quote('video/mp4')}%0Aexpires={query['expires']}&signature={query['signature']}"
    assert send("PUT", f"{client.base_url}{parts.path}?{merged}", b"video 1", MP4).status == 403
    assert send("PUT", f"{client.base_url}{parts.path}", b"video 1", MP4).status == 403
    other = prepare(client)[1]
    assert send("PUT", f"{other}?{parts.query}", b"video 1", MP4).status == 403


def test_a_length_is_needed_and_must_be_kept(client: Running, tmp_path: Path) -> None:
    presigned, url = prepare(client)
    parts = urlsplit(presigned)
    chunked = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
    chunked.request("PUT", f"{parts.path}?{parts.query}", iter([b"video 1"]), MP4, encode_chunked=True)
    assert chunked.getresponse().status == 411
    chunked.close()
    short = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
    short.putrequest("PUT", f"{parts.path}?{parts.query}")
    for header, value in {**MP4, "Content-Length": "1000"}.items():
        short.putheader(header, value)
    short.endheaders(b"video 1")
    short.close()
    assert send("GET", url).status == 404


def test_too_much_is_413_and_an_empty_file_is_refused_when_it_is_used(client: Running) -> None:
    presigned, _ = prepare(client)
    assert send("PUT", presigned, b"video 1" + b" " * 200_000, MP4).status == 413
    answer = client.create(client.body(b""))
    assert answer.json["message"] == "input.video_url: the file is empty"
    assert client.create(client.body(b"video 1", b"image noface")).json["message"] == (
        "input.new_face: no face found in the picture"
    )


def test_a_presigned_url_and_a_result_url_expire(tmp_path: Path) -> None:
    clock = SetClock()
    with running(tmp_path, clock=clock, url_ttl=100.0) as client:
        presigned, _ = prepare(client)
        info = client.wait(client.create(client.body()).data["task_id"])
        url = info["result"]["media_urls"][0]
        clock.ahead = 99
        assert send("GET", url).status == 200
        clock.ahead = 101
        assert send("GET", url).status == 403
        assert send("GET", client.info(info["task_id"])["result"]["media_urls"][0]).status == 200
        clock.ahead = 3700
        assert send("PUT", presigned, b"video 1", MP4).status == 403


def test_a_result_can_be_had_in_parts(client: Running) -> None:
    face = b"image" + b" x" * 1000
    info = client.wait(client.create(client.body(face=face)).data["task_id"])
    url = info["result"]["media_urls"][0]
    whole = send("GET", url)
    assert whole.headers["Accept-Ranges"] == "bytes"
    rest = send("GET", url, headers={"Range": "bytes=1000-", "If-Range": whole.headers["ETag"]})
    assert (rest.status, rest.body) == (206, whole.body[1000:])
    assert rest.headers["Content-Range"] == f"bytes 1000-{len(whole.body) - 1}/{len(whole.body)}"
    dated = {"Range": "bytes=0-9", "If-Range": whole.headers["Last-Modified"]}
    assert send("GET", url, headers=dated).body == whole.body[:10]
    changed = send("GET", url, headers={"Range": "bytes=1000-", "If-Range": '"another"'})
    assert (changed.status, changed.body) == (200, whole.body)
    weak = send("GET", url, headers={"Range": "bytes=1000-", "If-Range": f"W/{whole.headers['ETag']}"})
    assert weak.status == 200
    assert send("GET", url, headers={"Range": "bytes=999999-"}).status == 416


def raw_get(client: Running, path: str) -> Answer:
    """Send the path unchanged: urllib would clean it."""
    parts = urlsplit(client.base_url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
    connection.putrequest("GET", path, skip_host=False)
    connection.endheaders()
    response = connection.getresponse()
    found = Answer(response.status, response.read(), response.headers)
    connection.close()
    return found


@pytest.mark.parametrize("folder", ["uploads", "results", "faces/" + "0" * 32])
@pytest.mark.parametrize("name", ["../tasks.db", "..%2ftasks.db", "%2e%2e/tasks.db", "../../tasks.db", ".", "", "%00"])
def test_no_path_leads_out_of_the_folders(client: Running, folder: str, name: str) -> None:
    answer = raw_get(client, f"/{folder}/{name}")
    assert answer.status in (400, 401, 403, 404)
    assert b"SQLite" not in answer.body


def test_results_need_their_signature(client: Running) -> None:
    info = client.wait(client.create(client.body()).data["task_id"])
    url = info["result"]["media_urls"][0]
    assert send("GET", url.partition("?")[0]).status == 403
    assert send("GET", url[:-1] + ("0" if url[-1] != "0" else "1")).status == 403


class Source(http.server.BaseHTTPRequestHandler):
    """Media from elsewhere."""

    def do_GET(self) -> None:
        here = f"http://{self.headers['Host']}"
        answers = {
            "/video": (200, b"video 4"),
            "/face": (200, b"image"),
            "/html": (200, b"<html>login</html>"),
            "/large": (200, b"video 1" + b" " * 300_000),
            "/short": (200, b"video 1"),
        }
        redirects = {"/moved": f"{here}/video", "/loop": f"{here}/loop", "/file": "file:///etc/passwd"}
        redirects["/inside"] = "http://169.254.169.254/latest/meta-data/"
        status, body = answers.get(self.path, (302 if self.path in redirects else 404, b""))
        self.send_response(status)
        if self.path in redirects:
            self.send_header("Location", redirects[self.path])
        if self.path != "/large":
            self.send_header("Content-Length", str(len(body) + (5 if self.path == "/short" else 0)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        return


@contextmanager
def source() -> Iterator[str]:
    with in_thread(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Source)) as port:
        yield f"http://127.0.0.1:{port}"


def swap(base: str, video: str, face: str = "/face") -> dict[str, object]:
    return {"model": "video-face-swap", "input": {"video_url": base + video, "new_face": base + face}}


def test_inputs_from_elsewhere_are_fetched_and_looked_at(client: Running) -> None:
    with source() as base:
        for path in ("/video", "/moved"):
            assert client.call("POST", "/job/EstimateTask", swap(base, path)).data["estimated_credits"] == 4
        end = client.wait(client.create(swap(base, "/video")).data["task_id"])
        assert send("GET", end["result"]["media_urls"][0]).body == b"video 4 | None=image"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/html", "not a video or picture"),
        ("/large", "the file is larger than 200,000 bytes"),
        ("/short", "cannot be fetched: ClientPayloadError"),
        ("/gone", "cannot be fetched: HTTP 404"),
        ("/loop", "cannot be fetched: too many redirects"),
        ("/file", "cannot be fetched: the URL, or a redirect, is not http(s)"),
        ("/inside", "cannot be fetched: the address is private"),
    ],
)
def test_inputs_from_elsewhere_that_will_not_do(client: Running, path: str, message: str) -> None:
    before = client.balance()
    with source() as base:
        answer = client.create(swap(base, path))
    assert (answer.status, answer.json["message"]) == (422, f"input.video_url: {message}")
    assert client.balance() == before


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "127.1", "[::1]", "169.254.169.254", "0"])
def test_a_server_for_others_fetches_nothing_private(tmp_path: Path, host: str) -> None:
    with source() as base, running(tmp_path, host="0.0.0.0", fetch_timeout=2.0) as client:
        answer = client.create(swap(f"http://{host}:{base.rpartition(':')[2]}", "/video"))
        assert answer.status == 422
        assert answer.json["message"].startswith("input.video_url: cannot be fetched")


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "10.0.0.1",
        "192.168.1.1",
        "192.0.0.192",
        "[fe80::1]",
        "[fd00::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "2852039166",
        "0xa9fea9fe",
        "0xa9.0xfe.43518",
    ],
)
def test_a_server_on_this_machine_fetches_from_no_other_private_one(client: Running, host: str) -> None:
    """The address may have any notation; only the resolver reads a name of hexadecimal digits."""
    before = client.balance()
    answer = client.create(swap(f"http://{host}", "/latest/meta-data/"))
    assert answer.status == 422
    assert "the address is private" in answer.json["message"]
    assert client.balance() == before


@pytest.mark.parametrize(
    ("host", "allow_private", "reach"),
    [
        ("127.0.0.1", False, Reach.LOOPBACK),
        ("localhost", False, Reach.LOOPBACK),
        ("0.0.0.0", False, Reach.PUBLIC),
        ("192.168.1.5", False, Reach.PUBLIC),
        ("127.0.0.1", True, Reach.ALL),
        ("0.0.0.0", True, Reach.ALL),
    ],
)
def test_how_far_a_server_reaches(tmp_path: Path, host: str, allow_private: bool, reach: Reach) -> None:
    assert reach_of(ServerSettings(tmp_path, host=host, allow_private=allow_private)) is reach
    found = [reach.has(address) for address in ("8.8.8.8", "127.0.0.1", "10.0.0.1", "169.254.169.254")]
    assert (
        found
        == {
            Reach.PUBLIC: [True, False, False, False],
            Reach.LOOPBACK: [True, True, False, False],
            Reach.ALL: [True, True, True, True],
        }[reach]
    )


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("fe80::1%eth0", False),
        ("::ffff:127.0.0.1", False),
        ("224.0.0.1", False),
        ("ff0e::1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("2001:0:7f00:1::", False),
        ("192.0.0.1", False),
        ("192.0.0.192", False),
        ("192.0.1.1", True),
        ("192.88.99.1", False),
        ("198.18.0.1", False),
        ("240.0.0.1", False),
        ("0.0.0.0", False),
        ("::ffff:8.8.8.8", False),
        ("::8.8.8.8", False),
        ("64:ff9b:1::808:808", False),
        ("100::1", False),
        ("2001:2::1", False),
        ("2001:200::1", True),
        ("3fff::1", False),
        ("5f00::1", False),
        ("2606:4700::5efe:a00:1", False),
        ("fec0::1", False),
        ("not an address", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_a_webp_is_served_as_one(tmp_path: Path) -> None:
    with running(tmp_path) as client:
        url = client.upload(b"image", ".webp", "image/webp")
        assert send("GET", url).headers["Content-Type"] == "image/webp"


def test_what_the_server_writes_is_for_its_user_alone(tmp_path: Path) -> None:
    with running(tmp_path / "state") as client:
        body = client.body()
        client.wait(client.create(body).data["task_id"])
        client.detect(body["input"]["video_url"])
        found = [tmp_path / "state", *(tmp_path / "state").rglob("*")]
        modes = {path.stat().st_mode & 0o777 for path in found}
        assert len(found) > 10
        assert modes == {0o700, 0o600}
    assert not list((tmp_path / "state").rglob("*part*"))
