"""Arbitrary JSON and bytes instead of the API's answers lead only to values or to the package's own errors."""

import asyncio
import json
import math
import random
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchswap import verdicts, wire
from batchswap.callbacks import Delivery, Receiver, token
from batchswap.client import Answer, parse_retry_after
from batchswap.client.answers import Body, open_envelope, without
from batchswap.errors import WireError
from batchswap.runner.collect.input_match import fits
from batchswap.states import State
from batchswap.tasks import Model, Task, clean, public
from tests.chaos.conftest import PROFILE
from tests.http.test_callbacks import record
from tests.loop.service import Service, lognormal
from tests.loop.world import World
from tests.virtual import VirtualClock, inline_threads, on_virtual_time

NUMBERS = st.integers() | st.floats() | st.sampled_from([0, -1, 10**400, 1e308, -1e308, 2**63, 200, 429, 501])
SCALARS = (
    st.none() | st.booleans() | NUMBERS | st.text() | st.sampled_from(["1e999", "nan", "９", "t0", "\x00", "\ud800"])
)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4))
NAMES = (
    "code", "message", "data", "task_id", "status", "param", "create_at", "complete_at", "duration_s", "credits",
    "source", "result", "media_urls", "balance", "estimated_credits", "affordable", "presigned_url", "file_url",
    "detect_task_id", "detect_id", "id", "faces", "link", "error", "model", "input", "callback_url", "provider",
)  # fmt: skip
STATUSES = st.sampled_from(["success", "failed", "running", " SUCCESS ", "succeeded", "?"])
URLS = st.lists(
    st.sampled_from(["https://m.example/a.mp4", "ftp://x", "", "\x00", "https://h:99999999/"]) | JSON, max_size=3
)
RESULTS = st.fixed_dictionaries({}, optional={"code": JSON, "message": JSON, "media_urls": URLS | JSON})
ALMOST = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(NAMES, JSON),
        "task_id": st.sampled_from(["t0", "", "other"]) | JSON,
        "status": STATUSES | JSON,
        "result": RESULTS | JSON,
        "param": st.fixed_dictionaries({}, optional={"model": JSON, "input": JSON}) | JSON,
    },
)
"""The API's own field names with any values."""

READERS: list[Callable[[Any], Any]] = [
    wire.CreateTask.from_json, wire.CreateTaskAccepted.from_json, wire.Result.from_json, wire.TaskInfo.from_json,
    wire.TaskInfo.from_callback, wire.Balance.from_json, wire.Estimate.from_json, wire.UploadUrl.from_json,
    wire.DetectAccepted.from_json, wire.Detection.from_json,
]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _inline() -> Iterator[None]:
    with inline_threads():
        yield


@PROFILE
@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__qualname__)
@given(found=JSON | ALMOST)
@example(found=dict.fromkeys(NAMES, 10**400))
@example(found={"result": dict.fromkeys(NAMES, -(10**400)), **dict.fromkeys(NAMES, 1e308)})
def test_any_json_is_read(read: Callable[[Any], Any], found: Any) -> None:
    value = read(found)
    if value is not None:
        assert read(value.to_json()) == value  # writing and reading it again gives the same value


@PROFILE
@example(b'{"code": 1' + b"0" * 5000 + b', "message": 1' + b"0" * 5000 + b"}")
@example(b'{"code": 1e999, "message": "\\ud800"}')
@given(st.binary() | (JSON | ALMOST).map(lambda found: json.dumps(found).encode("utf-8", "surrogatepass")))
def test_any_bytes_are_an_envelope_or_a_wire_error(body: bytes) -> None:
    try:
        envelope = wire.Envelope.decode(body)
    except WireError:
        assert open_envelope(Body(body))[1] is False
        return
    assert envelope.code is None or isinstance(envelope.code, int)
    assert isinstance(envelope.message, str)
    assert wire.Envelope.decode(envelope.encode()) == envelope


@pytest.mark.parametrize("depth", [10, 200, 500, 990, 5000, 10**6])
@pytest.mark.parametrize("ends", [(b"[", b"]"), (b'{"data":', b"}")])
def test_json_of_any_depth(ends: tuple[bytes, bytes], depth: int) -> None:
    body = b'{"code": 200, "data": ' + ends[0] * depth + b"1" + ends[1] * depth + b"}"
    envelope, _, _ = open_envelope(Body(body))
    without("secret", envelope.data)
    for read in READERS:
        read(envelope.data)


@PROFILE
@given(NUMBERS.map(str) | st.text(), st.floats(0, 4e9))
def test_any_retry_after_is_seconds_or_nothing(value: str, now: float) -> None:
    found = parse_retry_after(value, now)
    assert found is None or (found >= 0.0 and math.isfinite(found))
    assert 0.0 < verdicts.clamp_retry_after(found, 1.0) <= 600.0


@PROFILE
@given(st.integers(100, 999), st.none() | st.integers(), st.none() | st.text(), st.booleans())
def test_every_answer_has_a_meaning(status: int, code: int | None, remote_id: str | None, is_envelope: bool) -> None:
    """And a submit counts as refused only if that is certain."""
    verdicts.judge_safe(status, code, is_envelope=is_envelope)
    found = verdicts.judge_submit(status, code, wire.usable_id(remote_id), is_envelope=is_envelope)
    if 500 <= status < 600 and status != 505:
        assert found.kind in (verdicts.Kind.UNKNOWN, verdicts.Kind.MAINTENANCE)


