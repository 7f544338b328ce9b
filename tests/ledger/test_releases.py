"""Releases in the ledger: evidence, withdrawals, and results that their tasks have lost."""

import sqlite3
from pathlib import Path

import msgspec
import pytest

from batchswap.errors import ManifestErrors
from batchswap.ledger import deliveries, operator_actions, queries, releases, transitions
from batchswap.ledger.deliveries import Delivered
from batchswap.ledger.enrolment.enrol import enrol
from batchswap.ledger.releases import Evidence, ReleaseUse
from batchswap.ledger.transitions import Stamp
from batchswap.manifest import Chunk, Options, Source
from batchswap.runner.enrol import enrol_manifests
from batchswap.states import Event, Quality, State
from batchswap.tasks import Row
from tests.ledger.test_deliveries import finish
from tests.ledger.test_moves import submit
from tests.loop.world import rows

LATER = Stamp(1_800_000_000.0, None)


def put(db: sqlite3.Connection, consent: str, **values: str) -> None:
    """Enrol the three rows again, all with this consent."""
    changed = [msgspec.structs.replace(row, consent=consent, **values) for row in rows(3)]
    enrol(db, LATER, [Chunk("b", "/", "b.csv", changed)], {})


def consents(db: sqlite3.Connection) -> list[str]:
    return [consent for (consent,) in db.execute("select consent from tasks order by id")]


def event_names(db: sqlite3.Connection) -> list[tuple[str, str]]:
    return db.execute("select event, detail from events where event like 'rel%' order by id").fetchall()


def test_evidence_is_logged_when_it_changes(db: sqlite3.Connection) -> None:
    releases.note(db, LATER, "r-1", Evidence("ab", 3, 7))
    releases.note(db, LATER, "r-1", Evidence("ab", 3, 8))
    assert releases.evidence(db, "r-1") == Evidence("ab", 3, 8)
    releases.note(db, LATER, "r-1", None)
    assert releases.evidence(db, "r-1") is None
    assert event_names(db) == [("release-evidence", "r-1: ab"), ("release-evidence", "r-1: none")]


def test_a_withdrawal_cancels_what_is_queued_and_is_idempotent(db: sqlite3.Connection, stamp: Stamp) -> None:
    put(db, "r-1")
    finish(db, stamp, 1)
    releases.note(db, LATER, "r-1", Evidence("ab", 3, 7))
    assert (releases.withdraw(db, LATER, "r-1"), releases.withdraw(db, Stamp(1.0, None), "r-1")) == (2, 0)
    assert (releases.withdrawn_at(db, "r-1"), list(releases.withdrawn(db))) == (LATER.at, ["r-1"])
    assert releases.evidence(db, "r-1") == Evidence("ab", 3, 7)
    assert releases.states(db, "r-1") | {"done": 1, "cancelled": 2} == releases.states(db, "r-1")
    stored = queries.stored_by(db, 1)
    assert stored is not None
    assert (stored.is_withdrawn, list(releases.results(db, "r-1"))) == (True, [stored])
    assert (releases.restore(db, LATER, "r-1"), releases.restore(db, LATER, "r-1")) == (True, False)
    assert releases.withdrawn(db) == {}
    names = [name for name, _ in event_names(db)]
    assert names == ["release-evidence", "release-withdrawn", "release-restored"]


def test_an_edited_row_keeps_the_consent_of_its_attempt_until_that_has_ended(
    db: sqlite3.Connection, stamp: Stamp
) -> None:
    put(db, "r-1")
    item = submit(db, stamp, 1)
    transitions.accepted(db, stamp, item, "remote")
    put(db, "r-2", digest="other", face="https://cdn.example/ben.png")
    assert consents(db) == ["r-1", "r-2", "r-2"]
    releases.withdraw(db, LATER, "r-1")
    assert transitions.find_task(db, 1).state is State.RUNNING, "it is paid for, and will be collected"
    put(db, "r-3", digest="other", face="https://cdn.example/ben.png")
    assert consents(db) == ["r-1", "r-3", "r-3"]
    transitions.ended_badly(db, stamp, item, Event.LOST, code="lost", reason="")
    put(db, "r-3", digest="other", face="https://cdn.example/ben.png")
    assert consents(db) == ["r-3"] * 3
    put(db, "r-4", digest="other", face="https://cdn.example/ben.png")
    assert consents(db) == ["r-4"] * 3, "a row with the same inputs is relabelled"


