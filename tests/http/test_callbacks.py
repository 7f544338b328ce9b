"""The callback receiver: it takes JSON objects on a valid path, and answers everything else with an error status."""

import asyncio
import gzip
import json
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchswap.callbacks import LARGEST, STRANGERS, Delivery, Receiver, callback_url, token
from batchswap.errors import UsageError
from batchswap.wire import TaskInfo
from tests.waits import until

SECRET = b"0123456789abcdef0123456789abcdef"
REF = "5b6f9c1e-8f7f-4c57-9a7e-3a2f0b1c9d10"
DONE = {"task_id": "t1", "status": "SUCCESS", "credits": 2, "result": {"media_urls": ["https://m/x.mp4"]}}

Post = Callable[..., Awaitable[int]]


async def record(receiver: Receiver, found: list[Delivery]) -> None:
    """Process the deliveries."""
    while True:
        delivery = await receiver.deliveries.get()
        found.append(delivery)
        delivery.recorded.set()


def receive(talk: Callable[[Post, Receiver], Awaitable[None]]) -> list[Delivery]:
    """Return the deliveries that `talk` posted: post(path, data, method="POST", …) returns the status."""

    async def main() -> list[Delivery]:
        found: list[Delivery] = []
        async with Receiver(SECRET) as receiver, aiohttp.ClientSession() as session:
            reading = asyncio.ensure_future(record(receiver, found))

            async def post(path: str, data: Any = b"", method: str = "POST", **options: Any) -> int:
                url = f"http://127.0.0.1:{receiver.port}{path}"
                body = data if isinstance(data, bytes) else json.dumps(data).encode()
                async with session.request(method, url, data=body, **options) as response:
                    await response.read()
                    return response.status

            await talk(post, receiver)
            reading.cancel()
        return found

    return asyncio.run(main())


PATH = f"/{REF}/{token(SECRET, REF)}"


def test_the_url_names_the_attempt_and_cannot_be_guessed() -> None:
    url = callback_url("https://me.example/hooks/", SECRET, REF)
    assert url == f"https://me.example/hooks{PATH}"
    assert len(token(SECRET, REF)) * 4 >= 128
    assert token(SECRET, REF) != token(SECRET, REF + "0")
    assert token(SECRET, REF) != token(SECRET[::-1], REF)


@pytest.mark.parametrize("body", [DONE, {"data": DONE}, {"code": 200, "data": DONE}])
@pytest.mark.parametrize("prefix", ["", "/hooks/deep"])
def test_a_delivery_is_queued_and_answered(body: Any, prefix: str) -> None:
    async def talk(post: Post, receiver: Receiver) -> None:
        assert await post(prefix + PATH, body) == 200

    [delivery] = receive(talk)
    assert (delivery.ref, delivery.info.task_id, delivery.info.status, delivery.info.credits) == (
        REF,
        "t1",
        "success",
        2,
    )


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + json.dumps(DONE).encode(),
        json.dumps(DONE).encode("utf-16"),
        json.dumps({**DONE, "extra": math.nan, "param": "half \ud83d"}).encode(),
        json.dumps({**DONE, "message": "cut X"}).encode().replace(b"X", b"\xc3"),
        json.dumps({**DONE, "param": "DEEP"}).encode().replace(b'"DEEP"', b"[" * 5000 + b"]" * 5000),
        json.dumps(DONE).encode() + b"\0\n",
    ],
)
def test_a_delivery_that_a_lenient_reader_accepts_is_accepted(body: bytes) -> None:
    async def talk(post: Post, receiver: Receiver) -> None:
        assert await post(PATH, body) == 200

    [delivery] = receive(talk)
    assert (delivery.info.task_id, delivery.info.credits) == ("t1", 2)


def test_a_delivery_may_come_again() -> None:
    async def talk(post: Post, receiver: Receiver) -> None:
        assert [await post(PATH, DONE) for _ in range(3)] == [200, 200, 200]

    assert len(receive(talk)) == 3


@pytest.mark.parametrize(
    "path",
    [
        "/",
        f"/{REF}",
        f"/{REF}/",
        f"/{REF}/{'0' * 32}",
        PATH[:-1],
        PATH + "0",
        PATH + "/",
        PATH.upper(),
        f"//{token(SECRET, '')}",
        f"/{token(SECRET, '')}",
        f"/{REF}0/{token(SECRET, REF)}",
        f"/{REF}/%C3%BC{token(SECRET, REF)}",
        f"/?{PATH}",
        "/%ff/%00",
    ],
)
def test_a_wrong_path_is_404_with_any_body(path: str) -> None:
    async def talk(post: Post, receiver: Receiver) -> None:
        assert await post(path, DONE) == 404
        assert await post(path, b"x" * (LARGEST + 1)) == 404

    assert receive(talk) == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_405_on_any_path(method: str) -> None:
    async def talk(post: Post, receiver: Receiver) -> None:
        assert await post(PATH, DONE, method) == 405
        assert await post("/", DONE, method) == 405

    assert receive(talk) == []


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"x"', b"\xff", b"[" * 100_000, b"task_id=1", b"NaN"])
def test_a_body_that_is_not_a_json_object_is_400(body: bytes) -> None:
    async def talk(post: Post, receiver: Receiver) -> None:
        assert await post(PATH, body) == 400

    assert receive(talk) == []


