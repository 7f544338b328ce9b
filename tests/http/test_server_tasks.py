"""Tasks of the server: credits, idempotency, limits, order, faults and callbacks."""

import contextlib
import http.server
import json
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from batchswap.errors import UsageError
from batchswap.local.faults import Fault, FaultRate
from batchswap.local.server.settings import ServerSettings
from tests.http.fake_engine import KEY, Client, PretendEngine, send
from tests.http.local import Running, SetClock, in_thread, running
from tests.waits import wait_until


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("server")) as server:
        yield server


def test_each_acceptance_is_charged_once_and_never_paid_back(client: Running) -> None:
    before = client.balance()
    done = client.wait(client.create(client.body(b"video 2.5")).data["task_id"])
    failed = client.wait(client.create(client.body(b"video 0.2 noface")).data["task_id"])
    refused = client.create(client.body(b"not media"))
    assert (done["status"], done["credits"]) == ("success", 3)
    assert (failed["status"], failed["credits"], failed["result"]["code"]) == ("failed", 1, 501)
    assert refused.status == 422
    assert client.balance() == before - 4


def test_insufficient_credits_are_402_until_a_deposit(tmp_path: Path) -> None:
    with running(tmp_path, balance=4.5) as client:
        body = client.body(b"video 3")
        assert client.create(body).status == 200
        refused = client.create(body)
        assert (refused.status, refused.json["code"]) == (402, 402)
        assert client.balance() == 1.5
        assert client.call("POST", "/job/EstimateTask", body).data["affordable"] is False
        assert client.server is not None
        client.do(client.server.deposit, 10)
        assert client.create(body).status == 200
        assert client.balance() == 8.5


def test_many_submits_at_once_never_overdraw(tmp_path: Path) -> None:
    with running(tmp_path, balance=10) as client:
        body = client.body(b"video 1")
        with ThreadPoolExecutor(16) as pool:
            answers = [answer.status for answer in pool.map(client.create, [body] * 16, timeout=60)]
        assert (answers.count(200), answers.count(402), client.balance()) == (10, 6, 0)


def test_the_same_idempotency_key_is_the_same_task_charged_once(client: Running) -> None:
    body, before = client.body(b"video 1 same"), client.balance()
    first = client.create(body, "attempt-1").data
    assert client.create(body, "attempt-1").data == first
    # Other uploads of the same bytes, and another callback: what a restarted client would send.
    again = client.body(b"video 1 same", callback_url="http://127.0.0.1:9/other")
    assert client.create(again, "attempt-1").data == first
    assert client.balance() == before - 1
    assert client.create(body, "attempt-2").data != first


def test_the_same_idempotency_key_for_other_work_is_422(client: Running) -> None:
    client.create(client.body(b"video 1 one"), "attempt-3")
    answer = client.create(client.body(b"video 1 other"), "attempt-3")
    assert (answer.status, answer.json["message"]) == (422, "Idempotency-Key: was already used for a different body")


def test_the_same_idempotency_key_at_the_same_moment(client: Running) -> None:
    body, before = client.body(b"video 1 race"), client.balance()
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(client.create, [body] * 12, ["attempt-4"] * 12, timeout=60))
    assert len({answer.data["task_id"] for answer in answers}) == 1
    assert client.balance() == before - 1


@pytest.mark.parametrize("key", ["x" * 257, "a b", "\x80"])
def test_an_idempotency_key_must_be_plain(client: Running, key: str) -> None:
    assert client.create({}, key).status == 422


def test_in_no_window_more_than_the_limit(tmp_path: Path) -> None:
    """Requests are dated before they are sent and after their answers: the count is the most favourable one."""
    limit, period = 5, 0.2
    with running(tmp_path, rate=(limit, period)) as client:
        let_in: list[tuple[float, float]] = []
        for _ in range(30):
            begun = time.monotonic()
            answer = client.call("GET", "/account/balance")
            if answer.status == 200:
                let_in.append((begun, time.monotonic()))
            else:
                assert (answer.status, answer.json["code"]) == (429, 429)
                assert answer.headers["Retry-After"] == "1"
                time.sleep(0.02)
        assert len(let_in) > limit
        for first, last in zip(let_in, let_in[limit:], strict=False):
            assert last[1] - first[0] >= period


def test_the_window_counts_all_endpoints_of_a_key_and_no_media(tmp_path: Path) -> None:
    other = "ak_" + "o" * 32
    with running(tmp_path, rate=(4, 60.0), keys=(KEY, other)) as client:
        client.upload(b"video 1")
        client.upload(b"image")
        assert client.call("GET", "/nowhere").status == 404
        assert client.call("POST", "/job/CreateTask", {}).status == 422
        assert client.call("GET", "/account/balance").status == 429
        assert Client(client.base_url, other).call("GET", "/account/balance").status == 200
        assert Client(client.base_url, "ak_" + "w" * 32).call("GET", "/account/balance").status == 401