def test_an_edit_of_an_earlier_version_has_no_consent(db: sqlite3.Connection, stamp: Stamp) -> None:
    put(db, "r-1")
    item = submit(db, stamp, 1)
    put(db, "r-2", digest="other")
    db.execute("update tasks set edited = cast(json_remove(edited, '$[9]') as blob), consent = 'r-2' where id = 1")
    transitions.refused(db, stamp, item, Event.REJECTED, code="422", reason="")
    enrol(db, LATER, [], {})
    assert db.execute("select consent, digest from tasks where id = 1").fetchone() == ("r-2", "other")


@pytest.mark.parametrize("how", ["redone", "edited"])
def test_results_that_their_tasks_have_lost_are_kept_in_mind(db: sqlite3.Connection, stamp: Stamp, how: str) -> None:
    put(db, "r-1")
    finish(db, stamp, 1)
    if how == "redone":
        operator_actions.redo(db, LATER, transitions.find_task(db, 1))
    else:
        put(db, "r-2", digest="other")
    assert queries.stored_by(db, 1) is None
    assert list(releases.results(db, "r-1")) == []
    [lost] = releases.former_results(db, "r-1")
    assert (lost.id, lost.file, lost.sha256, lost.size, lost.at) == (1, "b/t0.mp4", "ab", 7, stamp.at)
    assert "r-1" in releases.references(db)


def test_deletions_are_logged_once_per_task(db: sqlite3.Connection, stamp: Stamp) -> None:
    finish(db, stamp, 1)
    deliveries.record(db, stamp, 1, Delivered("ab", Quality.SWAPPED, 1.0, 0.9, strip="aa/1.webp"))
    assert releases.strips_of_others(db, "r-1") == {"aa/1.webp"}
    releases.note_deleted(db, LATER, 1, "ab", [])
    releases.note_deleted(db, LATER, 1, "ab", [])
    releases.note_deleted(db, LATER, 1, "ab", ["/out/b/t0.mp4"])
    sql = "select detail from events where event = 'result-deleted'"
    assert db.execute(sql).fetchall() == [("there was no file",), ("/out/b/t0.mp4",)]
    assert releases.strips_of_others(db, "r-1") == set()


def test_tasks_that_ended_without_a_result_may_have_left_a_part(db: sqlite3.Connection, stamp: Stamp) -> None:
    put(db, "r-1")
    finish(db, stamp, 1)
    finish(db, stamp, 2, is_saved=False)
    transitions.begin_run(db, 1.0, provider="crun", account="x", out="/out")
    item = transitions.find_task(db, 2)
    assert releases.unsaved(db, "r-1") == [(2, f"b/{item.key}", item.output)]
    assert releases.folders(db) == ["/out"]


def test_what_was_made_under_each_release(db: sqlite3.Connection, stamp: Stamp) -> None:
    put(db, "r-1")
    one = msgspec.structs.replace(rows(1)[0], key="x", consent="", output="x.mp4")
    enrol(db, LATER, [Chunk("c", "/", "c.csv", [one])], {})
    finish(db, stamp, 1)
    finish(db, stamp, 2)
    deliveries.record(db, stamp, 1, Delivered("ab", Quality.SWAPPED, signed=True))
    releases.note(db, LATER, "r-1", Evidence("ab", 3, 7))
    releases.withdraw(db, LATER, "r-1")
    whole = [ReleaseUse("r-1", 3, 2, 1, LATER.at, "ab"), ReleaseUse("", 1, 0, 0)]
    assert releases.uses(db) == whole
    assert releases.uses(db, [2]) == whole[1:]


