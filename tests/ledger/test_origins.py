"""A batch is identified by its name and files by their folder: a moved folder is the same work, another one is not."""

import io
import shutil
import sqlite3
from pathlib import Path

import pytest

from batchswap.errors import UsageError
from batchswap.ledger import queries, transitions
from batchswap.ledger.enrolment.enrol import Enrolment
from batchswap.ledger.enrolment.manifest_moves import checked
from batchswap.ledger.transitions import Stamp
from batchswap.manifest import Options, Source, read
from batchswap.runner.enrol import Enrolled, enrol_manifests

NOW = Stamp(2.0, None)
FACE = "https://cdn.example/anna.jpg"
STATES = ["queued", "submitting", "running", "fetching", "done", "failed", "uncertain", "cancelled"]


def folder(path: Path, size: int = 1, row: str = f"intro,a.mp4,{FACE}") -> Path:
    """Write a manifest and its video of `size` bytes."""
    path.mkdir()
    (path / "a.mp4").write_bytes(b"x" * size)
    (path / "jobs.csv").write_text(f"id,video,face\n{row}\n")
    return path / "jobs.csv"


def take(db: sqlite3.Connection, *manifests: Path | str, stdin: bytes = b"") -> Enrolled:
    return enrol_manifests(db, NOW, [Source(str(path)) for path in manifests], Options(), io.BytesIO(stdin))


def refusal(db: sqlite3.Connection, *manifests: Path | str, stdin: bytes = b"") -> str:
    before = list(db.iterdump())
    with pytest.raises(UsageError) as error:
        take(db, *manifests, stdin=stdin)
    assert list(db.iterdump()) == before
    return str(error.value)


def put(db: sqlite3.Connection, state: str) -> None:
    db.execute("update tasks set state = ? where key = 'intro'", (state,))


def folder_of_intro(db: sqlite3.Connection) -> str:
    (task_id,) = db.execute("select id from tasks where key = 'intro'").fetchone()
    return transitions.find_task(db, task_id).folder


@pytest.mark.parametrize("state", STATES)
def test_a_manifest_of_that_name_in_another_folder_is_refused(
    db: sqlite3.Connection, tmp_path: Path, state: str
) -> None:
    monday, tuesday = folder(tmp_path / "monday"), folder(tmp_path / "tuesday")
    take(db, monday)
    put(db, state)
    assert refusal(db, tuesday) == (
        f'{tuesday}: batch "jobs" comes from {monday}, where row "intro" has other inputs;'
        " give this manifest another batch name with --batch, or in YAML with name:;"
        f" or move {monday} away if this manifest replaces it"
    )
    assert take(db, monday).unchanged


def test_an_id_with_other_urls_in_another_folder_is_refused_too(db: sqlite3.Connection, tmp_path: Path) -> None:
    monday = folder(tmp_path / "monday", row=f"intro,https://cdn.example/monday.mp4,{FACE}")
    tuesday = folder(tmp_path / "tuesday", row=f"intro,https://cdn.example/tuesday.mp4,{FACE}")
    take(db, monday)
    put(db, "done")
    assert "comes from" in refusal(db, tuesday)
    monday.unlink()
    assert take(db, tuesday).enrolment == Enrolment(1, 0, 1)


def test_a_plan_refuses_the_same_manifests_as_a_run(db: sqlite3.Connection, tmp_path: Path) -> None:
    take(db, folder(tmp_path / "monday"))
    tuesday = Source(str(folder(tmp_path / "tuesday")))
    with pytest.raises(UsageError, match="comes from"):
        list(checked(db, read([tuesday]), [tuesday.place]))


@pytest.mark.parametrize("state", STATES)
def test_a_moved_folder_is_the_same_work(db: sqlite3.Connection, tmp_path: Path, state: str) -> None:
    take(db, folder(tmp_path / "old"))
    put(db, state)
    (tmp_path / "old").rename(tmp_path / "new")
    assert take(db, tmp_path / "new" / "jobs.csv").enrolment == Enrolment(1, 0, 0)
    assert queries.counts(db, "jobs")[state] == 1
    assert folder_of_intro(db) == str(tmp_path / "new")
    (tmp_path / "old").symlink_to(tmp_path / "new")
    assert take(db, tmp_path / "old" / "jobs.csv").unchanged