def test_a_body_is_bounded_also_when_it_is_compressed() -> None:
    large = json.dumps({"task_id": "t", "x": "0" * 100 * LARGEST}).encode()

    async def talk(post: Post, receiver: Receiver) -> None:
        assert await post(PATH, {"task_id": "t", "x": "0" * (256 * 1024 - 100)}) == 200
        assert await post(PATH, large[: 256 * 1024 + 1]) == 413
        assert await post(PATH, gzip.compress(large), headers={"Content-Encoding": "gzip"}) == 413

    assert len(receive(talk)) == 1


def test_a_missing_body_times_out() -> None:
    async def main() -> None:
        async with Receiver(SECRET, patience=0.05) as receiver:
            reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
            writer.write(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())
            assert b" 400 " in await reader.readline()
            writer.close()

    asyncio.run(main())


def test_a_flood_of_strangers_is_refused_and_delays_no_delivery() -> None:
    async def talk(post: Post, receiver: Receiver) -> None:
        statuses = [await post("/guess/0", DONE) for _ in range(STRANGERS[0] * 2)]
        assert statuses[0] == 404
        assert statuses[-1] == 429
        assert set(statuses) == {404, 429}
        assert await post(PATH, DONE) == 200

    assert len(receive(talk)) == 1


async def answers(receiver: Receiver, count: int) -> list[int]:
    """Return the answers to some deliveries at once."""

    async def post() -> int:
        async with session.post(f"http://127.0.0.1:{receiver.port}{PATH}", json=DONE) as response:
            return response.status

    async with aiohttp.ClientSession() as session:
        return list(await asyncio.gather(*(post() for _ in range(count))))


def test_a_full_queue_lets_the_api_retry() -> None:
    async def main() -> None:
        async with Receiver(SECRET) as receiver:
            receiver.deliveries = asyncio.Queue(1)
            receiver.deliveries.put_nowait(Delivery(REF, TaskInfo("t1", "success")))
            assert await answers(receiver, 2) == [503, 503]

    asyncio.run(main())


def test_a_delivery_that_is_not_recorded_is_not_confirmed() -> None:
    async def main() -> None:
        async with Receiver(SECRET, patience=0.1) as receiver:
            assert await answers(receiver, 1) == [503]

    asyncio.run(main())


def test_a_delivery_at_the_end_of_a_run_is_not_confirmed() -> None:
    async def main() -> None:
        async with Receiver(SECRET) as receiver:
            answer = asyncio.ensure_future(answers(receiver, 3))
            await until(lambda: receiver.deliveries.qsize() >= 3, "three deliveries")
        assert await answer == [503, 503, 503]

    asyncio.run(main())


def test_invariant_9_no_log_holds_the_token(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with Receiver(SECRET) as receiver:
            for line in (f"POST {PATH} HTTP/1.1\r\nHost: x\r\nBad\x00Header\r\n\r\n", f"POST {PATH} HTTP/9\r\n\r\n"):
                reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
                writer.write(line.encode())
                assert b" 400 " in await reader.readline()
                writer.close()

    async def talk(post: Post, receiver: Receiver) -> None:
        await post(PATH, DONE)
        await post(PATH, b"x" * (LARGEST + 1))

    with caplog.at_level(logging.DEBUG):
        asyncio.run(main())
        receive(talk)
    assert token(SECRET, REF) not in caplog.text


def test_it_listens_on_this_machine_only_and_reports_when_it_cannot() -> None:
    async def main() -> None:
        async with Receiver(SECRET) as first:
            assert first.host == "127.0.0.1"
            with pytest.raises(UsageError, match="cannot listen for callbacks"):
                async with Receiver(SECRET, port=first.port):
                    pass

    asyncio.run(main())


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(UsageError):
        Receiver(b"short")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NEARLY = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("task_id", "status", "credits", "result", "data", "param", "create_at"), JSON)
)


def test_any_body_is_a_delivery_or_an_error_status() -> None:
    async def main() -> None:
        async with Receiver(SECRET) as receiver, aiohttp.ClientSession() as session:
            reading = asyncio.ensure_future(record(receiver, []))
            url = callback_url(f"http://127.0.0.1:{receiver.port}", SECRET, REF)

            async def post(body: bytes) -> int:
                async with session.post(url, data=body) as response:
                    return response.status

            for body in bodies:
                assert await post(body) in (200, 400)
            reading.cancel()

    bodies: list[bytes] = []

    @settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None, database=None)
    @given(st.binary(max_size=50) | NEARLY.map(lambda found: json.dumps(found).encode()))
    def draw(body: bytes) -> None:
        bodies.append(body)

    draw()
    asyncio.run(main())
