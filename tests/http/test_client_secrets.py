"""Errors contain no key and no signature, and the key is never sent where others could read it (invariant 9)."""

import asyncio
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchswap.client import Client
from batchswap.client.http import check_base_url, keeps_secrets
from batchswap.clock import SystemClock
from batchswap.errors import AccountRefused, MaybeSent, NeverSent, UsageError, WireError
from batchswap.tasks import public
from tests.http import scripted_replies
from tests.http.asking import BODY, HASTY, KEY, SIGNED
from tests.http.scripted import Act, Scripted
from tests.ports import reserve_port


def test_invariant_9_errors_hold_no_key_and_no_query(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"x" * 1000)

    async def main(act: Act) -> list[BaseException]:
        errors: list[BaseException] = []
        async with Scripted(then=act) as server, Client(server.url, KEY, SystemClock(), HASTY) as client:
            calls = (
                client.create_task(BODY, "ref-1"),
                client.task_info("SIGNATURE"),
                client.put_file(server.url + SIGNED, tmp_path / "v.mp4", "video/mp4"),
                client.put_file(f"http://127.0.0.1:{reserve_port()}{SIGNED}", tmp_path / "v.mp4", "video/mp4"),
                client.put_file(f"http://TOKEN:SIGNATURE@127.0.0.1{SIGNED}", tmp_path / "v.mp4", "video/mp4"),
                client.put_file(f"https://h:99999999{SIGNED}", tmp_path / "v.mp4", "video/mp4"),
            )
            for call in calls:
                try:
                    await call
                except (NeverSent, MaybeSent, WireError) as error:
                    errors.append(error)
        return errors

    for act in (
        scripted_replies.reset(),
        scripted_replies.raw(b"nonsense\r\n\r\n"),
        scripted_replies.stall(),
        scripted_replies.truncated(b"{}" * 50, 20),
    ):
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
def test_a_base_url_that_would_expose_the_key_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        Client(url, KEY, SystemClock())
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://api.crun.ai/", "http://localhost:1", "http://127.0.0.9:1", "http://[::1]:1"])
def test_a_base_url_that_protects_the_key_is_accepted(url: str) -> None:
    assert check_base_url(url) == url.rstrip("/")
    assert keeps_secrets(url)


@pytest.mark.parametrize("key", ["", " ", "ak_ü", "ak_1\r\nHost: x", "x" * 600])
def test_a_malformed_key_is_reported_without_it(key: str) -> None:
    with pytest.raises(AccountRefused) as caught:
        Client("https://api.crun.ai", key, SystemClock())
    assert len(key) < 2 or key not in str(caught.value)


def test_a_path_is_shown_unchanged() -> None:
    assert public("clips/what?.mp4") == "clips/what?.mp4"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://user:pw@127.0.0.1:8123", "must not have a user or password: http://127.0.0.1:8123$"),
        ("https://user@api.example.com", "must not have a user or password: https://api.example.com$"),
        ("https://api.example.com/?key=SIGNATURE", r'must not have a "\?" or "#"'),
        ("https://api.example.com/#a", r'must not have a "\?" or "#"'),
        ("http://api.example.com", "must be https, or http on this machine: http://api.example.com$"),
        ("http://api.example.com/@a", "must be https, or http on this machine"),
        ("api.example.com", "must be https, or http on this machine"),
        ("http://[oops/", "must be https, or http on this machine"),
        (
            "https://api..example.com",
            "host has an empty part, or a part of more than 63 letters: https://api..example.com$",
        ),
        (f"https://{'a' * 64}.example", "host has an empty part, or a part of more than 63 letters"),
    ],
)
def test_a_refused_base_url_has_its_reason(url: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as refused:
        check_base_url(url)
    assert "pw" not in str(refused.value)
    assert "SIGNATURE" not in str(refused.value)
