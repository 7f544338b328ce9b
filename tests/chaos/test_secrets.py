"""Invariant 9: a server repeats every secret that it gets, but no text for people contains one."""

import os
import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from batchswap.callbacks import token
from batchswap.tasks import clean
from tests.chaos.shop import Shop
from tests.chaos.vendor import Vendor
from tests.http.scripted import Act, Request
from tests.http.scripted_replies import ok, redirect, reply
from tests.ports import callback_options
from tests.processes import started
from tests.waits import wait_until

KEYS = ("ak_" + "S3cr3t" * 5 + "xy", "ak_a.b/c+d=e&f:g;h,i~j!k@l*m$n%o^p-q", "another-form-of-key_9f8e7d6c5b4a")
STYLES = (["-v"], ["-v", "--log-format", "json"], ["--json"])
SIGNATURES = ("SIGNATURE", "SIGINPUT", "SIGFACE", "SIGMOVED")
SIGNED = "https://cdn.example/{}.mp4?X-Amz-Signature=SIGINPUT&X-Amz-Date=1"
ROWS = ("fine", "refused", "unclear", "failing", "gone", "troubled", "limited", "file", "moved")


class Echo:
    """Gives each row a different fault. Every message repeats secrets."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._once: set[str] = set()

    def __call__(self, vendor: Vendor, kind: str, request: Request) -> Act | None:
        if kind in ("media", "put"):
            assert "x-api-key" not in request.headers
        words = self.words(vendor, kind, request)
        self.seen.append(words)
        row = next((row for row in ROWS if f"/{row}.mp4" in words), "")
        match kind, row:
            case "submit", "refused":
                return reply(json=ok(None, 422, words))
            case "submit", "unclear":
                return reply(500, json=ok({"secret": words}, 500, words))
            case "submit" | "poll", "limited" | "troubled" if self.is_first(kind + row):
                code = 429 if row == "limited" else 500
                return None if kind == "submit" and code == 500 else reply(code, json=ok(None, code, words))
            case "poll", "failing":
                info = {**(vendor.info(request.query["task_id"]) or {}), "status": "failed"}
                return reply(json=ok({**info, "result": {"code": 501, "message": words}}))
            case "media", "gone":
                return reply(403, body=words.encode())
            case "media", "moved":
                return redirect(f"ftp://media.example/x.mp4?X-Signature=SIGMOVED&key={vendor.url}")
            case "estimate", _ if self.is_first(kind):
                return reply(503, body=words.encode())
            case "put", _:
                return reply(403, body=words.encode())
        return None

    def is_first(self, what: str) -> bool:
        is_first = what not in self._once
        self._once.add(what)
        return is_first

    def words(self, vendor: Vendor, kind: str, request: Request) -> str:
        """Return all values of the request, and the inputs of the task that it names."""
        about = request.query.get("task_id", "") if kind == "poll" else request.path[7:-4] if kind == "media" else ""
        told = vendor.tasks[about][2] if about in vendor.tasks else None
        body = request.body.decode() if kind == "submit" else str(told)
        key = request.headers.get("x-api-key", "")
        return f"key {key}, x-api-key:{key}; key_{key} {request.target} {vendor.url}{request.target} {body}"


def fill(shop: Shop) -> None:
    (shop.folder / "face.png").write_bytes(b"\x89PNG")
    face = "https://cdn.example/anna.jpg?X-Amz-Signature=SIGFACE"
    shop.write(*(f"{row},{SIGNED.format(row)},{'face.png' if row == 'file' else face}" for row in ROWS))


def watched(shop: Shop, *options: str) -> tuple[str, list[str]]:
    """Return the messages of a run, and the argument lists that were visible on the machine meanwhile."""
    command = [sys.executable, "-m", "batchswap", *shop.arguments(*options)]
    seen = []
    with (shop.folder / "said").open("w+") as said:
        with started(command, cwd=shop.folder, env=shop.environment(), stdout=said, stderr=said) as run:

            def is_over() -> bool:
                seen.append(Path(f"/proc/{run.pid}/cmdline").read_text())
                return run.poll() is not None

            wait_until(is_over, "the end of the run", 60.0, pause=0.05)
        said.seek(0)
        return said.read(), seen


def readable(db: sqlite3.Connection) -> Iterator[str]:
    """Return every text in every column of every table."""
    for (table,) in db.execute("select name from sqlite_master where type = 'table'").fetchall():
        for row in db.execute(f'select * from "{table}"'):
            yield from (value for value in row if isinstance(value, str))


def secrets_of(shop: Shop) -> list[str]:
    """Return the key, the signatures, and every attempt's callback token."""
    [(secret,)] = shop.select("select value from meta where name = 'secret'")
    tokens = [token(secret, ref) for (ref,) in shop.select("select ref from attempts")]
    assert len(tokens) >= len(ROWS) - 1
    return [shop.key, secret.hex(), *tokens, *SIGNATURES]


def found(secrets: list[str], texts: dict[str, str]) -> list[tuple[str, str]]:
    return [
        (where, text[max(0, text.index(s) - 80) :][:200]) for where, text in texts.items() for s in secrets if s in text
    ]


