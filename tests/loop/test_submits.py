"""Submits at the worst moment: the run ends while an attempt is written, an answer contradicts a callback, or a commit
fails."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from batchswap import wire
from batchswap.client import Answer
from batchswap.downloads import Verified
from batchswap.errors import Exit, LedgerFailed
from batchswap.ledger import releases
from batchswap.ledger.file import connection
from batchswap.ledger.transitions import Stamp
from tests.loop.service import Fault, Service, Shelf
from tests.loop.test_run import always, once
from tests.loop.world import World, rows
from tests.virtual import Inline, VirtualClock
from tests.waits import until


class SlowDisk(Inline):
    """Each commit takes some seconds."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        asyncio.get_running_loop().call_later(2.0, lambda: future.set_result(fn(*args, **kwargs)))
        return future


class TellingDisk(Inline):
    """Callbacks come while an unclear submit is being recorded, and again right after that."""

    def __init__(self, world: World) -> None:
        self.world = world

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        self._tell("submitting")

        def commit() -> None:
            done = fn(*args, **kwargs)
            self._tell("uncertain")
            future.set_result(done)

        asyncio.get_running_loop().call_later(0.01, commit)
        return future

    def _tell(self, state: str) -> None:
        with closing(connection.connect(self.world.settings.db, write=False)) as db:
            told = db.execute(
                "select a.ref from attempts a join tasks t on t.id = a.task_id where t.state = ?", (state,)
            )
            for (ref,) in told.fetchall():
                self.world.deliver(ref, wire.TaskInfo("t0", wire.SUCCESS))


class SlowWorld(World):
    def executor(self) -> Inline:
        return SlowDisk()


async def test_nothing_is_sent_when_the_run_was_ended_while_its_intent_was_written(tmp_path: Path) -> None:
    world = SlowWorld(tmp_path, 20)
    service = Service(
        VirtualClock(), durations=lambda _: 5.0, fault=lambda _, kind: "401" if kind == "submit" else None
    )
    summary = await world.run(service)
    assert summary.exit_code == Exit.REFUSED
    assert service.requests["submit"] == 1
    assert summary.counts["queued"] == 20
    assert summary.credits["reserved"] == 0.0


class TwoFaced(Service):
    """Accepts every task, calls back at once, and then answers that it refused the task."""

    async def create_task(self, body: wire.CreateTask, ref: str) -> Answer:
        answer = await super().create_task(body, ref)
        await asyncio.sleep(1.0)
        return msgspec.structs.replace(answer, status=429, code=429, data=None)


async def test_a_callback_proves_the_acceptance_of_an_attempt_against_its_answer(tmp_path: Path) -> None:
    world = World(tmp_path, 3)
    service = TwoFaced(VirtualClock(), durations=lambda _: 0.1, callback=world.deliver)
    summary = await world.run(service, callbacks=True)
    assert summary.counts["done"] == 3
    assert set(service.accepted.values()) == {1}
    assert asyncio.get_running_loop().time() < 30.0  # the results of callbacks are not polled again


async def test_two_callbacks_while_an_attempt_becomes_uncertain_settle_it_once(tmp_path: Path) -> None:
    class TellingWorld(World):
        def executor(self) -> Inline:
            return TellingDisk(self)

    world = TellingWorld(tmp_path, 1)
    service = Service(VirtualClock(), durations=lambda _: 0.1, fault=once("submit", "lost"))
    summary = await world.run(service, callbacks=True)
    assert summary.counts["done"] == 1
    assert (service.requests["submit"], service.requests["poll"]) == (1, 1)
    with closing(connection.connect(world.settings.db, write=False)) as db:
        told = [event for (event,) in db.execute("select event from events where task_id = 1 order by id")]
    assert told == ["submitted", "unknown", "attached", "succeeded", "saved"]
    assert not any("cannot be recorded" in said for said in world.warned)


