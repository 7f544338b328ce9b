"""Submits at the worst moment: the run ends while an intent is written, an answer and a callback contradict, a commit
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
from batchswap.errors import Exit
from batchswap.ledger import files
from tests.loop.service import Service
from tests.loop.world import World
from tests.virtual import Inline, VirtualClock, run


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


class SlowDisk(Inline):
    """Each commit takes some seconds."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        asyncio.get_running_loop().call_later(2.0, lambda: future.set_result(fn(*args, **kwargs)))
        return future


class SlowWorld(World):
    def executor(self) -> Inline:
        return SlowDisk()


def test_nothing_is_sent_when_the_run_was_ended_while_its_intent_was_written(tmp_path: Path) -> None:
    async def script() -> None:
        world = SlowWorld(tmp_path, 20)
        service = Service(
            VirtualClock(), durations=lambda _: 5.0, fault=lambda _, kind: "401" if kind == "submit" else None
        )
        summary = await world.run(service)
        assert summary.exit_code == Exit.REFUSED
        assert service.requests["submit"] == 1
        assert summary.counts["queued"] == 20
        assert summary.credits["reserved"] == 0.0

    run(script())


class TwoFaced(Service):
    """Takes every task, calls back at once, and says only then that it did not take it."""

    async def create_task(self, body: wire.CreateTask, ref: str) -> Answer:
        answer = await super().create_task(body, ref)
        await asyncio.sleep(1.0)
        return msgspec.structs.replace(answer, status=429, code=429, data=None)


def test_who_calls_back_for_an_attempt_has_taken_it_whatever_is_answered(tmp_path: Path) -> None:
    async def script() -> None:
        world = World(tmp_path, 3)
        service = TwoFaced(VirtualClock(), durations=lambda _: 0.1, callback=world.deliver)
        summary = await world.run(service, callbacks=True)
        assert summary.counts["done"] == 3
        assert set(service.accepted.values()) == {1}
        assert asyncio.get_running_loop().time() < 30.0  # what was told is not waited for once more

    run(script())


class FullDisk(Inline):
    """No commit succeeds any longer once something was accepted."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def _work(self, work: Callable[[], Any]) -> Any:
        if self.service.tasks:
            raise OSError("no space left")
        return super()._work(work)


def test_a_task_id_that_cannot_be_recorded_is_said(tmp_path: Path) -> None:
    async def script() -> None:
        service = Service(VirtualClock(), durations=lambda _: 5.0)

        class FullWorld(World):
            def executor(self) -> Inline:
                return FullDisk(service)

        world = FullWorld(tmp_path, 1)
        with pytest.raises(OSError, match="no space left"):
            await world.run(service)
        assert any("b/t0 was accepted as t0, which cannot be recorded" in said for said in world.said)
        with closing(files.connect(world.settings.db, write=False)) as db:
            assert db.execute("select state from tasks").fetchone() == ("submitting",)

    run(script())


class Idempotent(Service):
    """One task for each Idempotency-Key, however often it comes."""

    def __init__(self, *answers: str | None) -> None:
        """`answers`: what goes wrong with the first submits."""
        self._answers = list(answers)
        super().__init__(VirtualClock(), durations=lambda _: 5.0, fault=self._next)
        self.known: dict[str, str] = {}

    def _next(self, _: Service, kind: str) -> str | None:
        return self._answers.pop(0) if kind == "submit" and self._answers else None

    async def create_task(self, body: wire.CreateTask, ref: str) -> Answer:
        if ref not in self.known:
            before = len(self.tasks)
            try:
                return await super().create_task(body, ref)
            finally:
                if len(self.tasks) > before:
                    self.known[ref] = f"t{before}"
        return await self._call("submit", lambda: (200, {"task_id": self.known[ref]}))


@pytest.mark.parametrize("answers", [["lost"], ["dropped"], ["500"], ["lost", "dropped", "500"], ["lost", "unsent"]])
def test_a_provider_that_honours_the_idempotency_key_is_asked_again(tmp_path: Path, answers: list[str]) -> None:
    async def script() -> None:
        world, service = World(tmp_path, 3), Idempotent(*answers)
        for _ in range(2):  # a resend that never left waits for the next run
            summary = await world.run(service, is_idempotent=True)
        assert summary.counts["done"] == 3
        assert (service.accepted.total(), set(service.accepted.values())) == (3, {1})
        assert summary.credits == {**summary.credits, "spent": 3.0, "reserved": 0.0}
        with closing(files.connect(world.settings.db, write=False)) as db:
            assert db.execute("select max(number) from attempts").fetchone() == (1,)

    run(script())


def test_what_was_submitting_when_the_process_died_is_settled_by_sending_it_again(tmp_path: Path) -> None:
    async def script() -> None:
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

    run(script())


@pytest.mark.parametrize("refusal", ["402", "422", "429", "455"])
def test_a_resend_that_is_refused_says_nothing_of_the_first_sending(tmp_path: Path, refusal: str) -> None:
    async def script() -> None:
        world, service = World(tmp_path, 1), Idempotent("lost", refusal)
        summary = await world.run(service, is_idempotent=True)
        assert summary.counts["uncertain"] == 1
        assert summary.credits["reserved"] == 1.0
        assert (await world.run(service, is_idempotent=True)).counts["done"] == 1
        assert service.accepted.total() == 1

    run(script())