def test_another_result_with_the_same_name_is_found(db: sqlite3.Connection, stamp: Stamp) -> None:
    finish(db, stamp, 1)
    db.execute("update tasks set output = file, consent = 'r-2' where id = 1")
    assert releases.other_owner(db, "r-1", "b/t0.mp4", "ab") == "b/" + transitions.find_task(db, 1).key
    assert releases.other_owner(db, "r-2", "b/t0.mp4", "ab") is None
    assert releases.other_owner(db, "r-1", "b/t0.mp4", "cd") is None


def manifest(folder: Path, row: Row, consent: str = "r-1") -> list[Source]:
    (folder / "m.csv").write_text(f"id,video,face,consent\na,{row.target},{row.face},{consent}\n")
    return [Source(str(folder / "m.csv"))]


def test_enrolment_records_the_evidence_and_reads_it_only_if_it_changed(
    db: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = manifest(tmp_path, rows(1)[0])
    (tmp_path / "r.csv").write_text("reference,person,evidence\nr-1,Anna,scan.pdf\nr-2,Ben,scan.pdf\n")
    (tmp_path / "scan.pdf").write_bytes(b"one")
    options = Options(out=str(tmp_path / "out"), consent_register=str(tmp_path / "r.csv"))
    assert enrol_manifests(db, LATER, sources, options).enrolment.new == 1
    first = releases.evidence(db, "r-1")
    assert (first and first.sha256[:8], releases.evidence(db, "r-2")) == ("7692c3ad", None)
    with monkeypatch.context() as patch:
        patch.setattr("batchswap.runner.enrol.hash_file", lambda _: "read again")
        assert not enrol_manifests(db, LATER, sources, options).unchanged
        assert releases.evidence(db, "r-1") == first
        (tmp_path / "scan.pdf").write_bytes(b"two!")
        enrol_manifests(db, LATER, sources, options)
        again = releases.evidence(db, "r-1")
        assert again is not None
        assert again.sha256 == "read again"

        def gone(_: Path) -> str:
            raise OSError(5, "Input/output error")

        (tmp_path / "scan.pdf").write_bytes(b"three")
        patch.setattr("batchswap.runner.enrol.hash_file", gone)
        manifest(tmp_path, rows(1)[0], "r-2")
        with pytest.raises(ManifestErrors, match=r"r\.csv:3: evidence: cannot be read \(Input/output error\)"):
            enrol_manifests(db, LATER, sources, options)
    assert db.execute("select consent from tasks where key = 'a'").fetchone() == ("r-1",), "nothing was enrolled"


def test_a_withdrawn_release_is_found_in_an_unchanged_manifest(db: sqlite3.Connection, tmp_path: Path) -> None:
    sources, options = manifest(tmp_path, rows(1)[0]), Options(out=str(tmp_path / "out"))
    enrol_manifests(db, LATER, sources, options)
    assert enrol_manifests(db, LATER, sources, options).unchanged
    releases.withdraw(db, LATER, "r-1")
    options = msgspec.structs.replace(options, withdrawn=releases.withdrawn(db))
    with pytest.raises(ManifestErrors, match=r'm\.csv:2: consent: "r-1" was withdrawn on \d{4}-\d\d-\d\d'):
        enrol_manifests(db, LATER, sources, options)
    releases.restore(db, LATER, "r-1")
    options = msgspec.structs.replace(options, withdrawn={})
    assert enrol_manifests(db, LATER, sources, options).unchanged
    options = msgspec.structs.replace(options, withdrawn={"r-2": "2027-01-15"})
    assert not enrol_manifests(db, LATER, sources, options).unchanged
    assert enrol_manifests(db, LATER, sources, options).unchanged, "another withdrawn release costs one reading"
