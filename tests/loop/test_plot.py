"""The requests of a run over time, and their chart."""

import asyncio
import re
from contextlib import closing, suppress
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from batchswap.errors import UsageError
from batchswap.ledger.file import connection
from batchswap.ledger.runs import traffic
from batchswap.ledger.runs.traffic import Course
from batchswap.report import run_chart
from tests.loop.service import Service, lognormal
from tests.loop.world import World
from tests.virtual import VirtualClock


async def course_of(folder: Path, count: int, *, runs: int = 1, limit: int = 20, most: int = 150) -> Course:
    """Return the requests of the last run. All earlier runs are killed after five seconds."""
    world = World(folder, count, rate_limit=20, rate_period=1.0, in_flight=40)

    service = Service(VirtualClock(), durations=lognormal(6.0, 0.35), limit=limit, period=1.0)
    for left in reversed(range(runs)):
        killer = asyncio.get_running_loop().call_later(5.0, world.kill) if left else None
        with suppress(OSError):
            await world.run(service)
        if killer is not None:
            killer.cancel()
    with closing(connection.connect(world.settings.db, write=False)) as db:
        last = traffic.last_run(db)
        assert last is not None
        found = traffic.course(db, last, most=most)
    assert found is not None
    return found


async def test_every_request_is_in_the_course(tmp_path: Path) -> None:
    course = await course_of(tmp_path, 100)
    assert sum(course.requests["submit"]) == 100
    assert sum(course.requests["useful"]) == 100
    assert sum(course.requests["early"]) > 0
    assert sum(course.requests["other"]) == 2  # an estimate and the balance
    assert max(map(sum, zip(*course.requests.values(), strict=True))) <= 21
    assert max(course.in_flight) <= 40
    assert max(course.in_flight) > 30
    assert course.in_flight[-1] == 0
    assert course.step == 1


async def test_answers_455_are_in_the_course_and_in_the_chart(tmp_path: Path) -> None:
    """They are neither requests nor in the summary: each belongs to a request that is counted already."""
    fault = lambda service, _: "455" if 5.0 < service.clock.monotonic() < 605.0 else None  # noqa: E731
    world = World(tmp_path, 40)
    summary = await world.run(Service(VirtualClock(), durations=lognormal(6.0, 0.35), fault=fault))
    with closing(connection.connect(world.settings.db, write=False)) as db:
        course = traffic.course(db, 1)
    assert course is not None
    assert sum(course.maintenance) > 5
    assert sum(map(sum, course.requests.values())) == sum(
        n for kind, n in summary.requests.items() if "429" not in kind
    )
    assert f">455 ({sum(course.maintenance)})<" in run_chart.draw(course)


async def test_a_long_run_has_wider_steps(tmp_path: Path) -> None:
    course = await course_of(tmp_path, 100, most=10)
    assert course.step in traffic.STEPS
    assert len(course.in_flight) <= 10
    assert sum(course.requests["submit"]) == 100


async def test_tasks_of_an_earlier_run_are_in_flight(tmp_path: Path) -> None:
    course = await course_of(tmp_path, 100, runs=2)
    assert sum(course.requests["submit"]) < 100
    assert max(course.in_flight) <= 40
    assert min(course.in_flight) >= 0
    assert course.in_flight[-1] == 0


async def test_the_picture_has_labels(tmp_path: Path) -> None:
    course = await course_of(tmp_path, 60, limit=10)
    image = run_chart.draw(course)
    root = ET.fromstring(image)
    words = {"".join(each.itertext()).strip() for each in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"submits", "polls, finished", "tasks in flight", "requests a second"} <= words
    assert any(re.fullmatch(r"429 \(\d+\)", each) for each in words)
    assert any(each.startswith("Run 1: ") and "requests" in each for each in words)
    assert run_chart.draw(course) == image


@pytest.mark.parametrize("most", [0, 1, 2])
def test_tasks_are_counted_in_whole_ones(most: int) -> None:
    requests = {"submit": [100] * 10, "useful": [0] * 10, "early": [0] * 10, "other": [0] * 10}
    image = run_chart.draw(Course(1, 1.79e9, 1, requests, [most] * 10, [0] * 10))
    texts = ("".join(each.itertext()).strip() for each in ET.fromstring(image).iter("{http://www.w3.org/2000/svg}text"))
    figures = [text for text in texts if re.fullmatch(r"[0-9.]+", text)]
    assert str(max(most, 1)) in figures
    assert not any("." in text for text in figures)


async def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        run_chart.write(await course_of(tmp_path, 5), tmp_path / "none" / "run.svg")


async def test_a_picture_replaces_nothing_but_a_picture(tmp_path: Path) -> None:
    course = await course_of(tmp_path, 5)
    ledger, other, fresh, old = (tmp_path / name for name in ("batchswap.db", "five.csv", "run.svg", "by-hand.svg"))
    other.write_text("id,video,face\n")
    (tmp_path / "link.svg").symlink_to(other)
    (tmp_path / "empty").touch()
    old.write_text('<?xml version="1.0"?>\n<!-- by hand -->\n<svg xmlns="http://www.w3.org/2000/svg"/>\n')
    for taken in (other, tmp_path / "link.svg", ledger, Path(f"{ledger}-wal"), Path(f"{ledger}.lock")):
        with pytest.raises(UsageError, match="name another file"):
            run_chart.check_place(taken, ledger)
    for free in (fresh, old, tmp_path / "empty", Path("/dev/null")):
        run_chart.check_place(free, ledger)
    run_chart.write(course, fresh)
    run_chart.check_place(fresh, ledger)


def test_a_run_that_sent_nothing_has_no_course(tmp_path: Path) -> None:
    world = World(tmp_path, 1)
    with closing(connection.connect(world.settings.db, write=False)) as db:
        assert traffic.last_run(db) is None
        assert traffic.course(db, 1) is None
