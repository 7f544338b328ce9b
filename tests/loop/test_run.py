"""Whole runs against the API in memory, on virtual time, with each answer of api.md."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from batchswap import wire
from batchswap.downloads import Verified
from batchswap.errors import DownloadError, Exit
from batchswap.ledger import operator_actions, queries, transitions
from batchswap.ledger.file import connection
from batchswap.ledger.transitions import Stamp
from batchswap.runner import run as session
from batchswap.states import Event
from batchswap.tasks import Model, Row
from tests.loop.service import Fault, Service, Shelf, lognormal
from tests.loop.world import ACCOUNT, World, rows, watch_nothing
from tests.virtual import VirtualClock
from tests.waits import until

QUICK = lognormal(6, 0.35)
Script = Callable[[], Coroutine[Any, Any, None]]


def once(kind: str, what: str, times: int = 1) -> Fault:
    """Return the fault `what` for the first `times` calls of a kind."""
    left = [times]

    def fault(_: Service, called: str) -> str | None:
        if called != kind or not left[0]:
            return None
        left[0] -= 1
        return what

    return fault


def always(kind: str, what: str) -> Fault:
    return lambda _, called: what if called == kind else None


def twice_accepted(service: Service) -> int:
    return sum(1 for n in service.accepted.values() if n > 1)


async def test_all_done_and_again_costs_not_even_a_request(tmp_path: Path) -> None:
    world, service = World(tmp_path, 30), Service(VirtualClock(), durations=QUICK, limit=20, period=10.0)
    summary = await world.run(service)
    assert (summary.exit_code, summary.reason) == (Exit.DONE, "all done")
    assert summary.counts["done"] == 30
    assert summary.credits["spent"] == 30.0
    assert summary.credits["reserved"] == 0.0
    assert len(world.shelf.files) == 30
    assert service.refused == 0
    assert service.busiest() <= 20
    with closing(connection.connect(world.settings.db, write=False)) as db:
        assert session.is_finished(db, world.settings, ACCOUNT)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        here = msgspec.structs.replace(ACCOUNT, base_url=f"http://127.0.0.1:{listener.getsockname()[1]}")
        again = await session.work_off(world.settings, here, report=world.report, watch=watch_nothing)
        with pytest.raises(BlockingIOError):
            listener.accept()  # nothing has even connected
    assert (again.exit_code, again.counts["done"], sum(again.requests.values())) == (Exit.DONE, 30, 0)


async def test_requests_are_counted_as_the_service_saw_them(tmp_path: Path) -> None:
    world, service = World(tmp_path, 10), Service(VirtualClock(), durations=QUICK)
    summary = await world.run(service, rate_limit=None)
    for kind in ("submit", "poll", "estimate", "balance"):
        assert summary.requests[kind] == service.requests[kind]
    assert summary.requests["submit"] == 10
    assert summary.requests["estimate"] == 1


@pytest.mark.parametrize("fault", ["lost", "dropped", "500"])
async def test_an_unclear_submit_is_uncertain_and_never_sent_again(tmp_path: Path, fault: str) -> None:
    world, service = World(tmp_path, 5), Service(VirtualClock(), durations=QUICK, fault=once("submit", fault))
    summary = await world.run(service)
    assert summary.exit_code == Exit.UNCERTAIN
    assert summary.counts["uncertain"] == 1
    assert summary.counts["done"] == 4
    assert summary.credits["reserved"] == 1.0
    again = await world.run(service)
    assert again.counts == summary.counts
    assert twice_accepted(service) == 0
    assert service.requests["submit"] == 5


async def test_an_api_that_answers_nothing_clear_does_not_burn_the_batch(tmp_path: Path) -> None:
    world = World(tmp_path, 500)
    service = Service(VirtualClock(), durations=QUICK, fault=always("submit", "500"))
    summary = await world.run(service)
    assert summary.counts["queued"] > 470
    assert "5 submits in a row got no clear answer" in summary.reason


async def test_the_balance_around_an_unclear_submit_is_evidence(tmp_path: Path) -> None:
    world = World(tmp_path, 2)
    service = Service(VirtualClock(), durations=QUICK, fault=once("submit", "lost"), balance=100.0, price=2.0)
    await world.run(service, workers=1, in_flight=1)
    with closing(connection.connect(world.settings.db, write=False)) as db:
        evidence = db.execute("select balance_before, balance_after from attempts where state = 'unknown'")
        assert evidence.fetchall() == [(100.0, 98.0)]


@pytest.mark.parametrize("left", [0, 3])
@pytest.mark.parametrize(("accepted", "after"), [(True, 98.0), (False, 100.0)])
async def test_the_balance_around_a_submit_that_the_process_died_in_is_evidence(
    tmp_path: Path, accepted: bool, after: float, left: int
) -> None:
    """`left` is the number of rows that the next run submits itself."""

    world, fault = World(tmp_path, 1 + left), once("submit", "lost" if accepted else "dropped")

    def die(service: Service, called: str) -> str | None:
        if found := fault(service, called):
            world.kill()
        return found

    service = Service(VirtualClock(), durations=QUICK, fault=die, balance=100.0, price=2.0)
    with pytest.raises(OSError, match="killed"):
        await world.run(service, workers=1, in_flight=1)
    summary = await world.run(service)
    assert (summary.counts["uncertain"], summary.counts["done"]) == (1, left)
    with closing(connection.connect(world.settings.db, write=False)) as db:
        evidence = db.execute("select balance_before, balance_after from attempts where state = 'unknown'")
        assert evidence.fetchall() == [(100.0, after)]


async def test_the_balance_is_requested_before_the_first_submit_if_no_estimate_contains_it(tmp_path: Path) -> None:
    world = World(tmp_path, 1)
    service = Service(VirtualClock(), durations=QUICK, fault=once("submit", "dropped"), balance=100.0)
    service.override["estimate"] = {"estimated_credits": 2}
    await world.run(service)
    with closing(connection.connect(world.settings.db, write=False)) as db:
        evidence = db.execute("select balance_before, balance_after from attempts").fetchall()
        assert evidence == [(100.0, 100.0)]


@pytest.mark.parametrize("fault", ["429", "unsent"])
async def test_a_refused_submit_goes_back_to_the_queue_and_is_not_paid(tmp_path: Path, fault: str) -> None:
    world, service = World(tmp_path, 5), Service(VirtualClock(), durations=QUICK, fault=once("submit", fault, 3))
    summary = await world.run(service)
    assert summary.counts["done"] == 5
    assert summary.credits["spent"] == 5.0
    assert twice_accepted(service) == 0


async def test_maintenance_is_waited_out_with_one_probe_a_minute(tmp_path: Path) -> None:
    def closed(service: Service, kind: str) -> str | None:
        return "455" if 5.0 < service.clock.monotonic() < 2405.0 else None

    world, service = World(tmp_path, 40), Service(VirtualClock(), durations=QUICK, fault=closed)
    summary = await world.run(service)
    assert summary.counts["done"] == 40
    assert summary.requests["balance"] <= 45
    assert twice_accepted(service) == 0
    assert service.requests["submit"] <= 40 + world.settings.workers


async def test_out_of_credits_stops_submits_and_collects_the_rest(tmp_path: Path) -> None:
    world, service = World(tmp_path, 10), Service(VirtualClock(), durations=QUICK, balance=4.0)
    summary = await world.run(service, workers=1)
    assert summary.exit_code == Exit.NO_CREDITS
    assert (summary.counts["done"], summary.counts["queued"]) == (4, 6)
    service.balance_left = 100.0
    summary = await world.run(service)
    assert summary.exit_code == Exit.DONE
    assert twice_accepted(service) == 0


async def test_invariant_7_the_budget_holds_at_every_commit(tmp_path: Path) -> None:
    world, service = World(tmp_path, 20), Service(VirtualClock(), durations=QUICK, price=3.0)
    summary = await world.run(service, budget=10.0, rate_limit=None, workers=16)
    assert summary.exit_code == Exit.NO_CREDITS
    assert summary.credits["spent"] == 9.0
    assert summary.counts["queued"] == 17
    summary = await world.run(service, budget_per_day=15.0, rate_limit=None)
    assert (summary.credits["spent"], summary.spent_now) == (15.0, 6.0)


async def test_the_budget_counts_charges_above_the_estimate(tmp_path: Path) -> None:
    world, service = World(tmp_path, 20), Service(VirtualClock(), durations=QUICK, price=3.0)
    service.override["estimate"] = {"estimated_credits": 1, "balance": 100}
    summary = await world.run(service, budget=10.0, in_flight=1)
    assert summary.exit_code == Exit.NO_CREDITS
    assert summary.credits["spent"] == 9.0


async def test_a_negative_price_makes_no_room_in_a_budget(tmp_path: Path) -> None:
    """It is not a price, so the reservation counts."""

    world, service = World(tmp_path, 20), Service(VirtualClock(), durations=QUICK, price=-1.0)
    service.override["estimate"] = {"estimated_credits": 2, "balance": 100}
    summary = await world.run(service, budget=10.0)
    assert summary.exit_code == Exit.NO_CREDITS
    assert (summary.counts["done"], summary.credits["spent"], summary.unpriced_attempts) == (5, 0.0, 5)
    with closing(connection.connect(world.settings.db, write=False)) as db:
        assert queries.credits_of(db) == queries.Credits(assumed=10.0, unpriced=5)


async def test_a_negative_estimate_is_none(tmp_path: Path) -> None:
    world, service = World(tmp_path, 1), Service(VirtualClock(), durations=QUICK)
    service.override["estimate"] = {"estimated_credits": -2, "balance": 100}
    summary = await world.run(service, budget=10.0)
    assert (summary.exit_code, service.requests["submit"]) == (Exit.NO_CREDITS, 0)


@pytest.mark.parametrize(("code", "words"), [("401", "CRUN_API_KEY"), ("403", "403"), ("505", "505")])
async def test_a_refused_account_ends_everything_at_once(tmp_path: Path, code: str, words: str) -> None:
    service = Service(VirtualClock(), durations=QUICK, fault=lambda _, __: code)
    summary = await World(tmp_path, 50).run(service, workers=4)
    assert summary.exit_code == Exit.REFUSED
    assert words in summary.reason
    assert service.requests.total() <= 4
    assert summary.counts["queued"] == 50


async def test_one_bad_row_fails_and_the_others_continue(tmp_path: Path) -> None:
    world, service = World(tmp_path, 5), Service(VirtualClock(), durations=QUICK, fault=once("submit", "422"))
    summary = await world.run(service)
    assert summary.exit_code == Exit.FAILED
    assert (summary.counts["done"], summary.counts["failed"]) == (4, 1)


async def test_twenty_equal_refusals_stop_the_run(tmp_path: Path) -> None:
    service = Service(VirtualClock(), durations=QUICK, fault=always("submit", "422"))
    summary = await World(tmp_path, 200).run(service, workers=1)
    assert "20 submits in a row refused as 422: nothing more is submitted" in summary.reason
    assert summary.counts["failed"] == 20
    assert summary.counts["queued"] == 180


async def test_twenty_equal_refusals_of_free_calls_stop_the_run(tmp_path: Path) -> None:
    world, service = World(tmp_path, 200), Service(VirtualClock(), durations=QUICK, fault=always("estimate", "422"))
    summary = await world.run(service)
    assert "20 rows in a row refused as 422: nothing more is submitted" in summary.reason
    assert summary.exit_code == Exit.FAILED
    assert summary.counts["failed"] == summary.requests["estimate"] == 20
    service.fault = once("estimate", "422", 19)
    assert (await world.run(service)).counts["queued"] == 0


@pytest.mark.parametrize(("paid_attempts", "accepted"), [(1, 1), (3, 3)])
async def test_a_failed_generation_is_paid_again_only_on_request(
    tmp_path: Path, paid_attempts: int, accepted: int
) -> None:
    service = Service(VirtualClock(), durations=QUICK, failing=1.0)
    summary = await World(tmp_path, 1).run(service, paid_attempts=paid_attempts)
    assert summary.counts["failed"] == 1
    assert service.accepted.total() == accepted
    assert summary.credits["spent"] == float(accepted)


def edited_row() -> Row:
    face = "https://cdn.example/ben.jpg"
    return msgspec.structs.replace(rows(1)[0], digest="other", face=face)


@pytest.mark.parametrize("left", [[edited_row()], rows(1, first=1)], ids=["edited", "removed"])
async def test_a_row_that_the_manifest_no_longer_contains_is_not_paid_again(tmp_path: Path, left: list[Row]) -> None:
    """The generation fails after the row was edited or removed from the manifest."""

    world, service = World(tmp_path, 1), Service(VirtualClock(), durations=lambda _: 200.0, failing=1.0)
    await world.run(service, deadline=VirtualClock().now() + 150.0)
    (old,) = service.accepted
    world.enrol(left)
    assert world.counts()["running"] == 1
    await world.run(service, filter="t0", paid_attempts=2)
    service.failing = 0.0
    world.enrol(left)
    await world.run(service, paid_attempts=2)
    assert service.accepted[old] == 1


@pytest.mark.parametrize("ends", [0.0, 1.0], ids=["done", "failed"])
async def test_a_row_that_is_edited_while_its_task_runs_is_repeated_in_the_same_run(
    tmp_path: Path, ends: float
) -> None:
    world, service = World(tmp_path, 2), Service(VirtualClock(), durations=lambda _: 200.0, failing=ends)
    await world.run(service, deadline=VirtualClock().now() + 150.0)
    world.enrol([edited_row(), rows(2)[1]])
    assert world.counts()["running"] == 2
    summary = await world.run(service)
    edited = str([("new_face", edited_row().face), ("video_url", edited_row().target)])
    assert (service.accepted[edited], service.accepted.total()) == (1, 3)
    assert (summary.counts["done"], summary.counts["failed"]) == ((2, 0) if not ends else (0, 2))
    assert (await world.run(service)).requests["submit"] == 0


async def test_a_row_that_is_edited_while_its_task_runs_counts_as_unfinished(tmp_path: Path) -> None:
    """The selection and the deadline apply to it as to any other row."""

    world, service = World(tmp_path, 1), Service(VirtualClock(), durations=lambda _: 200.0)
    await world.run(service, deadline=VirtualClock().now() + 150.0)
    world.enrol([edited_row()])
    summary = await world.run(service, deadline=VirtualClock().now() + 150.0)
    assert (summary.exit_code, summary.counts["queued"]) == (7, 1)
    assert (await world.run(service, filter="other")).counts["queued"] == 1
    assert service.accepted.total() == 1
    assert (await world.run(service)).counts["done"] == 1


async def test_an_edit_whose_row_has_left_the_manifest_takes_nothing_from_its_task(tmp_path: Path) -> None:
    world, service = World(tmp_path, 2), Service(VirtualClock(), durations=lambda _: 200.0)
    await world.run(service, deadline=VirtualClock().now() + 150.0)
    world.enrol([edited_row(), rows(2)[1]])
    world.enrol(rows(1, first=1))
    assert (await world.run(service)).counts["done"] == 2
    world.enrol(rows(1, first=1))
    assert world.counts()["done"] == 2
    world.enrol([edited_row(), rows(2)[1]])
    assert world.counts()["queued"] == 1, "its row is back, with the edit"


async def test_a_task_that_is_queued_again_is_not_queued_twice(tmp_path: Path) -> None:
    """It fails and returns to the queue before the page with it is read."""

    world, service = World(tmp_path, 300), Service(VirtualClock(), durations=lambda _: 200.0, failing=1.0)
    await world.run(service, filter="t299", deadline=VirtualClock().now() + 150.0)
    assert world.counts()["running"] == 1
    service.failing, service.durations = 0.0, lambda _: 5.0
    summary = await world.run(service, callbacks=True, paid_attempts=2, in_flight=1)
    assert summary.counts["done"] == 300


@pytest.mark.parametrize("fault", ["500", "429", "unsent", "404", "dropped"])
async def test_invariant_3_trouble_in_polls_leads_to_no_submit(tmp_path: Path, fault: str) -> None:
    world = World(tmp_path, 5)
    service = Service(VirtualClock(), durations=QUICK, fault=once("poll", fault, 12))
    summary = await world.run(service)
    assert summary.counts["done"] == 5
    assert service.requests["submit"] == 5


@pytest.mark.parametrize(
    ("created", "completed"),
    [(-1.7e308, 1.7e308), (-(2**52), 2**52), (10**300, 1), (0, 1_790_000_000), (1_790_000_000, 0), ("?", [])],
)
async def test_impossible_times_are_not_learned(tmp_path: Path, created: Any, completed: Any) -> None:
    world, service = World(tmp_path, 3), Service(VirtualClock(), durations=QUICK)
    service.override["poll"] = {
        "status": "success",
        "create_at": created,
        "complete_at": completed,
        "result": {"media_urls": ["https://media.example/x.mp4"]},
    }
    assert (await world.run(service)).counts["done"] == 3
    with closing(connection.connect(world.settings.db, write=False)) as db:
        assert queries.took(db) == []
    world.enrol(rows(6))
    assert (await world.run(service)).counts["done"] == 6


async def test_a_task_that_the_api_no_longer_knows_is_lost_and_shown_as_paid(tmp_path: Path) -> None:
    world, service = World(tmp_path, 1), Service(VirtualClock(), durations=QUICK, fault=always("poll", "404"))
    summary = await world.run(service)
    assert summary.counts["failed"] == 1
    with closing(connection.connect(world.settings.db, write=False)) as db:
        assert db.execute("select code from tasks").fetchone() == ("lost",)
        money = queries.credits_of(db)
    assert (money.unpriced, money.assumed) == (1, 1.0)
    assert service.requests["submit"] == 1


async def test_an_api_that_knows_no_task_for_two_minutes_loses_none(tmp_path: Path) -> None:
    """This includes tasks that have run for long."""

    world, service = World(tmp_path, 3), Service(VirtualClock(), durations=lambda _: 1500.0)
    clock = VirtualClock()
    await world.run(service, deadline=clock.now() + 1000.0)
    back = clock.monotonic() + 120.0
    service.fault = lambda _, kind: "404" if kind == "poll" and clock.monotonic() < back else None
    before = service.requests["poll"]
    summary = await world.run(service, callbacks=True)  # then they are asked for at once
    assert service.requests["poll"] - before > 3 * 6
    assert summary.counts["done"] == 3


async def test_a_404_under_another_key_loses_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, 1)
    service = Service(VirtualClock(), durations=lambda _: 500.0)
    clock = VirtualClock()
    await world.run(service, deadline=clock.now() + 200.0)
    assert world.counts()["running"] == 1
    service.fault = always("poll", "404")
    await world.run(service, key="ak_" + "1" * 32, deadline=clock.now() + 3600.0)
    assert world.counts()["running"] == 1
    service.fault = None
    assert (await world.run(service)).counts["done"] == 1


async def test_a_task_times_out(tmp_path: Path) -> None:
    for fault in (None, always("poll", "500")):
        folder = tmp_path / str(fault is None)
        folder.mkdir()
        service = Service(VirtualClock(), durations=lambda _: 1e9, fault=fault)
        summary = await World(folder, 1).run(service, task_timeout=3600.0)
        assert summary.counts["failed"] == 1
        assert summary.credits["reserved"] == 1.0


async def test_a_retried_timeout_starts_a_new_wait_and_pays_nothing(tmp_path: Path) -> None:
    world, service = World(tmp_path, 1), Service(VirtualClock(), durations=lambda _: 5000.0)
    assert (await world.run(service, task_timeout=3600.0)).counts["failed"] == 1
    with closing(connection.connect(world.settings.db, write=True)) as db:
        task = transitions.find_task(db, 1)
        assert operator_actions.retry(db, Stamp(VirtualClock().now(), None), task) is Event.RESUMED
    assert (await world.run(service, task_timeout=3600.0)).counts["done"] == 1
    assert service.requests["submit"] == 1


async def test_a_stale_media_url_is_refreshed_once(tmp_path: Path) -> None:
    world, service = World(tmp_path, 3), Service(VirtualClock(), durations=QUICK)
    world.shelf.stale = {"https://media.example/t0.mp4", "https://media.example/t1.mp4"}
    summary = await world.run(service)
    assert summary.counts["done"] == 3
    assert service.requests["submit"] == 3
    assert summary.credits["spent"] == 3.0


class Forever(set[str]):
    """URLs that are always stale."""

    def discard(self, element: object, /) -> None:
        """Keep the URL stale."""


async def test_a_media_url_that_stays_stale_is_refreshed_no_second_time(tmp_path: Path) -> None:
    world, service = World(tmp_path, 1), Service(VirtualClock(), durations=QUICK)
    world.shelf.stale = Forever({"https://media.example/t0.mp4"})
    polled: list[bool] = []

    def ended(service: Service, kind: str) -> None:
        polled.extend([service.clock.monotonic() >= service.last_end] if kind == "poll" else [])

    service.fault = ended
    async with asyncio.timeout(600.0):
        summary = await world.run(service, retries=1)
    assert summary.counts["failed"] == 1
    assert (polled.count(True), service.requests["submit"]) == (2, 1)
    with closing(connection.connect(world.settings.db, write=False)) as db:
        assert db.execute("select code from tasks").fetchone() == ("gone",)


async def test_nothing_is_paid_for_that_cannot_be_stored(tmp_path: Path) -> None:
    world, service = World(tmp_path, 3, min_free=10**9), Service(VirtualClock(), durations=QUICK)
    world.shelf.space = 10**8
    summary = await world.run(service)
    assert service.requests["submit"] == 0
    assert "min-free" in summary.reason
    assert summary.exit_code != Exit.DONE


async def test_free_space_is_checked_before_each_submit(tmp_path: Path) -> None:
    """This includes tasks that were prepared while there was space."""

    world, service = World(tmp_path, 10, min_free=10**9), Service(VirtualClock(), durations=lambda _: 10.0)

    def fill() -> None:
        world.shelf.space = 10**8

    asyncio.get_running_loop().call_later(25.0, fill)
    summary = await world.run(service, in_flight=1)
    assert 1 <= service.requests["submit"] <= 4
    assert "min-free" in summary.reason
    assert summary.counts["done"] == service.requests["submit"]


async def test_an_output_that_is_there_already_is_not_paid_for(tmp_path: Path) -> None:
    world, service = World(tmp_path, 2), Service(VirtualClock(), durations=QUICK)
    world.shelf.files["b/t1.mp4"] = "somebody's holiday"
    summary = await world.run(service)
    assert (summary.counts["done"], summary.counts["failed"]) == (1, 1)
    assert service.requests["submit"] == 1
    assert world.shelf.files["b/t1.mp4"] == "somebody's holiday"


async def test_submits_stop_early_enough_before_the_deadline(tmp_path: Path) -> None:
    world, service = World(tmp_path, 500), Service(VirtualClock(), durations=QUICK, limit=20, period=10.0)
    await world.run(service, limit=20)
    clock = VirtualClock()
    deadline = clock.now() + 120.0
    summary = await world.run(service, deadline=deadline)
    assert summary.exit_code == Exit.DEADLINE
    assert clock.now() <= deadline + 1.0
    assert summary.counts["queued"] > 100
    assert summary.counts["running"] <= 5


async def test_limit_and_filter_are_parts_of_the_manifest_and_converge(tmp_path: Path) -> None:
    world, service = World(tmp_path, 30), Service(VirtualClock(), durations=QUICK)
    for _ in range(2):
        summary = await world.run(service, limit=7)
        assert summary.counts["done"] == 7
    summary = await world.run(service, filter="t2")  # t2 and t20 to t29
    assert summary.counts["done"] == 7 + 10


async def test_an_edited_row_is_done_again_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    world, service = World(tmp_path, 3), Service(VirtualClock(), durations=QUICK)
    await world.run(service)
    edited = rows(3)
    edited[1] = msgspec.structs.replace(edited[1], digest="other", face="https://cdn.example/ben.jpg")
    world.enrol(edited)
    assert world.counts()["queued"] == 1
    summary = await world.run(service)
    assert summary.counts["done"] == 3
    assert service.accepted.total() == 4
    assert twice_accepted(service) == 0


async def test_an_edited_row_is_not_paid_if_a_user_has_changed_its_file(tmp_path: Path) -> None:
    world, service = World(tmp_path, 1), Service(VirtualClock(), durations=QUICK)
    await world.run(service)
    world.shelf.files["b/t0.mp4"] = "cut by hand"
    world.enrol([msgspec.structs.replace(rows(1)[0], digest="other", face="https://cdn.example/ben.jpg")])
    summary = await world.run(service)
    assert summary.counts["failed"] == 1
    assert service.accepted.total() == 1
    assert world.shelf.files["b/t0.mp4"] == "cut by hand"


async def test_an_unreachable_api_ends_the_run_soon(tmp_path: Path) -> None:
    service = Service(VirtualClock(), durations=QUICK, fault=lambda _, __: "unsent")
    summary = await World(tmp_path, 5).run(service)
    assert summary.exit_code == Exit.UNAVAILABLE
    assert asyncio.get_running_loop().time() < 120.0
    assert summary.counts["queued"] == 5


async def test_an_outage_of_an_hour_is_waited_out(tmp_path: Path) -> None:
    def outage(service: Service, kind: str) -> str | None:
        return "unsent" if 20.0 < service.clock.monotonic() < 3600.0 else None

    world, service = World(tmp_path, 200), Service(VirtualClock(), durations=QUICK, fault=outage)
    summary = await world.run(service)
    assert summary.counts["done"] == 200
    assert twice_accepted(service) == 0


async def test_a_service_that_allows_half_of_what_is_configured(tmp_path: Path) -> None:
    world, service = World(tmp_path, 100), Service(VirtualClock(), durations=QUICK, limit=10, period=10.0)
    summary = await world.run(service)
    assert summary.counts["done"] == 100
    assert service.refused <= 4
    assert service.busiest() <= 10


async def test_two_runs_with_one_key_stay_in_the_window_together(tmp_path: Path) -> None:
    service = Service(VirtualClock(), durations=QUICK, limit=20, period=10.0)
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    worlds = [World(folder, 50) for folder in folders]
    worlds[1].enrol(rows(50, first=100))
    worlds[1].window = worlds[0].window
    summaries = await asyncio.gather(*(world.run(service, handle_signals=False) for world in worlds))
    assert [s.exit_code for s in summaries] == [Exit.DONE, Exit.DONE]
    assert service.refused == 0
    assert service.busiest() <= 20


async def test_concurrent_tasks_share_one_estimate_per_model(tmp_path: Path) -> None:
    found = rows(6)
    stills = [
        msgspec.structs.replace(row, model=Model.IMAGE, key=f"s{i}", output=f"b/s{i}.png")
        for i, row in enumerate(found)
    ]
    world, service = World(tmp_path, 6), Service(VirtualClock(), durations=QUICK)
    world.enrol([*found, *stills])
    summary = await world.run(service)
    assert summary.counts["done"] == 12
    assert summary.requests["estimate"] == 2


def with_callbacks(folder: Path, count: int, lost: float = 0.0) -> tuple[World, Service]:
    """Make a world with callbacks, of which the share `lost` never comes."""
    world = World(folder, count)

    def call_back(ref: str, info: wire.TaskInfo) -> None:
        if service.dice.random() >= lost:
            world.deliver(ref, info)

    service = Service(VirtualClock(), durations=QUICK, limit=20, period=10.0, callback=call_back)
    return world, service


async def test_with_callbacks_a_task_takes_hardly_more_than_its_submit(tmp_path: Path) -> None:
    world, service = with_callbacks(tmp_path, 200)
    summary = await world.run(service, callbacks=True)
    assert summary.counts["done"] == 200
    assert service.requests.total() <= 1.05 * 200
    assert twice_accepted(service) == 0


async def test_lost_callbacks_are_found_by_polls(tmp_path: Path) -> None:
    world, service = with_callbacks(tmp_path, 200, lost=0.2)
    summary = await world.run(service, callbacks=True)
    assert summary.counts["done"] == 200
    assert asyncio.get_running_loop().time() < service.last_end + 6 * 6.0


async def test_callbacks_that_never_come_are_reported_and_cost_little_time(tmp_path: Path) -> None:
    """Only the tasks that end reveal that the API cannot reach --callback-url."""

    (tmp_path / "polled").mkdir()
    polled, _ = with_callbacks(tmp_path / "polled", 200)
    plain = await polled.run(Service(VirtualClock(), durations=QUICK, limit=20, period=10.0))
    (tmp_path / "lost").mkdir()
    world, service = with_callbacks(tmp_path / "lost", 200, lost=1.0)
    summary = await world.run(service, callbacks=True)
    assert summary.counts["done"] == 200
    assert summary.seconds < 1.1 * plain.seconds
    (said,) = [words for words in world.said if "callback" in words]
    assert said.startswith("3 tasks ended without a callback, and none with one: can the API reach --callback-url?")


async def test_a_callback_settles_an_uncertain_attempt_also_before_the_answer(tmp_path: Path) -> None:
    world, service = with_callbacks(tmp_path, 5)
    service.fault = once("submit", "lost", 2)
    service.latency = 1.0
    service.durations = lambda _: 0.1
    summary = await world.run(service, callbacks=True)
    assert summary.counts["done"] == 5
    assert service.requests["submit"] == 5


async def test_a_late_callback_settles_an_uncertain_attempt(tmp_path: Path) -> None:
    world, service = with_callbacks(tmp_path, 5)
    service.fault = once("submit", "lost", 2)
    summary = await world.run(service, callbacks=True)
    assert summary.counts["done"] == 5
    assert service.requests["submit"] == 5


async def test_a_callback_for_an_attempt_recorded_as_refused_is_reported_and_logged(tmp_path: Path) -> None:
    world = World(tmp_path, 2)
    service = Service(VirtualClock(), durations=QUICK, fault=once("submit", "lost"), callback=world.deliver)
    clock = VirtualClock()
    service.durations = lambda _: 200.0
    await world.run(service, callbacks=True, deadline=clock.now() + 150.0, in_flight=1)
    with closing(connection.connect(world.settings.db, write=True)) as db:
        operator_actions.not_accepted(db, Stamp(clock.now(), None), transitions.find_task(db, 1))
    summary = await world.run(service, callbacks=True)
    assert summary.counts["done"] == 2
    assert any("b/t0: attempt 1 was accepted after all, as t0" in said for said in world.warned)
    with closing(connection.connect(world.settings.db, write=False)) as db:
        assert db.execute("select count(*) from events where event = 'stray-callback'").fetchone() == (1,)


class Unsaved(Shelf):
    """One result cannot be saved, because another file has its name."""

    taken_url = "https://media.example/t1.mp4"

    async def fetch(self, url: str, output: str, *, kind: str, tries: int, remote_id: str) -> Verified:
        if url == self.taken_url:
            raise DownloadError("output-taken", "exists and is another file", final=True)
        return await super().fetch(url, output, kind=kind, tries=tries, remote_id=remote_id)


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_callback_for_an_older_attempt_does_not_charge_a_paid_result_twice(
    tmp_path: Path, cancelled: bool
) -> None:
    """The second attempt's result was not saved, and `retry` downloads it again."""

    world, service = World(tmp_path, 1), Service(VirtualClock(), durations=QUICK, fault=once("submit", "lost"))
    await world.run(service)
    with closing(connection.connect(world.settings.db, write=True)) as db:
        (first,) = db.execute("select ref from attempts").fetchone()
        operator_actions.not_accepted(db, Stamp(VirtualClock().now(), None), transitions.find_task(db, 1))
    world.enrol(rows(2))
    shelf = world.shelf = Unsaved()
    service.callback = world.deliver
    service.durations = lambda _: 300.0 if service.accepted.total() > 1 else 5.0
    at_work = asyncio.ensure_future(world.run(service, callbacks=True))
    await until(lambda: world.counts()["failed"], "the failed task", 3600.0, pause=1.0)
    world.deliver(first, service.info("t0", service.last_end))
    await at_work
    with closing(connection.connect(world.settings.db, write=True)) as db:
        now = Stamp(VirtualClock().now(), None)
        assert db.execute("select count(*) from events where event = 'stray-callback'").fetchone() == (1,)
        if cancelled:
            operator_actions.cancel(db, now, transitions.find_task(db, 1))
        assert operator_actions.retry(db, now, transitions.find_task(db, 1)) is Event.RESUMED
    shelf.taken_url = ""
    before = service.requests["submit"]
    assert (await world.run(service)).counts["done"] == 2
    assert service.requests["submit"] == before


async def test_foreign_and_repeated_callbacks_change_nothing(tmp_path: Path) -> None:
    world, service = with_callbacks(tmp_path, 5)
    tell = service.callback

    def twice_and_wrong(ref: str, info: wire.TaskInfo) -> None:
        assert tell is not None
        foreign = {"model": "video-face-swap", "input": {"video_url": "https://cdn.example/other.mp4"}}
        tell(ref, msgspec.structs.replace(info, task_id="other", status=wire.FAILED))
        tell(ref, msgspec.structs.replace(info, status=wire.FAILED, param=foreign))
        tell("nobody", info)
        tell(ref, info)
        tell(ref, info)

    service.callback = twice_and_wrong
    summary = await world.run(service, callbacks=True)
    assert summary.counts["done"] == 5