class FullDisk(Inline):
    """All commits fail after the first acceptance."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def _work(self, work: Callable[[], Any]) -> Any:
        if self.service.tasks:
            raise OSError("no space left")
        return super()._work(work)


async def test_a_task_id_that_cannot_be_recorded_is_reported(tmp_path: Path) -> None:
    service = Service(VirtualClock(), durations=lambda _: 5.0)

    class FullWorld(World):
        def executor(self) -> Inline:
            return FullDisk(service)

    world = FullWorld(tmp_path, 1)
    with pytest.raises(OSError, match="no space left"):
        await world.run(service)
    assert any("b/t0 was accepted as t0, but this cannot be recorded" in said for said in world.warned)
    with closing(connection.connect(world.settings.db, write=False)) as db:
        assert db.execute("select state from tasks").fetchone() == ("submitting",)


class Locked(Inline):
    """One commit fails because another program holds a lock; later ones succeed."""

    def __init__(self, number: int) -> None:
        self.number = number

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        self.number -= 1

        def end(is_in_vain: bool = self.number == 0) -> None:
            if is_in_vain:
                future.set_exception(LedgerFailed("locked"))
            else:
                future.set_result(fn(*args, **kwargs))

        asyncio.get_running_loop().call_later(2.0, end)
        return future


@pytest.mark.parametrize("number", range(1, 12))
async def test_the_outcome_of_a_submit_is_recorded_after_the_ledger_was_locked(tmp_path: Path, number: int) -> None:
    """Attempts that were never sent or were answered are not uncertain, whichever commit fails."""

    class LockedWorld(World):
        def executor(self) -> Inline:
            return Locked(number)

    world = LockedWorld(tmp_path, 12)
    service = Service(VirtualClock(), durations=lambda _: 5.0, latency=0.5)
    with pytest.raises(LedgerFailed, match="locked"):
        await world.run(service)
    assert (world.counts()["submitting"], world.counts()["uncertain"]) == (0, 0)
    with closing(connection.connect(world.settings.db, write=False)) as db:
        assert db.execute("select count(*) from attempts where remote_id is not null").fetchone() == (
            len(service.tasks),
        )
        assert db.execute("select count(*) from tasks where paid > 0").fetchone() == (len(service.tasks),)


class Idempotent(Service):
    """Makes one task for each Idempotency-Key, however often it is sent."""

    def __init__(self, *answers: str | None) -> None:
        """`answers` are the faults of the first submits."""
        self._answers = list(answers)
        super().__init__(VirtualClock(), durations=lambda _: 5.0, fault=self._next)
        self.known: dict[str, str] = {}

    def _next(self, _: Service, kind: str) -> str | None:
        return self._answers.pop(0) if kind == "submit" and self._answers else None

    async def create_task(self, body: wire.CreateTask, ref: str) -> Answer:
        if ref not in self.known:
            try:
                return await super().create_task(body, ref)
            finally:
                for task_id, (*_, param) in self.tasks.items():
                    if param == body.to_json():
                        self.known[ref] = task_id
        return await self._call("submit", lambda: (200, {"task_id": self.known[ref]}))


@pytest.mark.parametrize("answers", [["lost"], ["dropped"], ["500"], ["lost", "dropped", "500"], ["lost", "unsent"]])
async def test_a_provider_with_idempotency_keys_gets_the_request_again(tmp_path: Path, answers: list[str]) -> None:
    world, service = World(tmp_path, 3), Idempotent(*answers)
    for _ in range(2):  # a resend that never left waits for the next run
        summary = await world.run(service, is_idempotent=True)
    assert summary.counts["done"] == 3
    assert (service.accepted.total(), set(service.accepted.values())) == (3, {1})
    assert summary.credits == {**summary.credits, "spent": 3.0, "reserved": 0.0}
    with closing(connection.connect(world.settings.db, write=False)) as db:
        assert db.execute("select max(number) from attempts").fetchone() == (1,)


async def test_a_submit_of_a_killed_process_is_settled_by_sending_it_again(tmp_path: Path) -> None:
    world, service = World(tmp_path, 3), Idempotent()
    service.latency = 4.0
    asyncio.get_running_loop().call_later(7.0, world.kill)
    with pytest.raises(OSError, match="killed"):
        await world.run(service, is_idempotent=True)
    assert world.counts()["submitting"] >= 1
    assert service.accepted.total() >= 1
    summary = await world.run(service, is_idempotent=True)
    assert summary.counts["done"] == 3
    assert set(service.accepted.values()) == {1}


@pytest.mark.parametrize("in_later_run", [False, True])
async def test_an_attempt_that_was_sent_again_is_paid_once_and_may_be_paid_once_more(
    tmp_path: Path, in_later_run: bool
) -> None:
    answers = ["lost", "unsent"] if in_later_run else ["lost"]
    world, service = World(tmp_path, 1), Idempotent(*answers)
    service.failing = 1.0
    asyncio.get_running_loop().call_later(4.0, lambda: setattr(service, "failing", 0.0))
    for _ in range(1 + in_later_run):
        summary = await world.run(service, is_idempotent=True, paid_attempts=2)
    assert (summary.counts["done"], service.accepted.total()) == (1, 2)
    with closing(connection.connect(world.settings.db, write=False)) as db:
        assert db.execute("select paid, attempts from tasks").fetchone() == (2, 2)


@pytest.mark.parametrize("refusal", ["402", "422", "429", "455"])
async def test_a_refused_resend_does_not_settle_the_first_request(tmp_path: Path, refusal: str) -> None:
    world, service = World(tmp_path, 1), Idempotent("lost", refusal)
    summary = await world.run(service, is_idempotent=True)
    assert summary.counts["uncertain"] == 1
    assert summary.credits["reserved"] == 1.0
    assert (await world.run(service, is_idempotent=True)).counts["done"] == 1
    assert service.accepted.total() == 1


class Repeating(Service):
    """Accepts every task, and answers each submit with the first one's id."""

    async def create_task(self, body: wire.CreateTask, ref: str) -> Answer:
        answer = await super().create_task(body, ref)
        return msgspec.structs.replace(answer, data={"task_id": "t0"})


