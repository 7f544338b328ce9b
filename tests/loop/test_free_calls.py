"""The calls before a submit: what their answers and failures mean for one row and for all rows."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from math import inf
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from batchswap import wire
from batchswap.client import Answer
from batchswap.errors import Exit
from batchswap.ledger.file import connection
from batchswap.tasks import Model
from tests.loop.service import Fault, Service, lognormal
from tests.loop.test_faces import duo
from tests.loop.test_run import always, once
from tests.loop.test_uploads import Outage, clips, made, reasons
from tests.loop.world import World
from tests.virtual import VirtualClock

QUICK = lognormal(6, 0.35)


def chosen(folder: Path, count: int, **settings: object) -> World:
    """Make a world whose rows name faces, each in its own target."""
    return made(folder, duo(count, count), **settings)


@pytest.mark.parametrize(("kind", "world_of"), [("upload", clips), ("detect", chosen), ("estimate", clips)])
async def test_402_of_a_free_call_stops_submitting_and_fails_no_row(
    tmp_path: Path, kind: str, world_of: Callable[..., World]
) -> None:
    world = world_of(tmp_path, 5)
    service = Service(VirtualClock(), durations=QUICK, fault=always(kind, "402"))
    summary = await world.run(service)
    assert (summary.exit_code, summary.counts["queued"]) == (Exit.NO_CREDITS, 5)
    assert summary.reason == "out of credits (402): top up, and run again"
    service.fault = None
    assert (await world.run(service)).counts["done"] == 5


class Crowded(Service):
    """Notes how many calls were open at once."""

    def __init__(self, **options: Any) -> None:
        super().__init__(VirtualClock(), durations=QUICK, latency=2.0, **options)
        self.open = self.most = 0

    async def _call(self, kind: str, answer: Callable[[], tuple[int, Any]]) -> Answer:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            return await super()._call(kind, answer)
        finally:
            self.open -= 1


@pytest.mark.parametrize("world_of", [clips, chosen])
@pytest.mark.parametrize("workers", [1, 3])
async def test_free_calls_are_workers_too(tmp_path: Path, world_of: Callable[..., World], workers: int) -> None:
    world, service = world_of(tmp_path, 12), Crowded()
    summary = await world.run(service, workers=workers, rate_limit=None)
    assert (summary.counts["done"], service.most) == (12, workers)


class Talkative(Service):
    """Sends secrets in the message of a refused call."""

    async def _call(self, kind: str, answer: Callable[[], tuple[int, Any]]) -> Answer:
        found = await super()._call(kind, answer)
        message = "cannot read https://cdn.example/a.mp4?X-Signature=SECRET\n\x1b[2J" + "x" * 100_000
        return msgspec.structs.replace(found, message=message) if found.code == 422 else found


@pytest.mark.parametrize(("kind", "world_of"), [("upload", clips), ("detect", chosen), ("estimate", clips)])
async def test_invariant_9_the_message_of_a_refused_free_call_is_stored_without_secrets(
    tmp_path: Path, kind: str, world_of: Callable[..., World]
) -> None:
    world = world_of(tmp_path, 1)
    summary = await world.run(Talkative(VirtualClock(), durations=QUICK, fault=always(kind, "422")))
    assert (summary.exit_code, summary.counts["failed"]) == (Exit.FAILED, 1)
    [(code, reason)] = reasons(world)
    assert (code, reason[:41]) == ("422", "cannot read https://cdn.example/a.mp4?… [")
    assert len(reason) <= 500
    assert reason.isprintable()


async def test_a_free_call_that_is_refused_without_a_message_has_a_reason(tmp_path: Path) -> None:
    world = clips(tmp_path, 1)
    await world.run(Service(VirtualClock(), durations=QUICK, fault=always("estimate", "422")))
    assert reasons(world) == [("422", "rejected")]


def away(*spans: tuple[float, float], what: str = "503", kind: str = "") -> Fault:
    """Let the whole API, or its calls of a kind, fail in spans of seconds since the clock's start."""

    def fault(service: Service, called: str) -> str | None:
        now = service.clock.monotonic()
        return what if kind in ("", called) and any(since <= now < until for since, until in spans) else None

    return fault


@pytest.mark.parametrize("what", ["503", "dropped", "unsent"])
@pytest.mark.parametrize("world_of", [clips, chosen])
async def test_an_outage_of_the_api_fails_no_row(tmp_path: Path, world_of: Callable[..., World], what: str) -> None:
    world = world_of(tmp_path, 60)
    fault = away((10.0, 1210.0), what=what)
    service = Service(VirtualClock(), durations=QUICK, limit=20, period=10.0, fault=fault)
    summary = await world.run(service)
    assert summary.counts["failed"] == 0
    assert summary.counts["done"] + summary.counts["uncertain"] == 60
    assert summary.counts["uncertain"] < 5  # what was on its way when it began
    assert any("the API is unavailable" in line for line in world.said)
    assert asyncio.get_running_loop().time() < 1210.0 + 300.0


@pytest.mark.parametrize("budget", [None, 1000.0])
async def test_an_outage_at_the_start_is_waited_out(tmp_path: Path, budget: float | None) -> None:
    world = clips(tmp_path, 30)
    service = Service(VirtualClock(), durations=QUICK, fault=away((0.0, 25.0)))
    summary = await world.run(service, budget=budget)
    assert (summary.exit_code, summary.counts["done"]) == (Exit.DONE, 30)


