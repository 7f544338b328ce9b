"""SIGKILL at every step: after another run, the files are the same and nothing is paid twice or lost."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator

import c2pa
import pytest

from batchswap.ledger import schema
from batchswap.provenance import keys
from tests.chaos.shop import Shop
from tests.chaos.vendor import Pair, Vendor
from tests.http.scripted import Act, Exchange, Request, head
from tests.http.scripted_replies import close
from tests.ports import callback_options

MOVES, CLIENT = "batchswap.ledger.transitions", "batchswap.client.http:Client"
FILES, PUBLISHING = "batchswap.ledger.file.connection", "batchswap.downloads.publish"
STEPS, MIGRATIONS = "batchswap.ledger.schema", "sqlite_utils.migrations:Migrations"

ARROWS = {
    "before the intent's commit": f"{MOVES}:submit@after#3",
    "after the intent's commit, before sending": f"{CLIENT}.create_task@before#3",
    "after the answer, before its commit": f"{CLIENT}.create_task@after#3",
    "within the commit of the answer": f"{MOVES}:accepted@after#3",
    "after the commit of the answer": "batchswap.runner.collect.poll:Collecting.watch@before#3",
    "before a poll": f"{CLIENT}.task_info@before#2",
    "after a poll's answer": f"{CLIENT}.task_info@after#2",
    "within the commit of the success": f"{MOVES}:succeeded@after#2",
    "before a download": "batchswap.downloads.downloader:Downloader.fetch@before#2",
    "after a download": "batchswap.downloads.downloader:Downloader.fetch@after#2",
    "within the commit of verified": f"{MOVES}:verified@after#2",
    "between verified and publish": "batchswap.runner.collect.result_store:publish@before#2",
    "before the rename": f"{PUBLISHING}:_name@before#2",
    "after the rename, before the part is gone": f"{PUBLISHING}:_name@after#2",
    "after the rename, before its commit": "batchswap.runner.collect.result_store:publish@after#2",
    "within the commit of done": f"{MOVES}:saved@after#2",
    "before the run's end is recorded": "batchswap.ledger.transitions:end_run@before",
}
ENROLMENT = {
    "before the first row": "batchswap.ledger.enrolment.enrol:_begin_source@before",
    "after the rows": "batchswap.ledger.enrolment.enrol:_recount@before",
    "before the commit": "batchswap.ledger.enrolment.enrol:take_edits@after",
    "after the commit": "batchswap.ledger.enrolment.enrol:enrol@after",
}


def migration_points() -> Iterator[tuple[str, str]]:
    yield "an empty file", f"{FILES}:_make_private@after"
    yield "before the table of the steps", f"{MIGRATIONS}.ensure_migrations_table@before"
    yield "after the table of the steps", f"{MIGRATIONS}.ensure_migrations_table@after"
    for number, step in enumerate(schema.steps._migrations, 1):
        yield f"before {step.name}", f"{STEPS}:{step.name}@before"
        yield f"within {step.name}", f"{STEPS}:{step.name}@after"
        yield f"before the commit of {step.name}", f"{MIGRATIONS}._record_applied@after#{number}"
    yield "between the last step and user_version", f"{MIGRATIONS}.apply@after"
    yield "after user_version", f"{STEPS}:migrate@after"


def points(found: dict[str, str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("point", found.values(), ids=found.keys())


def check(shop: Shop, pairs: list[Pair], *options: str) -> None:
    """Run again to the end, then check everything that must hold after a crash."""
    again = shop.run("--rate", "none", *options)
    assert again.exit_code in (0, 4), again.output
    check_books(shop, pairs)
    unmoved(shop, again.exit_code)
    for key in uncertain(shop):
        ask_a_person(shop, pairs, key)
    assert shop.run("--rate", "none", *options).exit_code == 0
    assert shop.results() == shop.expected(pairs)
    assert shop.vendor.accepted == dict.fromkeys(pairs, 1)
    unmoved(shop, 0)


def check_books(shop: Shop, pairs: list[Pair]) -> None:
    """Check that inputs were accepted at most once, done tasks have files, and the ledger has every accepted task."""
    vendor, states = shop.vendor, dict(shop.select("select key, state from tasks where key like 'r%'"))
    assert max(vendor.accepted.values(), default=0) <= 1
    done = {f"spring/{key}.mp4" for key, state in states.items() if state == "done"}
    assert shop.results() == {name: sha for name, sha in shop.expected(pairs).items() if name in done}
    assert set(states.values()) <= {"done", "uncertain"}
    known = dict(shop.select("select remote_id, task_id from attempts where remote_id is not null"))
    for task_id, (pair, _, _) in vendor.tasks.items():
        assert task_id in known or states[f"r{pairs.index(pair)}"] == "uncertain"
    assert vendor.accepted.total() <= len(states)


def unmoved(shop: Shop, code: int) -> None:
    """Check that a further run sends no request."""
    before = shop.vendor.requests()
    assert shop.run().exit_code == code
    assert shop.vendor.requests() == before


def uncertain(shop: Shop) -> list[str]:
    return [key for (key,) in shop.select("select key from tasks where state = 'uncertain'")]


def ask_a_person(shop: Shop, pairs: list[Pair], key: str) -> None:
    """Resolve uncertain tasks like a person who has seen the account's page."""
    pair = pairs[int(key[1:])]
    ids = [task_id for task_id, (accepted, _, _) in shop.vendor.tasks.items() if accepted == pair]
    word = ["--task-id", ids[0]] if ids else ["--not-accepted"]
    said = shop.call("resolve", key, "--db", str(shop.folder / "b.db"), "--rate", "none", *word)
    assert said.exit_code == 0, said.output