@PROFILE
@given(st.text(), st.integers(1, 50))
def test_any_words_are_one_printable_line(text: str, longest: int) -> None:
    line = clean(text, longest)
    assert len(line) <= longest
    assert line.isprintable()
    assert public(f"https://h/{text}").isprintable()


TASK = Task(1, "b", "t0", State.RUNNING, Model.VIDEO, "https://x/v.mp4", "f.png", "b/t0.mp4", "/", "d")


@PROFILE
@given(JSON | ALMOST)
def test_any_param_fits_or_does_not(param: Any) -> None:
    assert fits(TASK, param) in (True, False)


class Babbling(Service):
    """Gives drawn answers for a while. Its answers to submits are true."""

    def __init__(self, said: list[tuple[int, Any, Any, str]]) -> None:
        super().__init__(VirtualClock(), durations=lognormal(1.0, 0.1))
        self._said = deque(said)

    async def _call(self, kind: str, answer: Callable[[], tuple[int, Any]]) -> Answer:
        if not self._said:
            return await super()._call(kind, answer)
        status, said, data, message = self._said.popleft()
        code = wire.integer(said)
        is_refused = 400 <= status < 500 or (code is not None and 400 <= code < 500)
        good = await super()._call(kind, (lambda: (status, None)) if is_refused else answer)
        found = {**(good.data or {}), **data} if isinstance(data, dict) else data
        return Answer(status, code, message, found, None, good.sent_at, good.answered_at)


STATUS = st.sampled_from([200, 200, 200, 404, 422, 429, 455, 500, 502, 503])
CODE = st.sampled_from([200, 200, 200, "200", None, 404, 422, 429, 501, 10**30])


@PROFILE
@given(st.lists(st.tuples(STATUS, CODE, ALMOST | JSON, st.text()), max_size=12))
@on_virtual_time
async def test_a_run_survives_any_answers_of_the_api(said: list[tuple[int, Any, Any, str]]) -> None:
    """No exception, no second submit of possibly accepted inputs, and the next run reaches the end."""
    random.seed(1)
    with tempfile.TemporaryDirectory() as folder:
        world, service = World(Path(folder), 2), Babbling(said)
        for _ in range(4):
            async with asyncio.timeout(86400.0):
                counts = (await world.run(service)).counts
        assert max(service.accepted.values(), default=0) <= 1
        assert counts["done"] + counts["failed"] + counts["uncertain"] == 2, counts


SECRET, REF = b"0123456789abcdef", "5b6f9c1e-8f7f-4c57-9a7e-3a2f0b1c9d10"
HEADS = st.sampled_from([b"POST /%s HTTP/1.1\r\n", b"GET /%s HTTP/1.1\r\n", b"POST %s\r\n", b"%s\r\n", b"\x00%s"])
LINES = st.sampled_from(
    [
        b"Host: x",
        b"Content-Length: 5",
        b"Content-Length: -1",
        b"Content-Length: 99999999999999999999",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip",
        b"Content-Encoding: gzip",
        b"Expect: 100-continue",
        b"Connection: upgrade",
        b": x",
        b"A" * 9000,
    ]
) | st.binary(max_size=20)
WRONG = {f"{REF}/x".encode(), f"{REF}/{token(SECRET, REF)}0".encode(), f"{REF}0/{token(SECRET, REF)}".encode()}
PATHS = st.sampled_from([f"{REF}/{token(SECRET, REF)}".encode(), f"{REF}/x".encode(), b"%00", b"?"]) | st.binary(
    max_size=9
)


@PROFILE
@given(st.lists(st.tuples(HEADS, PATHS, st.lists(LINES, max_size=4), st.binary(max_size=40)), min_size=1, max_size=5))
def test_the_receiver_outlives_any_bytes(talks: list[tuple[bytes, bytes, list[bytes], bytes]]) -> None:
    """And it accepts only JSON objects at the right path."""

    async def main() -> None:
        found: list[Delivery] = []
        async with Receiver(SECRET, patience=0.05) as receiver:
            reading = asyncio.ensure_future(record(receiver, found))
            for first, path, more, body in talks:
                await shout(receiver.port, first.replace(b"%s", path) + b"\r\n".join([*more, b"", body]))
            good = json.dumps({"task_id": "t1"}).encode()
            for path in {path for _, path, _, _ in talks if path.decode("latin-1").isalnum()} | WRONG:
                lines = b"Host: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(good)
                said = await shout(receiver.port, b"POST /%b HTTP/1.1\r\n" % path + lines + good, is_over=False)
                assert b" 200 " not in said
            taken = len(found)
            rest = f"Host: x\r\nConnection: close\r\nContent-Length: {len(good)}\r\n\r\n"
            head = f"POST /{REF}/{token(SECRET, REF)} HTTP/1.1\r\n{rest}"
            assert b" 200 " in await shout(receiver.port, head.encode() + good, is_over=False)
            assert len(found) == taken + 1
            assert {delivery.ref for delivery in found} == {REF}
            reading.cancel()

    asyncio.run(main())


async def shout(port: int, data: bytes, *, is_over: bool = True) -> bytes:
    """Send bytes to the receiver and return its answer. `is_over`: the client closes the connection first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        if is_over:
            writer.write_eof()
        return await reader.read()
    except OSError:
        return b""
    finally:
        writer.close()
