"""A killed server: the next one finishes its accepted tasks, and each is charged once."""

import asyncio
import http.client
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from batchswap.local.faults import Fault, FaultRate
from batchswap.local.server.app import start
from batchswap.local.server.settings import ServerSettings
from tests import processes
from tests.http.fake_engine import FACE, Client, PretendEngine, send
from tests.http.local import running
from tests.http.test_server_tasks import receiver, wait_for
from tests.waits import wait_until


@contextmanager
def process(folder: Path, seconds: float) -> Iterator[tuple[Client, processes.Process]]:
    """Start a server in its own process."""
    with processes.server("tests.http.serving", str(folder), str(seconds)) as (base_url, server):
        yield Client(base_url), server


def workers_of(folder: Path) -> list[int]:
    """Return the processes whose standard error is this server's log."""
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/2"):
        try:
            if str(link.readlink()) == str(folder / "workers.log"):
                found.append(int(link.parts[2]))
        except OSError:  # the process has ended, or belongs to another user
            continue
    return found


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_killed_server_had_accepted_is_finished_by_the_next(tmp_path: Path, how: signal.Signals) -> None:
    with process(tmp_path, seconds=30) as (client, server):
        before = client.balance()
        bodies = [client.body(f"video 1 {n}".encode()) for n in range(5)]
        ids = [client.create(body, f"attempt-{n}").data["task_id"] for n, body in enumerate(bodies)]
        detection = client.call("POST", "/job/detect-face-video", {"video_url": client.upload(b"video 1")}).data
        assert client.info(ids[0])["status"] == "running"
        server.send_signal(how)
        server.wait(20)
    wait_until(lambda: not workers_of(tmp_path), "the end of its workers", pause=0.05)
    with process(tmp_path, seconds=0) as (client, _):
        again = [client.create(body, f"attempt-{n}").data["task_id"] for n, body in enumerate(bodies)]
        assert again == ids
        for n, task_id in enumerate(ids):
            end = client.wait(task_id)
            assert end["status"] == "success"
            assert send("GET", end["result"]["media_urls"][0]).body == f"video 1 {n} | None=image".encode()
        assert client.balance() == before - 5
        path = f"/job/detect-face-result?detect_task_id={detection['detect_task_id']}"
        assert client._wait(path, ("succeeded",), 20)["result"]["faces"]


def submit_all(client: Client, bodies: dict[str, dict[str, Any]], answered: dict[str, str]) -> None:
    """Submit until all are answered, or the server has ended."""
    for key, body in bodies.items():
        if key not in answered:
            try:
                answered[key] = client.create(body, key).data["task_id"]
            except (OSError, http.client.HTTPException):
                return


@pytest.mark.parametrize("pause", [0.01, 0.04, 0.1])
def test_killed_between_any_two_submits_each_attempt_is_one_task_and_charged_once(tmp_path: Path, pause: float) -> None:
    answered: dict[str, str] = {}
    with process(tmp_path, seconds=0.005) as (client, server):
        before = client.balance()
        bodies = {f"attempt-{n}": client.body(f"video 1 {n}".encode()) for n in range(60)}
        killer = threading.Timer(pause, server.kill)
        killer.start()
        submit_all(client, bodies, answered)
        killer.join(10)
        server.wait(20)
    promised = dict(answered)
    with process(tmp_path, seconds=0) as (client, _):
        submit_all(client, bodies, answered)
        assert {key: answered[key] for key in promised} == promised
        assert {key: client.create(body, key).data["task_id"] for key, body in bodies.items()} == answered
        assert len(set(answered.values())) == len(bodies)
        assert {client.wait(task_id)["status"] for task_id in answered.values()} == {"success"}
        assert client.balance() == before - len(bodies)


def test_leaving_ends_swaps_that_run_and_the_next_start_takes_them_up(tmp_path: Path) -> None:
    with running(tmp_path, PretendEngine(seconds=60)) as client:
        task_id = client.create(client.body()).data["task_id"]
    assert list((tmp_path / "results").glob("[0-9a-f]*")) == []
    with running(tmp_path) as client:
        assert client.wait(task_id)["status"] == "success"


def test_halves_that_a_killed_server_left_are_cleared_away(tmp_path: Path) -> None:
    with running(tmp_path):
        halves = [tmp_path / "inputs" / "0123456789abcdef.part", tmp_path / "results" / "part-0123456789abcdef.mp4"]
    for half in halves:
        half.write_bytes(b"half")
    with running(tmp_path):
        assert not any(half.exists() for half in halves)


def test_a_task_whose_input_is_gone_from_the_folder_fails_and_says_so(tmp_path: Path) -> None:
    with running(tmp_path, PretendEngine(seconds=60)) as client:
        task_id = client.create(client.body()).data["task_id"]
    for path in (tmp_path / "inputs").iterdir():
        path.unlink()
    with running(tmp_path) as client:
        end = client.wait(task_id)
        assert (end["result"]["code"], end["result"]["message"]) == (
            501,
            "an uploaded input was deleted from the server's folder: upload it again",
        )


def test_what_the_user_of_the_server_raises_comes_out_as_it_is(tmp_path: Path) -> None:
    async def use() -> None:
        async with start(ServerSettings(tmp_path), PretendEngine()):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(use())


def test_a_callback_is_delivered_by_the_server_that_comes_after(tmp_path: Path) -> None:
    slow = (FaultRate(Fault.SLOW, 1.0, 60.0),)
    with receiver() as (url, bodies):
        with running(tmp_path, faults=slow) as client:
            task_id = client.create(client.body(callback_url=url)).data["task_id"]
        with running(tmp_path):
            wait_for(bodies)
        with running(tmp_path):
            assert [each["task_id"] for each in bodies] == [task_id]


def test_an_acceptance_is_on_record_before_it_is_answered(tmp_path: Path) -> None:
    """A copy of the files, made right after the answer and without a shutdown, has the task."""
    with running(tmp_path / "one", PretendEngine(seconds=60)) as client:
        task_id = client.create(client.body()).data["task_id"]
        shutil.copytree(tmp_path / "one", tmp_path / "two")
    with running(tmp_path / "two") as client:
        assert client.wait(task_id)["status"] == "success"
        assert FACE in send("GET", client.info(task_id)["result"]["media_urls"][0]).body