@points(ARROWS)
def test_killed_at_a_step(old_shop: Shop, point: str) -> None:
    pairs = old_shop.rows(5)
    assert old_shop.process("--rate", "none", point=point).returncode == -signal.SIGKILL
    check(old_shop, pairs)


@points(ENROLMENT)
def test_killed_during_enrolment(old_shop: Shop, point: str) -> None:
    pairs = old_shop.rows(5)
    assert old_shop.process("--rate", "none", point=point).returncode == -signal.SIGKILL
    assert len(old_shop.select("select 1 from tasks where key like 'r%'")) == (
        5 if point.endswith("enrol@after") else 0
    )
    check(old_shop, pairs)


@points(dict(migration_points()))
def test_killed_during_a_migration(shop: Shop, point: str) -> None:
    pairs = shop.rows(3)
    assert shop.process("--rate", "none", point=point).returncode == -signal.SIGKILL
    check(shop, pairs, *callback_options())
    assert [name for (name,) in shop.select("select name from _sqlite_migrations")] == [
        step.name for step in schema.steps._migrations
    ]


# Moments that only the server can see: it kills the process.


class KillAt:
    """Kills the client when the `call`-th request of a kind arrives, and never answers it."""

    def __init__(self, kind: str, call: int, *, accept: bool = False) -> None:
        self.kind, self.left, self.accept = kind, call, accept

    def __call__(self, vendor: Vendor, kind: str, request: Request) -> Act | None:
        self.left -= kind == self.kind
        if self.left or kind != self.kind:
            return None
        if self.accept:
            vendor.accept(request)
        vendor.kill()
        return close()


@pytest.mark.parametrize("accept", [True, False])
def test_killed_after_sending_before_the_answer(old_shop: Shop, accept: bool) -> None:
    pairs = old_shop.rows(5)
    old_shop.vendor.spoil = KillAt("submit", 3, accept=accept)
    assert old_shop.process("--rate", "none").returncode == -signal.SIGKILL
    check(old_shop, pairs)


def test_killed_while_polling(old_shop: Shop) -> None:
    pairs = old_shop.rows(5)
    old_shop.vendor.spoil = KillAt("poll", 3)
    assert old_shop.process("--rate", "none").returncode == -signal.SIGKILL
    check(old_shop, pairs)
    assert uncertain(old_shop) == []


def test_killed_in_the_middle_of_a_download(old_shop: Shop) -> None:
    """The next run continues after the bytes that had arrived."""
    pairs, vendor = old_shop.rows(2), old_shop.vendor
    vendor.padding = 3 * 2**20
    ranges: list[str] = []

    def spoil(_: Vendor, kind: str, request: Request) -> Act | None:
        if kind != "media":
            return None
        ranges.append(request.headers.get("range", ""))
        return Act(cut_down) if len(ranges) == 1 else None

    async def cut_down(exchange: Exchange) -> bool:
        body = vendor.content(vendor.tasks[exchange.request.path[7:-4]][0])
        await exchange.send(head(200, {"Content-Length": str(len(body)), "ETag": f'"{exchange.request.path[7:-4]}"'}))
        await exchange.send(body[: 2 * 2**20 + 2**19])
        await until_written(old_shop, 2**20)
        vendor.kill()
        return False

    vendor.spoil = spoil
    assert old_shop.process("--rate", "none", "--downloads", "1").returncode == -signal.SIGKILL
    check(old_shop, pairs)
    assert ranges[0] == ""
    assert any(int(asked.removeprefix("bytes=").rstrip("-")) >= 2**20 for asked in ranges if asked)


async def until_written(shop: Shop, size: int) -> None:
    """Wait until a partial file has this size."""
    for _ in range(1000):
        if any(path.stat().st_size >= size for path in (shop.folder / "out").rglob("*") if path.is_file()):
            return
        await asyncio.sleep(0.005)
    raise AssertionError("nothing was written")


def test_killed_between_an_upload_and_its_record(old_shop: Shop) -> None:
    """A repeated upload is free. The content, not its URL, must be paid only once."""
    (old_shop.folder / "face.png").write_bytes(b"\x89PNG" + os.urandom(100))
    old_shop.write("r0,https://cdn.example/0.mp4,face.png", "r1,https://cdn.example/1.mp4,face.png")
    point = "batchswap.ledger.api_cache:remember_upload@after"
    assert old_shop.process("--rate", "none", point=point).returncode == -signal.SIGKILL
    digest = next(iter(old_shop.vendor.files.values()))
    check(old_shop, [(f"https://cdn.example/{i}.mp4", digest) for i in range(2)])