def test_what_exceeds_max_running_waits_as_pending(tmp_path: Path) -> None:
    slow = (FaultRate(Fault.SLOW, 1.0, 0.3),)
    with running(tmp_path, max_running=2, faults=slow) as client:
        body = client.body(b"video 1")
        ids = [client.create(body).data["task_id"] for _ in range(4)]
        assert [client.info(each)["status"] for each in ids] == ["running", "running", "pending", "pending"]
        ends = [client.wait(each) for each in ids]
        assert {end["status"] for end in ends} == {"success"}


def test_a_worker_that_dies_is_replaced_and_the_task_tried_once_more(client: Running) -> None:
    once = client.wait(client.create(client.body(b"video 1 die-once")).data["task_id"])
    always = client.wait(client.create(client.body(b"video 1 die")).data["task_id"])
    after = client.wait(client.create(client.body(b"video 1")).data["task_id"])
    assert [once["status"], always["status"], after["status"]] == ["success", "failed", "success"]
    assert always["result"]["message"] == "input.video_url: the worker process died twice while processing it"


def test_a_mistake_of_the_engine_ends_one_task_and_is_logged(tmp_path: Path) -> None:
    with running(tmp_path) as client:
        end = client.wait(client.create(client.body(b"video 1 broken")).data["task_id"])
        assert end["result"]["message"] == "input.video_url: the engine failed: RuntimeError"
    assert "a bug in the engine" in (tmp_path / "workers.log").read_text()


def test_a_swap_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with running(tmp_path, PretendEngine(seconds=60), task_timeout=0.2) as client:
        end = client.wait(client.create(client.body()).data["task_id"])
        assert end["result"]["message"] == "input.video_url: processing took longer than 0.2 s"


def test_a_remark_of_the_engine_comes_with_the_result(client: Running) -> None:
    end = client.wait(client.create(client.body(b"video 1 crowd")).data["task_id"])
    assert end["result"]["message"] == "the largest of 2 faces was used"


def test_a_detection_expires_and_is_only_good_for_its_content(tmp_path: Path) -> None:
    clock = SetClock()
    with running(tmp_path, clock=clock) as client:
        video, face = client.upload(b"video 1"), client.upload(b"image", ".png", "image/png")
        found = client.detect(video)["result"]
        faces = [{"face_id": 1, "target": face}]
        given = {"detect_id": found["id"], "video_url": video, "faces": faces}
        body = {"model": "video-face-swap-multi", "input": given}
        assert client.create({**body, "input": {**given, "video_url": client.upload(b"video 2")}}).status == 422
        assert client.create({**body, "input": {**given, "video_url": client.upload(b"video 1")}}).status == 200
        clock.ahead = 3599
        assert client.create(body).status == 200
        clock.ahead = 3601
        assert client.create(body).json["message"] == "input.detect_id: has expired: detect the faces again"


def test_a_target_without_faces_is_a_failed_detection(client: Running) -> None:
    found = client.detect(client.upload(b"video 1 noface"))
    assert (found["status"], found["result"], found["error"]) == ("failed", None, "no face found")


def test_two_people_can_be_swapped_with_each_other_by_the_pictures_of_their_detection(client: Running) -> None:
    video = client.upload(b"video 1")
    found = client.detect(video)["result"]
    links = [each["link"] for each in found["faces"]]
    faces = [{"face_id": 0, "target": links[1]}, {"face_id": 1, "target": links[0]}]
    given = {"detect_id": found["id"], "video_url": video, "faces": faces}
    end = client.wait(client.create({"model": "video-face-swap-multi", "input": given}).data["task_id"])
    assert send("GET", end["result"]["media_urls"][0]).body == b"video 1 | 0=image of 1 1=image of 0"


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes callbacks; refuses the first `refusals`."""

    bodies: list[Any]
    refusals: int

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).refusals -= 1
        self.send_response(500 if type(self).refusals >= 0 else 200)
        self.end_headers()
        if type(self).refusals < 0:
            self.bodies.append(body)

    def log_message(self, *args: Any) -> None:
        return


@contextmanager
def receiver(refusals: int = 0) -> Iterator[tuple[str, list[Any]]]:
    """Yield a URL, and the list of bodies that are posted to it."""
    bodies: list[Any] = []
    handler = type("Here", (Receiver,), {"bodies": bodies, "refusals": refusals})
    with in_thread(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)) as port:
        yield f"http://127.0.0.1:{port}/cb", bodies


def read(folder: Path, sql: str) -> Any:
    """The first row that the server's file has for it."""
    with contextlib.closing(sqlite3.connect(folder / "tasks.db")) as connection:
        return connection.execute(sql).fetchone()


def wait_for(bodies: list[Any]) -> None:
    wait_until(lambda: bodies, "a callback")


def test_the_end_is_posted_to_the_callback_url_also_after_refusals(tmp_path: Path) -> None:
    with receiver(refusals=2) as (url, bodies), running(tmp_path, callback_waits=(0.01, 0.01)) as client:
        task_id = client.create(client.body(callback_url=url)).data["task_id"]
        wait_for(bodies)
        told, info = bodies[0], client.info(task_id)
        for each in (told, info):  # signed again each time
            each["result"]["media_urls"] = [u.partition("?")[0] for u in each["result"]["media_urls"]]
        assert told == info