def attempts(world: World) -> list[tuple[str, str, str, str]]:
    with closing(connection.connect(world.settings.db, write=False)) as db:
        return db.execute("select ref, state, code, reason from attempts order by id").fetchall()


async def test_an_answer_with_the_id_of_another_task_is_not_an_acceptance(tmp_path: Path) -> None:
    world, service = World(tmp_path, 20), Repeating(VirtualClock(), durations=lambda _: 5.0)
    summary = await world.run(service)
    assert summary.exit_code == Exit.UNCERTAIN
    # It is as unclear as any other answer: five in a row stop the submitting.
    assert {state: n for state, n in summary.counts.items() if n} == {"done": 1, "uncertain": 5, "queued": 14}
    assert (summary.credits["spent"], summary.credits["reserved"]) == (1.0, 5.0)
    assert {each[1:] for each in attempts(world)[1:]} == {
        (
            "unknown",
            "repeated-id",
            "the answer repeats a task id: t0 already belongs to an attempt of b/t0",
        )
    }
    assert len(world.shelf.files) == 1


async def test_an_id_from_a_callback_is_dropped_when_another_submit_gets_it(tmp_path: Path) -> None:
    world, service = World(tmp_path, 2), Idempotent(None, "lost")
    service.latency = 1.0

    async def tell() -> None:
        await until(lambda: len(service.tasks) == 2, "two tasks", pause=0.1)
        world.deliver(attempts(world)[1][0], wire.TaskInfo("t0", wire.SUCCESS))

    telling = asyncio.ensure_future(tell())
    summary = await world.run(service, callbacks=True)
    await telling
    assert (summary.counts["done"], summary.counts["uncertain"]) == (1, 1)
    assert [each[1:3] for each in attempts(world)] == [("succeeded", ""), ("unknown", "no-answer")]


async def test_a_callback_cannot_give_an_uncertain_attempt_the_id_of_another_attempt(
    tmp_path: Path,
) -> None:
    world, service = SlowWorld(tmp_path, 2), Idempotent("lost")
    create = service.create_task

    async def create_task(body: wire.CreateTask, ref: str) -> Answer:
        answer = await create(body, ref)
        told = wire.TaskInfo("t1", wire.SUCCESS)  # while that answer is being written
        asyncio.get_running_loop().call_later(1.0, world.deliver, attempts(world)[0][0], told)
        return answer

    service.create_task = create_task  # type: ignore[method-assign]
    summary = await world.run(service, callbacks=True, in_flight=1)
    assert (summary.counts["done"], summary.counts["uncertain"]) == (1, 1)