EXAMINED = {
    "before the examination": "batchswap.delivery.examiner:Examiner.examine@before#2",
    "after the examination, before its commit": "batchswap.delivery.examiner:Examiner.examine@after#2",
    "within the commit of the finding": "batchswap.ledger.deliveries:record@after#2",
}


@points(EXAMINED)
def test_killed_while_a_result_is_examined(old_shop: Shop, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    """Nothing is paid again, and each result has one finding: the vendor's results show no face."""
    usual = old_shop.environment()
    usual.pop("BATCHSWAP_NO_SCORE")
    monkeypatch.setattr(Shop, "environment", lambda _: usual)
    pairs = old_shop.rows(3)
    assert old_shop.process("--rate", "none", point=point).returncode == -signal.SIGKILL
    assert old_shop.run("--rate", "none").exit_code == 0
    check_books(old_shop, pairs)
    sql = "select key, quality from deliveries d join tasks t on t.id = d.task_id where key like 'r%'"
    found = old_shop.select(sql)
    assert sorted(found) == [(f"r{number}", "no_face") for number in range(3)]


SIGNED = {
    "before a signature": "batchswap.delivery.signer:Signer.sign@before#2",
    "after a signature, before the file has its place": "batchswap.delivery.signer:Signer.sign@after#2",
    "after the file has its place": "batchswap.runner.collect.result_store:Results.take@after#2",
    "within the commit of a signature": "batchswap.ledger.signatures:record@after#2",
    "between the signature and publish": "batchswap.runner.collect.result_store:publish@before#2",
    "after the rename of a signed file": "batchswap.runner.collect.result_store:publish@after#2",
}


@points(SIGNED)
def test_killed_while_a_result_is_signed(old_shop: Shop, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    """Each result is signed once: its manifest has no other one of this program, and the ledger has both hashes."""
    usual = old_shop.environment() | {"BATCHSWAP_SIGN": str(old_shop.folder / "keys")}
    usual.pop("BATCHSWAP_NO_LABEL")
    monkeypatch.setattr(Shop, "environment", lambda _: usual)
    keys.create(old_shop.folder / "keys", "test")
    pairs = old_shop.rows(3)
    assert old_shop.process("--rate", "none", point=point).returncode == -signal.SIGKILL
    assert old_shop.run("--rate", "none").exit_code == 0
    assert old_shop.vendor.accepted == dict.fromkeys(pairs, 1)
    received = old_shop.expected(pairs)
    for name, sha256 in old_shop.results().items():
        sql = "select t.sha256, d.received_sha256, d.signed from deliveries d join tasks t on t.id = d.task_id"
        assert old_shop.select(f"{sql} where t.file = '{name}'") == [(sha256, received[name], 1)]
        with (old_shop.folder / "out" / name).open("rb") as file, c2pa.Reader("video/mp4", file) as reader:
            found = json.loads(reader.json())
        assert len(found["manifests"]) == 1
    assert len(old_shop.results()) == 3


def test_a_signed_file_that_the_next_run_does_not_want_is_removed(
    old_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = old_shop.environment()
    keys.create(old_shop.folder / "keys", "test")
    monkeypatch.setattr(Shop, "environment", lambda _: usual | {"BATCHSWAP_SIGN": str(old_shop.folder / "keys")})
    pairs = old_shop.rows(1)
    point = SIGNED["after a signature, before the file has its place"].replace("#2", "#1")
    assert old_shop.process("--rate", "none", point=point).returncode == -signal.SIGKILL
    [made] = (old_shop.folder / "out").rglob(".*.sign")
    for ending in ("new", "123.drawn.mp4"):
        made.with_name(f"{made.name}.{ending}").write_bytes(b"killed while it was written")
    monkeypatch.setattr(Shop, "environment", lambda _: usual)
    assert old_shop.run("--rate", "none").exit_code == 0
    assert old_shop.results() == old_shop.expected(pairs)
    assert not list((old_shop.folder / "out").rglob(".*"))


def test_a_label_that_the_ledger_does_not_know_yet_is_no_reason_to_download_again(
    old_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is only labelled has no manifest: it is known by the file that was received."""
    usual = old_shop.environment()
    usual.pop("BATCHSWAP_NO_LABEL")
    monkeypatch.setattr(Shop, "environment", lambda _: usual)
    pairs, before = old_shop.rows(1), old_shop.vendor.requests("media")
    point = SIGNED["after the file has its place"].replace("#2", "#1")
    assert old_shop.process("--rate", "none", point=point).returncode == -signal.SIGKILL
    assert old_shop.run("--rate", "none").exit_code == 0
    assert old_shop.vendor.requests("media") == before + 1
    [(name, sha256)] = old_shop.results().items()
    sql = "select t.sha256, d.received_sha256, d.signed from deliveries d join tasks t on t.id = d.task_id"
    assert old_shop.select(f"{sql} where t.file = '{name}'") == [(sha256, old_shop.expected(pairs)[name], 0)]
    assert sha256 != old_shop.expected(pairs)[name]