def test_a_callback_is_given_up_in_the_end(tmp_path: Path) -> None:
    with receiver(refusals=3) as (url, bodies), running(tmp_path, callback_waits=(0.01, 0.01)) as client:
        client.wait(client.create(client.body(callback_url=url)).data["task_id"])
        sql = "SELECT callback_tries, callback_due FROM tasks"
        wait_until(lambda: read(tmp_path, sql) == (3, None), "three tries, and no further one")
        assert bodies == []


def test_rehearsed_faults_come_as_configured(tmp_path: Path) -> None:
    for fault in (Fault.MAINTENANCE, Fault.BROKEN, Fault.DISABLED):
        with running(tmp_path, faults=(FaultRate(fault, 1.0),)) as client:
            answer = client.call("GET", "/account/balance")
            assert answer.status == answer.json["code"] == int(fault)


def test_a_rehearsed_429_comes_in_every_form_that_clients_have_seen(tmp_path: Path) -> None:
    with running(tmp_path, faults=(FaultRate(Fault.RATE_LIMITED, 1.0),)) as client:
        before = time.time()
        answers = [client.call("GET", "/account/balance") for _ in range(8)]
    assert {answer.json["code"] for answer in answers} == {429}
    assert [answer.status for answer in answers] == [429, 429, 429, 200] * 2
    seconds, date, *silent = [answer.headers.get("Retry-After") for answer in answers[:4]]
    assert seconds == "1"
    assert parsedate_to_datetime(str(date)).timestamp() >= before + 1
    assert silent == [None, None]


def test_a_lost_answer_was_accepted_and_its_idempotency_key_finds_it(tmp_path: Path) -> None:
    with running(tmp_path) as client:
        body = client.body(b"video 1")
        before = client.balance()
    with running(tmp_path, faults=(FaultRate(Fault.LOST, 1.0),)) as client, pytest.raises(OSError):
        client.create(body, "attempt")
    with running(tmp_path) as client:
        assert client.balance() == before - 1
        assert client.wait(client.create(body, "attempt").data["task_id"])["status"] == "success"
        assert client.balance() == before - 1


def test_a_rehearsed_failed_generation(tmp_path: Path) -> None:
    with running(tmp_path, faults=(FaultRate(Fault.FAILED, 1.0),)) as client:
        end = client.wait(client.create(client.body()).data["task_id"])
        assert (end["status"], end["result"]["code"]) == ("failed", 501)


def test_without_a_key_only_this_machine_is_served(tmp_path: Path) -> None:
    with running(tmp_path, keys=()) as client:
        assert len(client.key) == 35
        assert client.key.startswith("ak_")
        assert client.balance() > 0
    with pytest.raises(UsageError, match="set an API key"), running(tmp_path, keys=(), host="0.0.0.0"):
        pass
    with running(tmp_path, host="0.0.0.0") as client:
        url = client.call("GET", "/files/upload-url?content_type=a%2Fb", headers={"Host": "box.lan:80"}).data
        assert url["file_url"].startswith("http://box.lan:80/uploads/")
        body = client.body(b"video 1")
        body["input"] = {name: each.replace("127.0.0.1", "box.lan") for name, each in body["input"].items()}
        assert client.create(body).status == 200
        evil = client.call("GET", "/files/upload-url?content_type=a%2Fb", headers={"Host": "a/b@c"}).data
        assert evil["file_url"].startswith("http://127.0.0.1:")


def test_one_server_for_a_folder(tmp_path: Path) -> None:
    with running(tmp_path), pytest.raises(UsageError, match="another local server"), running(tmp_path):
        pass


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "tasks.db").write_bytes(b"something else entirely" * 100)
    with pytest.raises(UsageError, match="the local server cannot use"), running(tmp_path):
        pass
    assert (tmp_path / "tasks.db").read_bytes() == b"something else entirely" * 100


def test_a_port_in_use_is_reported(tmp_path: Path) -> None:
    with running(tmp_path / "a") as client:
        port = int(client.base_url.rpartition(":")[2])
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}"), running(tmp_path / "b", port=port):
            pass


@pytest.mark.parametrize("wrong", [{"rate": (0, 1.0)}, {"max_running": 0}, {"keys": ("é",)}, {"workers": -1}])
def test_settings_that_cannot_work(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ServerSettings(tmp_path, **wrong).check()


def test_old_files_are_removed(tmp_path: Path) -> None:
    clock = SetClock()
    with running(tmp_path, clock=clock) as client:
        body = client.body()
        url = client.wait(client.create(body).data["task_id"])["result"]["media_urls"][0]
        client.detect(body["input"]["video_url"])
        assert send("GET", url).status == 200
    clock.ahead = 15 * 24 * 3600
    with running(tmp_path, clock=clock) as client:
        folders = [tmp_path / name for name in ("inputs", "results", "faces")]
        wait_until(lambda: not any([*folder.iterdir()] for folder in folders), "empty folders")
        answer = client.create(body)
        assert answer.json["message"] == "input.video_url: no file was uploaded to this URL"