def commands(shop: Shop) -> Iterator[list[str]]:
    db = ["--db", str(shop.folder / "b.db")]
    yield from (["tasks", *db, "--format", form] for form in ("table", "csv", "json", "jsonl"))
    yield from (["show", row, *db, *more] for row in ROWS for more in ([], ["--json"]))
    yield from (["status", *db, *more] for more in ([], ["--json"]))
    provider = ["--base-url", shop.vendor.url, "--rate", "none", "--out", str(shop.folder / "out")]
    yield ["doctor", *db, *provider[:4], *provider[6:], "-v"]
    yield ["balance", *provider[:4], "-v"]
    yield ["plan", *shop.arguments("--json")[1:]]
    yield ["check", str(shop.folder / "spring.csv")]
    yield ["resolve", "unclear", *db, "--task-id", "nobody", "--rate", "none", "-v"]


@pytest.mark.parametrize(("key", "style"), list(zip(KEYS, STYLES, strict=True)))
def test_invariant_9_no_secret_anywhere(old_shop: Shop, key: str, style: list[str]) -> None:
    shop = Shop(old_shop.folder, old_shop.vendor, key)
    fill(shop)
    echo = shop.vendor.spoil = Echo()
    metrics = shop.folder / "b.prom"
    options = ("--rate", "none", "--retries", "0", "--metrics-file", str(metrics))
    said, seen = watched(shop, *options, *callback_options(), *style)
    texts = {"run": said, "arguments": "\n".join(seen), "metrics": metrics.read_text()}
    assert seen
    assert not any(f"/{row}" in texts["metrics"] or "://" in texts["metrics"] for row in ROWS)
    check_that_it_was_told(shop, echo)
    for command in commands(shop):
        texts[" ".join(command[:2])] = texts.get(" ".join(command[:2]), "") + shop.call(*command).output
    with closing(sqlite3.connect(shop.folder / "b.db")) as db:
        texts |= {f"ledger {i}": text for i, text in enumerate(readable(db))}
    texts["names"] = "\n".join(map(str, shop.folder.rglob("*")))
    assert found(secrets_of(shop), texts) == []
    check_bytes(shop)


def check_that_it_was_told(shop: Shop, echo: Echo) -> None:
    """Check that the server knew the secrets and repeated them. Otherwise this test would show nothing."""
    assert all(any(secret in words for words in echo.seen) for secret in (shop.key, "SIGINPUT", "SIGNATURE"))
    states = dict(shop.select("select key, state from tasks where key not like 'w%'"))
    ends = {"fine": "done", "troubled": "done", "limited": "done", "unclear": "uncertain"}
    assert states == dict.fromkeys(ROWS, "failed") | ends
    reasons = dict(shop.select("select key, reason from tasks where key in ('refused', 'unclear', 'failing')"))
    assert all("key " in reason for reason in reasons.values())


def check_bytes(shop: Shop) -> None:
    """Check that no file has keys or tokens. Signatures of inputs may be stored, because resuming needs them."""
    [(secret,)] = shop.select("select value from meta where name = 'secret'")
    tokens = [token(secret, ref).encode() for (ref,) in shop.select("select ref from attempts")]
    for path in shop.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(each in content for each in (shop.key.encode(), *tokens)), path


REF, TOKEN = "5b6f9c1e-8f7f-4c57-9a7e-3a2f0b1c9d10", "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"key {KEYS[0]}.", "key ak_…."),
        (f"the_{KEYS[0]}", "the_ak_…"),
        ("a weak_signature", "a weak_signature"),
        ("at https://h/a.mp4?sig=S now", "at https://h/a.mp4?… now"),
        ("cut before (http://h/a.mp4?…): waiting", "cut before (http://h/a.mp4?…): waiting"),
        ("http://h/a.mp4?…)sig=S now", "http://h/a.mp4?… now"),
        ("at HTTPS://h/a.mp4?S", "at HTTPS://h/a.mp4?…"),
        (r'{"url": "https:\/\/h\/a.mp4?sig=S"}', r'{"url": "https:\/\/h\/a.mp4?…"}'),
        ("GET /a.mp4?sig=S HTTP/1.1", "GET /a.mp4?… HTTP/1.1"),
        ("?url=https%3A%2F%2Fh%2Fa.mp4%3Fsig%3DS&x", "?url=https%3A%2F%2Fh%2Fa.mp4?…"),
        ("this/or that? both", "this/or that? both"),
        (f"no answer of http://me/{REF}/{TOKEN}", f"no answer of http://me/{REF}/…"),
        (rf"http:\/\/me\/{REF}\/{TOKEN[:9]}", rf"http:\/\/me\/{REF}\/…"),
        (f"attempt {REF}", f"attempt {REF}"),
    ],
)
def test_messages_in_callbacks_lose_their_secrets(said: str, shown: str) -> None:
    """There is no key with which to compare them."""
    assert clean(said) == shown


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_ledger_and_state_are_their_owners_alone(shop: Shop, umask: int) -> None:
    """The test looks during the run, when the write-ahead logs exist too."""
    shop.rows(1)
    seen: dict[str, int] = {}
    folders: set[int] = set()

    def look(vendor: Vendor, kind: str, request: Request) -> None:
        seen.update({path.name: mode(path) for path in shop.folder.glob("b.db*")})
        state = shop.folder / "state" / "batchswap"
        files = [path for path in state.rglob("*") if path.is_file()]
        seen.update({path.name.partition(".")[2]: mode(path) for path in files})
        folders.update({mode(path) for path in (state, *state.rglob("*")) if path.is_dir()})

    shop.vendor.spoil = look
    before = os.umask(umask)
    try:
        assert shop.process("--rate", "50/1s", *callback_options()).returncode == 0
    finally:
        os.umask(before)
    assert folders == {0o700}
    assert set(seen) >= {"b.db", "b.db-wal", "b.db-shm", "b.db.lock", "db", "db-wal", "db-shm"}
    assert set(seen.values()) == {0o600}
