"""Time stamps are asked of a real server on the loopback interface. A server that fails costs no result."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import c2pa
import pytest

from batchswap.errors import UsageError
from batchswap.network import Routes, routes_of
from batchswap.provenance import delivered_file
from batchswap.provenance.stamps import PAUSE, StampRelay, check_url
from batchswap.provenance.verification import SignatureState, verify
from tests.http.proxies import TestProxy, proxying
from tests.ports import reserve_port
from tests.provenance.conftest import signed
from tests.provenance.tsa import StampServer, stamp_server

Stamps = tuple[str, StampServer]


@pytest.fixture
def stamps() -> Iterator[Stamps]:
    with stamp_server() as found:
        yield found


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Sign with a relay that notes its pauses instead of waiting."""
    noted: list[float] = []
    relays: dict[str, StampRelay] = {}

    def relay(url: str, routes: Routes) -> StampRelay:
        if url not in relays:
            relays[url] = StampRelay(url, routes, limit=0.5, sleep=noted.append, now=lambda: sum(noted))
        return relays[url]

    monkeypatch.setattr(delivered_file, "_relay", relay)
    yield noted
    for each in relays.values():
        each.close()


def trusting(path: Path, *roots: str) -> dict[str, Any]:
    """Return what c2pa's reader says, which trusts these roots."""
    with c2pa.Context.from_dict({"trust": {"user_anchors": "\n".join(roots)}}) as context, path.open("rb") as file:
        found: dict[str, Any] = json.loads(c2pa.Reader(None, file, context=context).json())
    return found


@pytest.mark.parametrize("name", ["clip.mp4", "still.jpg"])
def test_a_signature_has_the_time_of_the_server(media: Path, signing: Path, stamps: Stamps, name: str) -> None:
    url, server = stamps
    made = signed(media / name, signing, timestamp_url=url)
    assert (made.is_stamped, made.remarks, server.queries) == (True, (), 1)
    found = verify(made.path, signing / "root.pem")
    assert (found.state, found.stamped_at[:4]) == (SignatureState.TRUSTED, "2026" if found.stamped_at else "")
    results = trusting(made.path, (signing / "root.pem").read_text(), server.root)["validation_results"]
    codes = [each["code"] for each in results["activeManifest"]["success"]]
    assert {"timeStamp.validated", "timeStamp.trusted", "signingCredential.trusted"} <= {*codes}


def test_an_unknown_time_stamp_server_is_no_damage(media: Path, signing: Path, stamps: Stamps) -> None:
    made = signed(media / "still.png", signing, timestamp_url=stamps[0])
    found = verify(made.path)
    assert found.state is SignatureState.VALID
    assert {*found.codes} <= {"signingCredential.untrusted", "timeStamp.untrusted"}


@pytest.mark.parametrize("fault", [503, "hang"])
def test_a_failing_server_is_asked_again(
    media: Path, signing: Path, stamps: Stamps, waits: list[float], fault: int | str
) -> None:
    url, server = stamps
    server.fail = [fault]
    made = signed(media / "still.png", signing, timestamp_url=url)
    assert (made.is_stamped, made.remarks) == (True, ())
    assert (waits, server.queries) == ([1.0], 2)


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        ([500, 502, 503], "it answered HTTP 503"),
        (["hang"] * 3, "timed out"),
        (["garbage"], "it cannot be signed"),
    ],
)
def test_without_a_time_stamp_the_file_is_signed_and_the_reason_is_reported(
    media: Path, signing: Path, stamps: Stamps, faults: list[int | str], reason: str
) -> None:
    url, server = stamps
    server.fail = faults
    made = signed(media / "still.png", signing, timestamp_url=url)
    assert (made.is_signed, made.is_stamped, verify(made.path).state) == (True, False, SignatureState.VALID)
    assert len(made.remarks) == 1
    assert made.remarks[0].startswith(f"it has no time stamp: {url.partition('?')[0]}?… failed ({reason}")
    assert "secret" not in made.remarks[0]


def test_a_server_that_failed_is_left_alone_for_a_while(
    media: Path, signing: Path, waits: list[float], stamps: Stamps
) -> None:
    url, server = stamps
    server.fail = [503] * 3
    assert not signed(media / "still.png", signing, timestamp_url=url).is_stamped
    assert (waits, server.queries) == ([1.0, 4.0], 3)
    second = signed(media / "still.jpg", signing, timestamp_url=url)
    assert (second.is_signed, second.is_stamped, server.queries) == (True, False, 3)
    assert second.remarks[0].endswith("failed (it answered HTTP 503)")
    waits.append(PAUSE)
    assert signed(media / "still.webp", signing, timestamp_url=url).is_stamped


def test_a_server_that_does_not_exist_is_named(media: Path, signing: Path) -> None:
    url = f"http://127.0.0.1:{reserve_port()}/"
    made = signed(media / "still.png", signing, timestamp_url=url)
    assert made.remarks == (f"it has no time stamp: {url} failed (Connection refused)",)


@pytest.mark.parametrize("url", ["ftp://example.com", "example.com", "http://", "http://[", "file:///etc/passwd"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="is not an http or https URL"):
        check_url(url)
    check_url("https://stamps.example.com/tsr")


def test_the_variables_of_other_programs_do_not_lead_to_the_relay(
    media: Path, signing: Path, stamps: Stamps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """c2pa uses them even for this machine: the proxy would get the relay's secret address."""
    with proxying(TestProxy({})) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "cdn.example")
        made = signed(media / "still.png", signing, timestamp_url=stamps[0])
        assert (made.is_stamped, made.remarks, proxy.total) == (True, (), 0)
    assert os.environ["NO_PROXY"].startswith("cdn.example,"), "what was there still counts"


def test_the_server_is_reached_through_the_proxy(media: Path, signing: Path, stamps: Stamps) -> None:
    port, name = urlsplit(stamps[0]).port or 0, "stamps.test.example"
    with proxying(TestProxy({name: port}, credentials="night:word")) as proxy:
        url = f"http://{name}/?key=secret"
        right, wrong = (routes_of(f"http://night:{word}@127.0.0.1:{proxy.port}") for word in ("word", "s3cret"))
        made = signed(media / "still.png", signing, timestamp_url=url, routes=right)
        assert (made.is_stamped, made.remarks, proxy.seen) == (True, (), {name: 1})
        made = signed(media / "still.jpg", signing, timestamp_url=url + "2", routes=wrong)
    assert (made.is_signed, made.is_stamped) == (True, False)
    assert f"(the proxy http://127.0.0.1:{proxy.port} refuses the user and password (407))" in made.remarks[0]
    assert "s3cret" not in made.remarks[0]