@pytest.mark.parametrize("state", STATES)
def test_other_files_in_place_of_a_missing_folder_are_not_taken_for_done_work(
    db: sqlite3.Connection, tmp_path: Path, state: str
) -> None:
    take(db, folder(tmp_path / "monday"))
    put(db, state)
    shutil.rmtree(tmp_path / "monday")
    tuesday = folder(tmp_path / "tuesday", size=2)
    if state in ("queued", "failed", "cancelled"):
        assert take(db, tuesday).enrolment == Enrolment(1, 0, 0)
        assert folder_of_intro(db) == str(tmp_path / "tuesday")
    else:
        assert "came from" in refusal(db, tuesday)


def test_an_edit_in_another_folder_keeps_the_old_one_until_it_is_taken(db: sqlite3.Connection, tmp_path: Path) -> None:
    take(db, folder(tmp_path / "old"))
    put(db, "running")
    (tmp_path / "old" / "jobs.csv").unlink()
    new = folder(tmp_path / "new", row="intro,a.mp4,https://cdn.example/ben.jpg")
    take(db, new)
    assert folder_of_intro(db) == str(tmp_path / "old")
    put(db, "failed")
    assert take(db, new).enrolment.changed == 1
    assert folder_of_intro(db) == str(tmp_path / "new")


def test_one_place_however_it_is_spelled(
    db: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(db, folder(tmp_path / "monday"))
    put(db, "done")
    (tmp_path / "link").symlink_to("monday")
    monkeypatch.chdir(tmp_path)
    for spelled in ("monday/jobs.csv", "./monday/../monday/jobs.csv", "link/jobs.csv"):
        assert take(db, spelled).unchanged
    monkeypatch.chdir(tmp_path / "link")
    assert take(db, "jobs.csv").unchanged


def test_a_link_with_another_target_is_another_place(db: sqlite3.Connection, tmp_path: Path) -> None:
    current = tmp_path / "current"
    for day in ("monday", "tuesday"):
        folder(tmp_path / day)
    current.symlink_to("monday")
    take(db, current / "jobs.csv")
    current.unlink()
    current.symlink_to("tuesday")
    assert "comes from" in refusal(db, current / "jobs.csv")


def test_links_to_the_same_files_are_the_same_work(db: sqlite3.Connection, tmp_path: Path) -> None:
    take(db, folder(tmp_path / "monday"))
    put(db, "done")
    (tmp_path / "view").mkdir()
    for name in ("jobs.csv", "a.mp4"):
        (tmp_path / "view" / name).symlink_to(tmp_path / "monday" / name)
    assert take(db, tmp_path / "view" / "jobs.csv").enrolment == Enrolment(1, 0, 0)
    assert queries.counts(db, "jobs")["done"] == 1


def test_rows_that_no_other_folder_has_join_the_batch(db: sqlite3.Connection, tmp_path: Path) -> None:
    take(db, folder(tmp_path / "monday"))
    tuesday = folder(tmp_path / "tuesday", row=f"outro,a.mp4,{FACE}\nurl,https://cdn.example/1.mp4,{FACE}")
    assert take(db, tuesday).enrolment.new == 2
    wednesday = folder(tmp_path / "wednesday", row=f"url,https://cdn.example/1.mp4,{FACE}")
    assert take(db, wednesday).enrolment == Enrolment(1, 0, 0)


def test_a_row_may_pass_from_one_named_manifest_to_another(db: sqlite3.Connection, tmp_path: Path) -> None:
    one, two = folder(tmp_path / "one"), folder(tmp_path / "two", row=f"outro,a.mp4,{FACE}")
    take(db, one, two)
    assert take(db, one, two).unchanged
    assert not take(db, two).unchanged
    one.write_text(f"id,video,face\nother,a.mp4,{FACE}\n")
    two.write_text("id,video,face\nintro,a.mp4,https://cdn.example/ben.jpg\n")
    assert take(db, one, two).enrolment == Enrolment(2, 1, 1)
    assert folder_of_intro(db) == str(tmp_path / "two")


def test_standard_input_belongs_to_the_folder_that_it_is_read_in(
    db: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = folder(tmp_path / "monday").read_bytes()
    folder(tmp_path / "tuesday")
    monkeypatch.chdir(tmp_path / "monday")
    take(db, "-", stdin=text)
    put(db, "done")
    assert take(db, "-", stdin=text).enrolment == Enrolment(1, 0, 0)
    monkeypatch.chdir(tmp_path / "tuesday")
    assert "came from" in refusal(db, "-", stdin=text)
