"""The calls before a submit: what their answers, or the lack of them, mean for a row, and for all rows."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchswap.errors import Exit
from tests.loop.service import Service, lognormal
from tests.loop.test_faces import duo
from tests.loop.test_run import always
from tests.loop.test_uploads import made, row
from tests.loop.world import World
from tests.virtual import VirtualClock, run

QUICK = lognormal(6, 0.35)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(autouse=True)
def _inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Virtual time must not pass while a thread reads a file."""

    async def inline(work: Callable[..., Any], *args: Any) -> Any:
        return work(*args)

    monkeypatch.setattr(asyncio, "to_thread", inline)


def clips(folder: Path, count: int, **settings: object) -> World:
    """A world whose targets are files, each with a content of its own."""
    for number in range(count):
        (folder / f"{number}.mp4").write_bytes(b"clip %d" % number)
    return made(folder, [row(f"r{number}", f"{number}.mp4") for number in range(count)], **settings)


def chosen(folder: Path, count: int, **settings: object) -> World:
    """A world whose rows name faces, each in a target of its own."""
    return made(folder, duo(count, count), **settings)


@pytest.mark.parametrize(("kind", "world_of"), [("upload", clips), ("detect", chosen), ("estimate", clips)])
def test_402_of_a_free_call_stops_submitting_and_fails_no_row(
    tmp_path: Path, kind: str, world_of: Callable[..., World]
) -> None:
    async def script() -> None:
        world = world_of(tmp_path, 5)
        service = Service(VirtualClock(), durations=QUICK, fault=always(kind, "402"))
        summary = await world.run(service)
        assert (summary.exit_code, summary.counts["queued"]) == (Exit.NO_CREDITS, 5)
        assert summary.reason == "out of credits (402): top up, and run again"
        service.fault = None
        assert (await world.run(service)).counts["done"] == 5

    run(script())