class Telling(Shelf):
    """Calls back for t0 when the result of t1 is stored, `turns` turns of the loop later."""

    def __init__(self, world: World, turns: int) -> None:
        super().__init__()
        self._world, self._turns = world, turns
        self.telling: asyncio.Task[None] | None = None

    async def publish(self, output: str, part: Verified, *, replaces: str | None) -> None:
        await super().publish(output, part, replaces=replaces)
        if output == "b/t1.mp4":
            self.telling = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        for _ in range(self._turns):
            await asyncio.sleep(0)
        self._world.deliver(attempts(self._world)[0][0], wire.TaskInfo("t0", wire.SUCCESS))


@pytest.mark.parametrize("turns", range(12))
async def test_a_callback_during_the_last_download_leaves_no_running_task(tmp_path: Path, turns: int) -> None:
    world = World(tmp_path, 2)
    world.shelf = Telling(world, turns)
    service = Service(VirtualClock(), durations=lambda _: 5.0, fault=once("submit", "lost"))
    summary = await world.run(service, callbacks=True)
    left = {state: n for state, n in summary.counts.items() if n and state != "done"}
    assert (summary.exit_code, left) in [(Exit.DONE, {}), (Exit.UNCERTAIN, {"uncertain": 1})]


def in_order(*answers: str | None) -> Fault:
    """Return the faults of the first submits, in order."""
    left = list(answers)
    return lambda _, kind: left.pop(0) if kind == "submit" and left else None


@pytest.mark.parametrize("clear", ["422", None])
async def test_unclear_answers_with_a_clear_one_between_them_are_not_five_in_a_row(
    tmp_path: Path, clear: str | None
) -> None:
    fault = in_order(*["500"] * 4, clear, *["500"] * 4)
    summary = await World(tmp_path, 12).run(Service(VirtualClock(), durations=lambda _: 5.0, fault=fault))
    assert (summary.counts["uncertain"], summary.counts["queued"]) == (8, 0)
    assert summary.counts["done"] + summary.counts["failed"] == 4


async def test_refusals_with_an_acceptance_between_them_are_not_in_a_row(tmp_path: Path) -> None:
    fault = in_order("422", "422", None, "422", "422")
    service = Service(VirtualClock(), durations=lambda _: 5.0, fault=fault)
    summary = await World(tmp_path, 8).run(service, same_refusals=3, in_flight=1)
    assert (summary.counts["failed"], summary.counts["done"]) == (4, 4)


class Unclear(Service):
    """Answers no submit clearly, and notes how many are open at once after the first balance call."""

    def __init__(self) -> None:
        super().__init__(VirtualClock(), durations=lambda _: 5.0, latency=2.0, fault=always("submit", "500"))
        self.open = self.most = 0

    async def create_task(self, body: wire.CreateTask, ref: str) -> Answer:
        self.open += 1
        self.most = max(self.most, self.open if self.requests["balance"] else 0)
        try:
            return await super().create_task(body, ref)
        finally:
            self.open -= 1


async def test_after_an_unclear_answer_submits_go_one_by_one(tmp_path: Path) -> None:
    service = Unclear()
    summary = await World(tmp_path, 40).run(service, in_flight=10)
    assert (summary.exit_code, service.most) == (Exit.UNCERTAIN, 1)


async def test_a_request_under_a_withdrawn_release_is_not_sent_again(tmp_path: Path) -> None:
    world, service = World(tmp_path, 1), Idempotent("lost", "402")
    world.enrol([msgspec.structs.replace(row, consent="r-1") for row in rows(1)])
    assert (await world.run(service, is_idempotent=True)).counts["uncertain"] == 1
    with closing(connection.connect(world.settings.db, write=True)) as db:
        releases.withdraw(db, Stamp(1.0, None), "r-1")
    summary = await world.run(service, is_idempotent=True)
    assert (summary.counts["uncertain"], summary.requests["submit"]) == (1, 0)
