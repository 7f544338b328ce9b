"""Enrolment: the same rows change nothing, an edit is noticed, and an error leaves nothing behind."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from batchswap.errors import ManifestErrors
from batchswap.ledger import queries, transitions
from batchswap.ledger import rows as rows_module
from batchswap.ledger.budgets import Budget
from batchswap.ledger.enrolment.enrol import Enrolment, enrol, enrol_unchanged
from batchswap.ledger.selections import Queue, Selection
from batchswap.ledger.transitions import Stamp
from batchswap.manifest import Chunk, Options, Source
from batchswap.runner.enrol import enrol_manifests
from batchswap.tasks import Model, Row
from tests.loop.world import rows

NOW = Stamp(2.0, None)


def take(db: sqlite3.Connection, found: list[Row], batch: str = "b") -> Enrolment:
    return enrol(db, NOW, [Chunk(batch, "/", f"{batch}.csv", found)], {})


def queued(db: sqlite3.Connection, **selection: object) -> list[str]:
    chosen = msgspec.structs.replace(Selection(("b",)), **selection)
    return [task.key for page in Queue(db, chosen).pages() for task in page]


def test_the_same_rows_again_change_nothing(db: sqlite3.Connection) -> None:
    assert take(db, rows(3)) == Enrolment(3, 0, 0)
    assert queries.counts(db)["queued"] == 3


@pytest.mark.parametrize(("count", "words"), [(1, "1 row, "), (4, "4 rows, ")])
def test_the_log_has_the_number_of_rows(db: sqlite3.Connection, count: int, words: str) -> None:
    take(db, rows(count), batch=f"another-of-{count}")
    said = db.execute("select detail from events where event = 'enrolled' order by id desc limit 1").fetchone()[0]
    assert said == f"{words}{count} new, 0 changed"


def test_the_order_of_the_manifest_is_the_order_of_the_queue(db: sqlite3.Connection) -> None:
    take(db, [*reversed(rows(3))])
    assert queued(db) == ["t2", "t1", "t0"]


def test_a_removed_row_is_kept_but_not_submitted(db: sqlite3.Connection) -> None:
    take(db, rows(2))
    assert queued(db) == ["t0", "t1"]
    assert queries.counts(db)["queued"] == 3


def test_parts_of_the_manifest(db: sqlite3.Connection) -> None:
    take(db, [msgspec.structs.replace(row, tags=("hero", f"n{i % 2}")) for i, row in enumerate(rows(6))])
    assert queued(db, limit=2) == ["t0", "t1"]
    assert queued(db, limit=0) == []
    assert queued(db, tags=("n1",)) == ["t1", "t3", "t5"]
    assert queued(db, tags=("n1", "hero"), limit=2) == ["t1", "t3"]
    assert queued(db, tags=("n",)) == []
    assert queued(db, text="4.mp4") == ["t4"]


def test_a_long_queue_is_read_in_pages_without_gaps(db: sqlite3.Connection) -> None:
    take(db, rows(700))
    assert queued(db) == [f"t{i}" for i in range(700)]


def edited(index: int) -> list[Row]:
    found = rows(3)
    face = "https://cdn.example/ben.jpg?sig=1"
    found[index] = msgspec.structs.replace(found[index], digest="new", face=face)
    return found


def test_an_edited_row_that_is_queued_is_replaced(db: sqlite3.Connection) -> None:
    assert take(db, edited(0)).changed == 1
    assert transitions.find_task(db, 1).face == "https://cdn.example/ben.jpg?sig=1"
    assert queries.counts(db)["queued"] == 3


def test_an_edit_waits_until_the_attempt_with_the_old_inputs_is_over(db: sqlite3.Connection, stamp: Stamp) -> None:
    task = transitions.find_task(db, 1)
    item = transitions.submit(db, stamp, task, reserved=1.0, budget=Budget(), account="a")
    transitions.accepted(db, stamp, item, "r")
    assert take(db, edited(0)).changed == 0
    assert transitions.find_task(db, 1).face == "https://cdn.example/anna.jpg"
    transitions.succeeded(db, stamp, item, transitions.Media(("https://m",)), charged=1.0, took=1.0)
    transitions.verified(db, stamp, item, file="b/t0.mp4", size=1, sha256="old")
    transitions.saved(db, stamp, item)
    assert enrol_unchanged(db, NOW, ("b",)).changed == 1
    assert transitions.find_task(db, 1).state == "queued"
    assert queries.previous_result(db, 1).replaces == "old"


def test_an_edit_that_is_undone_changes_nothing(db: sqlite3.Connection, stamp: Stamp) -> None:
    task = transitions.find_task(db, 1)
    transitions.submit(db, stamp, task, reserved=1.0, budget=Budget(), account="a")
    take(db, edited(0))
    take(db, rows(3))
    transitions.recover(db, stamp)
    assert enrol_unchanged(db, NOW, ("b",)).changed == 0


def test_an_error_at_the_end_leaves_nothing_behind(db: sqlite3.Connection) -> None:
    def chunks() -> Iterator[Chunk]:
        yield Chunk("other", "/", "other.csv", rows(100))
        raise ManifestErrors([])

    before = list(db.iterdump())
    with pytest.raises(ManifestErrors):
        enrol(db, NOW, chunks(), {})
    assert list(db.iterdump()) == before


def nothing_is_left(db: sqlite3.Connection, before: list[str]) -> bool:
    """Check that there is no row, no thread and no running statement, and that wrong states are refused again."""
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        db.execute("update tasks set state = 'lost' where id = 1")
    alive = [thread.name for thread in threading.enumerate() if thread.name.startswith("intake")]
    return list(db.iterdump()) == before and not db.in_transaction and not alive


def test_an_error_while_rows_are_stored_leaves_nothing_behind(db: sqlite3.Connection) -> None:
    wrong = msgspec.structs.replace(rows(1, first=1500)[0], digest=None)
    read = []

    def chunks() -> Iterator[Chunk]:
        for found in (rows(700), [wrong], rows(700, first=700), rows(1, first=1400)):
            read.append(found)
            yield Chunk("b", "/", "b.csv", found)

    before = list(db.iterdump())
    with pytest.raises(sqlite3.IntegrityError, match="digest"):
        enrol(db, NOW, chunks(), {})
    assert len(read) == 3, "the error is seen with the next chunk"
    assert nothing_is_left(db, before)


def test_an_error_in_the_last_rows_is_raised(db: sqlite3.Connection) -> None:
    before = list(db.iterdump())
    with pytest.raises(sqlite3.IntegrityError, match="digest"):
        take(db, [*rows(700), msgspec.structs.replace(rows(1, first=700)[0], digest=None)])
    assert nothing_is_left(db, before)


def test_an_interrupt_while_rows_are_read_and_stored_leaves_nothing_behind(db: sqlite3.Connection) -> None:
    def chunks() -> Iterator[Chunk]:
        yield Chunk("b", "/", "b.csv", rows(700))
        raise KeyboardInterrupt

    before = list(db.iterdump())
    with pytest.raises(KeyboardInterrupt):
        enrol(db, NOW, chunks(), {})
    assert nothing_is_left(db, before)
    assert take(db, rows(4)) == Enrolment(4, 1, 0)


def of_all_kinds(count: int) -> list[Row]:
    """Yield rows with long runs of one feature, and rows with features in any order."""
    signed = "https://cdn.example/face.jpg?sig=1"
    others: list[dict[str, object]] = [
        {"face": signed},
        {"model": Model.IMAGE, "target": "https://cdn.example/1.png?"},
        {"model": Model.VIDEO_MULTI, "face": "", "faces": ((0, "anna.jpg"), (2, signed))},
        {"extra": (("x_a", "b"),)},
        {"tags": ("de", "hero"), "consent": "r"},
    ]
    found = rows(count)
    for i, row in enumerate(found):
        stretch, here_and_there = i // 500 % (len(others) + 1), i % 97 == 0 and i > 2500
        for number, other in enumerate(others, 1):
            if number == stretch or (here_and_there and i % len(others) == number - 1):
                found[i] = msgspec.structs.replace(row, **other)
    return found


def stored(db: sqlite3.Connection) -> list[tuple[object, ...]]:
    sql = "select model, target, target_query, face, face_query, faces, extra, tags, consent, position from tasks"
    return db.execute(f"{sql} order by position").fetchall()


def expected(found: list[Row]) -> list[tuple[object, ...]]:
    return [
        (
            str(row.model),
            *rows_module.split_query(row.target),
            *rows_module.split_query(row.face),
            rows_module.pack_faces(row.faces),
            msgspec.json.encode(dict(row.extra)).decode() if row.extra else "",
            ";".join(row.tags),
            row.consent,
            position,
        )
        for position, row in enumerate(found)
    ]


def test_each_row_is_stored_with_its_own_values_only(db: sqlite3.Connection) -> None:
    found = of_all_kinds(3300)
    take(db, found)
    assert enrol_unchanged(db, NOW, ("b",)).changed == 0
    kinds = {tuple(value not in (None, "") for value in values[1:8]) for values in expected(found)}
    assert len(kinds) == 6
    assert stored(db)[3:] == expected(found)[3:]  # the first three were there, with the same digests


def test_an_edit_removes_values_that_the_row_no_longer_has(db: sqlite3.Connection) -> None:
    found = of_all_kinds(3300)
    take(db, found)
    plain = [msgspec.structs.replace(row, digest=f"new{i}") for i, row in enumerate(rows(3300))]
    assert take(db, plain).changed == 3300
    assert stored(db) == expected(plain)


def write(path: Path, count: int) -> Source:
    lines = [f"k{i},https://cdn.example/{i}.mp4,https://cdn.example/anna.jpg" for i in range(count)]
    path.write_text("\n".join(["id,video,face", *lines]))
    return Source(str(path))


def test_an_unchanged_manifest_is_not_read_again(db: sqlite3.Connection, tmp_path: Path) -> None:
    sources, options = [write(tmp_path / "spring.csv", 5)], Options(out=str(tmp_path))
    assert enrol_manifests(db, NOW, sources, options).enrolment == Enrolment(5, 5, 0)
    again = enrol_manifests(db, NOW, sources, options)
    assert again.unchanged
    assert again.batches == ("spring",)
    write(tmp_path / "spring.csv", 6)
    assert enrol_manifests(db, NOW, sources, options).enrolment == Enrolment(6, 1, 0)


def test_other_options_or_another_set_of_files_is_read_again(db: sqlite3.Connection, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    one, two = write(tmp_path / "spring.csv", 5), write(tmp_path / "x" / "spring.csv", 2)
    two_rows = (tmp_path / "x" / "spring.csv").read_text().replace("k", "other", 2)
    (tmp_path / "x" / "spring.csv").write_text(two_rows.replace("/0.", "/x0.").replace("/1.", "/x1."))
    options = Options(out=str(tmp_path))
    assert enrol_manifests(db, NOW, [one, two], options).enrolment.new == 7
    assert enrol_manifests(db, NOW, [one, two], options).unchanged
    assert not enrol_manifests(db, NOW, [one], options).unchanged
    assert queued(db, batches=("spring",)) == [f"k{i}" for i in range(5)]
    other = msgspec.structs.replace(options, name_template="{key}{ext}")
    assert not enrol_manifests(db, NOW, [one], other).unchanged


def test_a_manifest_with_a_pattern_finds_new_files(db: sqlite3.Connection, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    tasks = [f"  - {{id: k{i}, video: https://cdn.example/{i}.mp4}}" for i in range(600)]
    rest = ["matrix: {video: '*.mp4'}", "defaults: {face: https://cdn.example/anna.jpg}"]
    (tmp_path / "spring.yaml").write_text("\n".join(["tasks:", *tasks, *rest]))
    sources, options = [Source(str(tmp_path / "spring.yaml"))], Options(out=str(tmp_path / "out"))
    assert enrol_manifests(db, NOW, sources, options).enrolment == Enrolment(601, 601, 0)
    (tmp_path / "b.mp4").write_bytes(b"x")
    assert enrol_manifests(db, NOW, sources, options).enrolment == Enrolment(602, 1, 0)
    assert enrol_manifests(db, NOW, sources, options).enrolment == Enrolment(602, 0, 0)