@pytest.mark.parametrize("world_of", [clips, chosen])
async def test_an_outage_beyond_patience_ends_the_run_and_the_same_command_continues(
    tmp_path: Path, world_of: Callable[..., World]
) -> None:
    world, clock = world_of(tmp_path, 30), VirtualClock()
    service = Service(clock, durations=QUICK, fault=away((0.0, 1e9)))
    summary = await world.run(service, patience=600.0)
    assert (summary.exit_code, summary.counts["queued"]) == (Exit.UNAVAILABLE, 30)
    assert 600.0 <= clock.monotonic() < 800.0
    assert service.requests.total() < 400
    service.fault = None
    assert (await world.run(service)).counts["done"] == 30


async def test_a_deadline_ends_the_waiting_for_an_api_that_is_away(tmp_path: Path) -> None:
    world, clock = clips(tmp_path, 5), VirtualClock()
    service = Service(clock, durations=QUICK, fault=away((0.0, 1e9)))
    summary = await world.run(service, deadline=clock.now() + 100.0)
    assert (summary.exit_code, summary.counts["queued"]) == (Exit.DEADLINE, 5)
    assert clock.monotonic() < 120.0


class Poisoned(Service):
    """Some targets break the calls that name them."""

    def __init__(self, *broken: str) -> None:
        super().__init__(VirtualClock(), durations=QUICK, limit=20, period=10.0)
        self._broken = broken

    def _spoil(self, kind: str, url: str) -> None:
        self.fault = once(kind, "500") if any(name in url for name in self._broken) else None

    async def detect(self, kind: Literal["video", "image"], url: str) -> Answer:
        self._spoil("detect", url)
        return await super().detect(kind, url)

    async def estimate(self, body: wire.CreateTask) -> Answer:
        self._spoil("estimate", body.input[Model(body.model).target_field])
        return await super().estimate(body)


async def test_a_row_that_alone_breaks_a_call_fails_soon_and_the_others_continue(tmp_path: Path) -> None:
    world, service = chosen(tmp_path, 10), Poisoned("duo3.")
    summary = await world.run(service)
    assert (summary.counts["done"], summary.counts["failed"]) == (9, 1)
    assert reasons(world) == [("detect-failed", "this call fails while others work: error 500")]
    assert asyncio.get_running_loop().time() < 120.0


@pytest.mark.parametrize("kind", ["detect", "upload"])
async def test_no_retry_is_awaited_after_submitting_has_stopped(tmp_path: Path, kind: str) -> None:
    """The first row's call waits for a late retry when the submit of the third row finds no credits left."""

    world = chosen(tmp_path, 3) if kind == "detect" else clips(tmp_path, 3)
    service = Poisoned("duo0.") if kind == "detect" else Outage("403", inf, b"clip 0")
    service.durations, service.balance_left = lambda _: 400.0, 1.5
    summary = await world.run(service, in_flight=1, retries=100)
    assert (summary.exit_code, summary.counts["queued"]) == (Exit.NO_CREDITS, 2)
    with closing(connection.connect(world.settings.db, write=False)) as db:
        (refused_at,) = db.execute("select max(submitted_at) from attempts").fetchone()
    assert VirtualClock().now() < refused_at + 5.0


async def test_a_call_that_fails_for_all_rows_stops_the_run_before_all_rows_fail(tmp_path: Path) -> None:
    world, service = chosen(tmp_path, 100), Poisoned("duo")
    summary = await world.run(service, ahead=1)
    assert summary.exit_code == Exit.FAILED
    assert "20 rows in a row failed as detect-failed: nothing more is submitted" in summary.reason
    assert (summary.counts["failed"], summary.counts["queued"]) == (20, 80)


async def test_a_detection_that_the_api_has_forgotten_is_repeated(tmp_path: Path) -> None:
    world = chosen(tmp_path, 1)
    service = Service(VirtualClock(), durations=QUICK)
    asked: list[str] = []

    def forgotten(_: Service, kind: str) -> str | None:
        asked.extend([kind] if kind == "detect" else [])
        return "404" if kind == "detect" and 2 <= len(asked) <= 5 else None

    service.fault = forgotten
    assert (await world.run(service)).counts["done"] == 1
    assert len(service.detections) == 2


class Secretive(Service):
    """Never reports the price of a task."""

    def info(self, task_id: str, now: float) -> wire.TaskInfo:
        return msgspec.structs.replace(super().info(task_id, now), credits=None)


async def test_a_missing_price_is_requested_again_after_a_while(tmp_path: Path) -> None:
    world = World(tmp_path, 30)
    service = Secretive(VirtualClock(), durations=lambda _: 60.0, price=3.0, fault=away((0.0, 100.0), kind="estimate"))
    summary = await world.run(service, in_flight=1)
    assert summary.counts["done"] == 30
    with closing(connection.connect(world.settings.db, write=False)) as db:
        reserved = [found for (found,) in db.execute("select reserved from attempts order by id")]
    assert (reserved[0], reserved[-1]) == (0.0, 3.0)
    assert service.requests["estimate"] == 4 + 1


async def test_with_a_budget_a_row_without_a_price_fails(tmp_path: Path) -> None:
    world, service = World(tmp_path, 5), Poisoned("/0.mp4")
    summary = await world.run(service, budget=100.0, ahead=1)
    assert (summary.counts["done"], summary.counts["failed"]) == (4, 1)
    assert reasons(world) == [("estimate-failed", "this call fails while others work: error 500")]


@pytest.mark.parametrize("told", [{}, {"estimated_credits": None, "balance": 5}])
async def test_with_a_budget_an_api_without_prices_stops_submitting(tmp_path: Path, told: dict[str, object]) -> None:
    world, service = World(tmp_path, 5), Service(VirtualClock(), durations=QUICK)
    service.override["estimate"] = told
    summary = await world.run(service, budget=100.0)
    assert (summary.exit_code, summary.counts["queued"]) == (Exit.NO_CREDITS, 5)
    assert "the API gives no estimate" in summary.reason
    assert (await world.run(service)).counts["done"] == 5
